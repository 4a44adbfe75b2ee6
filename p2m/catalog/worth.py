"""Is a dataset worth training on? A quick head with and without its rows, on held-out validation rows."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from p2m.catalog.base import Embed
from p2m.catalog.importing import balanced
from p2m.rows import Row
from p2m.train.heads import MIDDLE, fit_head, fit_head_at

if TYPE_CHECKING:
    import numpy as np

Verdict = Literal["helps", "no clear difference", "harms", "better than chance", "below chance", "not measured"]

DRAWS = 3
RESAMPLES = 2000
MOST_ROWS, MOST_OTHERS = 300, 300
DRAWN_SHARE = 0.8  # of a dataset smaller than a sample, so that the draws differ
LEAST_VALIDATION = 20


@dataclass(frozen=True)
class Worth:
    """Accuracy on ``n`` validation rows, as fractions of 1. ``difference`` is ``with_rows - without`` in its 95%
    interval ``[low, high]``; these are None where there are no other rows to compare with.

    ``alone`` is the accuracy of the dataset's rows alone on the ``alone_n`` validation rows whose label it has, and
    ``chance`` what guessing one of those labels would score. ``rows`` of the dataset and ``others`` other rows were
    used in each draw. ``held_out`` names the held-out rows. ``harmful`` is the verdict that code acts on.
    """

    verdict: Verdict
    harmful: bool
    n: int = 0
    rows: int = 0
    others: int = 0
    with_rows: float | None = None
    without: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    alone: float | None = None
    alone_n: int = 0
    chance: float | None = None
    held_out: str = ""
    why: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The fields, for a journal."""
        return {k: v for k, v in asdict(self).items() if v not in (None, "")}

    def words(self) -> str:
        """One sentence with the numbers."""
        if self.verdict == "not measured":
            return f"its worth is not measured: {self.why}"
        parts = [f"a quick head on its rows alone has accuracy {self.alone:.3f}, chance {self.chance:.3f}"]
        if self.difference is not None:
            parts.insert(
                0,
                f"a quick head has accuracy {self.with_rows:.3f} with its rows, {self.without:.3f} without: "
                f"{self.difference:+.3f} [{self.low:+.3f}, {self.high:+.3f}]",
            )
        return f"{self.verdict}: {'; '.join(parts)} (on {self.n} validation rows)"


def worth(
    rows: Sequence[Row],
    others: Sequence[Row],
    validation: Sequence[Row],
    embed: Embed,
    *,
    seed: int,
    trusted: bool,
    held_out: str = "",
) -> Worth:
    """Judge a dataset's mapped ``rows`` beside the ``others`` in use (demonstrations too) on ``validation``.

    Frozen embeddings, ``p2m.train.heads``; ``DRAWS`` label-balanced samples of ``rows``. The interval is a percentile
    bootstrap over validation rows, in pairs, and over the draws (Efron and Tibshirani 1993, "An Introduction to the
    Bootstrap", chapter 13). Harmful is a difference whose interval lies below zero, or rows that alone are no better
    than chance and do not clearly help. ``trusted`` False (validation rows that a teacher wrote) leaves the first
    rule out: real rows may well lower a score on written ones.
    """
    labels = sorted({r.output for r in (*rows, *others)})
    mine = {r.output for r in rows}
    if len(validation) < LEAST_VALIDATION:
        return _unmeasured(f"{len(validation)} validation rows are too few", held_out)
    if len(mine) < 2:
        return _unmeasured("it has rows of one label only", held_out)
    rng = random.Random(repr(("worth", seed, len(rows), len(others))))
    others = balanced(others, MOST_OTHERS, rng, by_label=True)
    size = min(MOST_ROWS, int(DRAWN_SHARE * len(rows)))
    draws = [balanced(rows, size, rng, by_label=True) for _ in range(DRAWS)]
    column = {label: i for i, label in enumerate(labels)}
    gold = [column.get(r.output, -1) for r in validation]
    texts = embed([r.input for r in validation])

    def right(train: Sequence[Row], strength: float | None) -> tuple[np.ndarray, float]:
        return _right(train, column, embed, texts, gold, seed, strength)

    asked = [i for i, r in enumerate(validation) if r.output in mine]
    found = Worth(
        "better than chance",
        False,
        n=len(validation),
        rows=size,
        others=len(others),
        alone_n=len(asked),
        chance=round(1 / len(mine), 4),
        held_out=held_out,
    )
    strength = MIDDLE
    clearly_helps = clearly_harms = False
    if len({r.output for r in others}) > 1:
        without, _ = right(others, None)
        first, strength = right([*others, *draws[0]], None)
        each = [first, *(right([*others, *draw], strength)[0] for draw in draws[1:])]
        found, clearly_helps, clearly_harms = _compared(found, each, without, seed)
    alone, _ = right(draws[0], strength)
    alone_value = float(alone[asked].mean()) if asked else 0.0
    found = replace(found, alone=round(alone_value, 4))
    below = len(asked) >= LEAST_VALIDATION and alone_value <= 1 / len(mine) and not clearly_helps
    verdict: Verdict = "below chance" if below else "helps" if clearly_helps else found.verdict
    verdict = "harms" if clearly_harms and not below else verdict
    return replace(found, verdict=verdict, harmful=below or (clearly_harms and trusted))


def _compared(found: Worth, each: Sequence[np.ndarray], without: np.ndarray, seed: int) -> tuple[Worth, bool, bool]:
    """``found`` with the difference and its interval; whether that lies above zero; whether below."""
    import numpy as np

    gains = np.stack(each).astype(float) - without
    rng = np.random.default_rng(seed)
    draws, n = gains.shape
    means = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        # One draw a resample: the deployed student is trained once, so a draw's own luck belongs in the interval.
        means[i] = gains[rng.integers(draws)][rng.integers(n, size=n)].mean()
    low, high = (float(x) for x in np.quantile(means, (0.025, 0.975)))
    compared = replace(
        found,
        verdict="no clear difference",
        with_rows=round(float(np.stack(each).mean()), 4),
        without=round(float(without.mean()), 4),
        difference=round(float(gains.mean()), 4),
        low=round(low, 4),
        high=round(high, 4),
    )
    return compared, low > 0, high < 0


def _right(
    train: Sequence[Row],
    column: dict[str, int],
    embed: Embed,
    texts: np.ndarray,
    gold: Sequence[int],
    seed: int,
    strength: float | None,
) -> tuple[np.ndarray, float]:
    """Which validation rows a head trained on ``train`` has right, shape (n,); and its strength (chosen if None)."""
    import numpy as np

    counts = Counter(r.output for r in train)
    features = embed([r.input for r in train])
    targets = np.eye(len(column))[[column[r.output] for r in train]]
    # Each label weighs the same: a balanced sample beside unbalanced others must not win by its shape alone.
    weights = np.array([len(train) / (len(counts) * counts[r.output]) for r in train])
    if strength is None:
        head = fit_head(features, targets, weights, seed)
    else:
        head = fit_head_at(features, targets, weights, strength)
    return head.logits(texts).argmax(1) == np.array(gold), head.strength


def _unmeasured(why: str, held_out: str) -> Worth:
    return Worth("not measured", False, held_out=held_out, why=why)
