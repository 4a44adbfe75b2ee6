"""Metrics that are functions of counts summed over rows: once counted, a thousand resamples are one matrix product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np


class Statistic(Protocol):
    """A metric of chosen rows, many choices at once."""

    def __call__(self, index: np.ndarray) -> np.ndarray:
        """Row indices of shape (..., m), a row as often as it is drawn, to values of shape (...)."""


@dataclass(frozen=True)
class Counted:
    """``counts`` of shape (n, k), and ``formula`` from their sums, of shape (..., k), to values of shape (...)."""

    counts: np.ndarray
    formula: Callable[[np.ndarray], np.ndarray]

    @property
    def value(self) -> float:
        """The metric on all rows."""
        return float(self.formula(self.counts.sum(axis=0)))

    def __call__(self, index: np.ndarray) -> np.ndarray:
        import numpy as np

        n = len(self.counts)
        flat = index.reshape(-1, index.shape[-1])
        offset = np.arange(len(flat))[:, None] * n
        drawn = np.bincount((flat + offset).ravel(), minlength=len(flat) * n).reshape(len(flat), n)
        return self.formula(drawn.astype(float) @ self.counts).reshape(index.shape[:-1])


def mean_of(values: list[float] | np.ndarray) -> Counted:
    """The mean of a value a row."""
    import numpy as np

    each = np.asarray(values, dtype=float)
    counts = np.stack([each, np.ones(len(each))], axis=1)
    return Counted(counts, lambda sums: sums[..., 0] / sums[..., 1])


def f1(hits: np.ndarray, total: np.ndarray) -> np.ndarray:
    """``2 hits / total``, where ``total`` counts the right ones and the answered ones; 0 where it is 0."""
    import numpy as np

    return np.where(total > 0, 2 * hits / np.maximum(total, 1), 0.0)
