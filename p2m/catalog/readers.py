"""Plain readers of data files: rows as dictionaries, streamed, nothing executed."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from p2m.errors import BadInput

JSON_ARRAY_BYTES = 64_000_000  # a JSON array is parsed whole
ROW_GROUP_BYTES = 1_000_000_000  # a Parquet row group is unpacked whole


def read(path: Path, max_row_bytes: int) -> Iterator[dict[str, Any]]:
    """The rows of a .jsonl, .json, .csv, .tsv, .parquet or .txt file (UTF-8).

    Raises ``BadInput`` with the line where a row is broken or longer than ``max_row_bytes``.
    """
    reader = _READERS[path.suffix.lower()]
    try:
        yield from reader(path, max_row_bytes)
    except UnicodeDecodeError as error:
        raise BadInput(f"not UTF-8: {error.reason}", where=str(path)) from error
    except OSError as error:
        raise BadInput(f"not readable: {error}", where=str(path)) from error


def count(path: Path, max_row_bytes: int) -> int:
    """How many rows ``read`` would give, without parsing where that can be known."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _parquet(path).metadata.num_rows
    if suffix in (".jsonl", ".txt"):
        with path.open("rb") as handle:
            return sum(1 for line in handle if line.strip())
    return sum(1 for _ in read(path, max_row_bytes))


def _lines(path: Path, max_row_bytes: int) -> Iterator[tuple[int, str]]:
    with path.open("rb") as handle:
        number = 0
        while raw := handle.readline(max_row_bytes + 1):
            number += 1
            if len(raw) > max_row_bytes:
                raise BadInput(f"a row is longer than {max_row_bytes} bytes", where=str(path), line=number)
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            if line:
                yield number, line


def _jsonl(path: Path, max_row_bytes: int) -> Iterator[dict[str, Any]]:
    for number, line in _lines(path, max_row_bytes):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"not JSON: {error}", where=str(path), line=number) from error
        yield _object(row, path, number)


def _json(path: Path, max_row_bytes: int) -> Iterator[dict[str, Any]]:
    with path.open("rb") as handle:
        is_array = handle.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
    if not is_array:
        yield from _jsonl(path, max_row_bytes)
        return
    if path.stat().st_size > JSON_ARRAY_BYTES:
        raise BadInput(f"a JSON array over {JSON_ARRAY_BYTES // 1_000_000} MB; use JSON lines", where=str(path))
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"not JSON: {error}", where=str(path)) from error
    for number, row in enumerate(rows, 1):
        yield _object(row, path, number)


def _object(row: Any, path: Path, number: int) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise BadInput(f"a row is {type(row).__name__}, not an object", where=str(path), line=number)
    return row


def _separated(delimiter: str) -> Callable[[Path, int], Iterator[dict[str, Any]]]:
    def rows(path: Path, max_row_bytes: int) -> Iterator[dict[str, Any]]:
        csv.field_size_limit(max_row_bytes)
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle, delimiter=delimiter, strict=True)
            try:
                for row in reader:
                    if None in row or None in row.values():
                        problem = "more or fewer fields than the header has columns"
                        raise BadInput(problem, where=str(path), line=reader.line_num)
                    yield row
            except csv.Error as error:
                raise BadInput(f"not readable as a table: {error}", where=str(path), line=reader.line_num) from error

    return rows


def _text(path: Path, max_row_bytes: int) -> Iterator[dict[str, Any]]:
    for _, line in _lines(path, max_row_bytes):
        yield {"text": line}


def _parquet(path: Path) -> Any:
    import pyarrow.parquet as pq
    from pyarrow import ArrowException

    try:
        file = pq.ParquetFile(path)
    except ArrowException as error:
        raise BadInput(f"not a Parquet file: {error}", where=str(path)) from error
    groups = (file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
    if max(groups, default=0) > ROW_GROUP_BYTES:
        raise BadInput(f"a row group unpacks to over {ROW_GROUP_BYTES / 1e9:.0f} GB", where=str(path))
    return file


def _parquet_rows(path: Path, max_row_bytes: int) -> Iterator[dict[str, Any]]:
    from pyarrow import ArrowException

    try:
        for batch in _parquet(path).iter_batches(batch_size=500):
            yield from batch.to_pylist()
    except ArrowException as error:
        raise BadInput(f"not a readable Parquet file: {error}", where=str(path)) from error


_READERS: dict[str, Callable[[Path, int], Iterator[dict[str, Any]]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _separated(","),
    ".tsv": _separated("\t"),
    ".txt": _text,
    ".parquet": _parquet_rows,
}
