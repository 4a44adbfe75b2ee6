"""The report as Markdown: reads well raw and rendered; every value is escaped before it gets into the page."""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup

from agent.plain import plain
from agent.report.facts import Report
from agent.report.layout import environment, values

# What starts emphasis, code, a link, an image, a table cell or strike-through; an underscore inside a word does not.
_MARKS = re.compile(r"[\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_])")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def to_markdown(report: Report) -> str:
    """The page, without runs of empty lines."""
    made = environment(escape)
    made.filters["code"] = code
    made.filters["fenced"] = fenced
    page = made.get_template("report.md.j2").render(**values(report))
    return re.sub(r"\n{3,}", "\n\n", page).strip() + "\n"


def escape(value: Any) -> Any:
    """Text for a line or a table cell: on one line, nothing in it is Markdown or HTML."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    text = " ".join(plain(value).split())
    text = re.sub(r"[&<>]", lambda m: _HTML[m.group()], text)
    return Markup(_MARKS.sub(lambda m: "\\" + m.group(), text))


def code(value: str) -> Markup:
    """A code span: more backticks around it than in it; a pipe is escaped, as tables split before spans."""
    text = " ".join(plain(value).split()) or " "
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if longest else ""
    return Markup(f"{fence}{space}{text}{space}{fence}".replace("|", "\\|"))


def fenced(value: str) -> Markup:
    """A code block that nothing inside can close."""
    text = plain(value)
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup(f"{fence}text\n{text}\n{fence}")
