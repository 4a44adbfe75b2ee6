"""Span F1: a span is right where its place and its label are (``p2m.outputs``)."""

from __future__ import annotations

from collections.abc import Sequence

from p2m.evaluate.counted import Counted, f1
from p2m.outputs import parse_spans

Answer = str | None


def span_f1(golds: Sequence[str], predictions: Sequence[Answer]) -> Counted:
    """Micro-F1 over the spans of all rows, as seqeval and CoNLL 2003 count them; 0 where there is none at all.

    A prediction that cannot be read has no span. Raises ``ValueError`` for a gold that cannot.
    """
    import numpy as np

    counts = np.zeros((len(golds), 2))
    for i, (gold, said) in enumerate(zip(golds, predictions, strict=True)):
        right, found = {s.place for s in parse_spans(gold)}, _found(said)
        counts[i] = len(right & found), len(right) + len(found)
    return Counted(counts, lambda sums: f1(sums[..., 0], sums[..., 1]))


def _found(answer: Answer) -> set[tuple[int, int, str]]:
    try:
        return {s.place for s in parse_spans(answer)} if answer is not None else set()
    except ValueError:
        return set()
