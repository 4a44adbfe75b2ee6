"""What a classifier gets wrong on validation, so that the next rows can be aimed at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from p2m.evaluate.intervals import wilson
from p2m.evaluate.metrics import Answer, confusions, per_label

TEXTS_A_CLUSTER = 3
TEXT_LENGTH = 120
MOST_CLUSTERS = 5


@dataclass(frozen=True)
class Weak:
    """A label found less often than rows are right overall: ``recall`` on its ``n`` gold rows."""

    label: str
    recall: float
    n: int


@dataclass(frozen=True)
class Cluster:
    """Rows of ``gold`` that were taken for ``predicted`` (``""``: no answer): how many, and some of their texts."""

    gold: str
    predicted: str
    count: int
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Fault:
    """Something wrong with ``count`` answers that are no labels, and some of them."""

    name: str
    count: int
    texts: tuple[str, ...]

    @classmethod
    def of(cls, analysis: Mapping[str, Any]) -> tuple[Fault, ...]:
        """Those of an analysis, none where it has confusions instead."""
        return tuple(cls(f["name"], f["count"], tuple(f["texts"])) for f in analysis.get("faults", ()))


@dataclass(frozen=True)
class Analysis:
    """``confusions``: (gold, predicted, count) of the wrong pairs, most first. ``weak``: worst first."""

    n: int
    wrong: int
    confusions: tuple[tuple[str, str, int], ...]
    weak: tuple[Weak, ...]
    clusters: tuple[Cluster, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and dicts, for a journal."""
        return {**asdict(self), "confusions": [list(c) for c in self.confusions]}


def analyse(
    golds: Sequence[str], predictions: Sequence[Answer], texts: Sequence[str], labels: Sequence[str]
) -> Analysis:
    """Confusions, weak labels and, for the five commonest confusions, the three shortest texts cut to 120 characters.

    ``texts`` are validation texts: never call it on the sealed test where the planner sees the result.
    """
    wrong = tuple(c for c in confusions(golds, predictions) if c[0] != c[1])
    errors = sum(count for *_, count in wrong)
    overall = 1 - errors / len(golds) if golds else 1.0
    weak = [
        Weak(s.label, s.recall, s.support)
        for s in per_label(golds, predictions, labels)
        if s.support and s.recall < overall
    ]
    # By what recall could at best be: one row missed of one says less than three of four.
    weak.sort(key=lambda w: (wilson(w.recall * w.n, w.n)[1], w.label))
    clusters = []
    for gold, predicted, count in wrong[:MOST_CLUSTERS]:
        members = [
            " ".join(t.split())
            for g, p, t in zip(golds, predictions, texts, strict=True)
            if (g, p or "") == (gold, predicted)
        ]
        shortest = sorted(members, key=len)[:TEXTS_A_CLUSTER]
        clusters.append(Cluster(gold, predicted, count, tuple(t[:TEXT_LENGTH] for t in shortest)))
    return Analysis(len(golds), errors, wrong, tuple(weak), tuple(clusters))
