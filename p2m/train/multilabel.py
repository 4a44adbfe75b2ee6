"""Several labels a text: each label's own yes or no, and where its yes begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from p2m.evaluate.metrics import score
from p2m.outputs import format_labels, parse_labels
from p2m.rows import Row
from p2m.train.fit import train
from p2m.train.heads import LinearHead, fit_one_vs_rest
from p2m.train.loop import OnProgress
from p2m.train.recipe import Recipe, TrainResult
from p2m.train.student import Student

if TYPE_CHECKING:
    import numpy as np
    import torch

HALF = 0.5
# A threshold chosen on fewer right rows of a label fits their noise.
ENOUGH_OF_LABEL = 10
ENOUGH_OF_ALL = 20
GRID = tuple(round(0.05 * i, 2) for i in range(1, 19))


class LabelSets:
    """Binary cross-entropy for each label, summed over labels."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def targets(self, rows: Sequence[Row]) -> np.ndarray:
        """1 for a label of the row. Raises ``ValueError`` for a label that the task has not."""
        return indicator([row.output for row in rows], self._recipe.labels)

    def weights(self, rows: Sequence[Row]) -> np.ndarray:
        import numpy as np

        return np.ones(len(rows), dtype=np.float32)

    def head(self, features: np.ndarray, targets: np.ndarray, weights: np.ndarray, seed: int) -> LinearHead:
        return fit_one_vs_rest(features, targets, weights)

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1)

    def judge(self, logits: np.ndarray, golds: Sequence[str]) -> tuple[float, float]:
        """Scored at the best shared threshold: at 0.5 an early epoch that says no to everything looks worthless."""
        import torch

        labels = self._recipe.labels
        gold = indicator(golds, labels)
        probs = 1 / (1 + _exp(-logits))
        shared = _best(probs, gold) if gold.sum() >= ENOUGH_OF_ALL else HALF
        said = decide(probs, [shared] * len(labels), labels)
        each = torch.nn.functional.binary_cross_entropy_with_logits(torch.from_numpy(logits), torch.from_numpy(gold))
        return score(self._recipe.metric, golds, said, labels), float(each)


def train_label_sets(
    recipe: Recipe, student: Student, rows: Sequence[Row], validation: Sequence[Row], on_progress: OnProgress
) -> TrainResult:
    """Train, then choose the thresholds on ``validation``; they are saved in the configuration as ``thresholds``, in
    the order of the labels. Raises ``ValueError`` as ``p2m.train.fit.train``."""
    import numpy as np

    from p2m.train.loop import every

    result = train(recipe, student, rows, validation, on_progress, LabelSets(recipe))
    ids = student.encode_texts([r.input for r in validation])
    lengths = [len(i) for i in ids]
    logits = np.stack(every(student.module, student.pad, student.logits, ids, lengths, recipe.batch_tokens))
    gold = indicator([r.output for r in validation], recipe.labels)
    student.extra_config["thresholds"] = choose_thresholds(1 / (1 + _exp(-logits)), gold)
    return result


def choose_thresholds(probs: np.ndarray, gold: np.ndarray) -> list[float]:
    """The probability from which each label is given, from probabilities and right answers of shape (n, labels).

    By F1 on these rows: each label's own where 10 rows have it, else the one that is best for all labels together,
    else 0.5 (fewer than 20 right pairs).
    """
    shared = _best(probs, gold) if gold.sum() >= ENOUGH_OF_ALL else HALF
    counts = gold.sum(0)
    return [
        _best(probs[:, [k]], gold[:, [k]]) if counts[k] >= ENOUGH_OF_LABEL else shared for k in range(gold.shape[1])
    ]


def _best(probs: np.ndarray, gold: np.ndarray) -> float:
    """The threshold of the grid with the best F1; of equals the middle one."""
    found = {}
    for t in GRID:
        said = probs > t
        hits = float((said * gold).sum())
        found[t] = round(2 * hits / max(1.0, float(said.sum() + gold.sum())), 6)
    top = [t for t in GRID if found[t] == max(found.values())]
    return top[len(top) // 2]


def decide(probs: np.ndarray, thresholds: Sequence[float], labels: Sequence[str]) -> list[str]:
    """The canonical label set of each row: the labels above their thresholds."""
    import numpy as np

    above = probs > np.asarray(thresholds)
    return [format_labels({labels[int(k)] for k in np.flatnonzero(row)}, labels) for row in above]


def indicator(outputs: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """1 where a row has the label: float32 of shape (n, labels). Raises ``ValueError`` for an unknown label."""
    import numpy as np

    at, known = {label: k for k, label in enumerate(labels)}, frozenset(labels)
    found = np.zeros((len(outputs), len(labels)), dtype=np.float32)
    for i, output in enumerate(outputs):
        for label in parse_labels(output, known):
            if label not in at:
                raise ValueError(f"the row's label {label!r} is not one of the task's")
            found[i, at[label]] = 1.0
    return found


def _exp(x: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.exp(np.clip(x, -60, 60))
