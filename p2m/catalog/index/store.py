"""The SQLite file: cards, their full-text index (FTS5), their embeddings, and where and when each was seen."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from p2m.catalog.index.card import CardKind, IndexCard
from p2m.errors import BadInput
from p2m.files import clear_disk_errors

if TYPE_CHECKING:
    import numpy as np

VERSION = 2
BUSY_SECONDS = 30.0
Change = Literal["new", "changed", "same"]
# Words are stemmed (Porter 1980) and freed of accents, so that "classifying" finds "classification".
TOKENIZER = "porter unicode61 remove_diacritics 2"
# A card is opened only where it was seen: one of the same name elsewhere may be another dataset.
_PLACES = """
CREATE TABLE places (source TEXT NOT NULL, card INTEGER NOT NULL, last_seen TEXT NOT NULL, PRIMARY KEY (source, card))
  WITHOUT ROWID;
"""
_FROM_VERSION_1 = f"{_PLACES} INSERT INTO places SELECT source, rowid, last_seen FROM cards;"
_SCHEMA = f"""
CREATE TABLE cards (
  rowid INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, title TEXT, names TEXT, body TEXT,
  tasks TEXT, languages TEXT, license TEXT, downloads INTEGER, size_bytes INTEGER, source TEXT,
  mentions INTEGER NOT NULL DEFAULT 0, first_seen TEXT NOT NULL, last_seen TEXT NOT NULL,
  digest TEXT NOT NULL, text_key TEXT NOT NULL, UNIQUE (kind, id));
CREATE INDEX cards_by_text ON cards (text_key);
CREATE TABLE vectors (text_key TEXT PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT);
{_PLACES}
CREATE VIRTUAL TABLE words USING fts5(
  id, title, names, body, content='cards', content_rowid='rowid',
  tokenize='{TOKENIZER}');
CREATE VIRTUAL TABLE vocabulary USING fts5vocab(words, 'row');
CREATE TRIGGER cards_added AFTER INSERT ON cards BEGIN
  INSERT INTO words(rowid, id, title, names, body) VALUES (new.rowid, new.id, new.title, new.names, new.body);
END;
CREATE TRIGGER cards_changed AFTER UPDATE OF id, title, names, body ON cards BEGIN
  INSERT INTO words(words, rowid, id, title, names, body)
    VALUES ('delete', old.rowid, old.id, old.title, old.names, old.body);
  INSERT INTO words(rowid, id, title, names, body) VALUES (new.rowid, new.id, new.title, new.names, new.body);
END;
"""
_COLUMNS = "kind, id, title, body, names, tasks, languages, license, downloads, size_bytes, source"


class Store:
    """The file at ``path``, made where it is not there. Safe for several processes; one writes at a time.

    Raises ``BadInput`` where the file is no catalogue of this version.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path
        if not create and not path.is_file():
            raise BadInput(
                "there is no catalogue yet", where=str(path), fix="Make it: p2m catalog sync --folder DIR (or --hub)"
            )
        with clear_disk_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # isolation_level None: transactions are begun and ended by ``writing`` alone.
            self.db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.execute("PRAGMA synchronous=NORMAL")
            self._prepare()
        except sqlite3.DatabaseError as error:
            raise BadInput(f"not readable as a catalogue: {error}", where=str(path), fix="Move it away") from error

    def _prepare(self) -> None:
        if self._version() == VERSION:
            return
        with self.writing():
            version = self._version()  # another process may have been here first
            (tables,) = self.db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if version not in (0, 1, VERSION) or (version == 0 and tables):
                fix = "Move it away and sync again"
                raise BadInput("not a catalogue of this version of p2m", where=str(self.path), fix=fix)
            for statement in _statements({0: _SCHEMA, 1: _FROM_VERSION_1}.get(version, "")):
                self.db.execute(statement)
            self.db.execute(f"PRAGMA user_version={VERSION}")

    def _version(self) -> int:
        return int(self.db.execute("PRAGMA user_version").fetchone()[0])

    def close(self) -> None:
        self.db.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction: all of it is kept, or nothing where it is broken off."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def put(self, cards: Iterable[IndexCard], model: str) -> list[Change]:
        """Keep ``cards`` with today's date, in one transaction; ``model`` is the embedding model they will need."""
        now = datetime.now(UTC).strftime("%Y-%m-%d")
        with self.writing():
            return [self._put(card, model, now) for card in cards]

    def _put(self, card: IndexCard, model: str, now: str) -> Change:
        digest, text_key = card.digest(), card.text_key(model)
        found = self.db.execute(
            "SELECT rowid, digest, text_key FROM cards WHERE kind = ? AND id = ?", (card.kind, card.id)
        ).fetchone()
        if found and found[1:] == (digest, text_key):
            sql = "UPDATE cards SET last_seen = ?, downloads = coalesce(?, downloads) WHERE rowid = ?"
            self.db.execute(sql, (now, card.downloads, found[0]))
            return self._placed("same", card.source, found[0], now)
        values = [*_row(card), now, digest, text_key]
        names = [*(n.strip() for n in _COLUMNS.split(",")), "last_seen", "digest", "text_key"]
        if found:
            sets = ", ".join(f"{name} = ?" for name in names)
            self.db.execute(f"UPDATE cards SET {sets} WHERE rowid = ?", [*values, found[0]])
            return self._placed("changed", card.source, found[0], now)
        marks = ", ".join("?" * (len(names) + 1))
        sql = f"INSERT INTO cards ({', '.join(names)}, first_seen) VALUES ({marks})"
        return self._placed("new", card.source, self.db.execute(sql, [*values, now]).lastrowid, now)

    def _placed(self, change: Change, source: str, rowid: int | None, now: str) -> Change:
        self.db.execute("INSERT OR REPLACE INTO places VALUES (?, ?, ?)", (source, rowid, now))
        return change

    def at(self, source: str) -> list[int]:
        """The rowids of the cards that were seen at ``source``, in order."""
        return [
            rowid for (rowid,) in self.db.execute("SELECT card FROM places WHERE source = ? ORDER BY card", (source,))
        ]

    def count(self, kind: CardKind | None = None) -> int:
        where, values = ("WHERE kind = ?", (kind,)) if kind else ("", ())
        return int(self.db.execute(f"SELECT count(*) FROM cards {where}", values).fetchone()[0])

    def cards(self, rowids: Sequence[int]) -> dict[int, tuple[IndexCard, str]]:
        """The cards of ``rowids``, by rowid, each with the day on which it was last seen, as YYYY-MM-DD."""
        marks = ", ".join("?" * len(rowids))
        sql = f"SELECT rowid, last_seen, {_COLUMNS} FROM cards WHERE rowid IN ({marks})"
        return {row[0]: (_card(row[2:]), row[1]) for row in self.db.execute(sql, list(rowids))}

    def embed_with(self, model: str) -> None:
        """From here on the cards are embedded by ``model``. Those embedded by another will need a new embedding; the
        old ones stay, for the case that the model is changed back."""
        if self.fact("model") == model:
            return
        with self.writing():
            rows = self.db.execute(f"SELECT rowid, {_COLUMNS} FROM cards").fetchall()
            keys = [(_card(row[1:]).text_key(model), row[0]) for row in rows]
            self.db.executemany("UPDATE cards SET text_key = ? WHERE rowid = ?", keys)
            self.put_fact("model", model)

    def keys_without_vector(self) -> list[str]:
        """The keys of the texts to embed, those of the most downloaded cards first."""
        sql = (
            "SELECT text_key FROM cards WHERE text_key NOT IN (SELECT text_key FROM vectors)"
            " GROUP BY text_key ORDER BY max(coalesce(downloads, 0)) DESC, min(rowid)"
        )
        return [key for (key,) in self.db.execute(sql)]

    def by_key(self, keys: Sequence[str]) -> dict[str, IndexCard]:
        """A card for each of ``keys`` that a card still has."""
        marks = ", ".join("?" * len(keys))
        rows = self.db.execute(f"SELECT text_key, {_COLUMNS} FROM cards WHERE text_key IN ({marks})", list(keys))
        return {row[0]: _card(row[1:]) for row in rows}

    def have_vector(self, keys: Sequence[str]) -> set[str]:
        """Those of ``keys`` whose text is embedded."""
        marks = ", ".join("?" * len(keys))
        return {
            key for (key,) in self.db.execute(f"SELECT text_key FROM vectors WHERE text_key IN ({marks})", list(keys))
        }

    def count_without_vector(self) -> int:
        sql = "SELECT count(*) FROM cards WHERE text_key NOT IN (SELECT text_key FROM vectors)"
        return int(self.db.execute(sql).fetchone()[0])

    def put_vectors(self, vectors: Iterable[tuple[str, np.ndarray]]) -> None:
        """Keep embeddings as float16, in one transaction."""
        rows = [(key, vector.astype("<f2").tobytes()) for key, vector in vectors]
        with self.writing():
            self.db.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)

    def fact(self, name: str) -> Any:
        row = self.db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else None

    def put_fact(self, name: str, value: Any) -> None:
        self.db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))


def remembered_model(path: Path) -> str | None:
    """What the catalogue at ``path`` was embedded with; None where there is none, or it cannot be read."""
    try:
        store = Store(path, create=False)
    except (BadInput, sqlite3.Error, OSError):
        return None
    try:
        said = store.fact("model")
    except sqlite3.Error:
        return None
    finally:
        store.close()
    return said if isinstance(said, str) else None


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: ``executescript`` would end the transaction."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _row(card: IndexCard) -> list[Any]:
    lists = (card.names, card.tasks, card.languages)
    names, tasks, languages = (json.dumps(values, ensure_ascii=False) for values in lists)
    return [
        card.kind,
        card.id,
        card.title,
        card.body,
        names,
        tasks,
        languages,
        card.license,
        card.downloads,
        card.size_bytes,
        card.source,
    ]


def _card(row: Sequence[Any]) -> IndexCard:
    kind, id_, title, body, names, tasks, languages, *rest = row
    named, asked, spoken = (tuple(json.loads(values)) for values in (names, tasks, languages))
    return IndexCard(kind, id_, title, body, named, asked, spoken, *rest)
