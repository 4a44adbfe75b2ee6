"""Find cards: by words (BM25), by meaning (embeddings) and by use, in one score a query, filtered by facets.

The score of a card for a query is ``cosine + 0.05 words + 0.2 use``; over several queries the mean counts. ``words`` in
[0, 1] is the card's BM25 as a share of what no card can pass, so that the best of weak matches stays weak. ``use`` in
[0, 3] adds up how much the card is used, as far as that is known: its downloads, the other cards that name it, the
configurations or other names it has; each ``log(1 + x)`` as a share of the largest in the catalogue. A description of a
task fits hundreds of datasets about as well, and most who write it want one that others use too; where hardly a card
says how much it is used, the few that do say little, and ``use`` counts for less.
The weights were chosen by benchmarks/retrieval_weights.py; docs/retrieval.md says how, and how much hangs on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2m.catalog.base import Embed
from p2m.catalog.index.card import CardKind, IndexCard
from p2m.catalog.index.facets import Facets
from p2m.catalog.index.store import Store
from p2m.catalog.index.words import Words, terms
from p2m.catalog.purpose import languages_named
from p2m.errors import BadInput
from p2m.train.embed import DEFAULT_BASE

if TYPE_CHECKING:
    import numpy as np

ENOUGH_USED = 0.1
"""The share of cards whose use is known from which on it counts in full."""
LOOKED_AT = 4
"""So often the limit, cards are read for the languages that they name."""
NAMED_CHARS = 300
USUAL_MEAN, USUAL_SPREAD = 0.1, 0.1
"""Of the pack's cosines between a query and all cards."""
MODEL_USE = 0.25
"""Of a model's use this much counts: the judged queries are for datasets, of which most want what others use; the most
downloaded models fit nothing in particular."""
NEARLY = 2
"""A card that a filter dropped is shown where it would have been among the first, so often the limit."""


@dataclass(frozen=True)
class Weights:
    """Of the three parts of a card's score. A part with weight 0 is left out."""

    meaning: float = 1.0
    words: float = 0.05
    use: float = 0.2


@dataclass(frozen=True)
class Found:
    """A card with its score, whether the filters kept it, and why it is where it is. ``meaning`` is the mean cosine,
    ``words`` and ``use`` as above."""

    card: IndexCard
    score: float
    kept: bool
    why: str
    meaning: float
    words: float
    use: float
    seen: str


class CatalogIndex:
    """The cards of ``store`` in memory, ready to be searched. Without ``embed``, or for cards that have no embedding
    yet, search goes by words and use.

    Raises ``BadInput`` where the catalogue is empty.
    """

    def __init__(self, store: Store, embed: Embed | None = None) -> None:
        import numpy as np

        self.store, self.embed = store, embed
        self.embedded: np.ndarray = np.zeros(0, dtype=np.int64)
        rows = store.db.execute(
            "SELECT rowid, kind, tasks, languages, license, downloads, mentions, names FROM cards ORDER BY rowid"
        ).fetchall()
        if not rows:
            raise BadInput(
                "the catalogue is empty", where=str(store.path), fix="Fill it: p2m catalog sync --folder DIR"
            )
        self.rowids = np.array([r[0] for r in rows])
        self.facets = Facets([r[1:5] for r in rows])
        counts = np.array([(r[5] or 0, r[6], max(r[7].count('", "'), 0)) for r in rows], dtype=np.float64)
        self.counts = counts  # downloads, mentions and other names, one row a card
        self.use = use_of(counts)
        self.use[self.facets.kind("model")] *= MODEL_USE
        self.words = Words(store.db)
        self.vectors = self._load_vectors() if embed else None

    def _load_vectors(self) -> np.ndarray | None:
        """One float32 row a card, zeros where it has no embedding; None where no card has one. numpy has no fast
        product of float16, so the half-size form stays on disk."""
        import numpy as np

        sql = "SELECT rowid, vector FROM cards JOIN vectors USING (text_key) ORDER BY rowid"
        found = self.store.db.execute(sql).fetchall()
        if not found:
            return None
        packed = np.frombuffer(b"".join(v for _, v in found), dtype="<f2").reshape(len(found), -1)
        vectors = np.zeros((len(self.rowids), packed.shape[1]), dtype=np.float32)
        self.embedded = np.searchsorted(self.rowids, [r for r, _ in found])
        vectors[self.embedded] = packed
        return vectors

    def search(
        self,
        queries: Sequence[str],
        *,
        source: str = "",
        kind: CardKind | None = None,
        language: str = "",
        tasks: Sequence[str] = (),
        licenses: Sequence[str] = (),
        limit: int = 10,
        weights: Weights | None = None,
    ) -> list[Found]:
        """The best ``limit`` cards for all ``queries`` together, best first; then, not kept, those that a filter
        dropped from among the best. A card that does not state its language, tasks or licence passes the filter of
        language and tasks, but not of licence. ``source`` leaves only the cards that were seen there.

        Raises ``BadInput`` where no query has a word.
        """
        import numpy as np

        asked = [q for q in dict.fromkeys(" ".join(q.split()) for q in queries) if q]
        if not asked or not any(terms(q) for q in asked):
            raise BadInput("nothing to search for", fix="Give a few words: the subject, the kind of text, the task")
        weights = weights or Weights()
        meaning = self._meaning(asked) if weights.meaning else None
        words = self._words(asked) if weights.words else None
        parts = [(meaning, weights.meaning), (words, weights.words), (self.use, weights.use)]
        score = sum((w * part for part, w in parts if part is not None and w), np.zeros(len(self.rowids)))
        evidence = np.zeros(len(self.rowids), dtype=bool)
        for part in (meaning, words):
            if part is not None:
                evidence |= part > 0
        evidence &= self.facets.kind(kind)
        if source:
            evidence &= np.isin(self.rowids, self.store.at(source), assume_unique=True)
        passed = evidence & self.facets.passed(language, tasks, licenses)
        for i in self._speaking_of_others(_top(score, passed, LOOKED_AT * limit), language):
            passed[i] = False
        best = _top(score, passed, limit)
        bar = score[best[-1]] if len(best) == limit else -np.inf
        dropped = [i for i in _top(score, evidence & ~passed, NEARLY * limit) if score[i] >= bar][:limit]
        cards = self.store.cards([int(self.rowids[i]) for i in (*best, *dropped)])
        found = []
        for i in (*best, *dropped):
            rowid, kept = int(self.rowids[i]), bool(passed[i])
            card, seen = cards[rowid]
            near = float(meaning[i]) if meaning is not None else 0.0
            said = float(words[i]) if words is not None else 0.0
            refusal = "" if kept else self.facets.refusal(i, language, tasks, licenses)
            reasons = [] if kept else [refusal or f"it names another language, not {language}"]
            reasons += _reasons(card, asked, near, int(self.counts[i, 1]))
            why = "; ".join(reasons)
            found.append(Found(card, round(float(score[i]), 4), kept, why, near, said, float(self.use[i]), seen))
        return found

    def _speaking_of_others(self, places: list[int], language: str) -> list[int]:
        """Those of ``places`` whose card states no language and names others than the one asked for: a translator from
        Vietnamese is none for French. Cards in English seldom say so, so English is not asked of them."""
        asked = language.lower().split("-")[0]
        if not asked or asked == "en":
            return []
        cards = self.store.cards([int(self.rowids[i]) for i in places])
        silent = [(i, cards[int(self.rowids[i])][0]) for i in places]
        said = [(i, languages_named(f"{c.id} {c.title} {c.body[:NAMED_CHARS]}")) for i, c in silent if not c.languages]
        return [i for i, named in said if named and asked not in named]

    def _meaning(self, queries: list[str]) -> np.ndarray | None:
        if self.embed is None or self.vectors is None:
            return None
        near = self.vectors @ self.embed(queries).mean(axis=0)
        if self.store.fact("model") in (None, DEFAULT_BASE):
            return near
        # The weights are for the pack's cosines; those of some models all lie between 0.7 and 0.9.
        told = near[self.embedded]
        near[self.embedded] = USUAL_MEAN + max(1.0, USUAL_SPREAD / max(float(told.std()), 1e-6)) * (told - told.mean())
        return near

    def _words(self, queries: list[str]) -> np.ndarray:
        """The mean over the queries of each card's share of the highest BM25 there could be."""
        import numpy as np

        total = np.zeros(len(self.rowids), dtype=np.float32)
        for query in queries:
            if found := self.words.bm25(query):
                rowids, scores = np.array(found).T  # a float holds every rowid there can be
                at = np.searchsorted(self.rowids, rowids)
                known = at < len(self.rowids)
                known[known] = self.rowids[at[known]] == rowids[known]  # a sync may add cards while this is open
                total[at[known]] += scores[known] / max(self.words.ceiling(query), 1e-9)
        return total / len(queries)


def use_of(counts: np.ndarray) -> np.ndarray:
    """The sum over the columns of log(1 + x) as a share of the column's largest; a column without any adds nothing.
    All of it is less where fewer than ``ENOUGH_USED`` of the cards have any count."""
    import numpy as np

    logs = np.log1p(counts)
    told = min(1.0, float((counts > 0).any(axis=1).mean()) / ENOUGH_USED)
    return (told * (logs / np.maximum(logs.max(axis=0), 1e-9)).sum(axis=1)).astype(np.float32)


def _top(score: np.ndarray, allowed: np.ndarray, limit: int) -> list[int]:
    """The indices of the ``limit`` largest allowed scores, largest first, the earlier card first where equal."""
    import numpy as np

    at = np.flatnonzero(allowed)
    if len(at) > limit:
        at = at[np.argpartition(-score[at], limit - 1)[:limit]]
    return [int(i) for i in sorted(at, key=lambda i: (-score[i], i))]


def _reasons(card: IndexCard, queries: list[str], meaning: float, mentions: int) -> list[str]:
    text = f"{card.id} {card.title} {' '.join(card.names)} {card.body}".lower()
    shared = [w for w in dict.fromkeys(t for q in queries for t in terms(q)) if w in text]
    reasons = [f"words: {', '.join(shared[:6])}"] if shared else []
    reasons += [f"similarity {meaning:.2f}"] if meaning > 0 else []
    reasons += [f"{card.downloads:,} downloads"] if card.downloads else []
    reasons += [f"named by {mentions} other card{'s' * (mentions > 1)}"] if mentions else []
    return reasons
