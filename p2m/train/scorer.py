"""A rating for a text: regression on standardised ratings, saved so that the model says the rating itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from p2m.evaluate.metrics import score
from p2m.outputs import format_number, parse_number
from p2m.rows import Row
from p2m.train.fit import train
from p2m.train.heads import LinearHead, fit_ridge
from p2m.train.loop import OnProgress
from p2m.train.recipe import Recipe, TrainResult
from p2m.train.student import Student

if TYPE_CHECKING:
    import numpy as np
    import torch

NAME = "score"


class Ratings:
    """Squared error on ratings of mean 0 and deviation 1: the loss is of the same size on any scale."""

    def __init__(self, recipe: Recipe, rows: Sequence[Row]) -> None:
        import numpy as np

        values = np.array([parse_number(row.output) for row in rows])
        self._recipe, self.mean, self.spread = recipe, float(values.mean()), float(values.std()) or 1.0

    def targets(self, rows: Sequence[Row]) -> np.ndarray:
        """Standardised ratings of shape (n, 1). Raises ``ValueError`` for what is no number."""
        import numpy as np

        values = [(parse_number(row.output) - self.mean) / self.spread for row in rows]
        return np.array(values, dtype=np.float32)[:, None]

    def weights(self, rows: Sequence[Row]) -> np.ndarray:
        import numpy as np

        return np.ones(len(rows), dtype=np.float32)

    def head(self, features: np.ndarray, targets: np.ndarray, weights: np.ndarray, seed: int) -> LinearHead:
        return fit_ridge(features, targets, weights)

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return ((logits - targets) ** 2).mean(1)

    def judge(self, logits: np.ndarray, golds: Sequence[str]) -> tuple[float, float]:
        import numpy as np

        said = logits[:, 0].astype(float) * self.spread + self.mean
        gold = np.array([parse_number(g) for g in golds])
        value = score(self._recipe.metric, golds, [format_number(float(v)) for v in said])
        return value, float((((said - gold) / self.spread) ** 2).mean())


def train_scorer(
    recipe: Recipe, student: Student, rows: Sequence[Row], validation: Sequence[Row], on_progress: OnProgress
) -> TrainResult:
    """Train ``student`` (one output); its head ends on the scale of the ratings. Raises ``ValueError`` as
    ``p2m.train.fit.train``, and for a rating that is no number."""
    import torch

    if not rows:
        raise ValueError("training needs rows and validation rows")
    goal = Ratings(recipe, rows)
    result = train(recipe, student, rows, validation, on_progress, goal)
    head = student.output_layer
    with torch.no_grad():
        head.weight.mul_(goal.spread)
        head.bias.mul_(goal.spread).add_(goal.mean)
    return result
