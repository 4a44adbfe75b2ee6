"""One fine-tune in a process of its own: reads a job on standard input, prints what it measured as JSON.

All start from rows and end with a trained model: loading the base is not counted, making tokens is. ``peak_mb`` is the
most memory that the process held at once while it trained (Linux), its libraries and the base model counted.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "DISABLE_SAFETENSORS_CONVERSION": "1"}


def reset_peak() -> None:
    """Start the peak anew: /proc/self/clear_refs (proc(5))."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> float | None:
    """The most resident memory since ``reset_peak``, in MB; None where nobody tells."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return None


def p2m(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """As fine_tune trains a student of this kind, early stopping off where epochs are given. Its validation passes are
    counted."""
    import sklearn.linear_model
    import sklearn.model_selection  # noqa: F401, imported before the clock starts, as Trainer's parts are

    from p2m import kinds
    from p2m.rows import Row
    from p2m.task.spec import TaskSpec

    task = TaskSpec(**job["task"])
    kind = kinds.of(task)
    recipe = kind.recipe(task, base=job["base"], method=job["method"], seed=job["seed"], epochs=job["epochs"])
    rows, validation = ([Row(**r) for r in job[name]] for name in ("train", "validation"))
    reset_peak()
    result = kind.train(recipe, rows, validation, folder, lambda _: None)
    curve = [[e.seconds, e.validation_loss] for e in result.epochs]
    ran = max(e.epoch for e in result.epochs)
    return {"seconds": result.seconds, "peak_mb": peak_mb(), "curve": curve, "epochs": ran}


def setfit(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """setfit with its defaults; says the labels itself."""
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    labels = job["task"]["labels"]
    model = SetFitModel.from_pretrained(job["base"], labels=labels)
    at = {label: i for i, label in enumerate(labels)}
    reset_peak()
    began = time.perf_counter()
    columns = {"text": [r["input"] for r in job["train"]], "label": [at[r["output"]] for r in job["train"]]}
    arguments = TrainingArguments(output_dir=str(folder), seed=job["seed"], report_to="none")
    Trainer(model, arguments, train_dataset=Dataset.from_dict(columns)).train()
    seconds = time.perf_counter() - began
    peak = peak_mb()
    said = [str(label) for label in model.predict([r["input"] for r in job["test"]])]
    return {"seconds": seconds, "peak_mb": peak, "curve": [], "epochs": 1, "answers": said}


def main() -> None:
    job = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as place:
        from plain_trainer import trainer

        folder = Path(place) / "model"
        found = {"p2m": p2m, "trainer": trainer, "setfit": setfit}[job["trainer"]](job, folder)
        if job["answer"] and "answers" not in found:
            from p2m.evaluate.predict import load_predictor

            found["answers"] = [p.output for p in load_predictor(folder).predict([r["input"] for r in job["test"]])]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
