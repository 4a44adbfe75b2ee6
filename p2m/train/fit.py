"""Train a student that reads a whole text: its head on fixed features, then, for ``full``, the encoder with it.

Starting from a fitted head keeps the first steps from spoiling the features (Kumar et al. 2022, "Fine-Tuning can
Distort Pretrained Features and Underperform Out-of-Distribution"); it also converges in fewer epochs. What the head's
outputs mean (labels, label sets, a number) is the ``Goal``'s.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from p2m.evaluate.metrics import score
from p2m.rows import Row
from p2m.train.heads import MOST_CROSS_VALIDATED, LinearHead, fit_head
from p2m.train.loop import OnProgress, begin, every, fit
from p2m.train.recipe import Epoch, Recipe, TrainResult
from p2m.train.runtime import autocast, beside, device_of
from p2m.train.student import Student
from p2m.train.targets import row_weights, soft_targets, unbalanced

if TYPE_CHECKING:
    import numpy as np
    import torch

# Cutting one text in a hundred buys batches that are not stretched by it.
LENGTH_PERCENTILE = 99
LONGEST = 256
# A start for the head needs no more rows, nor more a label; with fewer a label the encoder's epochs go into making up
# for the head (77 labels: 8 rows a label start at 0.77 on validation, 20 at 0.88). What is fitted stays quick.
HEAD_ROWS = 512
HEAD_ROWS_A_LABEL, LEAST_HEAD_ROWS_A_LABEL = 24, 8


class Goal(Protocol):
    """What the outputs of the head mean: (rows, outputs) everywhere."""

    def targets(self, rows: Sequence[Row]) -> np.ndarray:
        """What each row teaches, float32 of shape (n, outputs). Raises ``ValueError`` for a row that teaches nothing
        here."""

    def weights(self, rows: Sequence[Row]) -> np.ndarray:
        """How much each row counts, float32 of shape (n,)."""

    def head(self, features: np.ndarray, targets: np.ndarray, weights: np.ndarray, seed: int) -> LinearHead:
        """The best linear head on fixed features."""

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The loss of each row, of shape (n,)."""

    def judge(self, logits: np.ndarray, golds: Sequence[str]) -> tuple[float, float]:
        """The metric on validation rows, and the loss that breaks ties."""


class OneLabel:
    """One label of several: softmax, soft targets where a teacher gave probabilities, balanced rows."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def targets(self, rows: Sequence[Row]) -> np.ndarray:
        return soft_targets(rows, self._recipe.labels)

    def weights(self, rows: Sequence[Row]) -> np.ndarray:
        return row_weights(rows, self._recipe.labels)

    def head(self, features: np.ndarray, targets: np.ndarray, weights: np.ndarray, seed: int) -> LinearHead:
        return fit_head(features, targets, weights, seed)

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.nn.functional.cross_entropy(logits, targets, reduction="none")

    def judge(self, logits: np.ndarray, golds: Sequence[str]) -> tuple[float, float]:
        import numpy as np
        import torch

        labels, found = list(self._recipe.labels), torch.from_numpy(logits)
        predictions = [labels[i] for i in found.argmax(1).tolist()]
        at = {label: i for i, label in enumerate(labels)}
        known = [i for i, g in enumerate(golds) if g in at]
        gold = torch.tensor([at[golds[i]] for i in known], dtype=torch.long)
        loss = float(torch.nn.functional.cross_entropy(found[known], gold)) if known else np.inf
        return score(self._recipe.metric, golds, predictions, labels), loss


@dataclass(frozen=True)
class _Texts:
    """Tokenised rows and what they teach: float32 targets (n, outputs) and weights (n,)."""

    student: Student
    goal: Goal
    ids: list[list[int]]
    targets: torch.Tensor
    row_weights: torch.Tensor

    @property
    def lengths(self) -> list[int]:
        return [len(i) for i in self.ids]

    def loss(self, batch: list[int]) -> torch.Tensor:
        padded = beside(self.student.module, self.student.pad([self.ids[i] for i in batch]))
        with autocast(device_of(self.student.module).type):
            logits = self.student.logits(padded)
        weights = self.row_weights[batch].to(logits.device)
        each = self.goal.loss(logits.float(), self.targets[batch].to(logits.device))
        return (each * weights).sum() / weights.sum()

    def weight(self, batch: list[int]) -> float:
        return float(self.row_weights[batch].sum())


def train(
    recipe: Recipe,
    student: Student,
    rows: Sequence[Row],
    validation: Sequence[Row],
    on_progress: OnProgress,
    goal: Goal | None = None,
) -> TrainResult:
    """Train ``student`` on ``rows`` towards ``goal`` (one label); its weights end as those best on ``validation``.

    The same recipe, rows and number of cores give the same weights on a CPU. Raises ``ValueError`` for no rows or a
    label that the recipe has not.
    """
    import torch

    if not rows or not validation:
        raise ValueError("training needs rows and validation rows")
    began, goal = time.monotonic(), goal or OneLabel(recipe)
    begin(recipe, student)
    max_length, truncated = _cut(student, [r.input for r in rows])
    ids = student.encode_texts([r.input for r in rows], max_length)
    data = _Texts(
        student, goal, ids, torch.from_numpy(goal.targets(rows)), torch.from_numpy(goal.weights(rows))
    )  # fmt: skip
    golds, held_out = [r.output for r in validation], student.encode_texts([r.input for r in validation])

    def judge(number: int, loss: float | None) -> Epoch:
        value, validation_loss = goal.judge(_all(student, student.logits, held_out, recipe.batch_tokens), golds)
        return Epoch(number, loss, value, validation_loss)

    start = None
    if student.pooled:
        chosen = _head_rows(recipe, len(rows))
        features = _all(student, student.features, [ids[i] for i in chosen], recipe.batch_tokens)
        head = goal.head(features, data.targets[chosen].numpy(), data.row_weights[chosen].numpy(), recipe.seed)
        student.set_head(head.weights, head.bias)
        start = judge(0, None)
    return fit(
        recipe,
        student,
        data,
        judge,
        on_progress,
        rows=len(rows),
        began=began,
        start=start,
        loop=recipe.method == "full" or not student.pooled,
        truncated=truncated,
        max_length=max_length,
        weighted=isinstance(goal, OneLabel) and unbalanced(rows),
    )


def _head_rows(recipe: Recipe, rows: int) -> list[int]:
    """The rows that the head is fitted on: a sample where the encoder's training goes on from there."""
    labels = max(1, len(recipe.labels))
    quick = min(HEAD_ROWS_A_LABEL * labels, MOST_CROSS_VALIDATED // labels)
    enough = max(HEAD_ROWS, quick, LEAST_HEAD_ROWS_A_LABEL * labels)
    if recipe.method == "frozen" or rows <= enough:
        return list(range(rows))
    return sorted(random.Random(recipe.seed).sample(range(rows), enough))


def _all(student: Student, fn: Callable[[Any], torch.Tensor], ids: list[list[int]], tokens: int) -> np.ndarray:
    """``fn`` of every text, in order: float32 of shape (n, ...)."""
    import numpy as np

    return np.stack(every(student.module, student.pad, fn, ids, [len(i) for i in ids], tokens))


def _cut(student: Student, texts: Sequence[str]) -> tuple[int, int]:
    """The length in tokens to cut training texts at, and how many texts are longer."""
    import numpy as np

    lengths = np.array([len(i) for i in student.encode_texts(texts, student.longest)])
    longest = min(LONGEST, student.longest, int(np.ceil(np.percentile(lengths, LENGTH_PERCENTILE) / 8) * 8))
    return longest, int((lengths > longest).sum())
