"""The pages of a Parquet file, measured before they are unpacked.

What a footer says of sizes is only said. A page's header, just before it, says what the page unpacks to, and a reader
takes that much memory at once: so every header is read here as its bytes go by, and one that asks for too much ends it.
Layout: github.com/apache/parquet-format (``PageHeader`` in parquet.thrift, the Thrift compact protocol).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, BinaryIO

from p2m.catalog.safety import Refused

PAGE_BYTES = 64_000_000
"""Writers make pages of about 1 MB."""
ROW_GROUP_BYTES = 512_000_000
"""The largest page of every column of a row group together: they are in memory at the same time."""
HEADER_BYTES = 64_000
LIKELY_BYTES = 4096
_DEPTH = 16
_DATA, _DICTIONARY, _DATA_V2 = 5, 7, 8


@dataclass
class _Chunk:
    """A column of a row group: where its next page header is, where it ends, its largest page, its values so far."""

    group: int
    next: int
    end: int
    largest: int = 0
    values: int = 0


class Watched(io.RawIOBase):
    """``inner`` with every page header checked as it is read. Raises ``Refused`` for a page, or the pages of a row
    group, that unpack to too much, or a column that holds more than ``most_values``."""

    def __init__(self, inner: BinaryIO, metadata: Any, name: str, most_values: int) -> None:
        self.inner, self.name, self.most_values = inner, name, most_values
        self.held: dict[int, int] = {}
        self._open = sorted(_chunks(metadata), key=lambda chunk: chunk.next)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self.inner.seek(offset, whence)

    def tell(self) -> int:
        return self.inner.tell()

    def read(self, size: int = -1) -> bytes:
        start = self.inner.tell()
        data = self.inner.read(size)
        end, done = start + len(data), False
        for chunk in self._open:
            if chunk.next >= end and chunk.largest == 0:
                break  # it has not begun, and those after it begin later
            while chunk.next < min(end, chunk.end):
                self._check(chunk, data, start)
            done |= chunk.next >= chunk.end
        if done:
            self._open = [chunk for chunk in self._open if chunk.next < chunk.end]
        self.inner.seek(end)
        return data

    def _check(self, chunk: _Chunk, data: bytes, start: int) -> None:
        at = chunk.next - start
        head = data[at : at + HEADER_BYTES] if at >= 0 and len(data) - at >= LIKELY_BYTES else b""
        parsed = _header(head) if head else None
        if parsed is None:  # it goes on beyond what was asked for, or lies before it
            self.inner.seek(chunk.next)
            parsed = _header(self.inner.read(HEADER_BYTES))
        if parsed is None or parsed[1].get(3, -1) < 0 or parsed[1].get(2, -1) < 0:
            raise Refused("unpacked", f"{self.name}: a page has no readable header")
        length, header = parsed
        size = int(header[2])
        if size > PAGE_BYTES:
            raise Refused(
                "unpacked", f"{self.name}: a page unpacks to {size / 1e6:,.0f} MB; {PAGE_BYTES // 10**6} are read"
            )
        more = max(0, size - chunk.largest)
        self.held[chunk.group] = self.held.get(chunk.group, 0) + more
        chunk.largest += more
        if self.held[chunk.group] > ROW_GROUP_BYTES:
            raise Refused(
                "unpacked", f"{self.name}: the pages of a row group unpack to over {ROW_GROUP_BYTES // 10**6} MB"
            )
        for part in (_DATA, _DICTIONARY, _DATA_V2):
            chunk.values += int((header.get(part) or {}).get(1, 0))
        if chunk.values > 2 * self.most_values:  # the values, and those of the dictionary
            raise Refused("unpacked", f"{self.name}: a column of a row group has over {self.most_values:,} values")
        chunk.next += length + int(header[3])


def _chunks(metadata: Any) -> list[_Chunk]:
    found = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for i in range(group.num_columns):
            column = group.column(i)
            start = column.data_page_offset
            if column.has_dictionary_page and 0 < (column.dictionary_page_offset or 0) < start:
                start = column.dictionary_page_offset  # as Arrow's reader chooses
            found.append(_Chunk(number, start, start + column.total_compressed_size))
    return found


def _header(data: bytes) -> tuple[int, dict[int, Any]] | None:
    """The length of the ``PageHeader`` that ``data`` begins with, and its fields by number; None where it has none."""
    try:
        fields, at = _struct(data, 0, 0)
    except (IndexError, ValueError):
        return None
    return at, fields


def _struct(data: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    if depth > _DEPTH:
        raise ValueError("nested too deep")
    fields: dict[int, Any] = {}
    number = 0
    while (head := data[at]) != 0:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _zigzag(data, at)
        fields[number], at = _value(data, at, head & 15, depth)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    """A value of the compact protocol's type ``kind``, and where it ends."""
    if kind in (1, 2):
        return kind == 1, at
    if kind == 3:
        return data[at], at + 1
    if kind in (4, 5, 6):
        return _zigzag(data, at)
    if kind == 7:
        return None, at + 8
    if kind == 8:
        size, at = _varint(data, at)
        if at + size > len(data):
            raise IndexError
        return None, at + size
    if kind == 12:
        return _struct(data, at, depth + 1)
    raise ValueError(f"no page header has the type {kind}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a number without end")


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at
