"""What a metric is, here: a function of right answers and predictions, as a fraction of 1; larger is better."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from p2m.evaluate import classes, numbers, spans, texts
from p2m.evaluate.counted import Statistic, mean_of
from p2m.task.spec import Metric

Answer = str | None
"""A prediction; None where the model gave no usable answer, which is wrong for every metric."""

# No label is spelled like this: it stands for None among predictions.
_NO_ANSWER = "\x00"
_EACH: dict[Metric, Callable[[str, str], float]] = {
    "exact_match": texts.exact,
    "squad_em": texts.squad_em,
    "squad_f1": texts.squad_f1,
    "rouge_l": texts.rouge_l,
}
SHARES: tuple[Metric, ...] = ("accuracy", "exact_match", "squad_em")
"""Metrics that are the share of rows that are right."""
CORRELATIONS: tuple[Metric, ...] = ("mcc", "spearman")
"""Metrics from -1 to 1; the others start at 0."""


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

    ``accuracy``: share of predictions equal to gold. ``macro_f1`` and ``micro_f1`` (over ``labels``, by default those
    seen) also take label sets; ``mcc``: Matthews' correlation. ``exact_match``, ``squad_em``, ``squad_f1``,
    ``rouge_l`` and ``chrf`` compare texts, with gold or with that of ``also[i]`` which fits best. ``span_f1`` compares
    labelled places, ``spearman`` the order of numbers. Each is defined where it is computed: ``p2m.evaluate.classes``,
    ``texts``, ``spans``, ``numbers``. Raises ``ValueError`` for no rows, unequal lengths or a gold of another form.
    """
    import numpy as np

    return float(over_rows(metric, golds, predictions, labels, also)(np.arange(len(golds))))


def over_rows(
    metric: Metric,
    golds: Sequence[str],
    predictions: Sequence[Answer],
    labels: Sequence[str] = (),
    also: Sequence[Sequence[str]] | None = None,
) -> Statistic:
    """``metric`` as a function of which rows are drawn, for resampling. Arguments and errors as for ``score``."""
    if not golds or len(golds) != len(predictions):
        raise ValueError(f"cannot score {len(predictions)} predictions on {len(golds)} rows")
    match metric:
        case "macro_f1":
            return classes.macro_f1(golds, predictions, labels)
        case "micro_f1":
            return classes.micro_f1(golds, predictions, labels)
        case "mcc":
            return classes.mcc(golds, predictions)
        case "chrf":
            return texts.chrf(golds, predictions, also)
        case "span_f1":
            return spans.span_f1(golds, predictions)
        case "spearman":
            return numbers.spearman(golds, predictions)
        case "accuracy" | "exact_match" | "squad_em" | "squad_f1" | "rouge_l":
            return mean_of(row_scores(metric, golds, predictions, also))


def row_scores(
    metric: Metric, golds: Sequence[str], predictions: Sequence[Answer], also: Sequence[Sequence[str]] | None = None
) -> list[float]:
    """Row by row, what a metric that is a mean over rows gives: 0 or 1 for those of ``SHARES``."""
    if metric == "accuracy":
        return [float(g == p) for g, p in zip(golds, predictions, strict=True)]
    return texts.best(_EACH[metric], golds, predictions, also)


def per_label(golds: Sequence[str], predictions: Sequence[Answer], labels: Sequence[str]) -> list[LabelScore]:
    """Precision, recall, F1 and support of each label, in the order of ``labels``."""
    from sklearn.metrics import precision_recall_fscore_support

    said = [_NO_ANSWER if p is None else p for p in predictions]
    columns = precision_recall_fscore_support(golds, said, labels=list(labels), zero_division=0)
    return [
        LabelScore(label, float(p), float(r), float(f), int(s))
        for label, p, r, f, s in zip(labels, *columns, strict=True)
    ]


def confusions(golds: Sequence[str], predictions: Sequence[Answer]) -> list[tuple[str, str, int]]:
    """(gold, predicted, count) of every pair that occurs, right ones too, most first; no answer is ``""``."""
    pairs = Counter((g, p or "") for g, p in zip(golds, predictions, strict=True))
    return [(g, p, n) for (g, p), n in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))]
