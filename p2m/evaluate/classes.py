"""Macro-F1, micro-F1 and Matthews' correlation, on single labels and on label sets (``p2m.outputs``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from p2m.evaluate.counted import Counted, f1
from p2m.outputs import parse_labels

if TYPE_CHECKING:
    import numpy as np

Answer = str | None


def macro_f1(golds: Sequence[str], predictions: Sequence[Answer], labels: Sequence[str] = ()) -> Counted:
    """Mean F1 over those of ``labels`` (default: all) that some row has or some prediction says, as scikit-learn does:
    of a label that a file has no row of, and that no answer names, nothing is known."""
    import numpy as np

    gold, said = _sets(golds, labels), _sets(predictions, labels)
    names = list(labels) or _seen(gold, said)
    k = len(names)

    def formula(sums: np.ndarray) -> np.ndarray:
        there = sums[..., k : 2 * k]
        return f1(sums[..., :k], there).sum(axis=-1) / np.maximum((there > 0).sum(axis=-1), 1)

    return Counted(_counts(gold, said, names)[:, : 2 * k], formula)


def micro_f1(golds: Sequence[str], predictions: Sequence[Answer], labels: Sequence[str] = ()) -> Counted:
    """F1 over all (row, label) pairs; a predicted label that is none of the task's is a wrong pair."""
    import numpy as np

    gold, said = _sets(golds, labels), _sets(predictions, labels)
    hits = [len(g & s) for g, s in zip(gold, said, strict=True)]
    total = [len(g) + len(s) for g, s in zip(gold, said, strict=True)]
    return Counted(np.array([hits, total], dtype=float).T, lambda sums: f1(sums[..., 0], sums[..., 1]))


def mcc(golds: Sequence[str], predictions: Sequence[Answer]) -> Counted:
    """Matthews' correlation for any number of labels: from -1 to 1, 0 where one side says the same of every row.

    Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient".
    """
    import numpy as np

    # No answer is a class of its own, as is each label that the task has not.
    gold, said = [{g} for g in golds], [{p} if p is not None else {""} for p in predictions]
    names = _seen(gold, said)
    at, k, n = {name: i for i, name in enumerate(names)}, len(names), len(golds)
    counts = np.zeros((n, 2 * k + 2))
    for i, (g, p) in enumerate(zip(golds, predictions, strict=True)):
        counts[i, at[g]] = counts[i, k + at[p or ""]] = counts[i, 2 * k] = 1
        counts[i, 2 * k + 1] = g == p

    def formula(sums: np.ndarray) -> np.ndarray:
        golds_of, said_of, rows, right = sums[..., :k], sums[..., k : 2 * k], sums[..., 2 * k], sums[..., 2 * k + 1]
        together = right * rows - (golds_of * said_of).sum(axis=-1)
        spread = (rows**2 - (golds_of**2).sum(axis=-1)) * (rows**2 - (said_of**2).sum(axis=-1))
        return np.where(spread > 0, together / np.sqrt(np.maximum(spread, 1)), 0.0)

    return Counted(counts, formula)


def _sets(answers: Sequence[Answer], labels: Sequence[str]) -> list[set[str]]:
    known = frozenset(labels)
    return [set(parse_labels(a, known)) if a is not None else set() for a in answers]


def _seen(*sides: list[set[str]]) -> list[str]:
    return sorted(set().union(*(each for side in sides for each in side)))


def _counts(gold: list[set[str]], said: list[set[str]], names: Sequence[str]) -> np.ndarray:
    """Of each row and label: right, then how often it is in the two sets."""
    import numpy as np

    at, k = {name: i for i, name in enumerate(names)}, len(names)
    counts = np.zeros((len(gold), 2 * k))
    for i, (g, s) in enumerate(zip(gold, said, strict=True)):
        for name in g | s:
            if name in at:
                counts[i, at[name]] = name in g and name in s
                counts[i, k + at[name]] = (name in g) + (name in s)
    return counts
