"""One step of benchmarks/inference.py in a process of its own: reads a job on standard input, prints JSON."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "DISABLE_SAFETENSORS_CONVERSION": "1"}
WARM = 64


def train(job: dict[str, Any]) -> dict[str, Any]:
    """A full fine-tune, as fine_tune runs it, saved with a card as deliver writes it."""
    from p2m.rows import Row
    from p2m.train.fit import train as fit
    from p2m.train.recipe import Recipe
    from p2m.train.student import Student

    recipe = Recipe(job["base"], tuple(job["labels"]), "accuracy", "full", job["seed"], epochs=job["epochs"])
    student = Student(Path(job["base"]), recipe.labels)
    rows, validation = ([Row(*pair) for pair in job[name]] for name in ("train", "validation"))
    fit(recipe, student, rows, validation, lambda _: None)
    folder = Path(job["folder"]) / "model"
    student.save(folder)
    (folder / "README.md").write_text("---\nlibrary_name: transformers\n---\n# A student of the benchmark\n")
    return {}


def export(job: dict[str, Any]) -> dict[str, Any]:
    """As ``p2m export`` does."""
    from p2m.export.model import export_model
    from p2m.rows import Row
    from p2m.task.spec import TaskSpec

    folder = Path(job["folder"])
    task = TaskSpec(name=job["name"], instruction=job["name"], kind="classify", labels=tuple(job["labels"]))
    rows = [Row(*pair) for pair in job["validation"]]
    export_model(folder / "model", folder / job["wanted"], job["wanted"], rows, task, "benchmark", lambda text: None)
    return {}


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Seconds for all texts in one call, and the median and 99th percentile of calls with one text each."""
    import numpy as np

    from p2m.export.formats import open_predictor

    model = open_predictor(Path(job["folder"]))
    texts = job["texts"]
    model.predict(texts[:WARM])
    began = time.perf_counter()
    labels = [p.label for p in model.predict(texts)]
    seconds = time.perf_counter() - began
    by_batch = {}
    for tokens in job["batches"]:
        began = time.perf_counter()
        model.predict(texts, tokens)  # type: ignore[call-arg]
        by_batch[str(tokens)] = time.perf_counter() - began
    calls = []
    for text in texts[: job["calls"]]:
        began = time.perf_counter()
        model.predict([text])
        calls.append(1000 * (time.perf_counter() - began))
    p50, p99 = np.percentile(calls[len(calls) // 10 :], (50, 99))
    weights = [*Path(job["folder"]).glob("*.safetensors"), *Path(job["folder"]).glob("*.onnx")]
    size = sum(file.stat().st_size for file in weights) / 1e6
    return {
        "seconds": seconds,
        "seconds_by_batch": by_batch,
        "labels": labels,
        "p50_ms": p50,
        "p99_ms": p99,
        "megabytes": size,
    }


if __name__ == "__main__":
    request = json.load(sys.stdin)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: request["threads"]])
    with contextlib.redirect_stdout(sys.stderr):
        said = {"train": train, "export": export, "measure": measure}[request["do"]](request)
    print(json.dumps(said))
