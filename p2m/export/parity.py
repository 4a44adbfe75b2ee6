"""Whether an exported model answers as the delivered one does, on the validation rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from p2m import kinds
from p2m.evaluate.intervals import Estimate
from p2m.evaluate.predict import Prediction
from p2m.outputs import parse_number
from p2m.rows import Row
from p2m.task.spec import TaskSpec

# float32 sums in another order differ in the sixth digit; the rest is room for another processor's.
SAME = 1e-3
# Of a rating's scale: what counts as the same rating.
SAME_RATING = 0.01
# In points of the metric over 100.
LOSS_WARNED = 0.005


@dataclass(frozen=True)
class Parity:
    """``equal`` of ``n`` rows have the same answer, ratings within a hundredth of their scale; ``largest_difference``
    is of any label's probability on any row, or of a rating as a share of its scale; None where answers are words.

    ``before`` and ``after`` are the metric of the delivered and of the exported model, on these rows.
    """

    n: int
    equal: int
    largest_difference: float | None
    before: Estimate
    after: Estimate
    rated: bool = False

    @property
    def loss(self) -> float:
        """What the export cost, as a fraction of 1; negative where it answers more rows right."""
        return self.before.value - self.after.value

    @property
    def is_same(self) -> bool:
        """Whether the two are one model but for rounding: by their numbers where they say some, else by their words, of
        which a tie in a hundred may fall otherwise."""
        if self.largest_difference is None:
            return self.n - self.equal <= self.n // 100
        return self.largest_difference <= SAME

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "equal_share": self.equal / self.n, "loss": self.loss}

    @property
    def difference(self) -> str:
        """In words; empty where answers have no numbers."""
        if self.largest_difference is None:
            return ""
        much = f"{self.largest_difference:.2g}"
        return "largest difference of a " + (f"rating {much} of the scale" if self.rated else f"probability {much}")

    def __str__(self) -> str:
        difference = f", {self.difference}" if self.difference else ""
        return (
            f"{self.equal} of {self.n} validation answers equal{difference}; {self.before.metric} "
            f"{self.before.value:.3f} before, {self.after.value:.3f} after"
        )


def compare(rows: Sequence[Row], before: Sequence[Prediction], after: Sequence[Prediction], task: TaskSpec) -> Parity:
    """Compare two models' predictions on the same rows. Raises ``ValueError`` for no rows or unequal lengths."""
    if not rows or len(rows) != len(before) or len(rows) != len(after):
        raise ValueError("two models are compared on the same rows, one at least")
    kind, pairs = kinds.of(task), list(zip(before, after, strict=True))
    differences: list[float] = []
    if kind.name == "score":
        low, high = task.scale or (0.0, 1.0)
        differences = [abs(parse_number(b.output) - parse_number(a.output)) / (high - low) for b, a in pairs]
        equal = sum(d <= SAME_RATING for d in differences)
    else:
        differences = [abs(b.probs[x] - a.probs[x]) for b, a in pairs if b.probs and a.probs for x in b.probs]
        equal = sum(b.output == a.output for b, a in pairs)
    return Parity(
        n=len(rows),
        equal=equal,
        largest_difference=max(differences) if differences else None,
        before=kind.estimate(task, rows, [b.output for b in before]),
        after=kind.estimate(task, rows, [a.output for a in after]),
        rated=kind.name == "score",
    )
