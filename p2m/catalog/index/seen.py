"""The local catalogue as a run uses it: what a search sees is kept, and what any search or sync saw is found again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from p2m.catalog.base import Embed
from p2m.catalog.index.card import CardKind, IndexCard
from p2m.catalog.index.search import CatalogIndex, Found
from p2m.catalog.index.store import Store
from p2m.errors import P2MError

MOST_EMBEDDED = 300
"""Cards embedded a call, 2 to 4 s on two cores; the rest is left to `p2m catalog sync`."""


class Seen:
    """The catalogue at ``path``, opened at its first use. ``embed`` is for queries, ``bulk`` for cards; without them
    search goes by words.

    A catalogue that cannot be read or written costs a run nothing but what it would have found: ``problem`` then says
    why, of the last call, and is empty otherwise.
    """

    def __init__(self, path: Path, embed: Embed | None = None, bulk: Embed | None = None, *, model: str = "") -> None:
        self.path, self.embed, self.bulk, self.model = path, embed, bulk or embed, model
        self.problem = ""
        self._store: Store | None = None
        self._index: CatalogIndex | None = None

    def keep(self, cards: Sequence[IndexCard]) -> None:
        """Write ``cards`` with today's date and embed those that are new."""
        with self._noting_problems():
            if cards:
                self._keep(self._opened(), cards)

    def find(
        self, queries: Sequence[str], *, source: str, kind: CardKind, language: str, tasks: Sequence[str], limit: int
    ) -> list[Found]:
        """The best cards that were seen at ``source`` and that language and tasks allow, best first."""
        with self._noting_problems():
            store = self._opened()
            if self._index is None and store.count(kind):
                self._index = CatalogIndex(store, self.embed)
            if self._index is not None:
                found = self._index.search(
                    queries, source=source, kind=kind, language=language, tasks=tasks, limit=limit
                )
                return [f for f in found if f.kept]
        return []

    def _keep(self, store: Store, cards: Sequence[IndexCard]) -> None:
        changes = store.put(cards, self.model)
        texts = {card.text_key(self.model): card.embedded_text() for card in cards}
        new = sorted(set(texts) - store.have_vector(list(texts)), key=lambda key: len(texts[key]))[:MOST_EMBEDDED]
        if self.bulk and new:
            store.put_vectors(zip(new, self.bulk([texts[key] for key in new]), strict=True))
        if new or set(changes) != {"same"}:
            self._index = None

    def _opened(self) -> Store:
        if self._store is None:
            self._store = Store(self.path)
        return self._store

    @contextmanager
    def _noting_problems(self) -> Iterator[None]:
        self.problem = ""
        try:
            yield
        except (P2MError, sqlite3.Error, OSError) as error:
            self.problem = f"the local catalogue is not used: {error}"
