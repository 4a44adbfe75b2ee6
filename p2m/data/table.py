"""A table of records read from a file: CSV, TSV, JSON lines, JSON or Parquet, with the line of every record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2m.data.delimited import delimited_text, read_delimited
from p2m.data.jsonrows import read_json, read_jsonl
from p2m.data.textfile import read_bytes, read_text
from p2m.errors import BadInput
from p2m.files import write_atomic

FORMATS = ".csv, .tsv, .jsonl, .json or .parquet"


@dataclass(frozen=True)
class Table:
    """``records[i]`` maps each of ``columns`` to its value and starts at line ``lines[i]`` (row number in Parquet).

    ``header_line`` is where a CSV or TSV has its column names, ``None`` for formats whose names are certain.
    """

    where: str
    columns: tuple[str, ...]
    records: list[dict[str, Any]]
    lines: list[int]
    header_line: int | None = None


def split_key(path: str) -> tuple[Path, str]:
    """``file.json#key`` -> the file and the key (``""`` where there is none). A file whose name has a # is itself."""
    if Path(path).is_file() or "#" not in path:
        return Path(path), ""
    file, _, key = path.rpartition("#")
    return Path(file), key


def read_table(path: str) -> Table:
    """Read any table p2m knows by its suffix; ``file.json#key`` is the list under ``key`` of a JSON object.

    Raises ``BadInput`` with file and line: no such file, another encoding, ragged rows, broken JSON, no rows.
    """
    file, key = split_key(path)
    suffix = file.suffix.lower()
    if key and suffix != ".json":
        raise BadInput(f"#{key} names a key of a JSON object, but this is no .json file", where=str(file))
    header_line: int | None = None
    if suffix in (".csv", ".tsv", ".tab"):
        columns, records, lines, header_line = read_delimited(read_text(file), path, tabs=suffix != ".csv")
    elif suffix in (".jsonl", ".ndjson"):
        columns, records, lines = read_jsonl(read_text(file), path)
    elif suffix == ".json":
        columns, records, lines = read_json(read_text(file), str(file), key)
    elif suffix == ".parquet":
        columns, records, lines = _read_parquet(file)
    else:
        read_bytes(file)
        raise BadInput("this is no table p2m reads", where=str(file), fix=f"Give a {FORMATS} file.")
    if not records:
        raise BadInput("the file has no rows", where=path)
    return Table(path, tuple(columns), records, lines, header_line)


def _read_parquet(file: Path) -> tuple[list[str], list[dict[str, Any]], list[int]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(read_bytes(file)))
    except pa.ArrowException as error:
        raise BadInput(f"this is no readable Parquet file: {error}", where=str(file)) from error
    return list(table.column_names), table.to_pylist(), list(range(1, table.num_rows + 1))


def write_table(path: str | Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write records to .csv, .tsv, .jsonl or .parquet, whole or not at all; columns in order of first appearance.

    Values are written as they are: a cell that a spreadsheet would take for a formula is not altered. In CSV and
    TSV a list or mapping becomes JSON. Raises ``BadInput`` for another suffix or a column of mixed types (Parquet).
    """
    file = Path(path)
    suffix = file.suffix.lower()
    columns = list(dict.fromkeys(name for record in records for name in record))
    if suffix in (".csv", ".tsv"):
        write_atomic(file, delimited_text(columns, records, "\t" if suffix == ".tsv" else ","))
    elif suffix == ".jsonl":
        write_atomic(file, "".join(json.dumps(dict(r), ensure_ascii=False, default=str) + "\n" for r in records))
    elif suffix == ".parquet":
        write_atomic(file, _parquet_bytes(file, columns, records))
    else:
        raise BadInput("cannot write this kind of file", where=str(file), fix="Name a .csv, .tsv, .jsonl or .parquet.")


def _parquet_bytes(file: Path, columns: list[str], records: Sequence[Mapping[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    try:
        pq.write_table(pa.table({c: pa.array([r.get(c) for r in records]) for c in columns}), sink)
    except pa.ArrowException as error:
        problem = f"a column holds values of different types: {error}"
        raise BadInput(problem, where=str(file), fix="Write .jsonl.") from error
    return sink.getvalue().to_pybytes()
