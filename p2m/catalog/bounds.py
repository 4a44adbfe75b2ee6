"""How much a row may hold, and how much of many rows is kept at once: a few kilobytes of ``{},{},…`` or of repeated
values stand for gigabytes in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from p2m.catalog.safety import Refused

MOST_COLUMNS = 1_000
MOST_VALUES = 100_000
"""In a row, at any depth: the tokens and tags of a long document are some ten thousand."""
MOST_DEPTH = 32
KEPT_BYTES = 200_000_000
"""Of rows that are looked at together."""
VALUE_BYTES = 40
"""What a small value costs beside its text."""


def row_bytes(row: dict[str, Any], where: str, line: int | None = None) -> int:
    """About how much memory a row takes. Raises ``Refused`` for one that is too wide, too deep, or holds too much."""
    if len(row) > MOST_COLUMNS:
        raise _refused(where, line, f"over {MOST_COLUMNS:,} columns")
    total, nested = 0, []
    for value in row.values():
        if isinstance(value, str | bytes):
            total += len(value)
        elif isinstance(value, list | dict | tuple):
            nested.append(value)
    return total + VALUE_BYTES * len(row) + (_nested_bytes(nested, where, line) if nested else 0)


def _nested_bytes(level: list[Any], where: str, line: int | None) -> int:
    """Of lists and mappings and all that is in them, a level at a time: nothing here can run out of stack."""
    total, count, depth = 0, 0, 0
    while level:
        depth += 1
        if depth > MOST_DEPTH:
            raise _refused(where, line, f"values nested more than {MOST_DEPTH} deep")
        below: list[Any] = []
        for group in level:
            count += len(group)
            if count > MOST_VALUES:
                raise _refused(where, line, f"over {MOST_VALUES:,} values in a row")
            for value in group.values() if isinstance(group, dict) else group:
                if isinstance(value, str | bytes):
                    total += len(value)
                elif isinstance(value, list | dict | tuple):
                    below.append(value)
        level = below
    return total + VALUE_BYTES * count


def _refused(where: str, line: int | None, what: str) -> Refused:
    return Refused("shape", f"{where}{f':{line}' if line else ''} has {what}")


def kept(rows: Iterable[dict[str, Any]], where: str, most_bytes: int = KEPT_BYTES) -> Iterator[dict[str, Any]]:
    """``rows`` until they take ``most_bytes``: those that follow are left unread."""
    total = 0
    for row in rows:
        total += row_bytes(row, where)
        if total > most_bytes:
            return
        yield row
