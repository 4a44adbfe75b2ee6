"""Whether a classifier's probabilities are what they say, and one temperature that makes them so.

Guo et al. 2017, "On Calibration of Modern Neural Networks": the expected calibration error, and temperature scaling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

BINS = 15
COLDEST, HOTTEST = 0.05, 20.0
CHANCE_DRAWS = 500
# Probabilities below this come out of no float32 softmax.
_LEAST = 1e-45


@dataclass(frozen=True)
class Calibration:
    """ECE on the sealed test's ``n`` rows, ``before`` and ``after`` dividing the logits by ``temperature``.

    ``chance`` is the ECE that a model with exactly these probabilities after, and right as often as they say, has on
    as many rows: few rows look uncalibrated by luck alone.
    """

    temperature: float
    before: float
    after: float
    chance: float
    n: int

    def as_dict(self) -> dict[str, Any]:
        """For a journal."""
        return asdict(self)

    def words(self) -> str:
        """For a report."""
        return (
            f"Logits are divided by {self.temperature:.2f}, a temperature fitted on validation, in the weights "
            "themselves: no answer changes, and whoever loads the model gets these probabilities. Expected calibration "
            f"error on {self.n} sealed test rows: {self.before:.3f} before, {self.after:.3f} after; on so few rows a "
            f"model that is calibrated has about {self.chance:.3f}."
        )


def probabilities(rows: Sequence[dict[str, float] | None], labels: Sequence[str]) -> np.ndarray:
    """Predicted probabilities as float64 of shape (n, labels). Raises ``ValueError`` for a row without them."""
    import numpy as np

    if any(row is None for row in rows):
        raise ValueError("this kind of model gives no probabilities")
    return np.array([[row[x] for x in labels] for row in rows if row], dtype=float).reshape(len(rows), len(labels))


def fit_temperature(probs: np.ndarray, golds: Sequence[str], labels: Sequence[str]) -> float:
    """The temperature, from 0.05 to 20, with the least cross-entropy on validation rows: ``probs`` (n, labels).

    Gold counts ``1 - 1 / (n + 2)``, the rest spread over the other labels (Platt 1999, "Probabilistic Outputs for
    Support Vector Machines"): else a model that is right on every row would become certain of everything. Rows whose
    gold is not in ``labels`` are left out; without rows it is 1.
    """
    import numpy as np
    from scipy.optimize import minimize_scalar

    at = {label: i for i, label in enumerate(labels)}
    known = [i for i, gold in enumerate(golds) if gold in at]
    if not known:
        return 1.0
    n, k = len(known), len(labels)
    logits = np.log(np.maximum(probs[known], _LEAST))
    targets = np.full((n, k), 1 / (n + 2) / (k - 1))
    targets[np.arange(n), [at[golds[i]] for i in known]] = 1 - 1 / (n + 2)

    def loss(log_temperature: float) -> float:
        return float(-(targets * _log_softmax(logits / np.exp(log_temperature))).sum())

    found = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
    return float(np.exp(found.x))


def at_temperature(probs: np.ndarray, temperature: float) -> np.ndarray:
    """What the probabilities are when the logits are divided by ``temperature``: the same shape, the same order."""
    import numpy as np

    return np.exp(_log_softmax(np.log(np.maximum(probs, _LEAST)) / temperature))


def ece(confidences: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error: 15 bins of equal width, |share right - mean confidence| weighted by their rows.

    ``confidences`` (n,) are the probabilities of the answers, ``right`` (n,) whether these were right. 0 for no rows.
    """
    import numpy as np

    if not len(confidences):
        return 0.0
    bins = np.clip(np.ceil(confidences * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, weights=right.astype(float) - confidences, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidences))


def calibration(probs: np.ndarray, right: np.ndarray, temperature: float, seed: int = 0) -> Calibration:
    """Measure ``temperature`` on rows that it was not fitted on. ``probs`` (n, labels) are those at temperature 1."""
    import numpy as np

    after = at_temperature(probs, temperature).max(axis=1)
    rng = np.random.default_rng(seed)
    drawn = [ece(after, rng.random(len(after)) < after) for _ in range(CHANCE_DRAWS)]
    return Calibration(temperature, ece(probs.max(axis=1), right), ece(after, right), float(np.mean(drawn)), len(right))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    from scipy.special import log_softmax

    return log_softmax(logits, axis=1)
