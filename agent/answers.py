"""Answers as a person reads and types them: label sets, spans and numbers without their JSON."""

from __future__ import annotations

import json
import re
from typing import Any

from p2m.errors import BadInput
from p2m.outputs import parse_labels, parse_spans
from p2m.task.spec import TaskSpec

HOW_TO_TYPE = {
    "classify": "one of the labels",
    "multi_label": "labels with commas; empty: none of them",
    "extract": "part = label; part = label; empty: nothing",
    "read": "a part of the text, word for word; empty: no answer in it",
    "generate": "the answer",
    "score": "a number",
}
NOTHING = {"multi_label": "none of the labels", "extract": "nothing", "read": "no answer in the text"}


def in_words(kind: str, output: str) -> str:
    """An answer in its canonical spelling, of a kind by its name in ``p2m.kinds``, as a person reads it."""
    return typed(kind, output) or NOTHING.get(kind, "")


def typed(kind: str, output: str) -> str:
    """The same as a person would type it: ``from_words`` reads it again."""
    if kind == "multi_label":
        return ", ".join(parse_labels(output))
    if kind == "extract":
        try:
            return "; ".join(f"{span.text} = {span.label}" for span in parse_spans(output))
        except ValueError:
            return output
    return output


def from_words(task: TaskSpec, text: str, said: str) -> str:
    """The canonical spelling of what a person says is the answer to ``text``. Raises ``BadInput`` for what is none."""
    from p2m import kinds
    from p2m.generate.answers import form_of, read
    from p2m.rows import Row

    kind, said = kinds.of(task), said.strip()
    output: str | None = said
    if kind.name not in ("classify", "generate") and (said or kind.name != "read"):
        value = _value(form_of(task), said)
        output = read(task, text, json.dumps({"answer": value}))
        if kind.name == "extract" and output is not None and len(parse_spans(output)) < len(value):
            output = None  # a part that is not in the text, or a label that is none
    if output is None or not kind.valid(task, Row(text, output)):
        raise BadInput(f"{said!r} is no answer here", fix=f"Give {HOW_TO_TYPE[kind.name]}")
    return output


def _value(form: str, said: str) -> Any:
    parts = [part.strip() for part in re.split(r"[;\n]" if form == "spans" else ",", said) if part.strip()]
    if form == "set":
        return parts
    if form == "spans":
        pairs = [part.rpartition("=") for part in parts]
        return [{"text": part.strip(), "label": label.strip()} for part, _, label in pairs]
    if form == "number":
        try:
            return float(said)
        except ValueError:
            return None
    return said
