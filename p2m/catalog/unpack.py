"""Compressed files, unpacked only as far as they are read and never beyond a limit."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from p2m.catalog import safety

if TYPE_CHECKING:
    from typing_extensions import Buffer


def unpacked(handle: BinaryIO, name: str, limit: int) -> BinaryIO:
    """``handle`` itself, or what it unpacks to where its name ends in .gz. Reading past ``limit`` bytes of that raises
    ``Refused``: a few kilobytes of gzip can stand for terabytes."""
    if not name.lower().endswith(safety.PACKED):
        return handle
    return cast(BinaryIO, io.BufferedReader(_Bounded(gzip.GzipFile(fileobj=handle), name, limit)))


class _Bounded(io.RawIOBase):
    def __init__(self, packed: Any, name: str, limit: int) -> None:
        self.packed, self.name, self.limit, self.given = packed, name, limit, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer)
        data = self.packed.read(len(view))
        view[: len(data)] = data
        self.given += len(data)
        if self.given > self.limit:
            raise safety.Refused("unpacked", f"{self.name} unpacks to more than {self.limit / 1e6:,.0f} MB")
        return len(data)
