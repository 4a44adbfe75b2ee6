"""Labelled spans in a text: a token classifier over BIO tags, saved as a plain Hugging Face folder.

A word's tag stands on its first token, its other tokens teach nothing (Devlin et al. 2019, "BERT"). What is decoded is
what ``pipeline("token-classification", aggregation_strategy="first")`` makes of the same logits. A text longer than the
model reads is read in windows that overlap; each word is judged where it has most text around it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2m.evaluate.metrics import score
from p2m.outputs import Span, format_spans, parse_spans
from p2m.rows import Row
from p2m.train.loop import OnProgress, begin, every, fit
from p2m.train.recipe import Epoch, Recipe, TrainResult
from p2m.train.runtime import autocast, beside, device_of, load_config, load_to_train, load_tokenizer, prepare_torch
from p2m.train.student import positions, save_tokenizer

if TYPE_CHECKING:
    import torch

IGNORED = -100
OUTSIDE = "O"
# Longer windows cost quadratically; a name seldom needs more text around it.
WINDOW, STRIDE = 256, 64
# "O" is most of all words: each tag counts by the square root of how rare it is, within these bounds.
LEAST_WEIGHT, MOST_WEIGHT = 0.5, 3.0


def tags_of(labels: Sequence[str]) -> tuple[str, ...]:
    """``O``, then ``B-`` and ``I-`` of each label."""
    return (OUTSIDE, *(f"{mark}-{label}" for label in labels for mark in "BI"))


@dataclass(frozen=True)
class Window:
    """Part of a text in tokens. ``words`` are (token, start, end) of each word in it: its first token's place, and its
    characters in the text; ``row`` is the text's number."""

    row: int
    ids: list[int]
    words: tuple[tuple[int, int, int], ...]


def windows(tokenizer: Any, texts: Sequence[str], longest: int) -> list[Window]:
    """Every text in windows of at most ``longest`` tokens, in order; together they hold every word."""
    if not texts:
        return []
    stride = min(STRIDE, longest // 4)
    found = tokenizer(
        list(texts), truncation=True, max_length=longest, stride=stride,
        return_overflowing_tokens=True, return_offsets_mapping=True,
    )  # fmt: skip
    made = []
    for i, row in enumerate(found["overflow_to_sample_mapping"]):
        words: list[tuple[int, int, int]] = []
        last = None
        for token, (word, (start, end)) in enumerate(zip(found.word_ids(i), found["offset_mapping"][i], strict=True)):
            if word is None or start == end:
                continue
            if word == last:
                words[-1] = (*words[-1][:2], end)
            else:
                words.append((token, start, end))
            last = word
        made.append(Window(row, found["input_ids"][i], tuple(words)))
    return made


def targets(window: Window, spans: Sequence[Span], at: dict[str, int]) -> list[int]:
    """The tag of each token: of a word's first its own, of all others ``IGNORED``. A word that a span covers in part
    is in it; of two spans over one word the longer has it. Raises ``ValueError`` for an unknown label."""
    tags = [IGNORED] * len(window.ids)
    ranked = sorted(spans, key=lambda s: (s.start - s.end, s.start))
    last: Span | None = None
    for place, (token, start, end) in enumerate(window.words):
        span = next((s for s in ranked if s.start < end and start < s.end), None)
        if span is None:
            tags[token] = at[OUTSIDE]
        else:
            # A window may begin inside a span.
            goes_on = span == last or (place == 0 and span.start < start)
            name = f"{'I' if goes_on else 'B'}-{span.label}"
            if name not in at:
                raise ValueError(f"the row's label {span.label!r} is not one of the task's")
            tags[token] = at[name]
        last = span
    return tags


def decode(words: Sequence[tuple[int, int, str]], text: str) -> tuple[Span, ...]:
    """Spans from words (start, end, tag) in order: an ``I-`` goes on a span of its label, and begins one elsewhere."""
    spans: list[Span] = []
    open_label = None
    for start, end, tag in words:
        mark, _, label = tag.partition("-")
        if tag == OUTSIDE:
            open_label = None
        elif mark == "I" and label == open_label:
            spans[-1] = Span(spans[-1].start, end, label, text[spans[-1].start : end])
        else:
            spans.append(Span(start, end, label, text[start:end]))
            open_label = label
    return tuple(spans)


def read_windows(made: Sequence[Window], chosen: Sequence[Sequence[str]], texts: Sequence[str]) -> list[str]:
    """The canonical spans of each text, from each window's tags of its words. A word in two windows is judged by the
    one where it is further from the edge."""
    best: list[dict[int, tuple[int, int, str]]] = [{} for _ in texts]
    for window, tags in zip(made, chosen, strict=True):
        for (token, start, end), tag in zip(window.words, tags, strict=True):
            room = min(token, len(window.ids) - 1 - token)
            known = best[window.row].get(start)
            if known is None or room > known[1]:
                best[window.row][start] = (end, room, tag)
    return [
        format_spans(decode([(start, end, tag) for start, (end, _, tag) in sorted(words.items())], text))
        for words, text in zip(best, texts, strict=True)
    ]


class Tagger:
    """A token classifier in training, its new head drawn from ``seed``. Raises ``BadInput`` for a folder that does not
    load."""

    def __init__(self, base: Path, labels: Sequence[str], seed: int = 0) -> None:
        import torch

        prepare_torch()
        self.base, self.tags = Path(base), tags_of(labels)
        self.tokenizer = load_tokenizer(self.base)
        names = dict(enumerate(self.tags))
        torch.manual_seed(seed)
        self.module: Any = load_to_train(
            self.base, "AutoModelForTokenClassification",
            num_labels=len(names), id2label=names, label2id={tag: i for i, tag in names.items()},
        )  # fmt: skip
        self.longest = positions(load_config(self.base), self.tokenizer)

    @property
    def encoder(self) -> Any:
        """The pretrained part."""
        return self.module.base_model

    def pad(self, ids: Sequence[list[int]]) -> dict[str, torch.Tensor]:
        """A padded batch with its attention mask."""
        return dict(self.tokenizer.pad({"input_ids": list(ids)}, return_tensors="pt"))

    def logits(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Of shape (rows, tokens, tags)."""
        return self.module(**batch).logits

    def save(self, folder: Path) -> None:
        """Write weights (safetensors, float32), config and tokenizer, for ``AutoModelForTokenClassification``."""
        self.module.save_pretrained(folder)
        save_tokenizer(self.base, folder, self.longest)


@dataclass(frozen=True)
class _Tokens:
    """Windows and what they teach; ``weights`` of shape (tags,)."""

    student: Tagger
    ids: list[list[int]]
    tags: list[list[int]]
    weights: torch.Tensor

    @property
    def lengths(self) -> list[int]:
        return [len(i) for i in self.ids]

    def collate(self, batch: Sequence[int]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """The padded inputs, and tags of the same shape, ``IGNORED`` where nothing is taught."""
        import torch

        padded = self.student.pad([self.ids[i] for i in batch])
        wide = padded["input_ids"].shape[1]
        return padded, torch.tensor([self.tags[i] + [IGNORED] * (wide - len(self.tags[i])) for i in batch])

    def loss(self, batch: list[int]) -> torch.Tensor:
        import torch

        padded, gold = self.collate(batch)
        with autocast(device_of(self.student.module).type):
            logits = self.student.logits(beside(self.student.module, padded))
        gold, weights = gold.to(logits.device), self.weights.to(logits.device)
        return torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1), gold.flatten(), weight=weights, ignore_index=IGNORED
        )

    def weight(self, batch: list[int]) -> float:
        return float(sum(self.weights[t] for i in batch for t in self.tags[i] if t != IGNORED))


def lesson(student: Tagger, rows: Sequence[Row], longest: int) -> _Tokens:
    """The rows as windows with their tags, and how much each tag counts."""
    import torch

    at = {tag: i for i, tag in enumerate(student.tags)}
    made = windows(student.tokenizer, [r.input for r in rows], longest)
    spans = [parse_spans(r.output, r.input) for r in rows]
    tags = [targets(w, spans[w.row], at) for w in made]
    counts = Counter(t for row in tags for t in row if t != IGNORED)
    even = sum(counts.values()) / max(1, len(counts))
    weights = [
        min(MOST_WEIGHT, max(LEAST_WEIGHT, (even / counts[k]) ** 0.5)) if counts[k] else 1.0 for k in at.values()
    ]
    return _Tokens(student, [w.ids for w in made], tags, torch.tensor(weights))


def train_tagger(
    recipe: Recipe, student: Tagger, rows: Sequence[Row], validation: Sequence[Row], on_progress: OnProgress
) -> TrainResult:
    """Train ``student``; its weights end as those that were best on ``validation``. Nothing is cut.

    Raises ``ValueError`` for no rows, and for spans that are none of the text's or of the task's labels.
    """
    import numpy as np
    import torch

    if not rows or not validation:
        raise ValueError("training needs rows and validation rows")
    began = time.monotonic()
    begin(recipe, student)
    longest = min(WINDOW, student.longest)
    data = lesson(student, rows, longest)
    held_out = lesson(student, validation, longest)
    texts, golds = [r.input for r in validation], [r.output for r in validation]
    made = windows(student.tokenizer, texts, longest)
    taught = sum(t != IGNORED for tags in held_out.tags for t in tags)

    def judge(number: int, loss: float | None) -> Epoch:
        found = every(student.module, student.pad, student.logits, held_out.ids, held_out.lengths, recipe.batch_tokens)
        chosen = [[student.tags[f[token].argmax()] for token, *_ in w.words] for f, w in zip(found, made, strict=True)]
        each = [
            torch.nn.functional.cross_entropy(
                torch.from_numpy(f[: len(tags)]), torch.tensor(tags), ignore_index=IGNORED, reduction="sum"
            )
            for f, tags in zip(found, held_out.tags, strict=True)
        ]
        value = score(recipe.metric, golds, read_windows(made, chosen, texts))
        return Epoch(number, loss, value, float(np.sum([float(e) for e in each])) / max(1, taught))

    return fit(
        recipe, student, data, judge, on_progress, rows=len(rows), began=began, max_length=longest, weighted=True
    )
