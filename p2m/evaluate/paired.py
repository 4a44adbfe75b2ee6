"""Two systems on the same rows: the difference of their scores, with its interval."""

from __future__ import annotations

from collections.abc import Sequence

from p2m.evaluate.metrics import Answer, over_rows
from p2m.task.spec import Metric

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
    one, other = (over_rows(metric, golds, answers, labels) for answers in (first, second))
    gap = float(one(np.arange(n)) - other(np.arange(n)))
    index = np.random.default_rng(seed).integers(n, size=(RESAMPLES, n))
    low, high = np.quantile(one(index) - other(index), (0.025, 0.975))
    return gap, min(gap, float(low)), max(gap, float(high))
