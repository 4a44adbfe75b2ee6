"""Dataset search for 30 tasks as people describe them, on 2,494 cards: benchmarks/judgements/instructions.json judges.

    python benchmarks/retrieval_judged.py --json benchmarks/results/retrieval_judged.json

The first description of each task of instruction_induction and superni is one query. The file says who judged, and
how the cards to judge were pooled. Measures are trec_eval's, over the queries that have a relevant card.

``--rerank local:qwen2.5-coder-1.5b`` (or another endpoint) adds a row: the first 8 of `p2m catalog search` in the order
that this model gives them, by the prompt of a run; a query takes 10 to 30 s on two cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import ROOT, say, shared, table, write_json
from benchmarks.retrieval import MEASURES, SYSTEMS, WHOLE, open_index, ranking, scores
from p2m import paths
from p2m.catalog.index.search import CatalogIndex
from p2m.catalog.rerank import MOST, Candidate, rerank
from p2m.llm.client import open_model
from p2m.task.spec import TaskSpec

JUDGEMENTS = ROOT / "benchmarks" / "judgements" / "instructions.json"


def descriptions(data: Path) -> dict[str, str]:
    """Task to its first description."""
    found = {}
    for file in (data / "instruction_induction").glob("*.json"):
        found[file.stem] = json.loads(file.read_text(encoding="utf-8"))["annotations"]["annotations"][0]
    for file in (data / "superni").glob("*.json"):
        found[file.stem] = json.loads(file.read_text(encoding="utf-8"))["Definition"][0]
    return found


def main() -> None:
    args = options()
    data = shared() / "data"
    index = open_index(data / "catalog" / "dataset_index.json", paths.home() / "benchmarks" / "dataset_index.sqlite")
    queries = descriptions(data)
    judged = json.loads(JUDGEMENTS.read_text(encoding="utf-8"))["queries"]
    names = sorted(judged)
    relevant = [set(judged[name]["relevant"]) for name in names]
    answered = [i for i, found in enumerate(relevant) if found]
    rows: list[dict[str, Any]] = []
    runs = {}
    for system in ("BM25", "embeddings", WHOLE):
        runs[system] = {i: ranking(index, [queries[names[i]]], SYSTEMS[system]) for i in answered}
        rows.append({"system": system, "n": len(answered), **scores(runs[system], relevant, answered)})
    if args.rerank:
        asked = {i: (queries[names[i]], runs[WHOLE][i]) for i in answered}
        begun = time.perf_counter()
        run, unusable = asyncio.run(reranked(index, asked, args.rerank))
        seconds = (time.perf_counter() - begun) / len(answered)
        rows.append(
            {"system": f"the same, reranked by {args.rerank}", "n": len(answered), **scores(run, relevant, answered)}
        )
        rows[-1] |= {"unusable_answers": unusable, "seconds_a_query": round(seconds, 1)}
    print(table(["found by", *MEASURES], [[r["system"], *(f"{r[m]:.1f}" for m in MEASURES)] for r in rows]))
    write_json(args.json, rows, {"queries": len(names), "with_a_relevant_card": len(answered)})


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="the same: without --rerank it takes a minute")
    parser.add_argument("--json", metavar="FILE", help="write rows and summary here")
    parser.add_argument("--seed", type=int, default=0, help="nothing here is random")
    parser.add_argument("--rerank", metavar="ENDPOINT", help="let this model order the first eight too")
    return parser.parse_args()


async def reranked(
    index: CatalogIndex, asked: dict[int, tuple[str, list[str]]], endpoint: str
) -> tuple[dict[int, list[str]], int]:
    """The rankings with their first eight in the model's order, and how many answers could not be used."""
    run, unusable = {}, 0
    async with open_model(endpoint, role="teacher") as model:
        for number, (i, (query, ranked)) in enumerate(asked.items(), 1):
            cards = {found.card.id: found.card for found in index.search([query], limit=MOST)}
            task = TaskSpec(name="t", instruction=query, kind="generate", metric="chrf")
            said = [Candidate(name, f"{cards[name].title} {cards[name].body}") for name in ranked[:MOST]]
            order = await rerank(task, said, model)
            unusable += bool(order.problem)
            run[i] = [*order.ids, *ranked[MOST:]]
            say(f"{number} of {len(asked)} reranked{': ' + order.problem if order.problem else ''}")
    return run, unusable


if __name__ == "__main__":
    main()
