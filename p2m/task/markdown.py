"""Task files of people: Markdown with YAML front matter, plain text, YAML and JSON with the same keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from p2m.data.columns import as_text
from p2m.task import fewshot
from p2m.task.draft import TASK_TEXT, Draft, Fields, Place, folder_of
from p2m.task.fields import Finder, read_fields

FRONT = re.compile(r"\A\s*---[ \t]*\n(?P<yaml>.*?)(?:^|\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.S)
HEADING = re.compile(r"\A#{1,6}[ \t]+(?P<title>[^\n]+)")
# A BaseLoader builds text, lists and mappings only. Scalars stay as written: YAML would make a label of yes or no a
# truth value, and of 1.0 a number.
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)

Lines = dict[tuple[Any, ...], int]


def read_markdown(text: str, path: Path | None) -> Draft:
    """A Markdown or plain text task: front matter, if any, then the instruction with or without examples in it."""
    where = str(path) if path else TASK_TEXT
    text = text.replace("\r\n", "\n")
    match = FRONT.match(text)
    if not match:
        if re.match(r"\A\s*---[ \t]*\n\s*\w+:", text):
            raise Place(where, 1).bad("the front matter is not closed", "End it with a line of ---.")
        return _draft(text, Fields(), where, path)
    yaml_line = text.count("\n", 0, match.start("yaml")) + 1
    raw, lines = load_yaml(match["yaml"], where, yaml_line)
    fields = read_fields(raw, finder(where, lines), folder_of(path))
    body = text[match.end() :]
    body_line = text.count("\n", 0, match.end()) + 1
    if fields.instruction and body.strip():
        raise fields.places["instruction"].bad("the instruction is given twice", "Keep it below the front matter only.")
    return _draft(fields.instruction or body, fields, where, path, body_line)


def read_keys(text: str, path: Path | None, raw: Mapping[str, Any], lines: Lines) -> Draft:
    """A YAML or JSON file with the keys of the front matter and ``instruction``."""
    where = str(path) if path else TASK_TEXT
    fields = read_fields(raw, finder(where, lines), folder_of(path))
    line = lines.get(("instruction",), 1)
    return _draft(fields.instruction or "", fields, where, path, line)


def load_yaml(text: str, where: str, first_line: int = 1) -> tuple[dict[str, Any], Lines]:
    """A YAML mapping whose scalars are text as written, and the line of every key and item.

    Raises ``BadInput`` with the line: broken YAML, a repeated key, no mapping.
    """
    lines: Lines = {}
    try:
        node = yaml.compose(text, Loader=_LOADER)
        value = yaml.load(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = first_line + mark.line if mark else None
        problem = error.problem or error.context or "unreadable"
        fix = "Put a value that contains ': ' or '#' or begins with a quote or bracket in quotes."
        raise Place(where, line).bad(f"broken YAML: {problem}", fix) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise Place(where, first_line).bad(f"broken YAML: {error}") from None
    if value in (None, ""):
        return {}, lines
    if not isinstance(value, dict):
        raise Place(where, first_line).bad("this is no list of keys", "Write lines like labels: [yes, no].")
    _mark(node, (), first_line, where, lines)
    return value, lines


def finder(where: str, lines: Lines) -> Finder:
    """A function from a key's path to its place; the place of its parent where the key's own line is unknown."""

    def place(*keys: Any) -> Place:
        while keys and keys not in lines:
            keys = keys[:-1]
        return Place(where, lines.get(keys))

    return place


def _mark(node: Any, path: tuple[Any, ...], first_line: int, where: str, lines: Lines) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inside = (*path, as_text(key.value) if isinstance(key.value, str) else "")
            line = first_line + key.start_mark.line
            if inside in lines:
                raise Place(where, line).bad(f"the key {inside[-1]!r} is given twice", "Keep one.")
            lines[inside] = line
            _mark(value, inside, first_line, where, lines)
    elif isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            lines[(*path, i)] = first_line + item.start_mark.line
            _mark(item, (*path, i), first_line, where, lines)


def _draft(body: str, fields: Fields, where: str, path: Path | None, line: int = 1) -> Draft:
    heading = HEADING.match(body.lstrip())
    instruction, shown = fewshot.split(body, where, line)
    name = path.stem if path else heading["title"].strip() if heading else ""
    return Draft(Place(where), body, instruction, fields, (*fields.examples, *shown), name)
