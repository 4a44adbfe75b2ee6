"""Train a generator: answers by cross-entropy, token by token, its prompts only read.

The loss of a step is the mean over the answers' tokens, whatever batch they are in. Weights end as those that were best
on validation: by the metric of greedy answers to a sample where that tells epochs apart, else by the loss on all of it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from p2m.errors import ToolFailure
from p2m.evaluate.generator import greedy
from p2m.evaluate.metrics import score
from p2m.rows import Row
from p2m.train.batching import token_batches
from p2m.train.clock import Clock, OnProgress
from p2m.train.formats import IGNORED, Tokens
from p2m.train.memory import Passes, tokens_that_fit
from p2m.train.recipe import FEW, Epoch, Recipe, TrainResult, stalled
from p2m.train.runtime import autocast, backend, be_deterministic, beside, device, device_of, is_cuda
from p2m.train.writer import Writer, room_for

if TYPE_CHECKING:
    import torch

GRADIENT_NORM = 1.0
# Greedy answers cost about as much as training on the same rows; a sample is enough to rank epochs by.
SAMPLED_ROWS = 48
COMMON = 0.95
CHANCE = 0.02


def train(
    recipe: Recipe, writer: Writer, rows: Sequence[Row], validation: Sequence[Row], on_progress: OnProgress
) -> tuple[TrainResult, int]:
    """Train ``writer``; also the tokens of the longest answer learnt.

    The same recipe, rows and number of cores give the same weights on a CPU, unless time or memory is short. Rows
    whose answer is too long to learn whole are left out and counted. Raises ``ValueError`` for no rows, ``ToolFailure``
    where none is left.
    """
    import torch

    if not rows or not validation:
        raise ValueError("training needs rows and validation rows")
    began = time.monotonic()
    torch.manual_seed(recipe.seed)
    be_deterministic()
    tokens = writer.tokens(rows)
    data = [t for t in tokens if len(t.answer) <= writer.longest_answer]
    if not data:
        raise ToolFailure("invalid_args", f"every answer is longer than {writer.longest_answer} tokens")
    longest_answer = max(len(t.answer) for t in data)
    trained = writer.prepare(recipe.method)
    judge = _Judge(recipe, writer, validation, _answer_to_judge([len(t.answer) for t in data]))
    loop = _loop(recipe, writer, trained, data, judge, on_progress, began)
    result = TrainResult(
        epochs=tuple(loop.history),
        best_epoch=loop.best_epoch,
        rows=len(data),
        truncated=sum(t.cut for t in data),
        max_length=writer.longest_prompt,
        weighted=False,
        parameters_m=sum(p.numel() for p in writer.model.parameters()) / 1e6,
        out_of_time=loop.out_of_time,
        examples_per_second=loop.clock.examples_per_second,
        seconds=time.monotonic() - began,
        cut_answers=len(rows) - len(data),
        tokens_per_second=loop.tokens / max(loop.clock.seconds, 1e-9),
        spared=loop.spared,
    )
    return result, longest_answer


def epochs_for(recipe: Recipe, rows: int) -> int:
    """Epochs at most; early stopping ends it sooner."""
    if recipe.epochs is not None:
        return recipe.epochs
    return 8 if rows <= FEW else 4 if rows <= 2000 else 3


@dataclass(frozen=True)
class _Loop:
    history: list[Epoch]
    best_epoch: int
    clock: Clock
    tokens: int
    out_of_time: bool
    spared: str | None


def _loop(
    recipe: Recipe,
    writer: Writer,
    trained: list[Any],
    data: list[Tokens],
    judge: _Judge,
    on_progress: OnProgress,
    began: float,
) -> _Loop:
    import torch

    rng, epochs = random.Random(recipe.seed), epochs_for(recipe, len(data))
    lengths = [len(t) for t in data]
    # Small batches teach more a row: with 300 rows steps are what is short, not rows a step.
    rows_a_batch = 8 if len(data) <= FEW else 16
    plan = [token_batches(lengths, recipe.batch_tokens, rows=rows_a_batch, rng=rng) for _ in range(epochs)]
    config = writer.model.config.get_text_config()
    predicted = sum(len(t.answer) for t in data) / max(1, sum(lengths))
    most = recipe.pass_tokens or tokens_that_fit(config, words=predicted * config.vocab_size)
    passes = Passes(_Answers(writer, data), writer.model, trained, most)
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in trained if p.ndim >= 2], "weight_decay": recipe.weight_decay},
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=recipe.learning_rate,
        fused=backend().fused,
    )
    clock = Clock(steps=sum(map(len, plan)), epochs=epochs, tell=on_progress)
    warm = max(1, round(recipe.warmup * clock.steps))
    history = [replace(judge.epoch(0, None), seconds=time.monotonic() - began)]
    best, kept = history[0], _copy(trained)
    tokens = 0
    for epoch, batches in enumerate(plan, 1):
        writer.model.train()
        losses = []
        left = _seconds_to_train(recipe, judge)
        for batch in batches:
            start = time.monotonic()
            done = clock.done / clock.steps
            if recipe.seconds is not None:
                # Where the time will not do for all steps, the rate falls with it: the last steps should be small.
                done = max(done, (start - began) / left)
            rise = (clock.done + 1) / warm
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * max(0.0, min(rise, (1 - done) / (1 - recipe.warmup)))
            losses.append(passes.backward(batch))
            torch.nn.utils.clip_grad_norm_(trained, GRADIENT_NORM)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            tokens += sum(lengths[i] for i in batch)
            clock.step(epoch, len(batch), time.monotonic() - start, losses[-1], history)
            if time.monotonic() - began > left:
                break
        judged = judge.epoch(epoch, sum(losses) / len(losses))
        history.append(replace(judged, seconds=time.monotonic() - began))
        if _better(history[-1], best):
            best, kept = history[-1], _copy(trained)
        if time.monotonic() - began > left or stalled(history, recipe.patience):
            break
    with torch.no_grad():
        for parameter, weight in zip(trained, kept, strict=True):
            parameter.copy_(weight)
    return _Loop(history, best.epoch, clock, tokens, time.monotonic() - began > left, passes.spared)


def _better(new: Epoch, old: Epoch) -> bool:
    """By the metric where it tells them apart, else by the loss: a few dozen answers move it by chance, and one epoch
    more may be what ends the answers of a student that goes on and on."""
    if abs(new.validation - old.validation) > CHANCE:
        return new.validation > old.validation
    return new.validation_loss < old.validation_loss


def _seconds_to_train(recipe: Recipe, judge: _Judge) -> float:
    """Of the recipe's seconds, what scoring leaves: that of the last epoch, then the answers to all validation rows,
    at the pace of the last scoring. Never less than half: a student that rambles before it learns must get to learn."""
    if recipe.seconds is None:
        return float("inf")
    return max(recipe.seconds / 2, recipe.seconds - judge.seconds * (1 + judge.rows / judge.sampled))


def _loss(writer: Writer, rows: Sequence[Tokens], reduction: str = "mean") -> torch.Tensor:
    import torch

    batch = beside(writer.model, writer.format.batch(rows))
    with autocast(device_of(writer.model).type):
        logits, labels = writer.format.logits(writer.model, batch)
    taught = labels != IGNORED
    return torch.nn.functional.cross_entropy(logits[taught].float(), labels[taught], reduction=reduction)


@dataclass(frozen=True)
class _Answers:
    """Rows as a lesson: the loss of a batch is the mean over its answers' tokens."""

    writer: Writer
    data: list[Tokens]

    @property
    def lengths(self) -> list[int]:
        return [len(t) for t in self.data]

    def loss(self, batch: list[int]) -> torch.Tensor:
        return _loss(self.writer, [self.data[i] for i in batch])

    def weight(self, batch: list[int]) -> float:
        return float(sum(len(self.data[i].answer) for i in batch))


def _answer_to_judge(lengths: Sequence[int]) -> int:
    """Tokens of an answer in training: room for all but one in twenty. A student that does not end its answers yet
    would take minutes to fill the room that the delivered one has."""
    return room_for(sorted(lengths)[int(COMMON * (len(lengths) - 1))])


class _Judge:
    """Scores the student on validation, for early stopping; ``seconds`` is what the last scoring took, ``sampled`` how
    many of the validation ``rows`` it answered."""

    def __init__(self, recipe: Recipe, writer: Writer, validation: Sequence[Row], longest_answer: int) -> None:
        self.seconds, self.rows = 0.0, len(validation)
        self._recipe, self._writer = recipe, writer
        self._tokens = [t for t in writer.tokens(validation) if len(t.answer) <= writer.longest_answer]
        chosen = sorted(random.Random(0).sample(range(len(validation)), min(SAMPLED_ROWS, len(validation))))
        self._sample = [validation[i] for i in chosen]
        self.sampled = len(chosen)
        self._prompts = [writer.format.prompt(row.input, writer.longest_prompt)[0] for row in self._sample]
        self._most = min(writer.longest_answer, longest_answer)

    def epoch(self, number: int, loss: float | None) -> Epoch:
        began = time.monotonic()
        # Flash attention takes 16 bits only. On a CPU bf16 gains nothing where one token is made at a time.
        with autocast(device()) if is_cuda() else nullcontext():
            said = greedy(
                self._writer.model, self._writer.format, self._prompts, self._most, ends=[self._writer.format.end]
            )
        also = [row.meta.get("also", ()) for row in self._sample]
        value = score(self._recipe.metric, [r.output for r in self._sample], [a.text for a in said], also=also)
        found = Epoch(number, loss, value, self._loss())
        self.seconds = time.monotonic() - began
        return found

    def _loss(self) -> float:
        """Mean over the answers' tokens of all validation rows."""
        import torch

        self._writer.model.eval()
        total, taught = 0.0, sum(len(t.answer) for t in self._tokens)
        with torch.inference_mode():
            for batch in token_batches([len(t) for t in self._tokens], self._recipe.batch_tokens):
                total += float(_loss(self._writer, [self._tokens[i] for i in batch], "sum"))
        return total / taught if taught else float("inf")


def _copy(parameters: Sequence[Any]) -> list[torch.Tensor]:
    return [p.detach().clone() for p in parameters]
