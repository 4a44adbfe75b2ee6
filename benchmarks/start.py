"""How long a small training takes from call to result, where each child is forked from a server that has imported what
a training needs, and where each is a new interpreter.

    python benchmarks/start.py [--fast] [--json FILE]

The same job (a head and two epochs of MiniLM on 60 rows) again and again, the two ways in turn; the server's own start
is its first training's, which is told apart.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import options, say, table, write_json

COLUMNS = ["child", "seconds (median)", "fastest to slowest", "n"]
LABELS = ("question", "order")
TEXTS = ("Where is number {}?", "Bring me number {}.")


def timed(folder: Path, base: str, start: Callable[[], Any]) -> float:
    """Seconds of one training whose child ``start`` says how to make."""
    from p2m.rows import Row
    from p2m.train import child
    from p2m.train.job import write_job
    from p2m.train.recipe import Recipe

    rows = [Row(TEXTS[i % 2].format(i), LABELS[i % 2]) for i in range(100)]
    folder.mkdir()
    write_job(folder, Recipe(base, LABELS, "accuracy", "full", 0, epochs=2), rows[:60], rows[60:])
    child._context = start  # type: ignore[assignment]
    began = time.monotonic()
    asyncio.run(child.run_child(folder, lambda _: None))
    seconds = time.monotonic() - began
    shutil.rmtree(folder)
    return seconds


def main() -> None:
    args = options(__doc__ or "")
    from p2m import pack
    from p2m.train import child

    base, times = str(pack.require("all-minilm-l6-v2")), 3 if args.fast else 8
    forked = child._context
    with tempfile.TemporaryDirectory() as name:
        first = timed(Path(name) / "job", base, forked)
        say(f"the first, with the server's start: {first:.2f} s")
        found: dict[str, list[float]] = {"forked from the server": [], "a new interpreter": []}
        ways = (forked, lambda: multiprocessing.get_context("spawn"))
        for turn in range(times):
            for what, way in zip(found, ways, strict=True):
                found[what].append(timed(Path(name) / "job", base, way))
            say(f"turn {turn + 1} of {times}: " + ", ".join(f"{what} {s[-1]:.2f} s" for what, s in found.items()))
    rows = [{"child": w, "median": statistics.median(s), "seconds": s, "n": len(s)} for w, s in found.items()]
    cells = [
        [r["child"], f"{r['median']:.2f}", f"{min(r['seconds']):.2f}–{max(r['seconds']):.2f}", r["n"]] for r in rows
    ]
    print(table(COLUMNS, cells))
    summary = {"first_s": first, "ratio": rows[1]["median"] / rows[0]["median"]}
    write_json(args.json, rows, summary)


if __name__ == "__main__":
    main()
