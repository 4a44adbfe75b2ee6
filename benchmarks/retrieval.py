"""Dataset search on DataFinder: what `p2m catalog search` finds for 406 descriptions of research, and for keyphrases.

    python benchmarks/retrieval.py --json benchmarks/results/retrieval.json

The judgements are those of ``test_data.jsonl`` (``documents``): 387 of 406 descriptions have a relevant dataset, and a
relevant dataset that is not among the 3,327 described ones counts as missed. Measures are trec_eval's, through
ir-measures. R@5 is also given for two random halves of the queries (seed 0): docs/retrieval.md says why.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import say, shared, table, write_json
from p2m import paths
from p2m.catalog.embedding import bulk_embed, default_embed
from p2m.catalog.index.search import CatalogIndex, Weights, use_of
from p2m.catalog.index.sources import JsonSource
from p2m.catalog.index.store import Store
from p2m.catalog.index.sync import Progress, sync
from p2m.train.embed import DEFAULT_BASE

DEPTH = 100
WHOLE = "p2m catalog search"
RANK_FUSION = "BM25 + embeddings, by rank"
SYSTEMS = {
    "BM25": Weights(meaning=0, words=1, use=0),
    "embeddings": Weights(meaning=1, words=0, use=0),
    RANK_FUSION: Weights(use=0),
    "BM25 + embeddings": Weights(use=0),
    "BM25 + use": Weights(meaning=0, words=1, use=1),
    "embeddings + use": Weights(words=0),
    WHOLE: Weights(),
}
COUNTS = ("downloads", "mentions", "names")
MEASURES = ("P@5", "R@5", "MAP", "MRR")


def main() -> None:
    args = options()
    data = shared() / "data" / "datafinder"
    tests = [json.loads(line) for line in (data / "test_data.jsonl").read_text(encoding="utf-8").splitlines()]
    index = open_index(data / "documents.jsonl", args.index)
    if args.use:
        index.use = use_of(index.counts[:, [COUNTS.index(name) for name in args.use]])
    asked = {"full": [[t["query"]] for t in tests], "keyphrase": [[t["keyphrase_query"]] for t in tests]}
    for path in args.queries:
        asked[path.stem] = read_queries(path, len(tests))
    relevant = [set(t["documents"]) for t in tests]
    answered = [i for i, found in enumerate(relevant) if found]
    half_a = set(random.Random(0).sample(answered, len(answered) // 2))
    systems = {WHOLE: SYSTEMS[WHOLE]} if args.use else SYSTEMS
    rows: list[dict[str, Any]] = []
    for form, queries in asked.items():
        for name, weights in systems.items():
            begun = time.perf_counter()
            by_rank = name == RANK_FUSION
            run = {
                i: fused_by_rank(index, queries[i]) if by_rank else ranking(index, queries[i], weights)
                for i in answered
            }
            seconds = time.perf_counter() - begun
            whole = scores(run, relevant, answered)
            a, b = ([i for i in answered if (i in half_a) is want] for want in (True, False))
            halves = {"half_a": scores(run, relevant, a)["R@5"], "half_b": scores(run, relevant, b)["R@5"]}
            rows.append({"queries": form, "system": name, "n": len(answered), "seconds": round(seconds, 1)})
            rows[-1] |= {**whole, **halves, "weights": vars(weights)}
            say(f"{form}: {name}: R@5 {whole['R@5']:.1f} in {seconds:.0f} s")
    shown = [[r["queries"], r["system"], *(f"{r[m]:.1f}" for m in (*MEASURES, "half_a", "half_b"))] for r in rows]
    print(table(["queries", "system", *MEASURES, "R@5 half A", "R@5 half B"], shown))
    write_json(args.json, rows, summary(rows, index))


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="the same: it takes minutes anyhow")
    parser.add_argument("--json", metavar="FILE", help="write rows and summary here")
    parser.add_argument("--seed", type=int, default=0, help="nothing here is random but the halves, whose seed is 0")
    parser.add_argument("--index", type=Path, metavar="FILE", help="the catalogue, made where it is not there")
    parser.add_argument("--use", nargs="+", choices=COUNTS, help="count only these as use (default: all three)")
    parser.add_argument(
        "--queries",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help='other queries, e.g. by an LLM: a JSON line {"id": N, "queries": [...]} a description, N its line from 0',
    )
    return parser.parse_args()


def open_index(documents: Path, where: Path | None) -> CatalogIndex:
    """The described datasets, read and embedded as `p2m catalog sync --jsonl` does."""
    store = Store(where or paths.home() / "benchmarks" / "datafinder.sqlite")
    embed = bulk_embed()
    if embed is None:
        sys.exit("needs the embedder: p2m pull all-minilm-l6-v2")

    def show(p: Progress) -> None:
        if p.stage == "embed" and p.done % 320 == 0:
            say(f"embedded {p.done} of {p.total}")

    report = sync(store, JsonSource(documents), embed=embed, model=DEFAULT_BASE, progress=show)
    say(f"{store.count()} datasets, {report.embedded} embedded now")
    return CatalogIndex(store, default_embed())


def read_queries(path: Path, count: int) -> list[list[str]]:
    """The queries of each description. Exits with one line where a description has none."""
    found: dict[int, list[str]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            record = json.loads(line)
            found[int(record["id"])] = [str(q) for q in record["queries"]]
        except (ValueError, KeyError, TypeError) as error:
            sys.exit(f'{path}:{number}: not a line like {{"id": 0, "queries": ["…"]}}: {error}')
    missing = [i for i in range(count) if not found.get(i)]
    if missing:
        sys.exit(f"{path}: no queries for description {missing[0]} ({len(missing)} are missing)")
    return [found[i] for i in range(count)]


def ranking(index: CatalogIndex, queries: Sequence[str], weights: Weights) -> list[str]:
    return [f.card.id for f in index.search(queries, limit=DEPTH, weights=weights)]


def fused_by_rank(index: CatalogIndex, queries: Sequence[str]) -> list[str]:
    """Reciprocal rank fusion with k = 60 (Cormack et al. 2009), for comparison."""
    total: dict[str, float] = {}
    for alone in ("BM25", "embeddings"):
        for place, name in enumerate(ranking(index, queries, SYSTEMS[alone]), 1):
            total[name] = total.get(name, 0) + 1 / (60 + place)
    return sorted(total, key=lambda name: -total[name])


def scores(run: dict[int, list[str]], relevant: list[set[str]], queries: list[int]) -> dict[str, float]:
    """Means over ``queries``, in percent."""
    import ir_measures
    from ir_measures import AP, RR, P, R

    wanted = {"P@5": P @ 5, "R@5": R @ 5, "MAP": AP, "MRR": RR}
    judged = [ir_measures.Qrel(str(i), doc, 1) for i in queries for doc in relevant[i]]
    ranked = [ir_measures.ScoredDoc(str(i), doc, -float(at)) for i in queries for at, doc in enumerate(run[i])]
    found = ir_measures.calc_aggregate(wanted.values(), judged, ranked)
    return {name: round(100 * found[measure], 2) for name, measure in wanted.items()}


def summary(rows: list[dict[str, Any]], index: CatalogIndex) -> dict[str, Any]:
    names = {"P@5": "precision_at_5", "R@5": "recall_at_5", "MAP": "map", "MRR": "mrr"}
    found: dict[str, Any] = {"datasets": len(index.rowids)}
    for row in rows:
        own = {long: row[short] for short, long in names.items()} | {"half_a": row["half_a"], "half_b": row["half_b"]}
        part = found.setdefault(row["queries"], {})
        if row["system"] == WHOLE:
            part |= {**own, "n": row["n"]}
        part.setdefault("systems", {})[row["system"]] = own
    return found


if __name__ == "__main__":
    main()
