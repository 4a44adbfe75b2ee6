"""Plain readers of data files: rows as dictionaries, streamed, nothing executed."""

from __future__ import annotations

import csv
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from p2m.catalog import parquet
from p2m.catalog.bounds import row_bytes
from p2m.catalog.safety import Settings, format_of
from p2m.catalog.unpack import unpacked
from p2m.errors import BadInput

JSON_ARRAY_BYTES = 64_000_000  # the text of a JSON array is kept whole; its rows are parsed one by one
_GAP = re.compile(r"[ \t\r\n]*")


class Remote(Protocol):
    """A file elsewhere, read as a local one is. Its text is its address, for messages."""

    @property
    def name(self) -> str: ...

    def open(self) -> BinaryIO: ...


File = Path | Remote


def read(file: File, settings: Settings) -> Iterator[dict[str, Any]]:
    """The rows of a .jsonl, .json, .csv, .tsv, .parquet or .txt file (UTF-8), each but Parquet also as .gz.

    Raises ``BadInput`` with the line where a row is broken or longer than the settings allow, ``Refused`` where a
    compressed file unpacks beyond them.
    """
    where = str(file)
    try:
        with _open(file) as packed, unpacked(packed, file.name, settings.max_unpacked_bytes) as handle:
            if format_of(file.name) == ".parquet":
                yield from parquet.rows(handle, where, settings.max_row_bytes, settings.max_unpacked_bytes)
            else:
                yield from _READERS[format_of(file.name)](handle, where, settings.max_row_bytes)
    except UnicodeDecodeError as error:
        raise BadInput(f"not UTF-8: {error.reason}", where=where) from error
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"not readable: {error}", where=where) from error


def count(file: File, settings: Settings) -> int:
    """How many rows ``read`` would give, without parsing where that can be known."""
    kind = format_of(file.name)
    if kind == ".parquet":
        with _open(file) as handle:
            return parquet.count(handle, str(file), settings.max_unpacked_bytes)
    if kind in (".jsonl", ".txt"):
        with _open(file) as packed, unpacked(packed, file.name, settings.max_unpacked_bytes) as handle:
            return sum(1 for line in handle if line.strip())
    return sum(1 for _ in read(file, settings))


def _open(file: File) -> BinaryIO:
    return file.open("rb") if isinstance(file, Path) else file.open()


def _lines(handle: BinaryIO, where: str, max_row_bytes: int) -> Iterator[tuple[int, str]]:
    number = 0
    while raw := handle.readline(max_row_bytes + 1):
        number += 1
        if len(raw) > max_row_bytes:
            raise BadInput(f"a row is longer than {max_row_bytes} bytes", where=where, line=number)
        line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        if line:
            yield number, line


def _jsonl(handle: BinaryIO, where: str, max_row_bytes: int) -> Iterator[dict[str, Any]]:
    for number, line in _lines(handle, where, max_row_bytes):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"not JSON: {error}", where=where, line=number) from error
        yield _object(row, where, number)


def _json(handle: BinaryIO, where: str, max_row_bytes: int) -> Iterator[dict[str, Any]]:
    buffered = handle if isinstance(handle, io.BufferedReader) else io.BufferedReader(handle)  # type: ignore[type-var]
    if not buffered.peek(64)[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        yield from _jsonl(buffered, where, max_row_bytes)
        return
    data = buffered.read(JSON_ARRAY_BYTES + 1)
    if len(data) > JSON_ARRAY_BYTES:
        raise BadInput(f"a JSON array over {JSON_ARRAY_BYTES // 1_000_000} MB; use JSON lines", where=where)
    text, at, number = data.decode("utf-8-sig"), 0, 0
    decoder = json.JSONDecoder()
    at = _GAP.match(text).end() + 1  # type: ignore[union-attr]
    while not text.startswith("]", at := _GAP.match(text, at).end()):  # type: ignore[union-attr]
        number += 1
        try:
            row, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"not JSON: {error}", where=where, fix=f"Look at row {number}") from error
        if end - at > max_row_bytes:
            raise BadInput(f"row {number} is longer than {max_row_bytes} bytes", where=where)
        yield _object(row, where, number)
        at = _GAP.match(text, end).end()  # type: ignore[union-attr]
        if text.startswith(",", at):
            at += 1
        elif not text.startswith("]", at):
            raise BadInput("not JSON: no ',' or ']' after a row", where=where, fix=f"Look at row {number}")


def _object(row: Any, where: str, number: int) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise BadInput(f"a row is {type(row).__name__}, not an object", where=where, line=number)
    row_bytes(row, where, number)
    return row


def _separated(delimiter: str) -> Callable[[BinaryIO, str, int], Iterator[dict[str, Any]]]:
    def rows(handle: BinaryIO, where: str, max_row_bytes: int) -> Iterator[dict[str, Any]]:
        csv.field_size_limit(max_row_bytes)
        text = io.TextIOWrapper(handle, encoding="utf-8-sig", newline="")

        open_row = 0  # characters since the last row was given: a quoted field may go over many lines

        def lines() -> Iterator[str]:
            nonlocal open_row
            while line := text.readline(max_row_bytes + 1):
                open_row += len(line)
                if open_row > max_row_bytes:
                    raise BadInput(f"a row is longer than {max_row_bytes} bytes", where=where, line=reader.line_num)
                yield line

        reader = csv.DictReader(lines(), delimiter=delimiter, strict=True)
        try:
            for row in reader:
                open_row = 0
                row_bytes(row, where, reader.line_num)
                if None in row or None in row.values():
                    problem = "more or fewer fields than the header has columns"
                    raise BadInput(problem, where=where, line=reader.line_num)
                yield row
        except csv.Error as error:
            raise BadInput(f"not readable as a table: {error}", where=where, line=reader.line_num) from error

    return rows


def _text(handle: BinaryIO, where: str, max_row_bytes: int) -> Iterator[dict[str, Any]]:
    for _, line in _lines(handle, where, max_row_bytes):
        yield {"text": line}


_READERS: dict[str, Callable[[BinaryIO, str, int], Iterator[dict[str, Any]]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _separated(","),
    ".tsv": _separated("\t"),
    ".txt": _text,
}
