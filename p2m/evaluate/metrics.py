"""What a metric is, here: a function of right answers and predictions, as a fraction of 1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2m.task.spec import Metric

if TYPE_CHECKING:
    import numpy as np

Answer = str | None
"""A prediction; None where the model gave no usable answer, which is wrong for every metric."""

# No label is spelled like this: it stands for None among predictions.
_NO_ANSWER = "\x00"


@dataclass(frozen=True)
class LabelScore:
    """One label of a classifier: ``support`` is the number of its gold rows; what has no rows to divide by is 0."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


def score(
    metric: Metric,
    golds: Sequence[str],
    predictions: Sequence[Answer],
    labels: Sequence[str] = (),
    also: Sequence[Sequence[str]] | None = None,
) -> float:
    """The metric's value on these rows.

    ``accuracy``: share of predictions equal to gold. ``macro_f1``: mean F1 over ``labels`` (default: those seen), 0 for
    a label without rows and predictions. ``exact_match``: share equal to gold, or to one of ``also[i]``, but for
    spaces at the ends and runs of spaces. ``chrf``: chrF++ (Popović 2017, "chrF++: words helping character n-grams";
    sacrebleu, word order 2), of the corpus, over 100, each row against gold and ``also[i]``.
    Raises ``ValueError`` for no rows or unequal lengths.
    """
    if not golds or len(golds) != len(predictions):
        raise ValueError(f"cannot score {len(predictions)} predictions on {len(golds)} rows")
    if metric in ("accuracy", "exact_match"):
        return sum(right(metric, golds, predictions, also)) / len(golds)
    if metric == "macro_f1":
        from sklearn.metrics import f1_score

        names = list(labels) or _seen(golds, predictions)
        return float(f1_score(golds, _filled(predictions), labels=names, average="macro", zero_division=0))
    hypotheses, references = _chrf_input(golds, predictions, also)
    return float(_chrf().corpus_score(hypotheses, references).score) / 100


def right(
    metric: Metric, golds: Sequence[str], predictions: Sequence[Answer], also: Sequence[Sequence[str]] | None = None
) -> list[bool]:
    """Row by row, whether ``accuracy`` or ``exact_match`` counts the prediction as right."""
    if metric == "accuracy":
        return [g == p for g, p in zip(golds, predictions, strict=True)]
    others = also or [()] * len(golds)
    return [
        p is not None and " ".join(p.split()) in {" ".join(answer.split()) for answer in (g, *a)}
        for g, p, a in zip(golds, predictions, others, strict=True)
    ]


def per_label(golds: Sequence[str], predictions: Sequence[Answer], labels: Sequence[str]) -> list[LabelScore]:
    """Precision, recall, F1 and support of each label, in the order of ``labels``."""
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(golds, _filled(predictions), labels=list(labels), zero_division=0)
    return [
        LabelScore(label, float(p), float(r), float(f), int(s))
        for label, p, r, f, s in zip(labels, *columns, strict=True)
    ]


def confusions(golds: Sequence[str], predictions: Sequence[Answer]) -> list[tuple[str, str, int]]:
    """(gold, predicted, count) of every pair that occurs, right ones too, most first; no answer is ``""``."""
    pairs = Counter((g, p or "") for g, p in zip(golds, predictions, strict=True))
    return [(g, p, n) for (g, p), n in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))]


def macro_f1_over_rows(
    golds: Sequence[str], predictions: Sequence[Answer], labels: Sequence[str]
) -> Callable[[np.ndarray], np.ndarray]:
    """``macro_f1`` of resampled rows, many at once: row indices of shape (..., n) to values of shape (...)."""
    import numpy as np

    names = list(labels) or _seen(golds, predictions)
    k = len(names)
    at = {name: i for i, name in enumerate(names)}
    # One more class for what is no label: it takes predictions away from the labels and is not averaged.
    gold = np.array([at.get(g, k) for g in golds])
    predicted = np.array([at.get(p, k) if p is not None else k for p in predictions])
    hit = np.where(gold == predicted, gold, k)

    def statistic(index: np.ndarray) -> np.ndarray:
        flat = index.reshape(-1, index.shape[-1])
        offset = np.arange(len(flat))[:, None] * (k + 1)

        def count(classes: np.ndarray) -> np.ndarray:
            found = np.bincount((classes[flat] + offset).ravel(), minlength=len(flat) * (k + 1))
            return found.reshape(len(flat), k + 1)[:, :k]

        total = count(gold) + count(predicted)
        f1 = np.where(total > 0, 2 * count(hit) / np.maximum(total, 1), 0.0)
        return f1.mean(axis=1).reshape(index.shape[:-1])

    return statistic


def chrf_over_rows(
    golds: Sequence[str], predictions: Sequence[Answer], also: Sequence[Sequence[str]] | None
) -> Callable[[np.ndarray], np.ndarray]:
    """``chrf`` of resampled rows, many at once: row indices of shape (..., n) to values of shape (...).

    Corpus chrF is a function of n-gram counts summed over rows, so they are counted once, as in sacrebleu's own
    bootstrap (``sacrebleu.significance``), whose two methods these are.
    """
    import numpy as np

    metric = _chrf()
    counts = np.array(metric._extract_corpus_statistics(*_chrf_input(golds, predictions, also)))

    def statistic(index: np.ndarray) -> np.ndarray:
        flat = index.reshape(-1, index.shape[-1])
        values = [metric._compute_score_from_stats(counts[rows].sum(axis=0).tolist()).score / 100 for rows in flat]
        return np.array(values).reshape(index.shape[:-1])

    return statistic


def _seen(golds: Sequence[str], predictions: Sequence[Answer]) -> list[str]:
    return sorted({*golds, *_filled(predictions)} - {_NO_ANSWER})


def _filled(predictions: Sequence[Answer]) -> list[str]:
    return [_NO_ANSWER if p is None else p for p in predictions]


def _chrf():  # type: ignore[no-untyped-def]
    from sacrebleu.metrics import CHRF

    return CHRF(word_order=2)


def _chrf_input(
    golds: Sequence[str], predictions: Sequence[Answer], also: Sequence[Sequence[str]] | None
) -> tuple[list[str], list[list[str | None]]]:
    """sacrebleu's shape: hypotheses, and streams of one reference a row (None where a row has fewer)."""
    answers = [[g, *(also[i] if also else ())] for i, g in enumerate(golds)]
    most = max(map(len, answers))
    streams: list[list[str | None]] = [[a[k] if k < len(a) else None for a in answers] for k in range(most)]
    return [p or "" for p in predictions], streams
