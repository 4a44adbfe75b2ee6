"""JSON lines and JSON documents as records, each with the line it starts at."""

from __future__ import annotations

import json
import re
from typing import Any

from p2m.data.taskdocument import unify, unusable
from p2m.errors import BadInput

Records = tuple[list[str], list[dict[str, Any]], list[int]]
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[\s,]*")


def parse_json(text: str, where: str, first_line: int = 1) -> Any:
    """``json.loads`` whose error is a ``BadInput`` with the line; ``first_line`` is that of ``text`` in its file."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise BadInput(f"broken JSON: {error.msg} (column {error.colno})", where=where, line=line) from None
    except RecursionError:
        raise BadInput("this JSON is nested too deeply", where=where) from None


def read_jsonl(text: str, where: str) -> Records:
    """One object a line; blank lines are skipped. Raises ``BadInput`` with the line."""
    records, lines = [], []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        records.append(_object(parse_json(line, where, number), where, number))
        lines.append(number)
    return _columns(records), records, lines


def read_json(text: str, where: str, key: str = "") -> Records:
    """An array of objects, or the one under ``key`` of an object. Raises ``BadInput``; lists the keys where it must."""
    document = parse_json(text, where)
    start = 0
    if isinstance(document, dict):
        lists = [k for k, v in document.items() if isinstance(v, list) and v and isinstance(v[0], dict)]
        if not key and len(lists) != 1:
            fix = f"Name one: {where}#{lists[0]} (lists: {', '.join(lists)})" if lists else "Give an array of objects."
            raise BadInput(
                f"this JSON object has {'several lists' if lists else 'no list'} of rows", where=where, fix=fix
            )
        key = key or lists[0]
        if key not in document:
            fix = f"Its lists of rows: {', '.join(lists) or 'none'}."
            raise BadInput(f"there is no key {key!r}", where=where, fix=fix)
        start = _member_offset(text, key)
        values = document[key]
    else:
        if key:
            raise BadInput(f"this JSON file is no object with a key {key!r}", where=where, fix=f"Leave #{key} out.")
        values = document
    if not isinstance(values, list):
        raise BadInput("this JSON is no list of rows", where=where, fix="Give an array of objects.")
    lines = line_numbers(text, element_offsets(text, start))
    records = [_object(value, where, line) for value, line in zip(values, lines, strict=True)]
    if isinstance(document, dict):
        kept = [(r, n) for r, n in zip(unify(document, records), lines, strict=True) if not unusable(document, r)]
        records, lines = [r for r, _ in kept], [n for _, n in kept]
    return _columns(records), records, lines


def element_offsets(text: str, start: int = 0) -> list[int]:
    """Where each element of the JSON array that begins at or after ``start`` (spaces apart) begins."""
    at = text.index("[", start) + 1
    offsets: list[int] = []
    while True:
        at = _skip(text, at)
        if text[at] == "]":
            return offsets
        offsets.append(at)
        _, at = _DECODER.raw_decode(text, at)


def line_numbers(text: str, offsets: list[int]) -> list[int]:
    """The 1-based line of each of the rising ``offsets``."""
    lines, line, last = [], 1, 0
    for offset in offsets:
        line += text.count("\n", last, offset)
        lines.append(line)
        last = offset
    return lines


def _member_offset(text: str, key: str) -> int:
    at = text.index("{") + 1
    found = -1
    while text[at := _skip(text, at)] != "}":
        name, at = _DECODER.raw_decode(text, at)
        at = _skip(text, text.index(":", at) + 1)
        if name == key:
            found = at  # json.loads keeps the last of repeated keys: so do we
        _, at = _DECODER.raw_decode(text, at)
    return found


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _object(value: Any, where: str, line: int) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadInput('a row must be a JSON object like {"text": "...", "label": "..."}', where=where, line=line)
    return value


def _columns(records: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for record in records for name in record))
