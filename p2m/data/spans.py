"""Spans as people and tools write them, made the one spelling of ``p2m.outputs``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from p2m.outputs import Span, place_parts

LABEL_KEYS = ("label", "type", "entity_group", "entity", "tag")
TEXT_KEYS = ("text", "word", "span", "value")


def are_spans(value: Any) -> bool:
    """Whether ``value`` has the form of spans, be they right or wrong; an empty list has."""
    if isinstance(value, dict):
        return bool(value) and _label_of(value) is None and all(map(_is_parts, value.values()))
    return isinstance(value, list) and all(_is_span(item) for item in value)


def spans_in(text: str, value: Any) -> list[Span]:
    """The spans of ``text`` that ``value`` names: a list of ``{text, label}``, of ``{label, start, end}``, of both, of
    ``[start, end, label]``; or ``{label: part}`` and ``{label: [part, part]}``.

    Parts without places stand where they occur first, those that are given twice also where they occur next. Raises
    ``ValueError``, in words for a person, for another form and for a part that is not at its place or not in the text.
    """
    if isinstance(value, dict) and are_spans(value):
        parts = [(part, label) for label, said in value.items() for part in ([said] if _is_text(said) else said)]
        return _placed(text, parts)
    if not isinstance(value, list):
        raise ValueError("spans are a list such as [{text: Rome, label: city}]")
    spans, parts = [], []
    for item in value:
        label, start, end, part = _fields(item)
        if start is None or end is None:
            if not part:
                raise ValueError(f"each span has its text, or its start and end: {item!r} has neither")
            parts.append((part, label))
            continue
        if not 0 <= start < end <= len(text) or (part is not None and part != text[start:end]):
            raise ValueError(f"characters {start} to {end} of the text are {text[start:end]!r}, not {part!r}")
        spans.append(Span(start, end, label, text[start:end]))
    return [*spans, *_placed(text, parts, spans)]


def _placed(text: str, parts: Sequence[tuple[str, str]], taken: Sequence[Span] = ()) -> list[Span]:
    found = place_parts(text, parts, taken)
    for part, label in Counter(parts) - Counter((s.text, s.label) for s in found):
        often = " once more" if part in text else ""
        raise ValueError(f"{part!r} ({label}) is not in the text{often}: spans are copied from it, letter by letter")
    return found


def _fields(item: Any) -> tuple[str, int | None, int | None, str | None]:
    if isinstance(item, list) and len(item) == 3:
        item = dict(zip(("start", "end", "label"), item, strict=True))
    label = _label_of(item) if isinstance(item, dict) else None
    if label is None:
        raise ValueError(f"each span has a label: {item!r} has none")
    part = next((item[key] for key in TEXT_KEYS if _is_text(item.get(key))), None)
    return label, _whole(item.get("start")), _whole(item.get("end")), part


def _is_span(item: Any) -> bool:
    if isinstance(item, list):
        return len(item) == 3 and _whole(item[0]) is not None and _whole(item[1]) is not None and _is_text(item[2])
    placed = isinstance(item, dict) and {"start", "end"} <= set(item)
    return isinstance(item, dict) and _label_of(item) is not None and (placed or any(k in item for k in TEXT_KEYS))


def _is_parts(value: Any) -> bool:
    return _is_text(value) or (isinstance(value, list) and bool(value) and all(map(_is_text, value)))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _label_of(item: Mapping[str, Any]) -> str | None:
    return next((item[key].strip() for key in LABEL_KEYS if _is_text(item.get(key))), None)


def _whole(value: Any) -> int | None:
    """A task file's numbers are still text."""
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
