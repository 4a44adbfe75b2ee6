"""Whether an exported model answers as the delivered one does, on the validation rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from p2m.evaluate.intervals import Estimate, interval
from p2m.evaluate.predict import Prediction
from p2m.rows import Row
from p2m.task.spec import Metric

# float32 sums in another order differ in the sixth digit; the rest is room for another processor's.
SAME = 1e-3
# In points of the metric over 100.
LOSS_WARNED = 0.005


@dataclass(frozen=True)
class Parity:
    """``equal`` of ``n`` rows have the same label; ``largest_difference`` is of any label's probability on any row.

    ``before`` and ``after`` are the metric of the delivered and of the exported model, on these rows.
    """

    n: int
    equal: int
    largest_difference: float
    before: Estimate
    after: Estimate

    @property
    def loss(self) -> float:
        """What the export cost, as a fraction of 1; negative where it answers more rows right."""
        return self.before.value - self.after.value

    @property
    def is_same(self) -> bool:
        """Whether the two are one model but for rounding."""
        return self.largest_difference <= SAME

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "equal_share": self.equal / self.n, "loss": self.loss}

    def __str__(self) -> str:
        return (
            f"{self.equal} of {self.n} validation labels equal, largest difference of a probability "
            f"{self.largest_difference:.2g}; {self.before.metric} {self.before.value:.3f} before, "
            f"{self.after.value:.3f} after"
        )


def compare(
    rows: Sequence[Row],
    before: Sequence[Prediction],
    after: Sequence[Prediction],
    metric: Metric,
    labels: Sequence[str],
) -> Parity:
    """Compare two models' predictions on the same rows. Raises ``ValueError`` for no rows or unequal lengths."""
    pairs = list(zip(before, after, strict=True))
    golds = [row.output for row in rows]
    return Parity(
        n=len(rows),
        equal=sum(b.label == a.label for b, a in pairs),
        largest_difference=max(abs(b.probs[x] - a.probs[x]) for b, a in pairs if b.probs and a.probs for x in labels),
        before=interval(metric, golds, [b.label for b in before], labels=labels),
        after=interval(metric, golds, [a.label for a in after], labels=labels),
    )
