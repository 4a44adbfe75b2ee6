"""How long a search of the local catalogue takes at 100,000 cards, after loading.

    python benchmarks/catalog_latency.py --json benchmarks/results/catalog_latency.json

The cards are made from real ones (DataFinder's documents, the 2023 crawl of datasets and models): each new card mixes
the sentences of several. Embeddings are random unit vectors of the same size as the real ones: the time does not
depend on their values. Queries are DataFinder's full descriptions, one a search, embedded beforehand or not as said.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import say, shared, table, write_json
from p2m.catalog.embedding import default_embed
from p2m.catalog.index.card import IndexCard
from p2m.catalog.index.search import CatalogIndex
from p2m.catalog.index.sources import JsonSource
from p2m.catalog.index.store import Store
from p2m.catalog.index.sync import Progress, sync

if TYPE_CHECKING:
    import numpy as np

WIDTH = 384
LANGUAGES = ("en", "de", "fr", "zh", "es", "ar")


class Mixed:
    """``count`` cards whose names and sentences are taken from ``real`` ones."""

    name = "mixed"

    def __init__(self, real: Sequence[IndexCard], count: int, seed: int) -> None:
        self.real, self.count, self.seed = real, count, seed
        self.skipped: dict[str, str] = {}

    def total(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[IndexCard]:
        draw = random.Random(self.seed)
        sentences = [s for card in self.real for s in re.split(r"(?<=\.) ", card.body) if len(s) > 20]
        for number in range(self.count):
            like = draw.choice(self.real)
            yield IndexCard(
                kind=like.kind,
                id=f"org{number % 997}/{like.id.rpartition('/')[2]}-{number}",
                title=like.title,
                body=" ".join(draw.choice(sentences) for _ in range(draw.randint(2, 6))),
                names=like.names,
                tasks=like.tasks,
                languages=(draw.choice(LANGUAGES),),
                license=like.license or "mit",
                downloads=int(draw.paretovariate(0.7)),
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="100 searches instead of 300")
    parser.add_argument("--json", metavar="FILE", help="write rows and summary here")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cards", type=int, default=100_000, metavar="N")
    args = parser.parse_args()
    import numpy as np

    data = shared() / "data"
    files = ("datafinder/documents.jsonl", "catalog/dataset_index.json")
    real = [card for file in files for card in JsonSource(data / file)]
    tests = (data / "datafinder" / "test_data.jsonl").read_text(encoding="utf-8").splitlines()
    queries = [json.loads(line)["query"] for line in tests][: 100 if args.fast else 300]
    draw = np.random.default_rng(args.seed)

    def random_unit(texts: Sequence[str]) -> np.ndarray:
        vectors = draw.standard_normal((len(texts), WIDTH), dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "catalog.sqlite")
        begun = time.perf_counter()
        sync(store, Mixed(real, args.cards, args.seed), embed=random_unit, model="random", progress=_said())
        made = time.perf_counter() - begun
        megabytes = store.path.stat().st_size / 1e6
        begun = time.perf_counter()
        index = CatalogIndex(store, random_unit)
        loaded = time.perf_counter() - begun
        rows.append({"what": "search, query already embedded", **_timed(index, queries), "n": len(queries)})
        filtered = {"kind": "dataset", "language": "en"}
        rows.append({"what": "the same, kind and language", **_timed(index, queries, filtered), "n": len(queries)})
        if embed := default_embed():
            embed(["warm"])
            index.embed = embed
            rows.append({"what": "search, query embedded by MiniLM", **_timed(index, queries), "n": len(queries)})
        store.close()
    print(table(["what", "n", "p50 ms", "p95 ms"], [[r["what"], r["n"], r["p50_ms"], r["p95_ms"]] for r in rows]))
    whole = rows[-1]
    summary = {
        "p50_ms": whole["p50_ms"],
        "p95_ms": whole["p95_ms"],
        "what": whole["what"],
        "cards": args.cards,
        "cards_are": "mixed from the sentences of 5,800 real ones; embeddings are random unit vectors of 384",
        "load_seconds": round(loaded, 2),
        "sync_seconds_without_embedding": round(made, 1),
        "file_megabytes": round(megabytes),
        "peak_memory_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    print(json.dumps(summary))
    write_json(args.json, rows, summary)


def _timed(index: CatalogIndex, queries: Sequence[str], filters: dict[str, str] | None = None) -> dict[str, float]:
    """Percentiles of the wall time and of the processor time of a search, in ms."""
    import numpy as np

    wall, cpu = [], []
    for query in queries:
        begun, used = time.perf_counter(), time.process_time()
        index.search([query], **(filters or {}))  # type: ignore[arg-type]
        wall.append(1000 * (time.perf_counter() - begun))
        cpu.append(1000 * (time.process_time() - used))
    p50, p95 = np.percentile(wall, [50, 95])
    cpu50, cpu95 = np.percentile(cpu, [50, 95])
    shown = {"p50_ms": p50, "p95_ms": p95, "cpu_p50_ms": cpu50, "cpu_p95_ms": cpu95}
    return {name: round(float(value), 1) for name, value in shown.items()}


def _said():  # type: ignore[no-untyped-def]
    last = {"at": time.monotonic()}

    def show(p: Progress) -> None:
        if time.monotonic() - last["at"] > 10 or p.done == p.total:
            last["at"] = time.monotonic()
            say(f"{p.stage}: {p.done:,} of {p.total or 0:,}")

    return show


if __name__ == "__main__":
    main()
