"""What a row teaches: a probability for each label, and how much the row counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from p2m.rows import Row

if TYPE_CHECKING:
    import numpy as np

# A row's own label and the teacher's probabilities, half each (Hinton et al. 2015, "Distilling the Knowledge in a
# Neural Network", mix soft and hard targets too).
SOFT_SHARE = 0.5
# The largest label this many times the smallest is unbalanced.
UNBALANCED = 3.0


def soft_targets(rows: Sequence[Row], labels: Sequence[str]) -> np.ndarray:
    """Target distributions, float32 of shape (rows, labels): one-hot, or mixed with ``Row.probs`` where there are any.

    Probabilities of unknown labels are dropped and the rest scaled to 1. Raises ``ValueError`` for a row whose
    ``output`` is not in ``labels``.
    """
    import numpy as np

    at = {label: i for i, label in enumerate(labels)}
    targets = np.zeros((len(rows), len(labels)), dtype=np.float32)
    for i, row in enumerate(rows):
        if row.output not in at:
            raise ValueError(f"the row's label {row.output!r} is not one of the task's")
        known = {at[k]: p for k, p in (row.probs or {}).items() if k in at and p > 0}
        total = sum(known.values())
        for k, p in known.items():
            targets[i, k] = SOFT_SHARE * p / total
        targets[i, at[row.output]] += 1 - SOFT_SHARE if known else 1.0
    return targets


def row_weights(rows: Sequence[Row], labels: Sequence[str]) -> np.ndarray:
    """Weight of each row, float32, mean 1: the same for all, or where labels are unbalanced the same sum a label."""
    import numpy as np

    counts = Counter(row.output for row in rows)
    present = [label for label in labels if counts[label]]
    if not unbalanced(rows):
        return np.ones(len(rows), dtype=np.float32)
    return np.array([len(rows) / (len(present) * counts[row.output]) for row in rows], dtype=np.float32)


def unbalanced(rows: Sequence[Row]) -> bool:
    """Whether the largest label has over three times the rows of the smallest that has any."""
    counts = Counter(row.output for row in rows).values()
    return bool(counts) and max(counts) > UNBALANCED * min(counts)
