"""Fine-tuning speed: p2m against a default transformers.Trainer, on the same rows, base model, epochs and CPU.

    python benchmarks/train_speed.py [--kind KIND] [--fast] [--json FILE] [--seed N]

KIND: classify (default; Snips, 7 classes), few_shot (setfit beside), multi_label, extract, read, score, generate, lora,
seq2seq. Each measurement is a process of its own; the systems take turns, so that a machine that slows down slows them
all, and the median of their runs counts. Score, memory and the loss on validation are of the first run; the score is on
rows that nobody trained on. ``seconds_to_loss`` is when a system first has the loss on validation that both p2m and
Trainer reach (the higher of their lowest; of reading, 1 - F1). p2m's validation passes are counted in its time, those
of Trainer are not. p2m trains in bf16 where the CPU has it, batches texts of like length and leaves the word
embeddings as they are; Trainer's defaults are float32 and 8 rows a batch. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common import ROOT, say, shared, table, write_json
from speed_tasks import ROWS, TASKS, SpeedTask

from p2m import kinds, pack

P2M = {"trainer": "p2m"}
DEFAULT = "transformers.Trainer, defaults (batch 8)"
COLUMNS = ["system", "examples/s", "tokens/s", "s to equal loss", "peak MB", "score", "95% interval", "n"]


def systems(kind: str) -> dict[str, dict[str, Any]]:
    """Name to what the child is told; the first is ours, the second what it is compared with."""
    method = "LoRA" if kind == "lora" else "full fine-tune"
    found = {f"p2m, {method}": P2M, DEFAULT: {"trainer": "trainer", "batch": 8}}
    if kind == "lora":
        found[DEFAULT] |= {"rate": 1e-3}
    if kind == "classify":
        found["transformers.Trainer, batch 32"] = {"trainer": "trainer", "batch": 32}
    if kind == "few_shot":
        found["setfit, defaults"] = {"trainer": "setfit"}
    return found


def run(job: dict[str, Any]) -> dict[str, Any]:
    """What one training measured, in a process of its own."""
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


def base_of(name: str, place: Path) -> Path:
    """The folder of a base model; the T5 of random weights is made in ``place``."""
    from p2m.train.gguf import base_folder

    if name != "t5-random":
        return base_folder(pack.require(name))
    import torch
    from transformers import AutoConfig, AutoModelForSeq2SeqLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(base_folder(pack.require("smollm2-135m"))))
    tokenizer.pad_token, tokenizer.chat_template = tokenizer.eos_token, None
    end = tokenizer.eos_token_id
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "t5", vocab_size=len(tokenizer), d_model=256, d_kv=32, d_ff=1024, num_layers=4, num_heads=8,
        pad_token_id=end, eos_token_id=end, decoder_start_token_id=end,
    )  # fmt: skip
    AutoModelForSeq2SeqLM.from_config(config).save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


def tokens_of(base: Path, task: SpeedTask) -> int:
    """Of the rows' texts, with the answers where those are written."""
    from transformers import AutoTokenizer

    written = task.task.kind == "generate"
    texts = [r.input + (" " + r.output if written else "") for r in task.train]
    return sum(map(len, AutoTokenizer.from_pretrained(str(base))(texts)["input_ids"]))


def reached(curve: list[list[float]], loss: float) -> float | None:
    """The seconds after which a training first had this loss on validation, or None."""
    return next((seconds for seconds, value in curve if value <= loss), None)


def measure(kind: str, task: SpeedTask, base: Path, seed: int, repeats: int) -> dict[str, list[dict[str, Any]]]:
    """The runs of each system."""
    job = {
        "task": task.task.model_dump(),
        "base": str(base),
        "method": task.method,
        "epochs": task.epochs,
        "seed": seed,
        **{name: [asdict(r) for r in getattr(task, name)] for name in ("train", "validation", "test")},
    }
    measured: dict[str, list[dict[str, Any]]] = {name: [] for name in systems(kind)}
    for turn in range(repeats):
        for name, how in systems(kind).items():
            # What takes time beside the training is done in the first run alone.
            measured[name].append(run({**job, **how, "answer": turn == 0, "curve": turn == 0}))
            say(f"run {turn + 1} of {repeats}: {name}: {measured[name][-1]['seconds']:.1f} s")
    return measured


def rows_of(task: SpeedTask, tokens: int, measured: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """A row a system."""
    ours, default = list(measured.values())[:2]
    both = [found[0]["curve"] for found in (ours, default)]
    equal = max(min(loss for _, loss in curve) for curve in both)
    rows = []
    for name, found in measured.items():
        seconds, first = statistics.median(m["seconds"] for m in found), found[0]
        estimate = kinds.of(task.task).estimate(task.task, task.test, first["answers"])
        rows.append(
            {
                "system": name,
                "examples_per_second": len(task.train) * first["epochs"] / seconds,
                "tokens_per_second": tokens * first["epochs"] / seconds,
                "seconds": seconds,
                "runs": [m["seconds"] for m in found],
                "seconds_to_loss": reached(first["curve"], equal),
                "equal_loss": equal,
                "peak_mb": first["peak_mb"],
                "train_rows": len(task.train),
                "epochs": first["epochs"],
                "metric": estimate.metric,
                "accuracy": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
                "n": estimate.n,
            }
        )
    return rows


def cells(row: dict[str, Any]) -> list[Any]:
    """A row as ``COLUMNS`` show it."""
    to_loss, peak, tokens = (row.get(name) for name in ("seconds_to_loss", "peak_mb", "tokens_per_second"))
    return [
        row["system"],
        f"{row['examples_per_second']:.1f}",
        "" if tokens is None else f"{tokens:.0f}",
        "" if to_loss is None else f"{to_loss:.1f}",
        "" if peak is None else f"{peak:.0f}",
        f"{row['accuracy']:.3f} {row.get('metric', 'accuracy')}",
        f"{row['low']:.3f}–{row['high']:.3f}",
        row["n"],
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=TASKS, default="classify")
    parser.add_argument("--fast", action="store_true", help="fewer rows and runs: a few minutes on 2 cores")
    parser.add_argument("--json", metavar="FILE", help="write rows and summary here")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    task = TASKS[args.kind](shared() / "hub/datasets", ROWS[args.kind][args.fast], args.seed)
    with tempfile.TemporaryDirectory() as place:
        base = base_of(task.base, Path(place))
        tokens = tokens_of(base, task)
        # On a busy machine the recorded claim, of classify, is the one to take twice.
        repeats = 3 if not args.fast else 2 if args.kind == "classify" else 1
        measured = measure(args.kind, task, base, args.seed, repeats)
    rows = rows_of(task, tokens, measured)
    ours, default = rows[:2]
    # Of trainings that end by themselves the whole time counts, not the rows a second.
    by = "seconds" if task.epochs is None else "examples_per_second"
    ratio = default[by] / ours[by] if by == "seconds" else ours[by] / default[by]
    times = [r["seconds_to_loss"] for r in (ours, default)]
    summary = {
        "kind": args.kind,
        "note": task.note,
        "ratio": ratio,
        "ratio_to_loss": times[1] / times[0] if all(times) else None,
        "ratio_memory": ours["peak_mb"] / default["peak_mb"] if ours["peak_mb"] else None,
        "accuracy_difference": ours["accuracy"] - default["accuracy"],
        "within_interval": ours["high"] >= default["low"] and ours["low"] <= default["high"],
    }
    if args.kind == "classify":
        summary["ratio_same_batch"] = ours["examples_per_second"] / rows[2]["examples_per_second"]
    print(table(COLUMNS, [cells(r) for r in rows]))
    print(f"\nratio {ratio:.2f}, difference in score {summary['accuracy_difference']:+.3f}")
    write_json(args.json, rows, summary)


if __name__ == "__main__":
    main()
