"""A card as the index keeps it, and the text of it that is searched."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Literal

from p2m.files import digest

CardKind = Literal["dataset", "model"]
KINDS: tuple[CardKind, ...] = ("dataset", "model")
BODY_CHARS = 4000
EMBEDDED_CHARS = 600
"""About 130 word pieces: what a card is about stands at its beginning, and twice the text takes twice the time."""

_CODE = re.compile(r"```.*?(```|\Z)", re.DOTALL)
_TAG = re.compile(r"<[^<>]{1,400}>")
_LINK = re.compile(r"!?\[([^\[\]]{0,300})\]\([^()]{0,600}\)")
_URL = re.compile(r"https?://\S+")
_MARKS = re.compile(r"[*`#|>~]+|(?<!\w)_+|_+(?!\w)|-{3,}")
_CREDIT = re.compile(r"^\s*(image |text |photo )?(source|credit)s?\s*:.*$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class IndexCard:
    """What a dataset or model says about itself; text by strangers, as in ``p2m.catalog.base.Card``.

    ``names`` are other names it goes by: its configurations, or the names that papers use. ``downloads`` and
    ``size_bytes`` are None where nobody says; ``source`` is where the card was read.
    """

    kind: CardKind
    id: str
    title: str = ""
    body: str = ""
    names: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    license: str = ""
    downloads: int | None = None
    size_bytes: int | None = None
    source: str = ""

    def digest(self) -> str:
        """It changes with anything the card says, not with its downloads."""
        said = asdict(self)
        del said["downloads"], said["source"]
        return digest(said, 16)

    def embedded_text(self) -> str:
        """The text whose embedding stands for the card: its name, title, tasks, and the beginning of its body."""
        name = self.id.rpartition("/")[2].replace("_", " ").replace("-", " ") if "/" in self.id else self.id
        head = [name, self.title if self.title not in (self.id, name) else "", ", ".join(self.tasks[:4]), self.body]
        return ". ".join(part.strip().rstrip(".") for part in head if part.strip())[:EMBEDDED_CHARS]

    def text_key(self, model: str) -> str:
        """What the embedding is stored under: another text or another embedding model asks for a new one."""
        return digest([model, self.embedded_text()], 16)


def plain(markdown: str, limit: int = BODY_CHARS) -> str:
    """Markdown as running text: code, markup, addresses and lines of credits are dropped."""
    text = markdown[: limit * 4].replace("\r\n", "\n")
    for pattern, by in ((_CODE, " "), (_CREDIT, " "), (_LINK, r"\1"), (_TAG, " "), (_URL, " "), (_MARKS, " ")):
        text = pattern.sub(by, text)
    return " ".join(text.split())[:limit]
