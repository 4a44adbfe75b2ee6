"""How many rows validate, how many test, and which: stratified, and the same for the same seed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from p2m.errors import BadInput
from p2m.evaluate.intervals import wilson
from p2m.rows import Row

# Ten rows leave five to test on, where 4 right means 0.38 to 0.96: fewer says nothing.
FEWEST = 10
# Half of fewer than 40 rows can neither choose a student nor say how good it is: where a teacher can write held-out
# rows, the user's check these. Fewer than 8 check nothing: 8 of 8 right means 0.68 or more.
FEW = 40
FEWEST_CHECKS = 8

Use = Literal["validation_file", "training_file", "test_split"]
"""What the rows are: the user's held-out file, the user's training file, or rows that others made to be held out."""


@dataclass(frozen=True)
class Sizes:
    """Rows of each split; ``leftover`` rows are in neither."""

    validation: int
    test: int
    leftover: int


@dataclass(frozen=True)
class Split:
    validation: list[Row]
    test: list[Row]
    leftover: list[Row]
    notes: tuple[str, ...]


def sizes(n: int, use: Use, where: str = "") -> Sizes:
    """How ``n`` labelled rows divide.

    Up to 600 rows: half each, the test gets the odd one. Beyond, validation has enough to rank students by (300 rows:
    a standard error of 2 points), and more rows are worth more elsewhere. Of a ``validation_file`` none may train: they
    go to the test, up to 1,000 rows, where the 95% interval is 3 points either way. Of a ``test_split``, 200 validate
    and 400 test (4 to 5 points), no more held out than at 600, and the rest is left over for training. A
    ``training_file`` keeps at least half of its rows for training and holds out the other like a test split.

    Raises ``BadInput``, naming ``where``, below 10 held-out rows.
    """
    if use == "training_file":
        if n < 2 * FEWEST:
            raise too_few(n // 2, where, needed=2 * FEWEST)
        held = sizes(min(n // 2, 600), "test_split")
        return Sizes(held.validation, held.test, n - held.validation - held.test)
    if n < FEWEST:
        raise too_few(n, where)
    if n <= 600:
        return Sizes(n // 2, n - n // 2, 0)
    if use == "validation_file":
        test = min(n - 300, 1000)
        return Sizes(300, test, n - 300 - test)
    return Sizes(200, 400, n - 600)


def too_few(n: int, where: str = "", needed: int = FEWEST) -> BadInput:
    """The error for ``n`` rows to hold out, with the interval that they would give; ``needed`` rows are enough."""
    test = max(1, n - n // 2)
    low, high = wilson(test / 2, test)
    return BadInput(
        f"{n} labelled {'row is' if n == 1 else 'rows are'} too few to hold out: the estimate would be "
        f"±{50 * (high - low):.0f} points",
        where=where,
        fix=f"Give at least {needed} labelled rows (200 held-out ones give ±10 points), or leave the file out.",
    )


def split(rows: Sequence[Row], seed: int, *, use: Use, strata: Sequence[str] | None, where: str = "") -> Split:
    """Divide ``rows`` as ``sizes`` says. ``strata``, the group of each row, keeps the groups' shares, and every group
    that has two rows in both splits where there is room; without it (answers are free text) the draw is plain.

    Each split keeps the order of ``rows``. Raises ``BadInput`` for too few rows, naming ``where``.
    """
    size = sizes(len(rows), use, where)
    drawn = list(range(len(rows)))
    random.Random(f"split {seed}").shuffle(drawn)
    groups: dict[str, list[int]] = {}
    for i in drawn:
        groups.setdefault(strata[i] if strata is not None else "", []).append(i)
    counts = {label: len(groups[label]) for label in sorted(groups)}
    # A label with two rows has one in each split; of one with more, the test leaves at least one.
    least = {label: int(n > 1) for label, n in counts.items()}
    test = _apportion(counts, size.test, least, {label: n - least[label] for label, n in counts.items()})
    rest = {label: n - test[label] for label, n in counts.items()}
    validation = _apportion(rest, size.validation, least, rest)
    chosen: dict[str, set[int]] = {"test": set(), "validation": set()}
    for label, members in groups.items():
        chosen["test"].update(members[: test[label]])
        chosen["validation"].update(members[test[label] : test[label] + validation[label]])
    notes = []
    if strata is not None and (rare := [label for label, n in counts.items() if n < 2]):
        notes.append(f"only one held-out row: {', '.join(rare)}; it is in one of the two splits")
    return Split(
        [row for i, row in enumerate(rows) if i in chosen["validation"]],
        [row for i, row in enumerate(rows) if i in chosen["test"]],
        [row for i, row in enumerate(rows) if i not in chosen["test"] | chosen["validation"]],
        tuple(notes),
    )


def _apportion(counts: dict[str, int], total: int, least: dict[str, int], most: dict[str, int]) -> dict[str, int]:
    """Seats for each label in proportion to ``counts`` (largest remainder), from ``least`` where there are seats enough
    to ``most``; they sum to ``total``."""
    share = {label: total * n / max(1, sum(counts.values())) for label, n in counts.items()}
    seats = Counter({label: min(most[label], max(int(share[label]), least[label])) for label in counts})
    while seats.total() < total:
        seats[max((label for label in counts if seats[label] < most[label]), key=lambda x: share[x] - seats[x])] += 1
    while seats.total() > total:
        # Where there are more labels than seats, some label goes without.
        over = [label for label in counts if seats[label] > 1] or [label for label in counts if seats[label]]
        seats[max(over, key=lambda x: seats[x] - share[x])] -= 1
    return dict(seats)
