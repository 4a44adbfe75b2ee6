"""The one training loop: epochs over batches of near-equal length, early stopping, the best weights kept.

What differs between students (their items, loss and score) comes in as a ``Lesson`` and a ``judge``. Word embeddings
stay as they are: on 40 and 300 rows it scored the same, and half of an optimiser step is theirs.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from p2m.train.batching import token_batches
from p2m.train.clock import Clock, OnProgress
from p2m.train.memory import Lesson, Passes, tokens_that_fit
from p2m.train.recipe import Epoch, Recipe, TrainResult, better, stalled
from p2m.train.runtime import autocast, backend, be_deterministic, beside, device, device_of

if TYPE_CHECKING:
    import numpy as np
    import torch

GRADIENT_NORM = 1.0

Judge = Callable[[int, float | None], Epoch]
"""Scores the student as it is on the validation rows: from an epoch's number and its mean training loss."""


class Trainable(Protocol):
    """What the loop needs of a student: ``module`` holds every weight, ``encoder`` is its pretrained part."""

    module: Any

    @property
    def encoder(self) -> Any: ...


def begin(recipe: Recipe, student: Trainable) -> None:
    """Seed, and put ``student`` where it trains. On a CPU the same recipe, rows and number of cores give the same
    weights, where time and memory do for all of it."""
    import torch

    torch.manual_seed(recipe.seed)
    be_deterministic()
    student.module.to(device())


def fit(
    recipe: Recipe,
    student: Trainable,
    lesson: Lesson,
    judge: Judge,
    on_progress: OnProgress,
    *,
    rows: int,
    began: float,
    start: Epoch | None = None,
    loop: bool = True,
    truncated: int = 0,
    max_length: int = 0,
    weighted: bool = False,
    cut_answers: int = 0,
) -> TrainResult:
    """Run the epochs (``loop``) after ``start``, where the student was scored before; its weights end as the best.

    ``began`` is the ``time.monotonic()`` that ``recipe.seconds`` counts from; the last four are told as they are.
    """
    history = [replace(start, seconds=time.monotonic() - began)] if start is not None else []
    ended = _Loop(0.0, False, None)
    if loop:
        ended = _loop(recipe, student, lesson, judge, history, on_progress, began, rows)
    best = max(history, key=lambda e: (e.validation, -e.validation_loss, -e.epoch))
    return TrainResult(
        epochs=tuple(history),
        best_epoch=best.epoch,
        rows=rows,
        truncated=truncated,
        max_length=max_length,
        weighted=weighted,
        parameters_m=sum(p.numel() for p in student.module.parameters()) / 1e6,
        out_of_time=ended.out_of_time,
        examples_per_second=ended.examples_per_second,
        seconds=time.monotonic() - began,
        cut_answers=cut_answers,
        spared=ended.spared,
    )


@dataclass(frozen=True)
class _Loop:
    examples_per_second: float
    out_of_time: bool
    spared: str | None


def _loop(
    recipe: Recipe,
    student: Trainable,
    lesson: Lesson,
    judge: Judge,
    history: list[Epoch],
    on_progress: OnProgress,
    started: float,
    rows: int,
) -> _Loop:
    """The epochs, appended to ``history``; ends with the best weights loaded."""
    import torch

    deadline = started + recipe.seconds if recipe.seconds is not None else float("inf")
    module, rng, lengths, epochs = student.module, random.Random(recipe.seed), lesson.lengths, recipe.epochs_for(rows)
    made = optimizer(recipe, student)
    trained = [p for group in made.param_groups for p in group["params"]]
    plan = [
        token_batches(lengths, recipe.batch_tokens, rows=recipe.batch_for(len(lengths)), rng=rng) for _ in range(epochs)
    ]
    clock = Clock(steps=sum(map(len, plan)), epochs=epochs, tell=on_progress)
    most = recipe.pass_tokens or tokens_that_fit(student.encoder.config)
    passes = Passes(lesson, student.encoder, trained, most)
    warm = max(1, round(recipe.warmup * clock.steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        made, lambda s: min((s + 1) / warm, max(0.0, (clock.steps - s) / max(1, clock.steps - warm)))
    )
    best, kept = (history[-1] if history else None), _copy(module)
    for epoch, batches in enumerate(plan, 1):
        module.train()
        losses = []
        for batch in batches:
            began = time.monotonic()
            losses.append(passes.backward(batch))
            torch.nn.utils.clip_grad_norm_(trained, GRADIENT_NORM)
            made.step()
            schedule.step()
            made.zero_grad(set_to_none=True)
            clock.step(epoch, len(batch), time.monotonic() - began, losses[-1], history)
            if time.monotonic() > deadline:
                break
        judged = judge(epoch, sum(losses) / len(losses))
        history.append(replace(judged, seconds=time.monotonic() - started))
        if better(history[-1], best):
            best, kept = history[-1], _copy(module)
        if time.monotonic() > deadline or stalled(history, recipe.patience):
            break
    module.load_state_dict(kept)
    return _Loop(clock.examples_per_second, time.monotonic() > deadline, passes.spared)


def optimizer(recipe: Recipe, student: Trainable) -> torch.optim.Optimizer:
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
        fused=backend().fused,
    )


def every(
    module: Any,
    pad: Callable[[Sequence[Any]], Any],
    fn: Callable[[Any], torch.Tensor],
    items: Sequence[Any],
    lengths: Sequence[int],
    tokens: int,
) -> list[np.ndarray]:
    """``fn`` of every padded item, in order, without gradients: float32 arrays, one an item, still padded."""
    import torch

    module.eval()
    out: list[Any] = [None] * len(items)
    with torch.inference_mode(), autocast(device_of(module).type):
        for batch in token_batches(lengths, tokens):
            found = fn(beside(module, pad([items[i] for i in batch]))).float().cpu().numpy()
            for row, i in zip(found, batch, strict=True):
                out[i] = row
    return out


def _copy(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in module.state_dict().items()}
