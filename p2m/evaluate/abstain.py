"""When a classifier should not answer: the confidence below which it is wrong too often."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from p2m.evaluate.intervals import Estimate, wilson

if TYPE_CHECKING:
    import numpy as np

# What is asked of the answers that are kept, where the task sets no target on accuracy.
GOAL = 0.95
# The bound that has to reach the goal: with this confidence the accuracy is higher.
BOUND = 0.9


@dataclass(frozen=True)
class Kept:
    """The rows answered: their accuracy, and their share of all rows (``coverage``), each with its interval.

    ``accuracy`` is None where no row is answered.
    """

    accuracy: Estimate | None
    coverage: Estimate


@dataclass(frozen=True)
class Abstention:
    """Answers less probable than ``threshold`` are held back, so that those kept reach ``goal``.

    ``validation`` is where it was chosen and so optimistic, ``test`` where it was measured, once.
    """

    threshold: float
    goal: float
    validation: Kept
    test: Kept

    def as_dict(self) -> dict[str, Any]:
        """For a journal; ``of_dict`` reads it back."""
        return asdict(self)

    @classmethod
    def of_dict(cls, raw: Mapping[str, Any]) -> Abstention:
        """From what ``as_dict`` gave."""
        return cls(raw["threshold"], raw["goal"], _kept(raw["validation"]), _kept(raw["test"]))

    def words(self) -> str:
        """For a report."""
        if self.threshold == 0:
            return (
                f"Every answer may be kept: on validation all of them reach {self.goal:g}. On the sealed test "
                f"{_said(self.test)}."
            )
        return (
            f"Answers less probable than {self.threshold:g} are better held back (p2m predict --abstain): chosen on "
            f"validation, where those kept reach {self.goal:g} with 90% confidence ({_said(self.validation)}). On the "
            f"sealed test {_said(self.test)}."
        )


def choose_threshold(confidences: np.ndarray, right: np.ndarray, goal: float) -> float | None:
    """The lowest confidence such that answers at or above it are right often enough on validation; None where none is.

    Often enough: the one-sided 90% Wilson bound of their accuracy is at least ``goal``; the share alone would be met
    by luck at some threshold or other. 0 where every answer may be kept; cut to four digits, to be said and typed.
    """
    import numpy as np

    order = np.argsort(-confidences, kind="stable")
    ranked, hits = confidences[order], np.cumsum(right[order])
    best: float | None = None
    for kept in range(1, len(ranked) + 1):
        if kept < len(ranked) and ranked[kept] == ranked[kept - 1]:
            continue  # rows that are equally sure are kept together
        if wilson(float(hits[kept - 1]), kept, 2 * BOUND - 1)[0] >= goal:
            best = 0.0 if kept == len(ranked) else math.floor(1e4 * float(ranked[kept - 1])) / 1e4
    return best


def kept(confidences: np.ndarray, right: np.ndarray, threshold: float, confidence: float = 0.95) -> Kept:
    """What comes of ``threshold`` on these rows, of which there is at least one."""
    n, held = len(confidences), confidences >= threshold
    m, hits = int(held.sum()), float(right[held].sum())
    accuracy = Estimate("accuracy", hits / m, *wilson(hits, m, confidence), m) if m else None
    return Kept(accuracy, Estimate("coverage", m / n, *wilson(m, n, confidence), n))


def answered(labels: Sequence[str], confidences: Sequence[float], threshold: float) -> list[str]:
    """The answers, ``""`` for one less probable than ``threshold``."""
    return [label if p >= threshold else "" for label, p in zip(labels, confidences, strict=True)]


def _said(part: Kept) -> str:
    share = f"of {part.coverage.value:.0%} of the rows ({part.coverage.low:.0%} to {part.coverage.high:.0%})"
    if part.accuracy is None:
        return "no answer is kept"
    return f"the answers {share} are kept, {part.accuracy.short} of them right"


def _kept(raw: Mapping[str, Any]) -> Kept:
    return Kept(Estimate(**raw["accuracy"]) if raw["accuracy"] else None, Estimate(**raw["coverage"]))
