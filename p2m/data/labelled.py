"""Labelled files to rows; files to predict from, with all their columns kept."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2m.data import names
from p2m.data.columns import as_text, labelled_columns, text_column, with_header
from p2m.data.structured import INPUT, OUTPUT, label_set, plain_table
from p2m.data.table import Table, read_table, write_table
from p2m.data.textfile import decode, read_text
from p2m.errors import BadInput
from p2m.outputs import format_labels
from p2m.rows import Row

if TYPE_CHECKING:
    from p2m.task.spec import TaskSpec

__all__ = ["Unlabelled", "map_label", "read_for", "read_labelled", "read_unlabelled", "write_table"]


@dataclass(frozen=True)
class Unlabelled:
    """Texts to predict from. ``records[i]`` is the row of ``texts[i]`` as it was, with all of ``columns``."""

    texts: list[str]
    records: list[dict[str, Any]]
    columns: tuple[str, ...]


def read_labelled(
    path: str,
    *,
    kind: str | None = None,
    labels: Sequence[str] = (),
    input_column: str | None = None,
    output_column: str | None = None,
    multi_label: bool = False,
    source: str = "user",
) -> list[Row]:
    """Rows of a CSV, TSV, JSONL, JSON (``file.json#key``) or Parquet file, in file order.

    With ``labels``, each output becomes the label that equals it but for case, space, ``_`` and ``-``. ``meta`` holds
    ``line`` (row number in Parquet) and, where the output is a list of right answers, ``also``: those after the first.
    ``multi_label``: the output is a set of labels in its canonical spelling; without ``labels`` in the order of
    appearance. Tagged tokens, spans and questions with a context are read as ``p2m.data.structured`` says.
    Raises ``BadInput`` with file and line: all that ``read_table`` raises, columns that cannot be told, an empty cell,
    an unknown label.
    """
    table = read_table(path)
    if input_column is None and output_column is None:
        table = plain_table(table)
    table = with_header(table, labels, (input_column, output_column))
    text_in, text_out = labelled_columns(table, () if multi_label else labels, input_column, output_column)
    if multi_label:
        return _label_sets(table, text_in, text_out, labels, source)
    rows = []
    for record, line in zip(table.records, table.lines, strict=True):
        text = _cell(record.get(text_in), table, text_in, line)
        meta: dict[str, Any] = {"line": line}
        if isinstance(start := record.get("start"), int) and table.columns == (INPUT, OUTPUT):
            meta["start"] = start
        if record.get(text_out) == "" and table.columns == (INPUT, OUTPUT) and kind == "extract":
            rows.append(Row(input=text, output="", source=source, meta=meta))  # a question without an answer
            continue
        answer, also = _answers(record, table, text_out, line)
        if also and kind != "classify":
            meta["also"] = also
        rows.append(Row(input=text, output=answer, source=source, meta=meta))
    return _with_labels(rows, labels, table) if labels else rows


def read_for(task: TaskSpec, path: str) -> list[Row]:
    """The rows of a labelled file as ``task`` reads them. Raises as ``read_labelled`` does."""
    from p2m import kinds

    return kinds.of(task).read(task, path)


def map_label(value: str, labels: Sequence[str]) -> str | None:
    """The label that ``value`` spells, but for case, space, ``_`` and ``-``; ``None`` for no label."""
    if value in labels:
        return value
    return next((label for label in labels if names.plain(label) == names.plain(value)), None)


def read_unlabelled(path: str, *, input_column: str | None = None) -> Unlabelled:
    """Texts to predict from: one text column of a table, or a text a line of a .txt file or ``-`` (standard input).

    Raises ``BadInput`` as ``read_labelled`` does; blank lines of plain text are skipped.
    """
    if path == "-" or Path(path).suffix.lower() == ".txt":
        text = decode(sys.stdin.buffer.read(), "standard input") if path == "-" else read_text(Path(path))
        texts = [line.strip() for line in text.splitlines() if line.strip()]
        if not texts:
            raise BadInput("there is no text", where="standard input" if path == "-" else path)
        return Unlabelled(texts, [{"text": t} for t in texts], ("text",))
    table = read_table(path)
    if input_column is None and (plain := plain_table(table)) is not table:
        return Unlabelled([r[INPUT] for r in plain.records], table.records, table.columns)
    table = with_header(table, (), (input_column,))
    column = text_column(table, input_column)
    texts = [_cell(r.get(column), table, column, n) for r, n in zip(table.records, table.lines, strict=True)]
    return Unlabelled(texts, table.records, table.columns)


def _cell(value: Any, table: Table, column: str, line: int) -> str:
    if isinstance(value, list | dict):
        raise BadInput(
            f"column {column!r} holds a {'list' if isinstance(value, list) else 'mapping'}, not text",
            where=table.where,
            line=line,
            fix="Name a text column with input_column: or output_column:.",
        )
    text = as_text(value)
    if not text:
        raise BadInput(f"column {column!r} is empty", where=table.where, line=line, fix="Fill it, or remove the row.")
    return text


def _answers(record: dict[str, Any], table: Table, column: str, line: int) -> tuple[str, list[str]]:
    value = record.get(column)
    accepted = value if isinstance(value, list) and all(isinstance(v, str | int | float) for v in value) else [value]
    texts = [text for v in accepted if (text := as_text(v))]
    if not texts:
        return _cell(value or None, table, column, line), []
    also = [text for v in record.get("also") or () if isinstance(v, str) and (text := v.strip())]
    return texts[0], [*dict.fromkeys(t for t in (*texts[1:], *also) if t != texts[0])]


def _label_sets(table: Table, text_in: str, text_out: str, labels: Sequence[str], source: str) -> list[Row]:
    rows = []
    for record, line in zip(table.records, table.lines, strict=True):
        text, chosen = _cell(record.get(text_in), table, text_in, line), []
        for said in label_set(record.get(text_out)):
            label = map_label(said, labels) if labels else said
            if label is None:
                raise BadInput(
                    f"{said!r} is not one of the labels; the labels are: {', '.join(labels)}",
                    where=table.where,
                    line=line,
                    fix="Correct the file, or add the label to labels: in the task.",
                )
            chosen.append(label)
        output = format_labels(chosen, labels or chosen)
        rows.append(Row(input=text, output=output, source=source, meta={"line": line}))
    return rows


def _with_labels(rows: list[Row], labels: Sequence[str], table: Table) -> list[Row]:
    mapped, unknown = [], []
    for row in rows:
        label = map_label(row.output, labels)
        if label is None:
            unknown.append(row)
        else:
            mapped.append(Row(row.input, label, row.source, row.probs, row.meta))
    if unknown:
        others = f" (and {len(unknown) - 1} more rows like it)" if len(unknown) > 1 else ""
        raise BadInput(
            f"{unknown[0].output!r} is not one of the labels{others}; the labels are: {', '.join(labels)}",
            where=table.where,
            line=unknown[0].meta["line"],
            fix="Correct the file, or add the label to labels: in the task.",
        )
    return mapped
