"""Two systems on the same rows: the difference of their scores, with its interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from p2m.evaluate.metrics import Answer, chrf_over_rows, macro_f1_over_rows, right, score
from p2m.task.spec import Metric

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 2000


def difference(
    metric: Metric,
    golds: Sequence[str],
    first: Sequence[Answer],
    second: Sequence[Answer],
    labels: Sequence[str] = (),
    *,
    seed: int = 0,
) -> tuple[float, float, float]:
    """``metric`` of ``first`` less that of ``second``, and its 95% interval: (difference, low, high).

    A percentile bootstrap over the rows, in pairs (Efron and Tibshirani 1993, "An Introduction to the Bootstrap",
    chapter 13): it is far narrower than two intervals side by side, since what makes a row hard is hard for both.
    Raises ``ValueError`` for no rows or unequal lengths.
    """
    import numpy as np

    n = len(golds)
    gap = score(metric, golds, first, labels) - score(metric, golds, second, labels)
    one, other = (_over_rows(metric, golds, answers, labels) for answers in (first, second))
    index = np.random.default_rng(seed).integers(n, size=(RESAMPLES, n))
    low, high = np.quantile(one(index) - other(index), (0.025, 0.975))
    return gap, min(gap, float(low)), max(gap, float(high))


def _over_rows(
    metric: Metric, golds: Sequence[str], answers: Sequence[Answer], labels: Sequence[str]
) -> Callable[[np.ndarray], np.ndarray]:
    """Row indices of shape (..., n) to values of shape (...)."""
    import numpy as np

    if metric in ("accuracy", "exact_match"):
        hits = np.array(right(metric, golds, answers), dtype=float)
        return lambda index: hits[index].mean(-1)
    if metric == "macro_f1":
        return macro_f1_over_rows(golds, answers, labels)
    return chrf_over_rows(golds, answers, None)
