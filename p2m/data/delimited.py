"""CSV and TSV: which delimiter, quoted newlines, and the line of whatever is wrong."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from p2m.data.names import known_name
from p2m.errors import BadInput

DELIMITERS = ",\t;|"
SNIFFED_ROWS = 200
NAMES = {",": "','", "\t": "a tab", ";": "';'", "|": "'|'"}

csv.field_size_limit(min(sys.maxsize, 2**31 - 1))

Rows = list[tuple[int, list[str]]]


class _Broken(Exception):
    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def read_delimited(text: str, where: str, *, tabs: bool) -> tuple[list[str], list[dict[str, Any]], list[int], int]:
    """Columns, records, the line each starts at, and the header's line. ``tabs`` fixes the delimiter.

    Raises ``BadInput`` with the line: empty file, repeated column name, ragged row, broken quoting.
    """
    if not text.strip():
        raise BadInput("the file is empty", where=where)
    delimiter = "\t" if tabs else _sniff(text)
    try:
        rows = list(_rows(text, delimiter))
        broken = None
    except _Broken as error:
        rows, broken = [], error
    if tabs and (broken or _ragged(rows)):  # many TSVs never quote: a quotation mark there is a character
        plain = list(_rows(text, delimiter, quoting=csv.QUOTE_NONE))
        if not _ragged(plain):
            rows, broken = plain, None
    if broken:
        raise BadInput(
            f"broken quoting in the record that starts here ({broken})",
            where=where,
            line=broken.line,
            fix='Put the cell in double quotes and write each quotation mark in it twice ("").',
        )
    header_line, header = rows[0]
    if ragged := _ragged(rows):
        line, cells = ragged
        raise BadInput(
            f"{len(cells)} cells where the header has {len(header)} (delimiter {NAMES[delimiter]})",
            where=where,
            line=line,
            fix=f"Put cells that contain {NAMES[delimiter]} in double quotes.",
        )
    columns = [name.strip() or f"column {i}" for i, name in enumerate(header, 1)]
    if twice := next((c for i, c in enumerate(columns) if c in columns[:i]), None):
        raise BadInput(f"two columns are called {twice!r}", where=where, line=header_line, fix="Rename one.")
    records = [dict(zip(columns, cells, strict=True)) for _, cells in rows[1:]]
    return columns, records, [line for line, _ in rows[1:]], header_line


def delimited_text(columns: Sequence[str], records: Sequence[Mapping[str, Any]], delimiter: str) -> str:
    """The file for ``records``: a header and a row each, quoted where needed, lines ended by ``\\n``."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow(columns)
    for record in records:
        values = (record.get(c) for c in columns)
        writer.writerow([json.dumps(v, ensure_ascii=False) if isinstance(v, list | dict) else v for v in values])
    return out.getvalue()


def _rows(text: str, delimiter: str, *, quoting: Any = csv.QUOTE_MINIMAL) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _Broken(start, str(error)) from None
        if any(cell.strip() for cell in cells):
            yield start, cells


def _ragged(rows: Rows) -> tuple[int, list[str]] | None:
    return next(((line, cells) for line, cells in rows if len(cells) != len(rows[0][1])), None)


def _sniff(text: str) -> str:
    """The delimiter that gives the most regular table; the one that gives known column names where two are regular."""
    first = text.lstrip().split("\n", 1)[0]
    candidates = [d for d in DELIMITERS if d in first]
    return max(candidates, key=lambda d: _regularity(text, d)) if candidates else ","


def _regularity(text: str, delimiter: str) -> tuple[float, int]:
    rows: Rows = []
    try:
        for row in islice(_rows(text, delimiter), SNIFFED_ROWS):
            rows.append(row)
    except _Broken:
        pass
    if not rows or len(rows[0][1]) < 2:
        return 0.0, 0
    header = rows[0][1]
    regular = sum(len(cells) == len(header) for _, cells in rows) / len(rows)
    return regular, sum(known_name(name) for name in header)
