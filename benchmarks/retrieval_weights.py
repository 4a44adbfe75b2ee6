"""How the weights of `p2m catalog search` were chosen: on one half of the queries, reported on the other, unseen.

    python benchmarks/retrieval_weights.py --json benchmarks/results/retrieval_weights.json

The seen half is half A of DataFinder's descriptions (as in retrieval.py) and every second of the 30 judged tasks. The
best there has the highest sum of R@5 on DataFinder (its two forms of query averaged) and average precision on judged
tasks, too few for R@5: of 8 queries one more or less is 12 points.
The score of a card is ``cosine + words · W + use · U``. What is tried, beside the two weights:

- W: BM25 as a share of the best card's ("best"), or of what no card could pass ("ceiling": a weak best match is weak);
- whether long queries weigh words less ("long less": W falls as 4 over the words of the query, from 4 words on);
- U: the same for every query ("fixed"), or as far as use tells anything: times the share of cards whose use is known at
  all among the 100 nearest by meaning ("nearest"), or less in proportion where it is known of less than a tenth of the
  whole catalogue ("catalogue": of DataFinder's it is known of 20%, of the judged one of 1.6%).
"""

from __future__ import annotations

import itertools
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import options, say, shared, table, write_json
from benchmarks.retrieval import open_index
from benchmarks.retrieval_judged import JUDGEMENTS, descriptions
from p2m import paths
from p2m.catalog.index.search import ENOUGH_USED, CatalogIndex, Weights
from p2m.catalog.index.words import terms

if TYPE_CHECKING:
    import numpy as np

WORDS, USES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4), (0.0, 0.1, 0.15, 0.2, 0.25, 0.3)
SHORT = 4
NEAREST = 100
DEPTH = 100
KNOWN = ("fixed", "nearest", "catalogue")
SETS = ("full", "keyphrase", "judged", "judged AP")
HALVES = {"seen": (True,), "unseen": (False,), "whole": (True, False)}


@dataclass(frozen=True)
class Scoring:
    words: float
    use: float
    by_ceiling: bool
    long_less: bool
    known: str

    def __str__(self) -> str:
        by = ("ceiling" if self.by_ceiling else "best") + (", long less" if self.long_less else "")
        return f"words {self.words:g} ({by}), use {self.use:g} ({self.known})"


@dataclass(frozen=True)
class Asked:
    """One query with what speaks for each card, arrays of shape (cards,)."""

    relevant: np.ndarray
    missing: int
    meaning: np.ndarray
    bm25: np.ndarray
    best: float
    ceiling: float
    terms: int
    known: dict[str, float]
    use: np.ndarray
    seen: bool

    def judge(self, s: Scoring) -> tuple[float, float]:
        """R@5 and average precision at 100."""
        import numpy as np

        words = s.words / max(self.ceiling if s.by_ceiling else self.best, 1e-9)
        words *= min(1.0, SHORT / self.terms) if s.long_less else 1.0
        score = self.meaning + words * self.bm25 + s.use * self.known[s.known] * self.use
        score[(self.meaning <= 0) & (self.bm25 <= 0)] = -np.inf
        first = np.argpartition(-score, DEPTH)[:DEPTH]
        hits = np.isin(first[np.argsort(-score[first], kind="stable")], self.relevant)
        there = len(self.relevant) + self.missing
        precision = np.cumsum(hits) / np.arange(1, DEPTH + 1)
        return float(hits[:5].sum() / there), float((precision * hits).sum() / there)


def main() -> None:
    args = options(__doc__ or "")
    data = shared() / "data"
    asked = {**datafinder(data / "datafinder"), "judged": judged(data)}
    every = [
        Scoring(*values)
        for values in itertools.product(WORDS, USES, (False, True), (False, True), KNOWN)
        if not (values[0] == 0 and (values[2] or values[3])) and not (values[1] == 0 and values[4] != KNOWN[0])
    ]
    rows = []
    for number, scoring in enumerate(every):
        found = {name: [(q.seen, *q.judge(scoring)) for q in queries] for name, queries in asked.items()}
        row: dict[str, Any] = {"scoring": str(scoring), **vars(scoring)}
        for half, wanted in HALVES.items():
            row[half] = {name: mean([r for seen, r, _ in v if seen in wanted]) for name, v in found.items()}
            row[half]["judged AP"] = mean([ap for seen, _, ap in found["judged"] if seen in wanted])
            row[half]["objective"] = round((row[half]["full"] + row[half]["keyphrase"]) / 2 + row[half]["judged AP"], 2)
        rows.append(row)
        if number % 50 == 49:
            say(f"{number + 1} of {len(every)}")
    rows.sort(key=lambda r: -r["seen"]["objective"])
    shown = [[r["scoring"], *(f"{r[h][name]:.1f}" for h in HALVES for name in SETS)] for r in best_of(rows)]
    print(table(["scoring", *(f"{name}, {half}" for half in HALVES for name in SETS)], shown))
    counts = {
        half: {n: sum(q.seen is w for q in qs) for n, qs in asked.items()}
        for half, w in (("seen", True), ("unseen", False))
    }
    chosen = str(Scoring(Weights().words, Weights().use, True, False, "catalogue"))
    write_json(
        args.json, rows, {"queries": counts, "tried": len(rows), "best_seen": rows[0]["scoring"], "chosen": chosen}
    )


def best_of(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The best ten, then the best of each form that is not among them."""
    first = list(rows[:10])
    forms = {(r["by_ceiling"], r["long_less"], r["known"]) for r in first}
    for row in rows[10:]:
        if (form := (row["by_ceiling"], row["long_less"], row["known"])) not in forms:
            forms.add(form)
            first.append(row)
    return first


def mean(values: Sequence[float]) -> float:
    return round(100 * sum(values) / len(values), 2)


def datafinder(data: Path) -> dict[str, list[Asked]]:
    tests = [json.loads(line) for line in (data / "test_data.jsonl").read_text(encoding="utf-8").splitlines()]
    index = open_index(data / "documents.jsonl", None)
    answered = [i for i, test in enumerate(tests) if test["documents"]]
    half_a = set(random.Random(0).sample(answered, len(answered) // 2))
    columns = {"full": "query", "keyphrase": "keyphrase_query"}
    return {
        form: asked(index, [(tests[i][column], set(tests[i]["documents"]), i in half_a) for i in answered])
        for form, column in columns.items()
    }


def judged(data: Path) -> list[Asked]:
    index = open_index(data / "catalog" / "dataset_index.json", paths.home() / "benchmarks" / "dataset_index.sqlite")
    queries = descriptions(data)
    found = json.loads(JUDGEMENTS.read_text(encoding="utf-8"))["queries"]
    numbered = [(name, set(found[name]["relevant"]), at % 2 == 1) for at, name in enumerate(sorted(found))]
    return asked(index, [(queries[name], relevant, seen) for name, relevant, seen in numbered if relevant])


def asked(index: CatalogIndex, queries: Sequence[tuple[str, set[str], bool]]) -> list[Asked]:
    import numpy as np

    assert index.vectors is not None and index.embed is not None
    places = {
        card_id: at for at, (card_id,) in enumerate(index.store.db.execute("SELECT id FROM cards ORDER BY rowid"))
    }
    known = index.counts.sum(axis=1) > 0
    use = index.use / min(1.0, float(known.mean()) / ENOUGH_USED)  # as it is before a search weighs it
    vectors = index.embed([query for query, _, _ in queries])
    made = []
    for (query, relevant, seen), vector in zip(queries, vectors, strict=True):
        meaning = index.vectors @ vector
        bm25 = np.zeros(len(index.rowids), dtype=np.float32)
        for rowid, score in index.words.bm25(query):
            bm25[np.searchsorted(index.rowids, rowid)] = score
        at = np.array([places[name] for name in relevant if name in places], dtype=int)
        nearest = np.argpartition(-meaning, NEAREST)[:NEAREST]
        share = {
            "fixed": 1.0,
            "nearest": float(known[nearest].mean()),
            "catalogue": min(1.0, float(known.mean()) / ENOUGH_USED),
        }
        best, ceiling, words = float(bm25.max()), index.words.ceiling(query), max(len(terms(query)), 1)
        made.append(Asked(at, len(relevant) - len(at), meaning, bm25, best, ceiling, words, share, use, seen))
    return made


if __name__ == "__main__":
    main()
