"""From a query in words to BM25 scores of the cards, by SQLite's FTS5."""

from __future__ import annotations

import re
import sqlite3

FIELD_WEIGHTS = (1.0, 1.0, 1.0, 1.0)
"""Of id, title, names and body in BM25; other weights were tried and were worse (docs/retrieval.md)."""
COMMON_SHARE, COMMON_FROM = 0.2, 2000
"""In a catalogue of at least so many cards, a word in more than this share of them decides nothing and is slow."""

_WORD = re.compile(r"\w+")
# What a description of a task says whatever the task is.
_EMPTY_WORDS = """
a about all also an and any are as at based be been between both but by can data dataset datasets do does each end etc
existing for from get give given good has have help how i if in into is it its large learn learned learning like made
make many method methods model models more most my need network networks neural new not novel of on one only or other
our over paper propose proposed say show small so some state such system task tasks test than that the their them then
there these they this those to train trained training up us use used using want was we were what when where whether
which who will with without would you your approach architecture art build deep design develop framework improve
introduce performance present problem results study given
"""
_EMPTY = frozenset(_EMPTY_WORDS.split())


def terms(query: str) -> list[str]:
    """The words of a query that say something about its subject; all of them where none does."""
    every = list(dict.fromkeys(w for w in _WORD.findall(query.lower()) if not w.isdigit() or len(w) > 1))
    return [w for w in every if w not in _EMPTY and (len(w) > 1 or not w.isascii())] or every


def bm25(db: sqlite3.Connection, query: str, cards: int) -> dict[int, float]:
    """Rowid -> BM25 (Robertson & Zaragoza 2009; FTS5 has k1 1.2 and b 0.75), higher is better, of every card that has
    a word of ``query``; ``cards`` is how many there are. Empty where the query has no word."""
    wanted = terms(query)
    if cards >= COMMON_FROM:
        wanted = [w for w in wanted if _share(db, w, cards) <= COMMON_SHARE] or wanted[:1]
    if not wanted:
        return {}
    match = " OR ".join(f'"{word}"' for word in wanted)  # a word holds no quote: it cannot leave them
    weights = ", ".join(str(w) for w in FIELD_WEIGHTS)
    sql = f"SELECT rowid, -bm25(words, {weights}) FROM words WHERE words MATCH ?"
    return dict(db.execute(sql, (match,)).fetchall())


def _share(db: sqlite3.Connection, word: str, cards: int) -> float:
    """Of the cards, those that have the word as it stands here; its other forms are not counted, which is enough to
    leave out what is everywhere."""
    row = db.execute("SELECT doc FROM vocabulary WHERE term = ?", (word,)).fetchone()
    return (row[0] if row else 0) / cards
