"""The journal: the only state of a run. Append-only JSONL, fsynced, each line carrying the hash of the line before."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.events import Event, from_json, to_json
from p2m.errors import BadInput, P2MError
from p2m.files import clear_disk_errors
from p2m.llm.redact import redact

VERSION = 1
FILE = "journal.jsonl"
_ENVELOPE = ("v", "seq", "at", "t", "prev")


@dataclass(frozen=True)
class Record:
    """An event with its place: ``at`` is UTC, ``t`` the seconds of work on the run so far (pauses not counted)."""

    seq: int
    at: str
    t: float
    event: Event


def read(path: Path) -> list[Record]:
    """The records of a journal. A torn last line (a write that a crash cut) is left out.

    Raises ``P2MError`` naming the line for any other damage: bad JSON, a broken hash chain, an unknown version.
    """
    return _parse(path)[0]


def _parse(path: Path) -> tuple[list[Record], str, int]:
    """Records, the hash of the last whole line, and the number of bytes that whole lines take."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise BadInput(
            "there is no run here", where=str(path.parent), fix="See p2m runs for those that exist"
        ) from None
    records: list[Record] = []
    previous, whole = "", 0
    for number, line in enumerate(data.splitlines(keepends=True), 1):
        if not line.endswith(b"\n"):
            break  # torn: the write was cut before its newline, so nothing acted on it
        records.append(_record(path, number, line, previous))
        previous = hashlib.sha256(line).hexdigest()[:16]
        whole += len(line)
    return records, previous, whole


def _record(path: Path, number: int, line: bytes, previous: str) -> Record:
    def damaged(problem: str) -> P2MError:
        return P2MError(
            f"{path}:{number}: the journal is damaged: {problem}. Restore it from a copy, or cut it before this line "
            f"(head -n {number - 1}) and resume from there"
        )

    try:
        fields: dict[str, Any] = json.loads(line)
        envelope = {key: fields.pop(key) for key in _ENVELOPE}
    except (ValueError, KeyError, AttributeError):
        raise damaged("not an event") from None
    if envelope["v"] != VERSION:
        raise damaged(f"version {envelope['v']!r}, this p2m reads {VERSION}")
    if envelope["prev"] != previous or envelope["seq"] != number - 1:
        raise damaged("it does not follow from the line before")
    try:
        return Record(envelope["seq"], envelope["at"], envelope["t"], from_json(fields))
    except (KeyError, TypeError):
        raise damaged(f"unknown event {fields.get('type')!r}") from None


class Tail:
    """Reads a journal that another process may be writing, each record once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen, self._lines, self._previous = 0, 0, ""

    def new(self) -> list[Record]:
        """The records written since the last time. Raises ``P2MError`` for damage, as ``read`` does."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._seen)
                data = file.read()
        except FileNotFoundError:
            return []
        records = []
        for line in data.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            self._lines += 1
            records.append(_record(self.path, self._lines, line, self._previous))
            self._previous = hashlib.sha256(line).hexdigest()[:16]
            self._seen += len(line)
        return records


class Journal:
    """An open journal, held by one process at a time.

    Opening cuts a torn last line. Raises ``P2MError`` when another process holds the run.
    """

    def __init__(self, run_dir: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = run_dir / FILE
        with clear_disk_errors(run_dir):
            run_dir.mkdir(parents=True, exist_ok=True)
            self._lock = (run_dir / "lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.seek(0)
            holder = self._lock.read().strip() or "?"
            self._lock.close()
            raise BadInput(
                f"another process (pid {holder}) is working on this run",
                where=str(run_dir),
                fix="Wait for it, stop it, or choose another folder with --out",
            ) from None
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()
        self.records: list[Record] = []
        self._previous, whole = "", 0
        if self.path.exists():
            self.records, self._previous, whole = _parse(self.path)
        # Unbuffered: after a full disk no part of a line may be left to be written later.
        self._file = self.path.open("ab", buffering=0)
        if self._file.tell() > whole:
            self._file.truncate(whole)
        self._clock, self._opened = clock, clock()
        self._stopped_at: float | None = None
        self._worked_before = self.records[-1].t if self.records else 0.0

    @property
    def seconds(self) -> float:
        """Seconds of work on the run, this session's included; pauses are not work."""
        now = self._clock() if self._stopped_at is None else self._stopped_at
        return self._worked_before + now - self._opened

    def stop_clock(self) -> None:
        if self._stopped_at is None:
            self._stopped_at = self._clock()

    def start_clock(self) -> None:
        if self._stopped_at is not None:
            self._opened += self._clock() - self._stopped_at
            self._stopped_at = None

    def append(self, event: Event) -> Record:
        """Write one event durably. Raises ``P2MError`` when the disk is full; the journal stays whole."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        t = round(self.seconds, 3)
        seq = len(self.records)
        fields = {"v": VERSION, "seq": seq, "at": at, "t": t, "prev": self._previous, **to_json(event)}
        line = (redact(json.dumps(fields, ensure_ascii=False)) + "\n").encode()
        start = os.fstat(self._file.fileno()).st_size
        with clear_disk_errors(self.path):
            try:
                rest = memoryview(line)
                while rest:
                    rest = rest[self._file.write(rest) :]
                os.fsync(self._file.fileno())
            except OSError:
                os.ftruncate(self._file.fileno(), start)
                raise
        self._previous = hashlib.sha256(line).hexdigest()[:16]
        record = Record(seq, at, t, event)
        self.records.append(record)
        return record

    def close(self) -> None:
        self._file.close()
        self._lock.close()
