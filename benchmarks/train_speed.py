"""Fine-tuning speed: p2m against a default transformers.Trainer, on the same rows, base model, epochs and CPU.

    python benchmarks/train_speed.py [--fast] [--json FILE] [--seed N]

Snips intents (7 classes). Each measurement is a process of its own; the systems take turns, so that a machine that
slows down slows them all, and the median of their runs counts. The accuracy is of the first run, on the published test.
p2m trains in bf16 where the CPU has it, batches texts of like length and leaves the word embeddings as they are;
Trainer's defaults are float32 and 8 rows a batch. Trainer with p2m's 32 rows a batch is shown beside. Run it on a
quiet machine.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import ROOT, options, say, shared, table, write_json

from p2m import pack
from p2m.evaluate.intervals import interval

EPOCHS = 3
VALIDATION = 100
SYSTEMS: dict[str, dict[str, Any]] = {
    "p2m, full fine-tune": {"trainer": "p2m"},
    "transformers.Trainer, defaults (batch 8)": {"trainer": "trainer", "batch": 8},
    "transformers.Trainer, batch 32": {"trainer": "trainer", "batch": 32},
}
OURS, DEFAULT, SAME_BATCH = SYSTEMS


def snips(data: Path, split: str) -> list[tuple[str, str]]:
    """(text, intent) of every row."""
    file = data / "hub/datasets/snips/nlu-benchmark" / f"{split}.jsonl"
    return [(r["text"], r["intent"]) for r in map(json.loads, file.read_text(encoding="utf-8").splitlines())]


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Seconds and labels of one training, in a process of its own."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "trainers.py")],
        input=json.dumps(job),
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
    )
    if done.returncode:
        ended = f"the training of {job['trainer']} ended with {done.returncode}; its error is above"
        sys.exit(f"{ended}. It needs: pip install -e '.[bench]'")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    args = options(__doc__ or "")
    data = shared()
    n, repeats = (1000, 2) if args.fast else (3000, 3)
    rng = random.Random(args.seed)
    pool = snips(data, "train")
    rng.shuffle(pool)
    test = snips(data, "test")
    golds = [label for _, label in test]
    job = {
        "base": str(pack.require("all-minilm-l6-v2")),
        "labels": sorted(set(golds)),
        "train": pool[:n],
        "validation": rng.sample(snips(data, "validation"), VALIDATION),
        "test": [text for text, _ in test],
        "epochs": EPOCHS,
        "seed": args.seed,
    }
    measured: dict[str, list[dict[str, Any]]] = {name: [] for name in SYSTEMS}
    for turn in range(repeats):
        for name, how in SYSTEMS.items():
            measured[name].append(run({**job, **how}))
            say(f"run {turn + 1} of {repeats}: {name}: {measured[name][-1]['seconds']:.1f} s")
    rows = []
    for name, found in measured.items():
        seconds = statistics.median(m["seconds"] for m in found)
        estimate = interval("accuracy", golds, found[0]["labels"])
        rows.append(
            {
                "system": name,
                "examples_per_second": n * EPOCHS / seconds,
                "seconds": seconds,
                "runs": [m["seconds"] for m in found],
                "train_rows": n,
                "epochs": EPOCHS,
                "accuracy": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
                "n": estimate.n,
            }
        )
    by_name = {r["system"]: r for r in rows}
    ours, default = by_name[OURS], by_name[DEFAULT]
    summary = {
        "ratio": ours["examples_per_second"] / default["examples_per_second"],
        "ratio_same_batch": ours["examples_per_second"] / by_name[SAME_BATCH]["examples_per_second"],
        "accuracy_difference": ours["accuracy"] - default["accuracy"],
        "within_interval": ours["high"] >= default["low"] and ours["low"] <= default["high"],
    }
    cells = [
        [
            r["system"],
            f"{r['examples_per_second']:.1f}",
            f"{r['accuracy']:.3f}",
            f"{r['low']:.3f}–{r['high']:.3f}",
            r["n"],
        ]
        for r in rows
    ]
    print(table(["system", "examples/s", "accuracy", "95% interval", "n"], cells))
    print(f"\nratio {summary['ratio']:.2f}, difference in accuracy {summary['accuracy_difference']:+.3f}")
    write_json(args.json, rows, summary)


if __name__ == "__main__":
    main()
