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
    """transformers.Trainer on the examples alone: ten epochs, its default learning rate, nothing to stop early on."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

    from p2m import pack

    base = str(pack.require("all-minilm-l6-v2"))
    tokenizer = AutoTokenizer.from_pretrained(base)
    torch.manual_seed(job["seed"])
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(job["labels"]))
    texts, labels = zip(*job["shots"], strict=True)
    read = tokenizer(list(texts), truncation=True, max_length=256)["input_ids"]
    rows = [{"input_ids": ids, "labels": job["labels"].index(y)} for ids, y in zip(read, labels, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(folder, num_train_epochs=10, seed=job["seed"], use_cpu=True, report_to=[])
        with contextlib.redirect_stdout(sys.stderr):
            Trainer(model, args, train_dataset=rows, processing_class=tokenizer).train()
    model.eval()
    said = []
    with torch.inference_mode():
        for text in job["texts"]:
            logits = model(**tokenizer(text, truncation=True, max_length=256, return_tensors="pt")).logits
            said.append(job["labels"][int(logits.argmax())])
    return said


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    job = json.load(sys.stdin)
    print(json.dumps((setfit if job["system"].startswith("setfit") else full)(job)))
