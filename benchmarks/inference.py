"""Inference speed on the CPU: the delivered student in torch (float32) against its ONNX exports, float32 and int8.

    python benchmarks/inference.py [--fast] [--json FILE] [--seed N]

A student (MiniLM, full fine-tune) for Banking77 (77 intents, short texts) and one for SMS spam (longer texts), each
exported as `p2m export --onnx [--int8]` does. The same test rows for every system, on one thread and on two (CPU
affinity), each measurement a process of its own; the systems take turns, so that a machine that slows down slows them
all, and the median of the turns counts. Rows a second: all rows in one call of each system's predictor, tokenising and
its own batching included. Latency: one row a call. torch is p2m's Predictor (transformers' AutoModel, float32) with
texts sorted by length in batches of at most 1,024 padded tokens; one turn also takes 512, 2,048 and 4,096.

int8_speedup is the smallest ratio of rows a second, int8 to torch, over both tasks and both numbers of threads;
int8_speedup_best_torch is the same where torch may take its best batches, which differ with task and threads;
int8_loss is the largest loss of accuracy in points. Trained and exported models are kept in benchmarks/.work: delete it
to start over. Run it on a quiet machine.
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
from p2m.files import digest, replaced_folder

TASKS = {
    "banking77": ("polyai/banking77", "text", "category"),
    "sms-spam": ("uci/sms-spam-collection", "sms", "label"),
}
SYSTEMS = {"torch, float32": "model", "ONNX, float32": "onnx", "ONNX, int8": "onnx-int8"}
TORCH, ONNX, INT8 = SYSTEMS
THREADS = (1, 2)
# Padded tokens of a batch that torch is measured with beside its own.
TORCH_BATCHES = (512, 2048, 4096)
Pair = tuple[str, str]


def rows_of(data: Path, task: str, split: str) -> list[Pair]:
    """(text, label) of every row."""
    place, text, label = TASKS[task]
    file = data / "hub/datasets" / place / f"{split}.jsonl"
    return [(r[text], r[label]) for r in map(json.loads, file.read_text(encoding="utf-8").splitlines())]


def work(job: dict[str, Any], threads: int) -> dict[str, Any]:
    """What the worker prints, from a process that has ``threads`` cores."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "inference_worker.py")],
        input=json.dumps({**job, "threads": threads}),
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(threads)},
    )
    if done.returncode:
        sys.exit(f"{job['do']} ended with {done.returncode}; its error is above. It needs: pip install -e '.[onnx]'")
    return json.loads(done.stdout.splitlines()[-1])


def prepare(task: str, data: Path, fast: bool, seed: int) -> Path:
    """The folder with model, onnx and onnx-int8 of a task's student; made where it is not there yet."""
    pool = rows_of(data, task, "train")
    random.Random(seed).shuffle(pool)
    job: dict[str, Any] = {
        "do": "train",
        "base": str(pack.require("all-minilm-l6-v2")),
        "labels": sorted({label for _, label in pool}),
        "train": pool[300 : 300 + (1500 if fast else 6000)],
        "validation": pool[:300],
        "epochs": 3 if fast else 4,
        "seed": seed,
    }
    folder = ROOT / "benchmarks" / ".work" / "inference" / f"{task}-{digest(job, 8)}"
    if not folder.is_dir():
        say(f"{task}: training on {len(job['train'])} rows, {job['epochs']} epochs")
        with replaced_folder(folder) as aside:
            work({**job, "folder": str(aside)}, max(THREADS))
    for wanted in (SYSTEMS[ONNX], SYSTEMS[INT8]):
        if not (folder / wanted).is_dir():
            say(f"{task}: exporting {wanted}")
            export = {"do": "export", "folder": str(folder), "wanted": wanted, "name": task}
            work({**export, "labels": job["labels"], "validation": job["validation"]}, max(THREADS))
    return folder


def measure(task: str, data: Path, fast: bool, seed: int) -> list[dict[str, Any]]:
    """A row for each system and number of threads."""
    folder = prepare(task, data, fast, seed)
    test = rows_of(data, task, "test")
    texts, golds = [text for text, _ in test], [label for _, label in test]
    repeats, calls = (2, 200) if fast else (5, 1000)
    rows = []
    for threads in THREADS:
        found: dict[str, list[dict[str, Any]]] = {system: [] for system in SYSTEMS}
        for turn in range(repeats):
            for system, name in SYSTEMS.items():
                job = {"do": "measure", "folder": str(folder / name), "texts": texts, "calls": calls}
                job["batches"] = TORCH_BATCHES if system == TORCH and turn == 0 else ()
                found[system].append(work(job, threads))
                last = found[system][-1]
                say(f"{task}, {threads} thread(s), turn {turn + 1} of {repeats}: {system}: {last['seconds']:.1f} s")
        for system, turns in found.items():
            estimate = interval("accuracy", golds, turns[0]["labels"])
            rows.append(
                {
                    "task": task,
                    "system": system,
                    "threads": threads,
                    "rows_per_second": len(texts) / statistics.median(t["seconds"] for t in turns),
                    "seconds": [t["seconds"] for t in turns],
                    "seconds_by_batch": turns[0]["seconds_by_batch"],
                    "p50_ms": statistics.median(t["p50_ms"] for t in turns),
                    "p99_ms": statistics.median(t["p99_ms"] for t in turns),
                    "calls": calls,
                    "megabytes": turns[0]["megabytes"],
                    "accuracy": estimate.value,
                    "low": estimate.low,
                    "high": estimate.high,
                    "n": estimate.n,
                }
            )
    return rows


def summary_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Speed-ups are ratios of rows a second; losses are points of accuracy, torch's less the export's."""
    at = {(r["task"], r["threads"], r["system"]): r for r in rows}
    cases = sorted({(task, threads) for task, threads, _ in at})
    n = {r["task"]: r["n"] for r in rows}

    def speedups(system: str) -> dict[str, float]:
        return {
            f"{task}, {threads} thread(s)": at[task, threads, system]["rows_per_second"]
            / at[task, threads, TORCH]["rows_per_second"]
            for task, threads in cases
        }

    def best_torch(row: dict[str, Any]) -> float:
        return min(statistics.median(row["seconds"]), *row["seconds_by_batch"].values())

    def losses(system: str) -> list[float]:
        return [100 * (at[*case, TORCH]["accuracy"] - at[*case, system]["accuracy"]) for case in cases]

    return {
        "int8_speedup": min(speedups(INT8).values()),
        "int8_loss": max(losses(INT8)),
        "int8_speedup_best_torch": min(
            best_torch(at[*c, TORCH]) * at[*c, INT8]["rows_per_second"] / n[c[0]] for c in cases
        ),
        "int8_speedups": speedups(INT8),
        "int8_p99_speedup": min(at[*c, TORCH]["p99_ms"] / at[*c, INT8]["p99_ms"] for c in cases),
        "onnx_speedup": min(speedups(ONNX).values()),
        "onnx_loss": max(losses(ONNX)),
    }


def main() -> None:
    args = options(__doc__ or "")
    data = shared()
    rows = [row for task in TASKS for row in measure(task, data, args.fast, args.seed)]
    summary = summary_of(rows)
    print(table(COLUMNS, [cells(r) for r in rows]))
    print(
        f"\nint8 against torch float32: {summary['int8_speedup']:.2f} times as fast "
        f"({summary['int8_speedup_best_torch']:.2f} with torch's best batches), {summary['int8_loss']:+.2f} points lost"
    )
    write_json(args.json, rows, summary)


COLUMNS = ["task", "system", "threads", "rows/s", "p50 ms", "p99 ms", "MB", "accuracy", "95% interval", "n"]


def cells(r: dict[str, Any]) -> list[Any]:
    """A row of the table."""
    speed = [f"{r['rows_per_second']:,.0f}", f"{r['p50_ms']:.2f}", f"{r['p99_ms']:.2f}", f"{r['megabytes']:.0f}"]
    return [
        r["task"],
        r["system"],
        r["threads"],
        *speed,
        f"{r['accuracy']:.4f}",
        f"{r['low']:.3f}–{r['high']:.3f}",
        r["n"],
    ]


if __name__ == "__main__":
    main()
