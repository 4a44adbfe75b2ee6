"""Successive halving: who goes on, who wins, and what counts when the time runs out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from p2m.evaluate.intervals import interval
from p2m.evaluate.paired import difference
from p2m.train.halving import Attempt, Candidate, Outcome, Round, halve

N = 100
SIZES = {"big": 300.0, "middle": 110.0, "small": 22.0, "tiny": 5.0, "unknown": None}


def trial(right: Mapping[str, int | None], *, seconds: float = 200.0, slow: tuple[str, ...] = ()) -> Outcome:
    """``right`` says how many of 100 rows each candidate gets right: the first so many, so that they differ in few.
    None is a model that does not load; ``slow`` ones never end."""
    golds = ["a"] * N

    async def attempt(candidate: Candidate, at: Round) -> Attempt:
        count = right[candidate.id]
        if candidate.id in slow:
            return Attempt(candidate, at, at.seconds, problem="it did not end")
        if count is None:
            return Attempt(candidate, at, 0.1, problem="it does not load", broken=True)
        said = tuple("a" if i < count else "b" for i in range(N))
        return Attempt(candidate, at, 1.0, interval("accuracy", golds, said), said)

    def gap(one: Attempt, other: Attempt) -> tuple[float, float, float]:
        return difference("accuracy", golds, one.predictions, other.predictions)

    names = [Candidate(name, SIZES[name]) for name in right]
    return asyncio.run(halve(names, attempt, gap, rows=1000, labels=6, seconds=seconds))


def test_the_better_half_goes_on_with_the_same_larger_budget() -> None:
    found = trial({"big": 80, "middle": 60, "small": 70, "tiny": 20})
    rounds = [(a.round.number, a.round.method, a.round.rows, a.candidate.id) for a in found.attempts]
    assert rounds[:4] == [(1, "frozen", 64, n) for n in ("big", "middle", "small", "tiny")]
    assert rounds[4:] == [(2, "full", 256, "big"), (2, "full", 256, "small")]
    assert len({a.round.seconds for a in found.attempts[:4]}) == 1 == len({a.round.seconds for a in found.attempts[4:]})
    assert found.order == ("big", "small", "middle", "tiny") and found.decided


def test_what_cannot_be_told_apart_goes_to_the_smaller() -> None:
    tie = trial({"big": 81, "small": 80})
    assert tie.order == ("small", "big")
    assert "big is +0.010 [+0.000, +0.030] to small: no clear difference, so the smaller one is taken" in tie.why
    assert trial({"big": 90, "small": 80}).order == ("big", "small")
    assert "it is the smaller one" in trial({"big": 80, "small": 81}).why
    assert trial({"unknown": 80, "big": 80}).order == ("big", "unknown")


def test_a_model_that_does_not_load_is_no_longer_a_candidate() -> None:
    found = trial({"big": None, "small": 70, "tiny": 60})
    assert "big" not in found.order and found.order[0] == "small"
    assert trial({"big": None, "small": 70}).order == ("small",)


def test_what_ran_out_of_time_decides_nothing() -> None:
    none = trial({"big": 80, "small": 90}, slow=("big", "small"))
    assert none.order == ("big", "small") and not none.decided and "it did not end" in none.why
    short = trial({"big": 80, "small": 20}, seconds=5.0)
    assert short.order == ("big", "small") and short.decided
    assert "no time is left for a short full fine-tune" in short.why
    assert {a.round.method for a in short.attempts} == {"frozen"}
