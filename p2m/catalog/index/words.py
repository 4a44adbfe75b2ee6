"""From a query in words to BM25 scores of the cards, by SQLite's FTS5."""

from __future__ import annotations

import math
import re
import sqlite3

from p2m.catalog.index.store import TOKENIZER

FIELD_WEIGHTS = (1.0, 1.0, 1.0, 1.0)
"""Of id, title, names and body in BM25; other weights were tried and were worse (docs/retrieval.md)."""
K1 = 1.2
"""FTS5's, fixed (sqlite.org/fts5.html, "The bm25() function"); its b is 0.75."""
MAX_POSTINGS = 4_000
"""A search reads at most so many (card, word) pairs, those of the rarest words first: a word that is in most of 100,000
cards decides nothing and takes longer than all others together. The rarest word is always read."""

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


class Words:
    """BM25 over the full-text index of a store's connection ``db``."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.size = int(db.execute("SELECT count(*) FROM cards").fetchone()[0])
        self._counts: dict[str, int] = {}
        # A small index of its own with the same tokenizer turns a word into the term that the large one has.
        self._stems = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._stems.execute(f"CREATE VIRTUAL TABLE words USING fts5(word, tokenize='{TOKENIZER}')")
        self._stems.execute("CREATE VIRTUAL TABLE vocabulary USING fts5vocab(words, 'row')")

    def bm25(self, query: str) -> list[tuple[int, float]]:
        """``(rowid, BM25)`` of the cards that have a word of ``query``, higher is better (Robertson & Zaragoza 2009,
        "The Probabilistic Relevance Framework")."""
        wanted = self._affordable(terms(query))
        if not wanted:
            return []
        match = " OR ".join(f'"{word}"' for word in wanted)  # a word holds no quote: it cannot leave them
        weights = ", ".join(str(w) for w in FIELD_WEIGHTS)
        sql = f"SELECT rowid, -bm25(words, {weights}) FROM words WHERE words MATCH ?"
        return self.db.execute(sql, (match,)).fetchall()

    def ceiling(self, query: str) -> float:
        """What no card's BM25 can pass: all words of ``query`` in it, without end. Words that no card has count too."""
        counts = (self._count(word) for word in terms(query))
        return (K1 + 1) * sum(max(math.log((self.size - n + 0.5) / (n + 0.5)), 1e-6) for n in counts)

    def _affordable(self, query: list[str]) -> list[str]:
        kept: list[str] = []
        read = 0
        for count, word in sorted((self._count(word), word) for word in query):
            read += count
            if count and (not kept or read <= MAX_POSTINGS):
                kept.append(word)
        return kept

    def _count(self, word: str) -> int:
        """In how many cards the word is, in any of its forms."""
        if word not in self._counts:
            self._stems.execute("INSERT INTO words(rowid, word) VALUES (1, ?)", (word,))
            stems = [term for (term,) in self._stems.execute("SELECT term FROM vocabulary")]
            self._stems.execute("DELETE FROM words WHERE rowid = 1")
            sql = "SELECT doc FROM vocabulary WHERE term = ?"
            rows = [self.db.execute(sql, (stem,)).fetchone() for stem in stems]
            self._counts[word] = min((row[0] if row else 0 for row in rows), default=0)
        return self._counts[word]
