"""Prediction-powered inference: a few rows that a person labelled correct a score on many that the teacher labelled.

Angelopoulos, Bates, Fannjiang, Jordan and Zrnic 2023, "Prediction-Powered Inference"; with the weight of Angelopoulos,
Duchi and Zrnic 2023, "PPI++: Efficient Prediction-Powered Inference".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from p2m.evaluate.intervals import Estimate, interval
from p2m.evaluate.metrics import SHARES, row_scores
from p2m.task.spec import Metric

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Correction:
    """A student's score from the user's few rows.

    ``own`` counts these rows alone. ``powered`` adds what ``weight`` (0 to 1) takes from ``generated``, the score on
    the rows that the teacher wrote; it holds where these are drawn like the user's, and is None where the teacher's
    answers on the user's rows are not known or the metric is no share of rows. ``teacher`` is the teacher's own score
    on the user's rows, ``agreement`` how often the student answers there as the teacher does.
    """

    own: Estimate
    generated: Estimate
    powered: Estimate | None = None
    weight: float = 0.0
    teacher: Estimate | None = None
    agreement: Estimate | None = None

    @property
    def shifted(self) -> bool:
        """Whether generated rows are clearly not like the user's: there the student fits the teacher more, or less."""
        found = self.agreement
        return found is not None and not found.low <= self.generated.value <= found.high

    def as_dict(self) -> dict[str, Any]:
        """For a journal; ``of_dict`` reads it back."""
        return asdict(self)

    @classmethod
    def of_dict(cls, raw: Mapping[str, Any]) -> Correction:
        """From what ``as_dict`` gave."""

        def estimate(name: str) -> Estimate | None:
            return Estimate(**raw[name]) if raw[name] else None

        own, generated = Estimate(**raw["own"]), Estimate(**raw["generated"])
        return cls(own, generated, estimate("powered"), raw["weight"], estimate("teacher"), estimate("agreement"))

    def words(self) -> tuple[str, ...]:
        """For a report: the estimate and how wide it is left, what the generated rows add and when, the teacher."""
        own, on_generated = self.own, self.generated
        said = [
            f"The user's own {own.n} rows, which chose and trained nothing, are the estimate: {own}. So few rows leave "
            f"it {100 * own.width:.0f} points wide; the {on_generated.n} generated rows say {on_generated}."
        ]
        if self.powered is not None:
            said.append(
                "Prediction-powered inference, which corrects the generated rows by the user's (weight "
                f"{self.weight:.2f}), says {self.powered.short}, {100 * self.powered.width:.0f} points wide. It holds "
                "only where the teacher writes inputs such as the user's: it is no basis for the verdict."
            )
        if self.shifted and self.agreement is not None:
            said.append(
                f"Here it does not hold: the student answers as the teacher on {self.agreement.value:.0%} of the "
                f"user's rows and on {on_generated.value:.0%} of the generated ones, so these are not like the user's."
            )
        if self.teacher is not None:
            said.append(f"The teacher's own answers on the user's rows: {self.teacher}.")
        return tuple(said)


def powered_mean(
    truth: np.ndarray, proxy: np.ndarray, unlabelled: np.ndarray, confidence: float = 0.95
) -> tuple[float, float, float, float]:
    """Mean of 0/1 values: (value, low, high, weight).

    ``truth`` (n,) are known on few rows, ``proxy`` (n,) stands for it there, ``unlabelled`` (N,) is the proxy on many
    rows of the same distribution. The estimate is mean(truth) + weight (mean(unlabelled) - mean(proxy)), the weight
    Cov(truth, proxy) / ((1 + n/N) Var(proxy)) in [0, 1], which makes its variance least (PPI++, example 6.1).

    The normal interval of so few binary rows is far too short: where truth and proxy agree on all of them it has no
    width. So each way of disagreeing is counted once more (Bonett and Price 2012, "Adjusted Wald Confidence Interval
    for a Difference of Binomial Proportions Based on Paired Data"), and once each value of the unlabelled rows.
    """
    import numpy as np

    y, f = np.append(truth.astype(float), (1.0, 0.0)), np.append(proxy.astype(float), (0.0, 1.0))
    many = np.append(unlabelled.astype(float), (1.0, 0.0))
    n, of = len(y), len(many)
    spread = float(np.append(f, many).var())
    weight = float(np.clip(np.cov(y, f, bias=True)[0, 1] / ((1 + n / of) * spread), 0, 1))
    value = float(y.mean() + weight * (unlabelled.mean() - f.mean()))
    variance = weight**2 * many.var() / of + (y - weight * f).var() / n
    half = NormalDist().inv_cdf(0.5 + confidence / 2) * float(variance) ** 0.5
    return min(1.0, max(0.0, value)), max(0.0, value - half), min(1.0, value + half), weight


def correction(
    metric: Metric,
    golds: Sequence[str],
    predictions: Sequence[str],
    teacher: Sequence[str | None] | None,
    generated: tuple[Sequence[str], Sequence[str]],
    *,
    labels: Sequence[str] = (),
    confidence: float = 0.95,
) -> Correction:
    """From the user's rows (their answers, the student's and the teacher's) and the generated rows (the teacher's
    answers and the student's). ``powered`` is for the share of right rows alone: other metrics are no mean over rows.
    """
    import numpy as np

    own = interval(metric, golds, predictions, labels=labels, confidence=confidence)
    on_generated = interval(metric, *generated, labels=labels, confidence=confidence)
    if teacher is None:
        return Correction(own, on_generated)
    known = interval(metric, golds, teacher, labels=labels, confidence=confidence)
    if metric not in SHARES:
        return Correction(own, on_generated, teacher=known)
    truth = np.array(row_scores(metric, golds, predictions))
    proxy = np.array([float(t == p) for t, p in zip(teacher, predictions, strict=True)])
    value, low, high, weight = powered_mean(truth, proxy, np.array(row_scores(metric, *generated)), confidence)
    agreement = interval(metric, predictions, teacher, confidence=confidence)
    return Correction(own, on_generated, Estimate(metric, value, low, high, len(golds)), weight, known, agreement)
