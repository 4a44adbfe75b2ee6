"""A few-shot peer in a process of its own: reads a job on standard input, prints the predicted labels as JSON."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "DISABLE_SAFETENSORS_CONVERSION": "1"}


def setfit(job: dict) -> list[str]:
    """setfit with its defaults, on the same encoder."""
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    from p2m import pack

    model = SetFitModel.from_pretrained(str(pack.require("all-minilm-l6-v2")), labels=list(job["labels"]))
    texts, labels = zip(*job["shots"], strict=True)
    index = {label: i for i, label in enumerate(job["labels"])}
    train = Dataset.from_dict({"text": list(texts), "label": [index[label] for label in labels]})
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(model, TrainingArguments(output_dir=folder, seed=job["seed"]), train_dataset=train)
        trainer.train()
    return [str(label) for label in model.predict(job["texts"])]


def full(job: dict) -> list[str]:
    """Our own training on the examples alone, as a user of any trainer would: nothing to stop early on."""
    from p2m import pack
    from p2m.evaluate.predict import Predictor
    from p2m.rows import Row
    from p2m.train.job import run, write_job
    from p2m.train.recipe import Recipe

    rows = [Row(x, y, "demonstration") for x, y in job["shots"]]
    recipe = Recipe(
        base=str(pack.require("all-minilm-l6-v2")),
        labels=tuple(job["labels"]),
        metric="accuracy",
        method="full",
        seed=job["seed"],
        epochs=10,
        patience=10,
    )
    with tempfile.TemporaryDirectory() as folder:
        write_job(Path(folder), recipe, rows, rows)
        with contextlib.redirect_stdout(sys.stderr):
            run(Path(folder))
        return [p.label for p in Predictor(Path(folder) / "model").predict(job["texts"])]


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    job = json.load(sys.stdin)
    print(json.dumps((setfit if job["system"].startswith("setfit") else full)(job)))
