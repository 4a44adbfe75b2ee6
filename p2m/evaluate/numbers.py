"""How predicted numbers stand to the right ones (``p2m.outputs``): their order, and their distance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from p2m.evaluate.counted import Counted, Statistic, mean_of
from p2m.outputs import parse_number

if TYPE_CHECKING:
    import numpy as np

Answer = str | None


def spearman(golds: Sequence[str], predictions: Sequence[Answer]) -> Statistic:
    """Spearman's rank correlation: from -1 to 1, ties share their mean rank; 0 where one side is the same in every row.

    A prediction that is no number ranks in the middle, where it says nothing. Raises ``ValueError`` for a gold that is
    none.
    """
    import numpy as np
    from scipy.stats import rankdata

    gold, said = _read(golds, predictions)

    def statistic(index: np.ndarray) -> np.ndarray:
        ranks = [rankdata(side[index], axis=-1) - (index.shape[-1] + 1) / 2 for side in (gold, said)]
        spread = np.sqrt((ranks[0] ** 2).sum(axis=-1) * (ranks[1] ** 2).sum(axis=-1))
        together = (ranks[0] * ranks[1]).sum(axis=-1)
        return np.where(spread > 0, together / np.where(spread > 0, spread, 1.0), 0.0)

    return statistic


def mean_absolute_error(golds: Sequence[str], predictions: Sequence[Answer]) -> Counted:
    """Mean distance to the right number, in its own unit: smaller is better, so no target is set on it."""
    import numpy as np

    gold, said = _read(golds, predictions)
    return mean_of(np.abs(gold - said))


def _read(golds: Sequence[str], predictions: Sequence[Answer]) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    said = np.array([_number(p) for p in predictions])
    known = said[~np.isnan(said)]
    middle = float(np.median(known)) if len(known) else 0.0
    return np.array([parse_number(g) for g in golds]), np.where(np.isnan(said), middle, said)


def _number(answer: Answer) -> float:
    try:
        return parse_number(answer) if answer is not None else float("nan")
    except ValueError:
        return float("nan")
