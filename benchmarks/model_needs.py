"""Peak memory and seconds of an epoch of the embedded student, beside what p2m.catalog.needs reckons.

    python benchmarks/model_needs.py --json benchmarks/results/model_needs.json

Long texts (256 tokens), so that a batch is full. Each training is a process of its own. Seconds hang on what else the
machine does.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import ROOT, options, say, table, write_json
from p2m import pack
from p2m.catalog.models import PACK_STUDENT, read_model
from p2m.catalog.needs import Texts, epoch_seconds, frozen_bytes, full_bytes
from p2m.machine import this_machine
from p2m.rows import Row
from p2m.train.job import write_job
from p2m.train.recipe import Method, Recipe

WORDS = ("apple", "bridge", "candle", "doctor", "engine", "forest", "garden", "hammer", "island", "jacket", "kitchen")
# The peak of a child's resident memory: ru_maxrss counts kB on Linux.
CHILD = """
import json, resource, subprocess, sys
job = "import sys; from pathlib import Path; from p2m.train.job import run; run(Path(sys.argv[1]))"
subprocess.run([sys.executable, "-c", job, sys.argv[1]], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


def measure(base: Path, method: Method, rows: list[Row], seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        recipe = Recipe(str(base), ("a", "b"), "accuracy", method, seed, epochs=1)
        write_job(Path(folder), recipe, rows, rows[:20])
        command = [sys.executable, "-c", CHILD, folder]
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        result = json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))
    speed = result["examples_per_second"]
    return {"peak_bytes": int(done.stdout), "epoch_seconds": len(rows) / speed if speed else None}


def main() -> None:
    args = options(__doc__ or "")
    rng = random.Random(args.seed)
    texts = [" ".join(rng.choices(WORDS, k=250)) for _ in range(32 if args.fast else 160)]
    rows = [Row(text, "ab"[i % 2], "generated") for i, text in enumerate(texts)]
    base = pack.require(PACK_STUDENT)
    shape = read_model(base, PACK_STUDENT).shape
    assert shape is not None
    reckoned: dict[Method, float] = {"frozen": frozen_bytes(shape), "full": full_bytes(shape)}
    # These words are one token each: what is compared is the arithmetic, not the estimate of lengths.
    seconds = epoch_seconds(shape, len(rows), Texts((250,) * len(rows)), this_machine(Path.cwd()))
    found: list[dict[str, Any]] = []
    for method, size in reckoned.items():
        measured = measure(base, method, rows, args.seed)
        own = {"method": method, "n": len(rows), "reckoned_bytes": size, **measured}
        found.append({**own, "reckoned_epoch_seconds": seconds if method == "full" else None})
        say(f"{method}: {measured}")
    print(table(["method", "memory reckoned, GB", "measured, GB", "epoch reckoned, s", "measured, s"], shown(found)))
    write_json(args.json, found, {r["method"]: round(r["peak_bytes"] / r["reckoned_bytes"], 3) for r in found})


def shown(found: list[dict[str, Any]]) -> list[list[str]]:
    def time(value: float | None) -> str:
        return "" if value is None else f"{value:.1f}"

    return [
        [r["method"], f"{r['reckoned_bytes'] / 1e9:.2f}", f"{r['peak_bytes'] / 1e9:.2f}",
         time(r["reckoned_epoch_seconds"]), time(r["epoch_seconds"])]
        for r in found
    ]  # fmt: skip


if __name__ == "__main__":
    main()
