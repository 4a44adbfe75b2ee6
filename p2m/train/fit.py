"""Train a student: the head by logistic regression, then, for ``full``, the encoder's layers with it.

Starting from a fitted head keeps the first steps from spoiling the features (Kumar et al. 2022, "Fine-Tuning can
Distort Pretrained Features and Underperform Out-of-Distribution"); it also converges in fewer epochs. Word embeddings
stay as they are: on 40 and 300 rows it scored the same, and half of an optimiser step is theirs.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from p2m.evaluate.metrics import score
from p2m.rows import Row
from p2m.train.batching import token_batches
from p2m.train.clock import Clock, OnProgress
from p2m.train.heads import fit_head
from p2m.train.recipe import Epoch, Recipe, TrainResult, better
from p2m.train.runtime import autocast
from p2m.train.student import Student
from p2m.train.targets import row_weights, soft_targets, unbalanced

if TYPE_CHECKING:
    import numpy as np
    import torch

# Cutting one text in a hundred buys batches that are not stretched by it.
LENGTH_PERCENTILE = 99
LONGEST = 256
GRADIENT_NORM = 1.0
# A start for the head needs no more.
HEAD_ROWS = 512
HEAD_ROWS_A_LABEL = 8


@dataclass(frozen=True)
class _Data:
    """Tokenised rows and what they teach: float32 targets (n, labels) and weights (n,)."""

    ids: list[list[int]]
    targets: torch.Tensor
    weights: torch.Tensor


def train(
    recipe: Recipe, student: Student, rows: Sequence[Row], validation: Sequence[Row], on_progress: OnProgress
) -> TrainResult:
    """Train ``student`` on ``rows``; its weights end as those that were best on ``validation``.

    The same recipe, rows and number of cores give the same weights. Raises ``ValueError`` for no rows or a label
    that the recipe has not.
    """
    import torch

    if not rows or not validation:
        raise ValueError("training needs rows and validation rows")
    began = time.monotonic()
    torch.manual_seed(recipe.seed)
    torch.use_deterministic_algorithms(True)
    max_length, truncated = _cut(student, [r.input for r in rows])
    data = _Data(
        student.encode_texts([r.input for r in rows], max_length),
        torch.from_numpy(soft_targets(rows, recipe.labels)),
        torch.from_numpy(row_weights(rows, recipe.labels)),
    )
    judge = _Judge(recipe, student, validation)
    history: list[Epoch] = []
    if student.pooled:
        chosen = _head_rows(recipe, len(rows))
        features = _all(student, student.features, [data.ids[i] for i in chosen], recipe.batch_tokens)
        head = fit_head(features, data.targets[chosen].numpy(), data.weights[chosen].numpy(), recipe.seed)
        student.set_head(head.weights, head.bias)
        history.append(judge.epoch(0, None))
    loop = _Loop(0.0, False)
    if recipe.method == "full" or not student.pooled:
        deadline = began + recipe.seconds if recipe.seconds is not None else float("inf")
        loop = _loop(recipe, student, data, judge, history, on_progress, deadline)
    best = max(history, key=lambda e: (e.validation, -e.validation_loss, -e.epoch))
    return TrainResult(
        epochs=tuple(history),
        best_epoch=best.epoch,
        rows=len(rows),
        truncated=truncated,
        max_length=max_length,
        weighted=unbalanced(rows),
        parameters_m=sum(p.numel() for p in student.module.parameters()) / 1e6,
        out_of_time=loop.out_of_time,
        examples_per_second=loop.examples_per_second,
        seconds=time.monotonic() - began,
    )


def _head_rows(recipe: Recipe, rows: int) -> list[int]:
    """The rows that the head is fitted on: a sample where the encoder's training goes on from there."""
    enough = max(HEAD_ROWS, HEAD_ROWS_A_LABEL * len(recipe.labels))
    if recipe.method == "frozen" or rows <= enough:
        return list(range(rows))
    return sorted(random.Random(recipe.seed).sample(range(rows), enough))


@dataclass(frozen=True)
class _Loop:
    examples_per_second: float
    out_of_time: bool


def _loop(
    recipe: Recipe,
    student: Student,
    data: _Data,
    judge: _Judge,
    history: list[Epoch],
    on_progress: OnProgress,
    deadline: float,
) -> _Loop:
    """The epochs, appended to ``history``; ends with the best weights loaded."""
    import torch

    module, rng, epochs = student.module, random.Random(recipe.seed), recipe.epochs_for(len(data.ids))
    optimizer = _optimizer(recipe, student)
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    lengths = [len(i) for i in data.ids]
    plan = [
        token_batches(lengths, recipe.batch_tokens, rows=recipe.batch_for(len(lengths)), rng=rng) for _ in range(epochs)
    ]
    clock = Clock(steps=sum(map(len, plan)), epochs=epochs, tell=on_progress)
    warm = max(1, round(recipe.warmup * clock.steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / warm, max(0.0, (clock.steps - s) / max(1, clock.steps - warm)))
    )
    best, kept = (history[-1] if history else None), _copy(module)
    for epoch, batches in enumerate(plan, 1):
        module.train()
        losses = []
        for batch in batches:
            began = time.monotonic()
            with autocast():
                logits = student.logits(student.pad([data.ids[i] for i in batch]))
            each = torch.nn.functional.cross_entropy(logits.float(), data.targets[batch], reduction="none")
            loss = (each * data.weights[batch]).sum() / data.weights[batch].sum()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, GRADIENT_NORM)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(float(loss.detach()))
            clock.step(epoch, len(batch), time.monotonic() - began, losses[-1], history)
            if time.monotonic() > deadline:
                break
        history.append(judge.epoch(epoch, sum(losses) / len(losses)))
        if better(history[-1], best):
            best, kept = history[-1], _copy(module)
        if time.monotonic() > deadline or (best is not None and epoch - best.epoch >= recipe.patience):
            break
    module.load_state_dict(kept)
    return _Loop(clock.examples_per_second, time.monotonic() > deadline)


def _optimizer(recipe: Recipe, student: Student) -> torch.optim.Optimizer:
    """AdamW; no weight decay for biases and norms (one-dimensional); the head learns faster than the encoder."""
    import torch

    encoder = student.encoder
    embeddings = encoder.get_input_embeddings()
    embeddings.weight.requires_grad_(False)
    if recipe.method == "frozen":
        encoder.requires_grad_(False)
    inside = {id(p) for p in encoder.parameters()}
    groups: dict[tuple[float, float], list[Any]] = {}
    for parameter in student.module.parameters():
        if parameter.requires_grad:
            rate = recipe.learning_rate if id(parameter) in inside else recipe.head_learning_rate
            decay = 0.0 if parameter.ndim < 2 else recipe.weight_decay
            groups.setdefault((rate, decay), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in groups.items()],
        fused=True,
    )


class _Judge:
    """Scores the student on the validation rows, for early stopping."""

    def __init__(self, recipe: Recipe, student: Student, validation: Sequence[Row]) -> None:
        self._recipe, self._student = recipe, student
        self._golds = [r.output for r in validation]
        self._ids = student.encode_texts([r.input for r in validation])

    def epoch(self, number: int, loss: float | None) -> Epoch:
        import numpy as np
        import torch

        labels = list(self._recipe.labels)
        logits = torch.from_numpy(_all(self._student, self._student.logits, self._ids, self._recipe.batch_tokens))
        predictions = [labels[i] for i in logits.argmax(1).tolist()]
        at = {label: i for i, label in enumerate(labels)}
        known = [i for i, g in enumerate(self._golds) if g in at]
        gold = torch.tensor([at[self._golds[i]] for i in known], dtype=torch.long)
        value = score(self._recipe.metric, self._golds, predictions, labels)
        validation_loss = float(torch.nn.functional.cross_entropy(logits[known], gold)) if known else np.inf
        return Epoch(number, loss, value, validation_loss)


def _all(student: Student, fn: Callable[[Any], torch.Tensor], ids: list[list[int]], tokens: int) -> np.ndarray:
    """``fn`` of every text, in order, without gradients: float32 of shape (n, ...)."""
    import numpy as np
    import torch

    student.module.eval()
    out: list[Any] = [None] * len(ids)
    with torch.inference_mode(), autocast():
        for batch in token_batches([len(i) for i in ids], tokens):
            found = fn(student.pad([ids[i] for i in batch])).float().numpy()
            for row, i in zip(found, batch, strict=True):
                out[i] = row
    return np.stack(out)


def _cut(student: Student, texts: Sequence[str]) -> tuple[int, int]:
    """The length in tokens to cut training texts at, and how many texts are longer."""
    import numpy as np

    lengths = np.array([len(i) for i in student.encode_texts(texts, student.longest)])
    longest = min(LONGEST, student.longest, int(np.ceil(np.percentile(lengths, LENGTH_PERCENTILE) / 8) * 8))
    return longest, int((lengths > longest).sum())


def _copy(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in module.state_dict().items()}
