"""Files that are whole or absent: write aside, fsync, rename. And the hashes that name them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from p2m.errors import P2MError


def canonical_json(value: Any) -> str:
    """One spelling for one value: sorted keys, no spaces, non-ASCII kept."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def digest(value: Any, length: int = 64) -> str:
    """Hex SHA-256 of the canonical JSON of ``value``, cut to ``length`` digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


def file_digest(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def fsync_dir(path: Path) -> None:
    """Make a rename inside ``path`` durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def disk_full(path: Path) -> P2MError:
    """What the user is told when nothing more fits."""
    return P2MError(f"the disk is full while writing {path}. Free some space, then: p2m resume")


@contextmanager
def clear_disk_errors(path: Path) -> Iterator[None]:
    """Turn a full or read-only disk into one line that names the folder."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(path) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise P2MError(f"cannot write {path}: {error.strerror}. Choose another folder with --out") from error
        raise


def write_atomic(path: Path, content: str | bytes) -> None:
    """Replace ``path`` by ``content``, so that a reader or a crash sees the old file or the new one, never half.

    Raises ``P2MError`` where the disk is full or the folder is read-only.
    """
    data = content.encode() if isinstance(content, str) else content
    with clear_disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        fd, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            os.fchmod(fd, 0o644)  # mkstemp makes it private; a report is to be shared
            with os.fdopen(fd, "wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(aside, path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
        fsync_dir(path.parent)


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """Yield a folder beside ``final`` to fill; rename it into place on success, remove it on any failure."""
    with clear_disk_errors(final.parent):
        final.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}."))
        try:
            yield aside
            for path in [p for p in aside.rglob("*") if p.is_file()]:
                with path.open("rb") as handle:
                    os.fsync(handle.fileno())
            if final.exists():  # the same inputs gave the same content before: keep the first
                shutil.rmtree(aside)
                return
            aside.chmod(0o755)
            os.replace(aside, final)
            fsync_dir(final.parent)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise


@contextmanager
def replaced_folder(final: Path) -> Iterator[Path]:
    """Yield a folder beside ``final`` to fill; on success it takes the place of ``final``, on any failure it is gone
    and ``final`` is as it was."""
    with clear_disk_errors(final.parent):
        final.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}."))
        old = aside.with_name(f"{aside.name}.old")
        try:
            yield aside
            for path in [p for p in aside.rglob("*") if p.is_file()]:
                with path.open("rb") as handle:
                    os.fsync(handle.fileno())
            aside.chmod(0o755)
            if final.exists():
                final.rename(old)
            os.replace(aside, final)
            fsync_dir(final.parent)
        finally:
            if old.exists() and not final.exists():
                old.rename(final)
            shutil.rmtree(aside, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
