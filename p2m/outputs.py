"""How an answer is written as text: one spelling for label sets, spans and numbers, in files, predictions and metrics.

A single label, a generated text and an extracted answer without labels are written as they are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, order=True)
class Span:
    """A labelled part of an input: its characters from ``start`` up to, not with, ``end``, counted from 0."""

    start: int
    end: int
    label: str
    text: str

    @property
    def place(self) -> tuple[int, int, str]:
        """What makes two spans of one input the same."""
        return self.start, self.end, self.label


def format_labels(chosen: Collection[str], labels: Sequence[str]) -> str:
    """A set of labels as a JSON array in the order of ``labels``: ``["a", "b"]``, of none ``[]``.

    Raises ``ValueError`` for one that is not in ``labels``.
    """
    if unknown := sorted(set(chosen) - set(labels)):
        raise ValueError(f"{unknown[0]!r} is not one of the labels")
    return json.dumps([label for label in labels if label in chosen], ensure_ascii=False)


def parse_labels(text: str, labels: Collection[str] = ()) -> tuple[str, ...]:
    """The labels of a JSON array of strings; any other text, and what is itself one of ``labels``, is one label.

    So a metric on label sets is also one on single labels.
    """
    if text in labels or not text.startswith("["):
        return (text,)
    try:
        found = json.loads(text)
    except ValueError:
        return (text,)
    if not isinstance(found, list) or not all(isinstance(label, str) for label in found):
        return (text,)
    return tuple(dict.fromkeys(found))


def format_spans(spans: Iterable[Span]) -> str:
    """Spans as a JSON array of objects, by place: ``[{"text": "Rome", "label": "city", "start": 3, "end": 7}]``."""
    order = ("text", "label", "start", "end")
    return json.dumps([{key: asdict(s)[key] for key in order} for s in sorted(set(spans))], ensure_ascii=False)


def parse_spans(text: str, source: str | None = None) -> tuple[Span, ...]:
    """The spans of a JSON array as ``format_spans`` writes it, by place, each once.

    Raises ``ValueError``, in words for a person, for another form, a place that is none, and with ``source`` (the
    input) for a text that does not stand at its place.
    """
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise ValueError('spans are a JSON array such as [{"text": "Rome", "label": "city", "start": 3, "end": 7}]')
    return tuple(sorted({_span(item, source) for item in found}))


def place_parts(text: str, parts: Iterable[tuple[str, str]], taken: Iterable[Span] = ()) -> list[Span]:
    """A span for each (part, label) that occurs in ``text`` outside the spans before it; the others are left out."""
    before: list[Span] = list(taken)
    spans: list[Span] = []
    for part, label in parts:
        start = text.find(part) if part else -1
        while start >= 0 and any(start < s.end and s.start < start + len(part) for s in (*before, *spans)):
            start = text.find(part, start + 1)
        if start >= 0:
            spans.append(Span(start, start + len(part), label, part))
    return spans


def _span(item: Any, source: str | None) -> Span:
    if not isinstance(item, dict) or set(item) != {"text", "label", "start", "end"}:
        raise ValueError("each span has text, label, start and end, and nothing else")
    start, end, label, text = item["start"], item["end"], item["label"], item["text"]
    if not isinstance(label, str) or not isinstance(text, str) or not label:
        raise ValueError("the text and the label of a span are text, the label not empty")
    whole = all(isinstance(at, int) and not isinstance(at, bool) for at in (start, end))
    if not whole or not 0 <= start < end:
        raise ValueError(f"a span's start and end are whole numbers with 0 <= start < end, not {start!r} and {end!r}")
    if source is not None and source[start:end] != text:
        raise ValueError(f"characters {start} to {end} of the input are {source[start:end]!r}, not {text!r}")
    return Span(start, end, label, text)


def format_number(value: float) -> str:
    """A finite number in the fewest digits that read back as it: ``3.5``, ``4.0``. Raises ``ValueError`` for others."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is no finite number")
    return repr(float(value) + 0.0)  # -0.0 is 0.0


def parse_number(text: str) -> float:
    """The number that ``text`` is. Raises ``ValueError`` for none and for one that is not finite."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is no finite number")
    return value
