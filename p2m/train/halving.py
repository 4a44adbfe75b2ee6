"""Which of a few base models, or settings, to start from: successive halving on validation rows.

In a round every candidate has the same rows and the same seconds; the better half goes on to a larger budget (Jamieson
and Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization"). The rounds are frozen
heads, whose cost is reading the rows once, until two are left: those meet in a short full fine-tune. Where the
last round tells them not apart, the smaller one is taken. Settings are of the method that they are for, in every round.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import ceil, inf

from p2m.evaluate.intervals import Estimate
from p2m.train.recipe import Method

FIRST_ROWS, FIRST_ROWS_A_LABEL = 64, 4
MORE_ROWS = 4
"""A round has this many times the rows of the one before."""
FIRST_SHARE = 0.4
"""Of all the seconds, for the first round."""
FULL_COST = 4
"""A short full fine-tune takes at least as many times as long as a frozen head on a quarter of its rows did."""
LEAST_SECONDS = 10.0
"""Starting a training, loading its model and saving it takes as long on a slow disk."""


@dataclass(frozen=True)
class Candidate:
    """``parameters_m`` in millions, None where nobody says: it then counts as the largest. Of a setting, how far it is
    from the default."""

    id: str
    parameters_m: float | None


@dataclass(frozen=True)
class Round:
    """``rows`` to train on and ``seconds`` to do it in, the same for each candidate; ``number`` from 1."""

    number: int
    method: Method
    rows: int
    seconds: float


@dataclass(frozen=True)
class Attempt:
    """A candidate's training in a round. Without a ``score`` it failed: ``problem`` says why, and ``broken`` that no
    more time would help."""

    candidate: Candidate
    round: Round
    seconds: float
    score: Estimate | None = None
    predictions: tuple[str | None, ...] = ()
    problem: str = ""
    broken: bool = False


@dataclass(frozen=True)
class Outcome:
    """``order`` has every candidate that can be trained, best first; the one it came in where nothing was
    ``decided``."""

    order: tuple[str, ...]
    attempts: tuple[Attempt, ...]
    decided: bool
    why: str


Try = Callable[[Candidate, Round], Awaitable[Attempt]]
Difference = Callable[[Attempt, Attempt], tuple[float, float, float]]
"""``(better, worse) -> (difference, low, high)`` of their scores, in pairs over the rows."""


async def halve(
    candidates: Sequence[Candidate],
    attempt: Try,
    difference: Difference,
    *,
    rows: int,
    labels: int,
    seconds: float,
    quick: Method = "frozen",
    last: Method = "full",
    plainer: str = "the smaller one",
    first: int | None = None,
) -> Outcome:
    """Try ``candidates`` (in the order that the evidence gives) with ``rows`` rows at hand, within ``seconds``.

    A round in which nobody ends decides nothing: what the round before it said counts, and before the first round the
    order stays as it was. ``quick`` is the method of all rounds but the ``last``; ``plainer`` says what wins a tie.
    ``first`` rows are for the first round, by default few.
    """
    ends = time.monotonic() + seconds
    first = first or max(FIRST_ROWS, FIRST_ROWS_A_LABEL * labels)
    at = Round(1, quick, min(rows, first), FIRST_SHARE * seconds)
    standing, attempts = list(candidates), list[Attempt]()
    scored: list[Attempt] = []
    note, final = "", False
    while True:
        each = Round(at.number, at.method, at.rows, at.seconds / len(standing))
        made = [await attempt(candidate, each) for candidate in standing]
        attempts += made
        ended = sorted((a for a in made if a.score is not None), key=_best_first)
        if not ended:
            note = "; ".join(dict.fromkeys(a.problem for a in made))
            break
        scored = ended
        if len(ended) == 1 or final:
            break
        standing = [a.candidate for a in ended[: max(2, ceil(len(ended) / 2))]]
        left = ends - time.monotonic()
        final = len(standing) <= 2
        at = Round(at.number + 1, last if final else quick, min(rows, MORE_ROWS * at.rows), left)
        dearer = final and quick != last
        slowest = max(a.seconds for a in ended)
        if left / len(standing) < max(LEAST_SECONDS, slowest * (FULL_COST if dearer else 1)):
            note = f"no time is left for a {'short full fine-tune' if dearer else 'larger round'}"
            break
    return _outcome(candidates, attempts, scored, difference, note, plainer)


def _best_first(attempt: Attempt) -> tuple[float, float, float]:
    assert attempt.score is not None
    return (-attempt.score.value, *_cost(attempt))


def _cost(attempt: Attempt) -> tuple[float, float]:
    size = attempt.candidate.parameters_m
    return (inf if size is None else size, attempt.seconds)


def _outcome(
    candidates: Sequence[Candidate],
    attempts: Sequence[Attempt],
    last: Sequence[Attempt],
    difference: Difference,
    note: str,
    plainer: str,
) -> Outcome:
    broken = {a.candidate.id for a in attempts if a.broken}
    able = [c.id for c in candidates if c.id not in broken]
    last = [a for a in last if a.candidate.id not in broken]
    if not last:
        return Outcome(tuple(able), tuple(attempts), False, f"nothing was decided: {note}")
    winner, why = _winner(last, difference, plainer)
    # After the winner: the furthest round first, in it the best score first; then those that were never scored.
    reached: dict[str, tuple[int, tuple[float, ...]]] = {}
    for a in attempts:
        if a.score is not None:
            reached[a.candidate.id] = (-a.round.number, _best_first(a))
    rest = sorted((i for i in able if i in reached), key=lambda i: reached[i])
    order = [winner, *(i for i in rest if i != winner), *(i for i in able if i not in reached)]
    return Outcome(tuple(dict.fromkeys(order)), tuple(attempts), True, f"{why}; {note}" if note else why)


def _winner(last: Sequence[Attempt], difference: Difference, plainer: str) -> tuple[str, str]:
    """Who wins the last round (best first), and why."""
    best, *others = last
    if not others:
        return best.candidate.id, f"{best.candidate.id} alone could be scored"
    against = [(other, difference(best, other)) for other in others]
    tied = [(other, found) for other, found in against if found[1] <= 0]
    smaller = [(other, found) for other, found in tied if _cost(other) < _cost(best)]
    if smaller:
        chosen, (gap, low, high) = min(smaller, key=lambda pair: _cost(pair[0]))
        said = f"{best.candidate.id} is {gap:+.3f} [{low:+.3f}, {high:+.3f}] to {chosen.candidate.id}"
        return chosen.candidate.id, f"{said}: no clear difference, so {plainer} is taken"
    second, (gap, low, high) = against[0]
    said = f"{best.candidate.id} is {gap:+.3f} [{low:+.3f}, {high:+.3f}] to {second.candidate.id}"
    return best.candidate.id, f"{said}{f': no clear difference, and it is {plainer}' if low <= 0 else ''}"
