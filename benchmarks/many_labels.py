"""Hundreds of labels, few rows for most of them: time, memory and score of a head alone and of a full fine-tune.

    python benchmarks/many_labels.py [--fast] [--json FILE] [--seed N]

291 real intents (CLINC-150, Banking77 and HWU64 together; three rows of the rarest, forty of the commonest), and the
same texts in 1,000 groups (k-means on MiniLM's vectors, so easier than real labels: it is there for time and memory).
Each training is a process of its own, as fine_tune runs it.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common import options, say, shared, table, write_json
from train_speed import run

from p2m import kinds, pack
from p2m.rows import Row
from p2m.task.spec import TaskSpec

GROUPS = 1000
RAREST, COMMONEST = 3, 40
SOURCES = {
    "clinc/clinc-oos-small": ("text", "intent"),
    "polyai/banking77": ("text", "category"),
    "xliuhw/hwu64": ("text", "intent"),
}
COLUMNS = [
    "labels",
    "method",
    "rows",
    "rows a label",
    "seconds",
    "peak MB",
    "accuracy",
    "95% interval",
    "macro-F1",
    "n",
]


def texts(hub: Path, split: str) -> list[Row]:
    """Every row of the sources, its label with the source's name before it; no out-of-scope rows."""
    found = []
    for name, (text, label) in SOURCES.items():
        for line in (hub / name / f"{split}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row.get(label) not in (None, "oos"):
                found.append(Row(row[text], f"{name.split('/')[0]}: {row[label]}"))
    return found


def skewed(rows: list[Row], rng: random.Random) -> list[Row]:
    """From forty rows of the first label down to three of the last, labels in random order."""
    by: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by[row.output].append(row)
    labels = sorted(by)
    rng.shuffle(labels)
    drawn = []
    for rank, label in enumerate(labels):
        n = max(RAREST, round(COMMONEST * (RAREST / COMMONEST) ** (rank / len(labels))))
        drawn += rng.sample(by[label], min(n, len(by[label])))
    return drawn


def grouped(rows: list[Row], seed: int) -> list[Row]:
    """The same texts, each labelled with its cluster of a thousand."""
    from sklearn.cluster import MiniBatchKMeans

    from p2m.train.embed import Embedder

    vectors = Embedder.default().encode([r.input for r in rows])
    made = MiniBatchKMeans(GROUPS, random_state=seed, n_init=1, batch_size=4096, max_iter=20).fit_predict(vectors)
    return [Row(r.input, f"group {k}") for r, k in zip(rows, made, strict=True)]


def measure(name: str, train: list[Row], held_out: list[Row], method: str, seed: int) -> dict[str, Any]:
    """One training and its score on ``held_out``, of which 300 rows are the validation."""
    labels = tuple(sorted({r.output for r in train}))
    held_out = [r for r in held_out if r.output in labels]
    validation, test = held_out[:300], held_out[300:1800]
    task = TaskSpec(name="many", instruction="Say which it is.", kind="classify", labels=labels)
    parts = {"train": train, "validation": validation, "test": test}
    job = {"task": task.model_dump(), "base": str(pack.require("all-minilm-l6-v2")), "method": method, "seed": seed}
    job |= {part: [asdict(r) for r in rows] for part, rows in parts.items()}
    found = run({**job, "trainer": "p2m", "epochs": 3 if method == "full" else None, "answer": True})
    kind, counts = kinds.of(task), Counter(r.output for r in train)
    accuracy = kind.estimate_of("accuracy", task, test, found["answers"])
    macro = kind.estimate_of("macro_f1", task, test, found["answers"])
    row = {"name": name, "labels": len(labels), "method": method, "train_rows": len(train)}
    row |= {"rarest": min(counts.values()), "commonest": max(counts.values())}
    row |= {"seconds": found["seconds"], "peak_mb": found["peak_mb"], "n": accuracy.n, "macro_f1": macro.value}
    say(f"{len(labels)} labels, {method}: {found['seconds']:.1f} s, {found['peak_mb']:.0f} MB, {accuracy.value:.3f}")
    return row | {"accuracy": accuracy.value, "low": accuracy.low, "high": accuracy.high}


def cells(row: dict[str, Any]) -> list[Any]:
    """A row as ``COLUMNS`` show it."""
    return [
        f"{row['labels']} {row['name']}",
        row["method"],
        row["train_rows"],
        f"{row['rarest']}–{row['commonest']}",
        f"{row['seconds']:.0f}",
        f"{row['peak_mb']:.0f}",
        f"{row['accuracy']:.3f}",
        f"{row['low']:.3f}–{row['high']:.3f}",
        f"{row['macro_f1']:.3f}",
        row["n"],
    ]


def main() -> None:
    args = options(__doc__ or "")
    rng, hub = random.Random(args.seed), shared() / "hub/datasets"
    pool, test = texts(hub, "train"), texts(hub, "test")
    rng.shuffle(test)
    real = skewed(pool, rng)
    drawn = grouped(rng.sample(pool, 7800 if args.fast else 20000), args.seed)
    rows = []
    for method in ("frozen", "full"):
        rows.append(measure("real intents, skewed", real, test, method, args.seed))
        rows.append(measure("groups", drawn[1800:], drawn[:1800], method, args.seed))
    print(table(COLUMNS, [cells(r) for r in rows]))
    largest = max(rows, key=lambda r: r["seconds"])
    write_json(args.json, rows, {"most_seconds": largest["seconds"], "most_mb": max(r["peak_mb"] for r in rows)})


if __name__ == "__main__":
    main()
