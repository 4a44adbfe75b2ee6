"""``transformers.Trainer`` with its defaults (float32, 8 rows a batch, 5e-5), for every kind of student.

Rows become tokens as p2m makes them, so that both learn the same; batches, precision, schedule and loop are Trainer's.
The loss on validation is taken after each epoch with the clock stopped, as p2m defines it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EVALUATED = 16


@dataclass(frozen=True)
class Plain:
    """A model for Trainer: ``features`` of rows, the collator, the loss on validation, and how to save."""

    model: Any
    features: Callable[[Sequence[Any]], list[dict[str, Any]]]
    collate: Any
    loss: Callable[[Any], float]
    save: Callable[[Any, Path], None]


def trainer(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """One training; ``curve`` has (seconds, loss on validation) after each epoch."""
    import tempfile

    import torch
    from trainers import peak_mb, reset_peak
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from p2m.rows import Row
    from p2m.task.spec import TaskSpec

    task = TaskSpec(**job["task"])
    rows, validation = ([Row(**r) for r in job[name]] for name in ("train", "validation"))
    torch.manual_seed(job["seed"])
    plain = _plain(job, task, validation, rows)
    curve: list[list[float]] = []
    stopped = 0.0

    class Curve(TrainerCallback):
        def on_epoch_end(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
            nonlocal stopped
            now = time.perf_counter()
            curve.append([now - began - stopped, plain.loss(kw["model"])])
            kw["model"].train()
            stopped += time.perf_counter() - now

    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            out,
            num_train_epochs=job["epochs"] or 10,
            per_device_train_batch_size=job.get("batch", 8),
            learning_rate=job.get("rate", 5e-5),
            seed=job["seed"],
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        reset_peak()
        began = time.perf_counter()
        features = plain.features(rows)
        callbacks = [Curve()] if job.get("curve") else []
        Trainer(
            plain.model, arguments, train_dataset=features, data_collator=plain.collate, callbacks=callbacks
        ).train()  # type: ignore[arg-type]
        seconds = time.perf_counter() - began - stopped
        peak = peak_mb()
    plain.save(plain.model, folder)
    return {"seconds": seconds, "peak_mb": peak, "curve": curve, "epochs": job["epochs"] or 10}


def _plain(job: dict[str, Any], task: Any, validation: Sequence[Any], rows: Sequence[Any]) -> Plain:
    if task.kind == "generate":
        return _generate(job, task, validation)
    if task.kind == "extract":
        return _extract(job, task, validation) if task.labels else _read(job, task, validation, rows)
    return _sequence(job, task, validation, rows)


def _mean_loss(
    model: Any, features: Sequence[dict[str, Any]], collate: Any, loss: Callable[[Any, Any], Any]
) -> tuple[float, int]:
    """The summed loss, and what was counted: ``loss`` gives both of a batch's outputs."""
    import torch

    model.eval()
    total, count = 0.0, 0
    with torch.inference_mode():
        for start in range(0, len(features), EVALUATED):
            batch = collate([dict(f) for f in features[start : start + EVALUATED]])
            part, n = loss(model(**batch), batch["labels"])
            total, count = total + float(part), count + int(n)
    return total, count


def _sequence(job: dict[str, Any], task: Any, validation: Sequence[Any], rows: Sequence[Any]) -> Plain:
    """One label, several labels, or a rating of a whole text."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding

    from p2m.outputs import parse_labels, parse_number

    tokenizer = AutoTokenizer.from_pretrained(job["base"])
    labels = list(task.labels) or ["score"]
    at = {label: i for i, label in enumerate(labels)}
    problem = "regression" if task.kind == "score" else "single_label_classification"
    problem = "multi_label_classification" if task.multi_label else problem
    model = AutoModelForSequenceClassification.from_pretrained(
        job["base"], num_labels=len(labels), problem_type=problem, id2label=dict(enumerate(labels)), label2id=at
    )

    def target(row: Any) -> Any:
        if task.kind == "score":
            return parse_number(row.output)
        if task.multi_label:
            there = parse_labels(row.output, frozenset(labels))
            return [float(label in there) for label in labels]
        return at[row.output]

    def features(some: Sequence[Any]) -> list[dict[str, Any]]:
        ids = tokenizer([r.input for r in some], truncation=True)["input_ids"]
        return [{"input_ids": i, "labels": target(r)} for i, r in zip(ids, some, strict=True)]

    collate = DataCollatorWithPadding(tokenizer)
    held_out = features(validation)
    variance = 1.0
    if task.kind == "score":
        variance = float(torch.tensor([parse_number(r.output) for r in rows]).var(correction=0))

    def loss(model: Any) -> float:
        total, n = _mean_loss(model, held_out, collate, lambda out, gold: (out.loss * len(gold), len(gold)))
        return total / n / variance

    return Plain(model, features, collate, loss, _saver(tokenizer))


def _extract(job: dict[str, Any], task: Any, validation: Sequence[Any]) -> Plain:
    from transformers import DataCollatorForTokenClassification

    from p2m.train.tagger import WINDOW, Tagger, lesson

    student = Tagger(Path(job["base"]), task.labels, job["seed"])
    longest = min(WINDOW, student.longest)

    def features(some: Sequence[Any]) -> list[dict[str, Any]]:
        made = lesson(student, some, longest)
        return [{"input_ids": i, "labels": t} for i, t in zip(made.ids, made.tags, strict=True)]

    collate = DataCollatorForTokenClassification(student.tokenizer)
    held_out = features(validation)

    def loss(model: Any) -> float:
        total, n = _mean_loss(model, held_out, collate, _summed)
        return total / n

    return Plain(student.module, features, collate, loss, lambda _, folder: student.save(folder))


def _read(job: dict[str, Any], task: Any, validation: Sequence[Any], rows: Sequence[Any]) -> Plain:
    """Its loss on validation is 1 - F1, as p2m's."""
    import torch

    from p2m.evaluate.metrics import score
    from p2m.train.reader import WINDOW, Reader, answers, asked, lesson, windows

    student = Reader(Path(job["base"]), task.instruction, job["seed"])
    student.unanswerable = any(not r.output.strip() for r in rows)
    longest = min(WINDOW, student.longest)

    def features(some: Sequence[Any]) -> list[dict[str, Any]]:
        made = lesson(student, some, longest)
        return [
            {"window": w, "start_positions": s, "end_positions": e}
            for w, (s, e) in zip(made.made, made.ends, strict=True)
        ]

    def collate(some: Sequence[dict[str, Any]]) -> dict[str, Any]:
        ends = {k: torch.tensor([f[k] for f in some]) for k in ("start_positions", "end_positions")}
        return student.pad([f["window"] for f in some]) | ends

    asks = [asked(r.input, task.instruction) for r in validation]
    made = windows(student.tokenizer, asks, longest)

    def loss(model: Any) -> float:
        model.eval()
        found: list[Any] = []
        with torch.inference_mode():
            for start in range(0, len(made), EVALUATED):
                found += list(student.logits(student.pad(made[start : start + EVALUATED])).numpy())
        said = [text for text, _ in answers(made, found, asks, student.unanswerable)]
        return 1 - score("squad_f1", [r.output for r in validation], said)

    return Plain(student.module, features, collate, loss, lambda _, folder: student.save(folder))


def _generate(job: dict[str, Any], task: Any, validation: Sequence[Any]) -> Plain:
    """The loss is on the answers alone, as p2m's; padding is on the right, as Trainer's examples do it."""
    import torch

    from p2m.train.writer import Writer

    writer = Writer(Path(job["base"]), task.instruction)
    longest = 0
    if job["method"] == "lora":
        writer.prepare("lora")
    ignored = -100

    def features(some: Sequence[Any]) -> list[dict[str, Any]]:
        nonlocal longest
        made = [t for t in writer.tokens(some) if len(t.answer) <= writer.longest_answer]
        longest = max(longest, *(len(t.answer) for t in made))
        if writer.is_seq2seq:
            return [{"input_ids": t.prompt, "labels": t.answer} for t in made]
        return [
            {"input_ids": t.prompt + t.answer, "labels": [ignored] * len(t.prompt) + t.answer} for t in made
        ]  # fmt: skip

    def collate(some: Sequence[dict[str, Any]]) -> dict[str, Any]:
        def padded(name: str, fill: int) -> Any:
            width = max(len(f[name]) for f in some)
            return torch.tensor([f[name] + [fill] * (width - len(f[name])) for f in some])

        ids = padded("input_ids", writer.format.pad)
        lengths = torch.tensor([len(f["input_ids"]) for f in some])
        mask = (torch.arange(ids.shape[1])[None, :] < lengths[:, None]).long()
        return {"input_ids": ids, "attention_mask": mask, "labels": padded("labels", ignored)}

    held_out = features(validation)

    def loss(model: Any) -> float:
        shift = not writer.is_seq2seq
        total, n = _mean_loss(model, held_out, collate, lambda out, gold: _summed(out, gold, shift=shift))
        return total / n if n else math.inf

    return Plain(writer.model, features, collate, loss, lambda _, folder: writer.save(folder, longest))


def _summed(out: Any, gold: Any, *, shift: bool = False) -> tuple[Any, Any]:
    import torch

    logits, taught = (out.logits[:, :-1], gold[:, 1:]) if shift else (out.logits, gold)
    total = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), taught.flatten(), ignore_index=-100, reduction="sum"
    )
    return total, (taught != -100).sum()


def _saver(tokenizer: Any) -> Callable[[Any, Path], None]:
    def save(model: Any, folder: Path) -> None:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return save
