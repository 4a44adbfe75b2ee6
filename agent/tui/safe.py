"""Text by models, tools and strangers as Textual shows it: never markup, and nothing in it moves a cursor or hides."""

from __future__ import annotations

from rich.text import Text
from textual.content import Content

from agent.plain import one_line, plain


def text(value: object, style: str = "") -> Content:
    """``value`` on as many lines as it has."""
    return Content.styled(plain(value), style)


def line(value: object, limit: int = 200, style: str = "") -> Content:
    """``value`` on one line."""
    return Content.styled(one_line(value, limit), style)


def cell(value: object, limit: int = 200, style: str = "") -> Text:
    """``value`` for a table: a plain string there would be read as markup."""
    return Text(one_line(value, limit), style, no_wrap=True)


def markdown(value: object) -> str:
    """Markdown that shows no more than it says: no pictures, no HTML, no link under other words."""
    return plain(value).replace("<", "\\<").replace("![", "!\\[").replace("](", "]\\(")
