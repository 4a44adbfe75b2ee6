"""Do a dataset's labels mean what the task's examples mean by them? Asked of the nearest rows, not of names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from p2m.catalog.base import Embed
from p2m.catalog.labels import unit
from p2m.rows import Row
from p2m.task.spec import Example

NEIGHBOURS = 5
MIN_EXAMPLES = 4
SUSPECT = 0.5


@dataclass(frozen=True)
class Agreement:
    """Of ``n`` examples, ``agree`` have the label that most of their nearest rows have."""

    agree: int
    n: int

    @property
    def suspect(self) -> bool:
        return self.n >= MIN_EXAMPLES and self.agree / self.n < SUSPECT


def agreement(examples: Sequence[Example], rows: Sequence[Row], embed: Embed) -> Agreement:
    """Label each example by its ``NEIGHBOURS`` nearest rows (cosine of embeddings) and compare. Only examples whose
    label is among the rows' count."""
    import numpy as np

    known = {row.output for row in rows}
    asked = [e for e in examples if e.output in known]
    if not asked:
        return Agreement(0, 0)
    vectors = unit(embed([e.input for e in asked] + [r.input for r in rows]))
    nearest = np.argsort(-(vectors[: len(asked)] @ vectors[len(asked) :].T), axis=1, kind="stable")[:, :NEIGHBOURS]
    said = [Counter(rows[j].output for j in row).most_common(1)[0][0] for row in nearest]
    return Agreement(sum(e.output == label for e, label in zip(asked, said, strict=True)), len(asked))
