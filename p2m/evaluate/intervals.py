"""95% intervals for a metric on named rows: Wilson for shares of right answers, BCa bootstrap for the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from p2m.evaluate.counted import Statistic
from p2m.evaluate.metrics import CORRELATIONS, SHARES, Answer, over_rows
from p2m.task.spec import Metric

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 5000


@dataclass(frozen=True)
class Estimate:
    """``value`` of ``metric`` on ``n`` rows, as a fraction of 1, in its 95% interval ``[low, high]``."""

    metric: str
    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, Any]:
        """The five fields, for a journal or a ``Score``."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.metric} {self.value:.3f} ({self.low:.3f} to {self.high:.3f}, n = {self.n})"

    @property
    def short(self) -> str:
        """``0.840 (0.773 to 0.890)``."""
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"

    @property
    def width(self) -> float:
        """Of the interval."""
        return self.high - self.low


def wilson(correct: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of a proportion: ``correct`` of ``n``, as fractions of 1. No rows: (0, 1).

    Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference". Unlike the normal
    approximation it keeps its coverage on few rows and at 0 or all right.
    """
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p = correct / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * ((p * (1 - p) + z * z / (4 * n)) / n) ** 0.5 / (1 + z * z / n)
    # At an end the bound is the end itself; rounding must not put it beside.
    return (0.0 if correct <= 0 else max(0.0, middle - half)), (1.0 if correct >= n else min(1.0, middle + half))


def bca(
    metric_fn: Callable[[list[str], list[Answer]], float],
    golds: Sequence[str],
    predictions: Sequence[Answer],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval of any metric, rows drawn in pairs of gold and prediction.

    Efron 1987, "Better Bootstrap Confidence Intervals"; ``scipy.stats.bootstrap``. Where BCa has none (every
    resample scores the same, as when all or none are right): see ``bca_over_rows``.
    """
    import numpy as np

    def of_rows(index: np.ndarray) -> float:
        return metric_fn([golds[i] for i in index], [predictions[i] for i in index])

    def statistic(index: np.ndarray) -> np.ndarray:
        return np.apply_along_axis(of_rows, -1, index)

    return bca_over_rows(statistic, len(golds), confidence=confidence, resamples=resamples, seed=seed)


def bca_over_rows(
    statistic: Statistic, n: int, *, confidence: float, resamples: int, seed: int, least: float = 0.0
) -> tuple[float, float]:
    """BCa where ``statistic`` maps integer row indices of shape (..., n) to values from ``least`` to 1 of shape (...).

    A degenerate bootstrap falls back to Wilson's interval with ``value * n`` of ``n`` right (the value as a share of
    the way from ``least`` to 1): a mean of values in [0, 1] varies at most as much as a proportion, so the interval
    claims no more than the rows can tell.
    """
    import warnings

    import numpy as np
    from scipy.stats import bootstrap

    rows = np.arange(n)
    value = float(statistic(rows))
    low = high = float("nan")
    if n > 1:
        with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
            # scipy says "the BCa confidence interval cannot be calculated": that is the fallback's case.
            warnings.simplefilter("ignore")
            found = bootstrap(
                (rows,),
                lambda index, axis=-1: statistic(index),
                n_resamples=resamples,
                batch=max(1, 500_000 // n),
                vectorized=True,
                confidence_level=confidence,
                method="BCa",
                rng=np.random.default_rng(seed),
            ).confidence_interval
        low, high = float(found.low), float(found.high)
    if not (np.isfinite(low) and np.isfinite(high)) or low == high:
        low, high = wilson((value - least) / (1 - least) * n, n, confidence)
        return least + (1 - least) * low, least + (1 - least) * high
    # The bias correction can move both ends to one side of a skewed metric's value; a report that contradicts
    # itself helps nobody, so the interval is widened to hold the value.
    return max(least, min(low, value)), min(1.0, max(high, value))


def interval(
    metric: Metric,
    golds: Sequence[str],
    predictions: Sequence[Answer],
    *,
    labels: Sequence[str] = (),
    also: Sequence[Sequence[str]] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """``metric`` on these rows with its interval: Wilson for the share of right rows, BCa for every other metric.

    Arguments as for ``score``. Raises ``ValueError`` for no rows.
    """
    import numpy as np

    n = len(golds)
    statistic = over_rows(metric, golds, predictions, labels, also)
    value = float(statistic(np.arange(n)))
    if metric in SHARES:
        low, high = wilson(round(value * n), n, confidence)
    else:
        least = -1.0 if metric in CORRELATIONS else 0.0
        low, high = bca_over_rows(statistic, n, confidence=confidence, resamples=RESAMPLES, seed=seed, least=least)
    return Estimate(metric, value, low, high, n)
