"""The tasks of benchmarks/train_speed.py: real rows of the shared data, one task a kind, small enough for minutes."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from p2m import kinds
from p2m.outputs import format_labels, parse_spans
from p2m.rows import Row
from p2m.task.spec import TaskSpec

VALIDATION = 100
MUSIC = "crossner/crossner-music"


@dataclass(frozen=True)
class SpeedTask:
    """One kind's rows; ``note`` says what is special about it."""

    task: TaskSpec
    train: list[Row]
    validation: list[Row]
    test: list[Row]
    method: str = "full"
    epochs: int | None = 3
    base: str = "all-minilm-l6-v2"
    note: str = ""


def _read(file: Path, task: TaskSpec, **columns: str) -> list[Row]:
    return kinds.of(task).read(task, str(file), **columns)  # type: ignore[arg-type]


def _draw(rows: Sequence[Row], n: int, seed: int) -> list[Row]:
    return random.Random(seed).sample(list(rows), min(n, len(rows)))


def classify(hub: Path, n: int, seed: int) -> SpeedTask:
    """Snips intents (7 classes)."""
    folder = hub / "snips/nlu-benchmark"
    found = {
        split: [Row(r["text"], r["intent"]) for r in _lines(folder / f"{split}.jsonl")]
        for split in ("train", "validation", "test")
    }
    labels = tuple(sorted({r.output for r in found["test"]}))
    task = TaskSpec(name="snips", instruction="Say what the user wants.", kind="classify", labels=labels)
    rng = random.Random(seed)
    pool = found["train"]
    rng.shuffle(pool)
    return SpeedTask(task, pool[:n], rng.sample(found["validation"], VALIDATION), found["test"])


def few_shot(hub: Path, n: int, seed: int) -> SpeedTask:
    """A few Snips rows of each class; every system with the epochs that it chooses (Trainer: 10)."""
    whole = classify(hub, 10**6, seed)
    train = [r for k in whole.task.labels for r in [r for r in whole.train if r.output == k][: n // 7]]
    note = f"{n // 7} rows a class; each system its own epochs, Trainer ten"
    return replace(whole, train=train, validation=whole.validation[:56], epochs=None, note=note)


def multi_label(hub: Path, n: int, seed: int) -> SpeedTask:
    """Which kinds of entity a sentence of CrossNER music names."""
    spans = extract(hub, n, seed)
    labels = spans.task.labels

    def sets(rows: Iterable[Row]) -> list[Row]:
        return [Row(r.input, format_labels({s.label for s in parse_spans(r.output)}, labels)) for r in rows]

    task = TaskSpec(
        name="entities", instruction="Which kinds of entity are named?", kind="classify", multi_label=True,
        labels=labels, metric="micro_f1",
    )  # fmt: skip
    return replace(spans, task=task, train=sets(spans.train), validation=sets(spans.validation), test=sets(spans.test))


def extract(hub: Path, n: int, seed: int) -> SpeedTask:
    """CrossNER music: its training and validation sentences but a hundred."""
    files = {split: hub / MUSIC / f"{split}.jsonl" for split in ("train", "validation", "test")}
    tags = {tag[2:] for file in files.values() for r in _lines(file) for tag in r["ner_tags"] if tag != "O"}
    task = TaskSpec(
        name="music", instruction="Find the entities.", kind="extract", labels=tuple(sorted(tags)), metric="span_f1"
    )
    found = {split: _read(file, task) for split, file in files.items()}
    # A few sentences stand in two of its splits.
    tested = {r.input for r in found["test"]}
    apart = {r.input: r for r in found["train"] + found["validation"] if r.input not in tested}
    pool = _draw(list(apart.values()), 10**6, seed)
    return SpeedTask(task, pool[VALIDATION:][:n], pool[:VALIDATION], found["test"])


def read(hub: Path, n: int, seed: int) -> SpeedTask:
    """SQuAD questions; the last articles are the test."""
    task = TaskSpec(name="squad", instruction="Answer from the text.", kind="extract", metric="squad_f1")
    rows = _read(hub / "rajpurkar/squad-dev-part/validation.jsonl", task)
    pool = _draw(rows[:700], 700, seed)
    return SpeedTask(task, pool[60:][:n], pool[:60], rows[760:])


def score(hub: Path, n: int, seed: int) -> SpeedTask:
    """How well-formed a query is."""
    task = TaskSpec(name="wellformed", instruction="Rate the query.", kind="score", metric="spearman", scale=(0, 1))
    found = {k: _read(hub / f"google/query-wellformedness/{k}.jsonl", task) for k in ("train", "validation", "test")}
    sizes = {"train": n, "validation": VALIDATION, "test": 700}
    drawn = {split: _draw(rows, sizes[split], seed) for split, rows in found.items()}
    return SpeedTask(task, drawn["train"], drawn["validation"], drawn["test"])


def generate(hub: Path, n: int, seed: int) -> SpeedTask:
    """Shell commands (NL2Bash) by SmolLM2-135M, its word embeddings left as they are."""
    task = TaskSpec(name="nl2bash", instruction="Write the shell command.", kind="generate", metric="chrf")
    columns = {"input_column": "nl", "output_column": "bash"}
    pool = _draw(_read(hub / "tellina/nl2bash/train.jsonl", task, **columns), n + 16, seed)
    test = _draw(_read(hub / "tellina/nl2bash/test.jsonl", task, **columns), 32, seed)
    return SpeedTask(task, pool[16:], pool[:16], test, epochs=2, base="smollm2-135m")


def lora(hub: Path, n: int, seed: int) -> SpeedTask:
    """The same by LoRA of rank 16; Trainer at p2m's rate, as its own would teach nothing."""
    note = "Trainer with peft, the same rank and rate (1e-3)"
    return replace(generate(hub, n, seed), method="lora", note=note)


def seq2seq(hub: Path, n: int, seed: int) -> SpeedTask:
    """An encoder-decoder: a small T5 of random weights, as none comes with p2m: its speed counts, not its score."""
    note = "a T5 of random weights: its score says nothing"
    return replace(generate(hub, n, seed), base="t5-random", note=note)


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


ROWS: dict[str, tuple[int, int]] = {
    "classify": (3000, 1000),
    "few_shot": (56, 28),
    "multi_label": (350, 200),
    "extract": (350, 200),
    "read": (500, 96),
    "score": (3000, 600),
    "generate": (400, 160),
    "lora": (400, 160),
    "seq2seq": (800, 160),
}
"""Training rows of each kind, and with --fast."""
TASKS = {f.__name__: f for f in (classify, few_shot, multi_label, extract, read, score, generate, lora, seq2seq)}
