"""BM25 alone and embeddings alone on DataFinder, set up in other ways than p2m's: what the text is and how it is cut.

    python benchmarks/retrieval_setups.py --json benchmarks/results/retrieval_setups.json

``R@5 described`` counts only the relevant datasets that are among the described ones, so that 100 can be reached.
Nothing of p2m's search is in the first two: no use, no fields, no filters. The whole search is then run with these
embeddings in place of its own, to see what they are worth there. ``hit@5`` is the share of
descriptions with at least one relevant dataset among the first five (trec_eval's success), easily taken for R@5.
"""

from __future__ import annotations

import argparse
import json
import re
import sqlite3
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.common import say, shared, table, write_json
from p2m import paths
from p2m.catalog.embedding import bulk_embed, default_embed
from p2m.catalog.index.card import IndexCard, plain
from p2m.catalog.index.search import CatalogIndex
from p2m.catalog.index.sources import JsonSource
from p2m.catalog.index.store import Store
from p2m.catalog.index.sync import sync
from p2m.files import digest
from p2m.train.embed import DEFAULT_BASE

DEPTH = 100
FIELDS = ("R@5", "R@5 described", "hit@5", "P@5", "MRR")
PREFIX = "A dataset for: "
Card = dict[str, Any]
TEXTS: dict[str, Callable[[Card], str]] = {
    "contents": lambda c: c["contents"],
    "title. contents": lambda c: f"{c['title']}. {c['contents']}",
    "name. contents": lambda c: f"{c['id']}. {c['contents']}",
    "name. title. contents": lambda c: f"{c['id']}. {c['title']}. {c['contents']}",
    "names. title. contents": lambda c: f"{', '.join(c['variants'])}. {c['title']}. {c['contents']}",
    "p2m's": lambda c: IndexCard("dataset", c["id"], title=c["title"], body=plain(c["contents"])).embedded_text(),
}
EMBEDDED = ("contents", "name. contents", "title. contents")
# "of", "the" and their like, as Lucene's English analyser leaves out.
_STOP = """
a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to was
will with
"""
STOP = frozenset(_STOP.split())


def main() -> None:
    args = options()
    data = shared() / "data" / "datafinder"
    tests = [json.loads(line) for line in (data / "test_data.jsonl").open(encoding="utf-8")]
    cards = [json.loads(line) for line in (data / "documents.jsonl").open(encoding="utf-8")]
    relevant = {i: set(t["documents"]) for i, t in enumerate(tests) if t["documents"]}
    names = {card["id"] for card in cards}
    described = {i: known & names for i, known in relevant.items() if known & names}
    asked = {"full": [t["query"] for t in tests], "keyphrase": [t["keyphrase_query"] for t in tests]}
    rows: list[dict[str, Any]] = []

    def add(system: str, text: str, queries: str, found: np.ndarray) -> None:
        run = {i: _distinct(cards, found[i]) for i in relevant}
        found_all = measured(run, relevant)
        found_described = measured(run, described)
        about = {"system": system, "text": text, "queries": queries, "n": len(relevant), **found_all}
        rows.append({**about, "R@5 described": found_described["R@5"], "n described": len(described)})
        say(f"{system}, {text}, {queries}: R@5 {rows[-1]['R@5']:.1f}, hit@5 {rows[-1]['hit@5']:.1f}")

    for text, of in TEXTS.items():
        documents = [of(card) for card in cards]
        for name, options_ in BM25.items():
            for form in ("full", "keyphrase"):
                add(name, text, form, bm25(documents, asked[form], **options_))
    for text in EMBEDDED:
        vectors = embedded([TEXTS[text](card) for card in cards])
        for form, prefix in (("full", ""), ("keyphrase", ""), ("full", PREFIX), ("keyphrase", PREFIX)):
            said = f"{form}, prefix" if prefix else form
            add("embeddings, 256 tokens", text, said, embedded([prefix + q for q in asked[form]]) @ vectors.T)
        for form in ("full", "keyphrase"):
            found = whole(cards, vectors, [asked[form][i] for i in relevant])
            run = dict(zip(relevant, found, strict=True))
            about = {"system": "p2m catalog search, these embeddings", "text": text, "queries": form, "n": len(run)}
            described_only = {"R@5 described": measured(run, described)["R@5"], "n described": len(described)}
            rows.append({**about, **measured(run, relevant), **described_only})
            say(f"the whole search, {text}, {form}: R@5 {rows[-1]['R@5']:.1f}")
        write_json(args.json, rows, {})
    shown = [[r["queries"], r["system"], r["text"], *(f"{r[m]:.1f}" for m in FIELDS)] for r in rows]
    print(table(["queries", "system", "text", *FIELDS], shown))
    write_json(args.json, rows, {})


def whole(cards: Sequence[Card], vectors: np.ndarray, queries: Sequence[str]) -> list[list[str]]:
    """What `p2m catalog search` finds, with ``vectors`` of ``cards`` as its embeddings."""
    with TemporaryDirectory() as folder:
        store = Store(Path(folder) / "catalog.sqlite")
        sync(store, JsonSource(shared() / "data" / "datafinder" / "documents.jsonl"), embed=None, model=DEFAULT_BASE)
        index = CatalogIndex(store, None)
        last = {card["id"]: i for i, card in enumerate(cards)}  # of two lines with one name the later is kept
        index.embed = default_embed()
        index.vectors = vectors[[last[name] for (name,) in store.db.execute("SELECT id FROM cards ORDER BY rowid")]]
        found = [[hit.card.id for hit in index.search([query], limit=DEPTH)] for query in queries]
        store.close()
    return found


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="the same: it takes minutes anyhow")
    parser.add_argument("--json", metavar="FILE", help="write rows and summary here")
    parser.add_argument("--seed", type=int, default=0, help="nothing here is random")
    return parser.parse_args()


def embedded(texts: Sequence[str]) -> np.ndarray:
    """Unit vectors of shape (texts, size), kept under the texts' hash."""
    where = paths.home() / "benchmarks" / "setups" / f"{digest(list(texts), 16)}.npy"
    if not where.exists():
        embed = bulk_embed()
        if embed is None:
            sys.exit("needs the embedder: p2m pull all-minilm-l6-v2")
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        vectors = np.concatenate([embed([texts[i] for i in order[a : a + 256]]) for a in range(0, len(order), 256)])
        where.parent.mkdir(parents=True, exist_ok=True)
        np.save(where, vectors[np.argsort(order)])
    return np.asarray(np.load(where))


def _words(text: str, without: frozenset[str] = frozenset()) -> list[str]:
    return [w for w in re.findall(r"\w+", text.lower()) if w not in without]


def _stems(text: str) -> list[str]:
    """Words but stop words, stemmed (Porter 1980) by SQLite's FTS5."""
    return [_stem(word) for word in _words(text, STOP)]


@cache
def _stem(word: str) -> str:
    _FTS.execute("INSERT INTO words(rowid, word) VALUES (1, ?)", (word,))
    found = [term for (term,) in _FTS.execute("SELECT term FROM vocabulary")]
    _FTS.execute("DELETE FROM words")
    return found[0] if found else word


_FTS = sqlite3.connect(":memory:", isolation_level=None)
_FTS.execute("CREATE VIRTUAL TABLE words USING fts5(word, tokenize='porter unicode61')")
_FTS.execute("CREATE VIRTUAL TABLE vocabulary USING fts5vocab(words, 'row')")
BM25: dict[str, dict[str, Any]] = {
    "BM25, split at spaces": {"split": lambda text: text.split()},
    "BM25, words": {"split": lambda text: _words(text)},
    "BM25, words but stop words": {"split": lambda text: _words(text, STOP)},
    "BM25, stems": {"split": lambda text: _stems(text)},
    "BM25, k1 0.9, b 0.4": {"split": lambda text: _words(text, STOP), "k1": 0.9, "b": 0.4},
    "BM25, stems, k1 0.9, b 0.4 (Pyserini's)": {"split": lambda text: _stems(text), "k1": 0.9, "b": 0.4},
}


def bm25(
    documents: Sequence[str],
    queries: Sequence[str],
    *,
    split: Callable[[str], list[str]],
    k1: float = 1.5,
    b: float = 0.75,
) -> np.ndarray:
    """Scores of shape (queries, documents) (Robertson & Zaragoza 2009); defaults as in rank_bm25's BM25Okapi, the idf
    as in Lucene."""
    from scipy import sparse
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(analyzer=split)
    counts = counter.fit_transform(documents).tocoo()
    length = np.asarray(counts.sum(axis=1)).ravel()
    held = np.bincount(counts.col, minlength=counts.shape[1])
    idf = np.log(1 + (len(documents) - held + 0.5) / (held + 0.5))
    norm = k1 * (1 - b + b * length / length.mean())
    weight = idf[counts.col] * counts.data * (k1 + 1) / (counts.data + norm[counts.row])
    by_word = sparse.csr_matrix((weight, (counts.row, counts.col)), shape=counts.shape)
    return np.asarray((counter.transform(queries) @ by_word.T).todense())


def _distinct(cards: Sequence[Card], scores: np.ndarray) -> list[str]:
    """Names, best first, each once: 33 of the 3,327 lines have a name that another has too."""
    best = np.argsort(-scores, kind="stable")[: 2 * DEPTH]
    return list(dict.fromkeys(cards[i]["id"] for i in best if scores[i] > 0))[:DEPTH]


def measured(run: dict[int, list[str]], relevant: dict[int, set[str]]) -> dict[str, float]:
    """Means over the queries, in percent, by trec_eval's definitions."""
    import ir_measures
    from ir_measures import AP, RR, P, R, Success

    wanted = {"R@5": R @ 5, "hit@5": Success @ 5, "P@5": P @ 5, "MAP": AP, "MRR": RR}
    judged = [ir_measures.Qrel(str(i), name, 1) for i, names in relevant.items() for name in names]
    places = [(str(i), name, -float(at)) for i, names in run.items() for at, name in enumerate(names)]
    ranked = [ir_measures.ScoredDoc(*place) for place in places]
    found = ir_measures.calc_aggregate(wanted.values(), judged, ranked)
    return {name: round(100 * found[measure], 2) for name, measure in wanted.items()}


if __name__ == "__main__":
    main()
