"""Which column is the input and which the output. What cannot be told is an error, never a guess."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from p2m.data import names
from p2m.data.table import Table
from p2m.errors import BadInput

OPTIONS = "input_column: and output_column: in the task file, or --input-column and --output-column"
LABEL_WORDS = 6


def with_header(table: Table, labels: Sequence[str] = (), columns: Sequence[str | None] = ()) -> Table:
    """The table, its header taken for a row where it plainly is one: the columns are then ``column 1``, ``column 2``…

    Plainly: no header cell is a known name or one of ``columns`` the user named, and one is a label, or comes again
    below as one of few repeated values of its column.
    """
    if table.header_line is None or any(names.known_name(c) or c in columns for c in table.columns):
        return table
    keys = {names.plain(label) for label in labels}
    if not any(names.plain(c) in keys or (c in values(table, c) and _few(values(table, c))) for c in table.columns):
        return table
    numbered = tuple(f"column {i}" for i, _ in enumerate(table.columns, 1))
    rows = [list(table.columns), *([record[c] for c in table.columns] for record in table.records)]
    records = [dict(zip(numbered, row, strict=True)) for row in rows]
    return replace(table, columns=numbered, records=records, lines=[table.header_line, *table.lines])


def labelled_columns(
    table: Table, labels: Sequence[str] = (), input_column: str | None = None, output_column: str | None = None
) -> tuple[str, str]:
    """The input and the output column: as the user says; else by the values, where labels are known; else by name.

    Raises ``BadInput`` that lists the columns and how to name them.
    """
    output = _given(table, output_column, "output_column") or _output(table, labels, input_column)
    source = _given(table, input_column, "input_column") or _input(table, output)
    if source == output:
        raise BadInput(f"column {source!r} cannot be both input and output", where=table.where, fix=f"Set {OPTIONS}.")
    return source, output


def text_column(table: Table, input_column: str | None = None) -> str:
    """The one column to predict from. Raises ``BadInput`` where it cannot be told."""
    given = _given(table, input_column, "input_column")
    if given:
        return given
    if len(table.columns) == 1 and table.header_line is not None and not names.known_name(table.columns[0]):
        raise BadInput(
            f"is {table.columns[0]!r} the name of the column, or the first text?",
            where=table.where,
            line=table.header_line,
            fix="Set --input-column to the name, or give a .txt file with one text a line.",
        )
    return _input(table, None)


def values(table: Table, column: str) -> list[str]:
    """The column's values as text, empty ones left out."""
    return [text for record in table.records if (text := as_text(record.get(column)))]


def as_text(value: Any) -> str:
    """A cell as text, stripped; ``""`` for none. A list or mapping is no text: ``""``."""
    if value is None or isinstance(value, list | dict):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).strip()


def _given(table: Table, column: str | None, key: str) -> str | None:
    if column is None or column in table.columns:
        return column
    near = difflib.get_close_matches(column, table.columns, n=1)
    raise BadInput(
        f"there is no column {column!r} (columns: {', '.join(table.columns)})",
        where=table.where,
        fix=f"Set {key}: {near[0]}" if near else f"Set {key} to one of them.",
    )


def _output(table: Table, labels: Sequence[str], source: str | None) -> str:
    others = [c for c in table.columns if c != source]
    keys = {names.plain(label) for label in labels}
    holds_labels = [c for c in others if (v := values(table, c)) and {names.plain(x) for x in v} <= keys]
    if len(holds_labels) == 1:
        return holds_labels[0]
    named = names.best(holds_labels or others, names.OUTPUT_NAMES)
    if len(named) == 1 and _plausible(table, named[0], others):
        return named[0]
    if not named and len(table.columns) == 2:
        inputs = [source] if source else names.best(table.columns, names.INPUT_NAMES)
        rest = [c for c in table.columns if c not in inputs]
        few = [c for c in rest if _few(values(table, c))]
        if (len(rest) == 1 and len(inputs) == 1) or (len(few) == 1 and len(rest) == 2):
            return few[0] if few else rest[0]
    raise _ambiguous(table, "output")


def _plausible(table: Table, output: str, others: list[str]) -> bool:
    """A known output name is trusted beside a known input name; alone, only if its values repeat as labels do.

    A question set whose columns are "intent" and "snippet" has its inputs under "intent".
    """
    has_input = names.best(others, names.INPUT_NAMES) or len(others) < len(table.columns)
    return bool(has_input) or _few(values(table, output))


def _input(table: Table, output: str | None) -> str:
    others = [c for c in table.columns if c != output]
    named = names.best(others, names.INPUT_NAMES)
    if len(named) == 1:
        return named[0]
    if not named and len(others) == 1:
        return others[0]
    raise _ambiguous(table, "input")


def _few(texts: list[str]) -> bool:
    """Do these look like labels: short, and every one twice on average?"""
    counts = Counter(texts)
    return len(texts) >= 4 and 2 <= len(counts) <= len(texts) / 2 and all(len(t.split()) <= LABEL_WORDS for t in counts)


def _ambiguous(table: Table, role: str) -> BadInput:
    return BadInput(
        f"cannot tell which column is the {role} (columns: {', '.join(table.columns)})",
        where=table.where,
        fix=f"Set {OPTIONS}.",
    )
