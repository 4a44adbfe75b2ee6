"""The six tasks of benchmarks/kinds.py: their words, and which of the published rows train and are held out.

Rows are limited so that a run takes minutes on two cores; of more than that a random sample is taken.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Record = dict[str, Any]
MINUTES, GENERATOR_ROWS = 16, 960
"""Of a run that trains a generator: its learning rate falls with the time left."""


@dataclass(frozen=True)
class Task:
    """``front`` are keys of the task file; ``train`` and ``held_out`` are records as they are published but for the
    columns that p2m is not told of. ``reloaded`` rows are answered by plain transformers, None for all."""

    name: str
    instruction: str
    front: Record
    train: list[Record]
    held_out: list[Record]
    reloaded: int | None = None


def _records(data: Path, dataset: str, *splits: str) -> list[Record]:
    files = [data / "hub/datasets" / dataset / f"{split}.jsonl" for split in splits]
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def _draw(records: Iterable[Record], n: int, fast: bool) -> list[Record]:
    rows = list(records)
    return random.Random(0).sample(rows, min(len(rows), n // 10 if fast else n))


def banking(data: Path, fast: bool) -> Task:
    """77 labels, about 20 rows each."""
    return Task(
        "banking-77",
        "Say which of 77 intents a customer's message to an online bank has.",
        {"kind": "classify"},
        _draw(_records(data, "polyai/banking77", "train"), 1540, False),
        _draw(_records(data, "polyai/banking77", "test"), 600, False),
        reloaded=100,
    )


def nl2bash(data: Path, fast: bool) -> Task:
    """A twelfth of the rows."""
    return Task(
        "nl2bash",
        "Translate an English description of what to do in a shell into one Bash command line.",
        {"kind": "generate", "input_column": "nl", "output_column": "bash", "budget": {"minutes": MINUTES}},
        _draw(_records(data, "tellina/nl2bash", "train"), GENERATOR_ROWS, fast),
        _draw(_records(data, "tellina/nl2bash", "test"), 300, fast),
        reloaded=50,
    )


def dates(data: Path, fast: bool) -> Task:
    """Seven eighths of the training rows; a sentence is given with the day that it was said on."""
    train, held_out = (
        [
            {"input": f"{r['reference_date'][:16]} | {r['text']}", "output": r["timex"]}
            for r in _records(data, "microsoft/recognizers-datetime-en", split)
        ]
        for split in ("train", "test")
    )
    return Task(
        "dates",
        "Find the date and time expressions of a sentence and normalise each to TIMEX, against the reference date "
        "before the bar: `expression == TIMEX`, several with ` | ` between.",
        {"kind": "generate", "metric": "exact_match", "budget": {"minutes": MINUTES}},
        _draw(train, GENERATOR_ROWS, fast),
        _draw(held_out, len(held_out), False),
        reloaded=50,
    )


def music(data: Path, fast: bool) -> Task:
    """All rows that are published for training and choosing, and all test rows."""
    return Task(
        "crossner-music",
        "Find the named entities in a sentence about music: artists, bands, albums, songs, genres, awards and others.",
        {"kind": "extract", "metric": "span_f1"},
        _draw(_records(data, "crossner/crossner-music", "train", "validation"), 480, False),
        _draw(_records(data, "crossner/crossner-music", "test"), 465, False),
    )


def squad(data: Path, fast: bool) -> Task:
    """Every third paragraph is held out with all its questions: no text is in both files."""
    rows = [
        {"question": r["question"], "context": r["context"], "answers": r["answers"]}
        for r in _records(data, "rajpurkar/squad-dev-part", "validation")
    ]
    paragraphs = list(dict.fromkeys(r["context"] for r in rows))
    held = set(paragraphs[::3])
    return Task(
        "squad",
        "Answer a question with words of the text that it is about.",
        {"kind": "extract", "metric": "squad_f1"},
        [r for r in rows if r["context"] not in held],
        [r for r in rows if r["context"] in held],
    )


def wellformed(data: Path, fast: bool) -> Task:
    """A quarter of the rows; a rating is the share of five people who found the query well formed."""

    def read(*splits: str) -> list[Record]:
        rows = _records(data, "google/query-wellformedness", *splits)
        return [{"text": r["content"], "rating": r["rating"]} for r in rows]

    return Task(
        "wellformedness",
        "Rate how well-formed a search query is as a question in English, from 0 to 1.",
        {"kind": "score", "scale": [0, 1]},
        _draw(read("train"), 4000, fast),
        _draw(read("test"), 1000, fast),
    )


TASKS: dict[str, Callable[[Path, bool], Task]] = {
    "banking-77": banking,
    "nl2bash": nl2bash,
    "dates": dates,
    "crossner-music": music,
    "squad": squad,
    "wellformedness": wellformed,
}
