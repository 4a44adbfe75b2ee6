"""Tables whose answers are more than a cell of text: tagged tokens, spans, questions with a context, label sets.

Each record becomes a plain one with the columns ``input`` and ``output`` (in its canonical spelling, ``p2m.outputs``),
and ``also`` and ``start`` where it has them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from p2m.data import names
from p2m.data.spans import are_spans, spans_in
from p2m.data.table import Table
from p2m.errors import BadInput
from p2m.outputs import Span, format_spans

Record = Mapping[str, Any]
TOKENS = ("tokens", "words")
TAGS = ("ner tags", "tags", "ner", "labels", "bio tags", "entities")
SPANS = ("spans", "entities", "output", "labels", "label")
TEXTS = ("text", "input", "sentence", "content")
INPUT, OUTPUT = "input", "output"


@dataclass(frozen=True)
class Shape:
    """What a table holds, in words, its ``columns``, and how one of its records reads. ``read`` raises ``ValueError``,
    in words for a person, for a record that is not as the others."""

    what: str
    columns: tuple[str, ...]
    read: Callable[[Record], dict[str, Any]]


def shape_of(columns: Sequence[str], record: Record) -> Shape | None:
    """The shape of a table with these columns, one of whose records this is (``fullest``); None for a plain one."""
    spelt = {names.plain(c): c for c in columns}

    def first(known: Sequence[str], test: Callable[[Any], bool]) -> str | None:
        return next((spelt[k] for k in known if k in spelt and test(record.get(spelt[k]))), None)

    tokens = first(TOKENS, _texts)
    if tokens and (tags := first(TAGS, lambda v: isinstance(v, list) and len(v) == len(record[tokens]))):
        return Shape("tagged tokens", (tokens, tags), lambda r: _from_tags(r.get(tokens), r.get(tags)))
    question, context = first(("question",), _text), first(("context", "passage", "paragraph"), _text)
    answers = first(
        ("answers", "answer"), lambda v: isinstance(v, dict) or bool(context and _text(v) and v in record[context])
    )
    if question and context and answers:
        columns_of = (question, context, answers)
        return Shape("questions", columns_of, lambda r: _from_question(*(r.get(c) for c in columns_of)))
    text = first(TEXTS, _text)
    spans = first(SPANS, _spans)
    if text and spans and text != spans:
        return Shape("spans", (text, spans), lambda r: _from_spans(r.get(text), r.get(spans)))
    return None


def fullest(records: Sequence[Record]) -> Record:
    """The first record with the most cells filled: an empty list is spans or labels, and does not say which."""
    return max(records, key=lambda r: sum(value not in (None, "", [], {}) for value in r.values()))


def plain_table(table: Table) -> Table:
    """The table itself, or with each record of another shape made plain. Raises ``BadInput`` with the line."""
    shape = shape_of(table.columns, fullest(table.records)) if table.records else None
    if shape is None:
        return table
    records = []
    for record, line in zip(table.records, table.lines, strict=True):
        try:
            records.append(shape.read(record))
        except ValueError as error:
            raise BadInput(f"{shape.what}: {error}", where=table.where, line=line) from None
    return replace(table, columns=(INPUT, OUTPUT), records=records)


def _from_tags(tokens: Any, tags: Any) -> dict[str, Any]:
    """Tokens joined by spaces, and the spans of their BIO tags; an ``I-`` that follows nothing begins a span."""
    if not _texts(tokens) or not isinstance(tags, list) or len(tags) != len(tokens):
        raise ValueError("tokens and tags are two lists of the same length")
    spans: list[Span] = []
    text = " ".join(tokens)
    place, label_before = 0, ""
    for token, tag in zip(tokens, tags, strict=True):
        if not isinstance(tag, str):
            raise ValueError(f"the tag {tag!r} is a number without a name: a dataset's card names them, a file cannot")
        mark, _, label = tag.partition("-")
        start, end = place, place + len(token)
        if tag in ("O", ""):
            label = ""
        elif mark not in ("B", "I") or not label:
            raise ValueError(f"the tag {tag!r} is none of O, B-LABEL and I-LABEL")
        elif mark == "I" and label == label_before:
            spans[-1] = Span(spans[-1].start, end, label, text[spans[-1].start : end])
        else:
            spans.append(Span(start, end, label, token))
        label_before, place = label, end + 1
    return {INPUT: text, OUTPUT: format_spans(spans)}


def _from_question(question: Any, context: Any, answers: Any) -> dict[str, Any]:
    """A row as in SQuAD; of several answers the first, the others in ``also``; ``""`` where there is none."""
    if not isinstance(question, str) or not isinstance(context, str) or not context.strip():
        raise ValueError("question and context are text")
    head = f"question: {' '.join(question.split())}\ncontext: "
    context = context.strip()
    texts, starts = ([answers] if answers else [], []) if isinstance(answers, str) else _squad(answers)
    made: dict[str, Any] = {INPUT: head + context, OUTPUT: texts[0] if texts else ""}
    if lost := [t for t in texts[:1] if t not in context]:
        raise ValueError(f"the answer {lost[0][:60]!r} is not in its context")
    if starts and context[starts[0] : starts[0] + len(texts[0])] == texts[0]:
        made["start"] = len(head) + starts[0]
    if also := [t for t in dict.fromkeys(texts[1:]) if t != texts[0]]:
        made["also"] = also
    return made


def _squad(answers: Any) -> tuple[list[str], list[int]]:
    texts = answers.get("text") if isinstance(answers, dict) else None
    starts = answers.get("answer_start") if isinstance(answers, dict) else None
    if not isinstance(texts, list) or not all(isinstance(t, str) for t in texts):
        raise ValueError('answers are {"text": [...], "answer_start": [...]}')
    whole = isinstance(starts, list) and all(isinstance(s, int) for s in starts)
    return texts, list(starts) if whole and isinstance(starts, list) else []


def _from_spans(text: Any, spans: Any) -> dict[str, Any]:
    if isinstance(spans, str):
        spans = json.loads(spans)
    if not isinstance(text, str):
        raise ValueError("each row has a text and its spans")
    return {INPUT: text, OUTPUT: format_spans(spans_in(text, spans))}


def label_set(value: Any) -> tuple[str, ...]:
    """The labels of a cell: a list, a JSON array, or text with ``;`` or ``|`` between; of an empty one none."""
    if isinstance(value, str) and value.strip().startswith("["):
        with suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, str):
        value = re.split(r"[;|]", value)
    if value is None:
        return ()
    items = value if isinstance(value, list) else [value]
    return tuple(dict.fromkeys(text for v in items if (text := str(v).strip())))


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)


def _spans(value: Any) -> bool:
    if isinstance(value, str) and value.strip().startswith(("[{", "[[", "{")):
        try:
            value = json.loads(value)
        except ValueError:
            return False
    return are_spans(value)
