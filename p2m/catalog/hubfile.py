"""A file of the Hub that is read where it lies, a piece at a time."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

from p2m.catalog.hubclient import HubClient, RepoType

if TYPE_CHECKING:
    from typing_extensions import Buffer

BLOCK = 1 << 20


@dataclass(frozen=True)
class HubFile:
    """``path`` of ``repo`` at the commit ``sha``, ``size`` bytes long. Reading from ``start`` leaves out what is
    before it."""

    client: HubClient
    kind: RepoType
    repo: str
    sha: str
    path: str
    size: int
    start: int = 0

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def __str__(self) -> str:
        return f"{self.repo}/{self.path}"

    def open(self) -> BinaryIO:
        """The bytes by Range requests of at least ``BLOCK``; no more are fetched than are read."""
        return cast(BinaryIO, io.BufferedReader(_Ranges(self), BLOCK))


class _Ranges(io.RawIOBase):
    def __init__(self, file: HubFile) -> None:
        self.file, self.at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        length = self.file.size - self.file.start
        self.at = max(0, {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: length}[whence] + offset)
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: Buffer) -> int:
        view, file = memoryview(buffer), self.file
        begin = file.start + self.at
        length = min(len(view), file.size - begin)
        if length <= 0:
            return 0
        data = file.client.part(file.kind, file.repo, file.sha, file.path, begin, length)
        view[: len(data)] = data
        self.at += len(data)
        return len(data)
