"""One fine-tune in a process of its own: reads a job on standard input, prints seconds and predicted labels as JSON.

Both start from texts and end with a trained model: loading the base is not counted, tokenising is.
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


def p2m(job: dict[str, Any]) -> tuple[float, list[str]]:
    """``method: full`` as fine_tune runs it, early stopping off. Its validation passes are counted."""
    import sklearn.linear_model
    import sklearn.model_selection  # noqa: F401, imported before the clock starts, as Trainer's parts are

    from p2m.evaluate.predict import Predictor
    from p2m.rows import Row
    from p2m.train.fit import train
    from p2m.train.recipe import Recipe
    from p2m.train.student import Student

    epochs = job["epochs"]
    recipe = Recipe(
        job["base"], tuple(job["labels"]), "accuracy", "full", job["seed"], epochs=epochs, patience=epochs + 1
    )
    student = Student(Path(job["base"]), recipe.labels)
    began = time.perf_counter()
    rows, validation = ([Row(*pair) for pair in job[name]] for name in ("train", "validation"))
    train(recipe, student, rows, validation, lambda _: None)
    seconds = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as folder:
        student.save(Path(folder))
        return seconds, [p.label for p in Predictor(Path(folder)).predict(job["test"])]


def trainer(job: dict[str, Any]) -> tuple[float, list[str]]:
    """``transformers.Trainer`` with its defaults but for the epochs and a stated batch size, and nothing saved."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

    tokenizer = AutoTokenizer.from_pretrained(job["base"])
    torch.manual_seed(job["seed"])
    model = AutoModelForSequenceClassification.from_pretrained(job["base"], num_labels=len(job["labels"]))
    began = time.perf_counter()
    texts, labels = zip(*job["train"], strict=True)
    at = {label: i for i, label in enumerate(job["labels"])}
    data = Dataset.from_dict({**tokenizer(list(texts), truncation=True), "labels": [at[label] for label in labels]})
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=job["epochs"],
            per_device_train_batch_size=job["batch"],
            seed=job["seed"],
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
        )
        # Given the tokenizer, it pads each batch to its longest text.
        Trainer(model, arguments, train_dataset=data, processing_class=tokenizer).train()
        seconds = time.perf_counter() - began
    model.eval()
    said = []
    with torch.inference_mode():
        for start in range(0, len(job["test"]), 32):
            batch = tokenizer(job["test"][start : start + 32], padding=True, truncation=True, return_tensors="pt")
            said += [job["labels"][i] for i in model(**batch).logits.argmax(1).tolist()]
    return seconds, said


if __name__ == "__main__":
    request = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        took, answers = {"p2m": p2m, "trainer": trainer}[request["trainer"]](request)
    print(json.dumps({"seconds": took, "labels": answers}))
