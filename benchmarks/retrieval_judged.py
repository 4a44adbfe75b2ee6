"""Dataset search for 30 tasks as people describe them, on 2,494 cards: benchmarks/judgements/instructions.json judges.

    python benchmarks/retrieval_judged.py --json benchmarks/results/retrieval_judged.json

The first description of each task of instruction_induction and superni is one query. The file says who judged, and
how the cards to judge were pooled. Measures are trec_eval's, over the queries that have a relevant card.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import ROOT, options, shared, table, write_json
from benchmarks.retrieval import MEASURES, SYSTEMS, WHOLE, open_index, ranking, scores
from p2m import paths

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
    args = options(__doc__ or "")
    data = shared() / "data"
    index = open_index(data / "catalog" / "dataset_index.json", paths.home() / "benchmarks" / "dataset_index.sqlite")
    queries = descriptions(data)
    judged = json.loads(JUDGEMENTS.read_text(encoding="utf-8"))["queries"]
    names = sorted(judged)
    relevant = [set(judged[name]["relevant"]) for name in names]
    answered = [i for i, found in enumerate(relevant) if found]
    rows = []
    for system in ("BM25", "embeddings", WHOLE):
        run = {i: ranking(index, [queries[names[i]]], SYSTEMS[system]) for i in answered}
        rows.append({"system": system, "n": len(answered), **scores(run, relevant, answered)})
    print(table(["found by", *MEASURES], [[r["system"], *(f"{r[m]:.1f}" for m in MEASURES)] for r in rows]))
    write_json(args.json, rows, {"queries": len(names), "with_a_relevant_card": len(answered)})


if __name__ == "__main__":
    main()
