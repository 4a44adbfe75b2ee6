"""try_rates: successive halving over learning rates, when it may be asked, and what comes of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.planner_policy import advise
from p2m.evaluate.intervals import interval
from p2m.train.halving import Attempt, Candidate, Outcome, Round, halve
from tests.folded_run import HELD_OUT, ROWS, Run
from tests.test_rules import view
from tests.test_tool_try_models import context, model
from tests.tiny_model import make_encoder
from tests.tool_call import FACTS, call
from tools.fine_tune import fine_tune
from tools.try_rates import try_rates
from tools.workspace import Experiment, Score

N = 60


def searched(right: dict[str, int]) -> Outcome:
    """``right`` says how many of 60 rows each rate gets right."""
    golds = ["a"] * N

    async def attempt(candidate: Candidate, at: Round) -> Attempt:
        said = tuple("a" if i < right[candidate.id] else "b" for i in range(N))
        return Attempt(candidate, at, 1.0, interval("accuracy", golds, said), said)

    def gap(one: Attempt, other: Attempt) -> tuple[float, float, float]:
        from p2m.evaluate.paired import difference

        return difference("accuracy", golds, one.predictions, other.predictions)

    rates = [Candidate("5e-05", 0.0), Candidate("2e-05", 1.1), Candidate("2e-04", 1.1)]
    return asyncio.run(
        halve(
            rates, attempt, gap, rows=800, labels=3, seconds=200.0, quick="lora", last="lora",
            plainer="the rate nearer to the default", first=200,
        )
    )  # fmt: skip


def test_all_rounds_are_of_the_method_and_the_better_two_meet_on_all_rows() -> None:
    found = searched({"5e-05": 30, "2e-05": 10, "2e-04": 50})
    rounds = [(a.round.number, a.round.method, a.round.rows, a.candidate.id) for a in found.attempts]
    assert rounds[:3] == [(1, "lora", 200, "5e-05"), (1, "lora", 200, "2e-05"), (1, "lora", 200, "2e-04")]
    assert rounds[3:] == [(2, "lora", 800, "2e-04"), (2, "lora", 800, "5e-05")]
    assert found.order[0] == "2e-04"


def test_what_cannot_be_told_apart_stays_near_the_default() -> None:
    found = searched({"5e-05": 50, "2e-05": 10, "2e-04": 51})
    assert found.order[0] == "5e-05" and "so the rate nearer to the default is taken" in found.why


def trained(tmp_path: Path, **parts: Any) -> Any:
    """A context in which a full student was trained."""
    base = make_encoder(tmp_path / "base")
    ctx = context(tmp_path, [model("a/base", base)], **parts)
    done = Experiment("m", "full", "a/base", (), 90, Score("accuracy", 0.5, 0.4, 0.6, 60, "validation"), {}, 2.0)
    return replace(ctx, workspace=replace(ctx.workspace, experiments=(done,)))


@pytest.mark.slow
def test_the_rate_that_teaches_more_is_found_and_used(
    minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A random encoder learns only at high rates."""
    monkeypatch.setattr("tools.try_rates.FACTORS", (1 / 50, 1.0, 20.0))
    monkeypatch.setattr("tools.try_rates.TRIAL_SECONDS", 3000.0)
    result, ctx = call(try_rates, trained(tmp_path))
    found = ctx.workspace.rates
    assert found is not None and found["decided"] and len(found["attempts"]) == 5
    assert {a["score"]["split"] for a in found["attempts"]} == {"validation"}
    assert "| round | rate |" in result.display
    assert found["rate"] in (found["default"], pytest.approx(1e-3))
    assert try_rates.precondition(ctx.workspace, FACTS) == "learning rates were tried already"
    chosen = {**found, "rate": 4e-4}
    _, ctx = call(fine_tune, replace(ctx, workspace=replace(ctx.workspace, rates=chosen)), method="full", epochs=1)
    assert ctx.store.meta(ctx.workspace.experiments[-1].model)["recipe"]["learning_rate"] == 4e-4


def test_without_time_the_default_stays(tmp_path: Path) -> None:
    result, ctx = call(try_rates, trained(tmp_path, seconds_left=lambda: 150.0))
    assert result.text.startswith("Nothing was decided: 27 s of the time are for a trial")
    assert ctx.workspace.rates is not None and ctx.workspace.rates["rate"] == ctx.workspace.rates["default"]


def test_a_frozen_head_has_no_rate(tmp_path: Path) -> None:
    ctx = trained(tmp_path)
    head = replace(ctx.workspace.experiments[0], method="frozen")
    assert "by full or lora first" in (try_rates.precondition(replace(ctx.workspace, experiments=(head,)), FACTS) or "")
    assert "no training rows" in (try_rates.precondition(replace(ctx.workspace, datasets=()), FACTS) or "")


def with_student(rows: int, source: str = "user", seconds: float = 60.0) -> Run:
    made = Run().call("hold_out", data=HELD_OUT, by="referee")
    made.call("generate_batch", data={"dataset": {**ROWS, "rows": rows, "source": source, "checked": True}})
    score = {"metric": "accuracy", "value": 0.7, "low": 0.6, "high": 0.8, "n": 100, "split": "validation"}
    for method in ("frozen", "full"):
        done = Experiment(method, method, "b", (ROWS["handle"],), rows, Score(**score), {}, seconds)  # type: ignore[arg-type]
        made.call("fine_tune", data={"experiment": {**vars(done), "score": score, "data": [ROWS["handle"]]}})
    return made


def test_the_policy_searches_where_the_rows_are_enough_and_trains_with_what_was_found() -> None:
    made = with_student(5000)
    assert advise(view(made.state))[0] == "try_rates"
    assert advise(view(with_student(8).state))[0] != "try_rates"  # more rows give more
    found = {"method": "full", "rate": 1.5e-4, "default": 5e-5, "decided": True, "attempts": []}
    made.call("try_rates", data={"rates": found})
    assert advise(view(made.state))[:2] == ("fine_tune", {"method": "full", "learning_rate": 1.5e-4})
    stays = with_student(5000).call("try_rates", data={"rates": {**found, "rate": 5e-5}})
    assert advise(view(stays.state))[0] not in ("try_rates", "fine_tune")
