"""Several columns as one input: text with {column} placeholders. Nothing is evaluated."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from p2m.errors import BadInput

MAX_CHARS = 500
_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True)
class Template:
    """Literal text and column names in turn: ``parts`` are ``(text, column or None)``."""

    parts: tuple[tuple[str, str | None], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names, each once, in order."""
        return tuple(dict.fromkeys(column for _, column in self.parts if column is not None))

    def fill(self, record: Mapping[str, Any]) -> str | None:
        """The text of a record; None where a column is missing, empty, or no text, number or truth value.

        Values stand as they are: braces in them mean nothing.
        """
        out = []
        for text, column in self.parts:
            out.append(text)
            if column is not None:
                value = record.get(column)
                if not isinstance(value, str | int | float) or not str(value).strip():
                    return None
                out.append(str(value).strip())
        return "".join(out)


def parse_template(text: str, columns: Iterable[str]) -> Template:
    """Read ``Premise: {premise}\\nHypothesis: {hypothesis}``; ``{{`` and ``}}`` are braces. A placeholder is exactly a
    name among ``columns``: no attribute, index, conversion or format.

    Raises ``BadInput`` for a single brace, an unknown column, no column, or more than ``MAX_CHARS`` characters.
    """
    known, parts, literal, place = tuple(columns), [], "", 0
    if len(text) > MAX_CHARS:
        raise BadInput(f"{len(text)} characters; at most {MAX_CHARS}", where="input_template", fix="Shorten it")
    for found in _PART.finditer(text):
        literal += text[place : found.start()]
        place = found.end()
        mark, column = found.group(0), found.group(1)
        if mark in ("{{", "}}"):
            literal += mark[0]
        elif column is None:
            raise BadInput(f"a single {mark}", where="input_template", fix=f"Write {mark * 2} for a brace")
        elif column not in known:
            shown = ", ".join(map(str, known))
            raise BadInput(f"there is no column {column!r}", where="input_template", fix=f"There are: {shown}")
        else:
            parts.append((literal, column))
            literal = ""
    if not parts:
        raise BadInput("it names no column", where="input_template", fix="Name columns as {column}")
    return Template((*parts, (literal + text[place:], None)))
