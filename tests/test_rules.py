"""The rules that code keeps whatever a planner says: guard, judge, referee, budget, meter. States are folded events."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tools
from agent import guard, referee
from agent.budget import left, reserve
from agent.events import (
    LLMSpend,
    PlannerSpoke,
    RunResumed,
    ToolFinished,
    Verdict,
)
from agent.judge import judge
from agent.ledger import ledger
from agent.loop import Parts, run
from agent.meter import Meter
from agent.planner import Turn, View, menu_of
from agent.planner_llm import read_action
from agent.planner_policy import PolicyPlanner, advise
from agent.settings import Settings
from agent.state import Call, RunState
from p2m.errors import BudgetExceeded
from p2m.llm.hooks import Hooks, Spend
from p2m.task.spec import Limits, StudentLimits
from tests.folded_run import HELD_OUT, ROWS, TASK, Run
from tools.base import Facts


def view(state: RunState, **facts: Any) -> View:
    seen = Facts(**{"has_catalog": False, "has_teacher": True, "has_person": False, **facts})
    return View(state, left(state), seen, menu_of(tools.load_all(), state, seen))


# guard


def test_the_third_same_call_is_refused_and_stays_refused() -> None:
    again = Call("x", "evaluate", {}, "planner")
    so_far = Run().call("evaluate", "the same")
    assert guard.refuses(so_far.state, again) is None
    refusal = guard.refuses(so_far.call("evaluate", "the same").state, again)
    assert refusal
    for _ in range(3):
        so_far.call("evaluate", refusal, error="precondition")
        assert guard.refuses(so_far.state, again) == refusal


def test_another_result_or_other_arguments_are_no_repetition() -> None:
    so_far = Run().call("evaluate", "one").call("evaluate", "two")
    assert guard.refuses(so_far.state, Call("x", "evaluate", {}, "planner")) is None
    assert guard.refuses(so_far.state, Call("x", "evaluate", {"model": "best"}, "planner")) is None


def test_what_failed_may_be_tried_again_on_new_data() -> None:
    call = Call("x", "fine_tune", {}, "planner")
    so_far = Run().call("fine_tune", "no row", error="precondition").call("fine_tune", "no row", error="precondition")
    assert guard.refuses(so_far.state, call)
    assert guard.refuses(so_far.call("generate_batch", data={"dataset": ROWS}).state, call) is None


def test_three_malformed_turns_hand_over_once() -> None:
    so_far = Run()
    for turn in (1, 2, 3):
        assert guard.hands_over(so_far.state) is None
        so_far.add(PlannerSpoke(turn, "planner", "m", "?", (), "bad_json"))
    verdict = guard.hands_over(so_far.state)
    assert verdict is not None
    assert guard.hands_over(so_far.add(verdict).state) is None


def test_two_stale_batches_end_generation_once() -> None:
    stale = {"dataset": ROWS, "written": 50, "new_share": 0.1}
    so_far = Run().call("generate_batch", data=stale)
    assert guard.ends_generation(so_far.state) is None
    verdict = guard.ends_generation(so_far.call("generate_batch", data=stale).state)
    assert verdict is not None
    assert guard.ends_generation(so_far.add(verdict).state) is None


# judge


def test_the_target_is_met_on_validation() -> None:
    assert judge(Run().trained(0.89).state) is None
    verdict = judge(Run().trained(0.9).state)
    assert verdict is not None and verdict.kind == "met"


def test_three_trainings_without_gain_are_a_stall() -> None:
    so_far = Run().trained(0.5).trained(0.5).trained(0.4)
    assert judge(so_far.state) is None
    verdict = judge(so_far.trained(0.501).state)
    assert verdict is not None and verdict.kind == "stalled"


@pytest.mark.parametrize("end", ["finish", "stall", "provider"])
def test_a_run_taken_up_after_its_end_is_judged_anew(end: str) -> None:
    so_far = Run().trained(0.5)
    if end == "finish":
        so_far.call("finish", arguments={"reason": "enough"})
    elif end == "stall":
        so_far.trained(0.5).trained(0.5).trained(0.5)
    else:
        for _ in range(2):
            so_far.call("generate_batch", "401", error="provider")
    assert judge(so_far.state) is not None
    # A crash before the end is no reason to forget what was decided.
    assert judge(so_far.add(RunResumed()).state) is not None
    assert judge(so_far.ended().add(RunResumed({"steps": 90})).state) is None


def test_a_target_missed_on_the_sealed_test_needs_a_better_student() -> None:
    so_far = Run().trained(0.91)
    assert judge(so_far.state) is not None
    best = so_far.state.workspace.best
    assert best is not None
    delivered = {"model": best.model, "test": {"value": 0.85}}
    so_far.call("deliver", data=delivered, by="referee").ended("met").add(RunResumed({"steps": 90}))
    assert judge(so_far.state) is None
    verdict = judge(so_far.trained(0.93).state)
    assert verdict is not None and verdict.kind == "met"


def test_a_run_taken_up_after_its_end_tries_its_planner_again() -> None:
    so_far = Run().add(Verdict("handover", "the planner failed"))
    assert so_far.state.handed_over
    assert so_far.add(RunResumed()).state.handed_over, "a crash changes nothing"
    assert not so_far.ended().add(RunResumed({"steps": 90})).state.handed_over


def test_a_step_of_the_referee_that_fails_twice_ends_the_session() -> None:
    so_far = Run()
    for _ in range(2):
        assert judge(so_far.state) is None
        so_far.call("hold_out", "crashed", error="crash", by="referee")
    verdict = judge(so_far.state)
    assert verdict is not None and verdict.kind == "no_way"
    assert judge(so_far.add(RunResumed()).state) is None


# referee


def test_held_out_rows_and_baselines_come_before_training() -> None:
    train = Call("x", "fine_tune", {}, "planner")
    so_far = Run().call("generate_batch", data={"dataset": ROWS})
    first = referee.obligation(so_far.state, train)
    assert first is not None and first.tool == "hold_out"
    second = referee.obligation(so_far.call("hold_out", data=HELD_OUT, by="referee").state, train)
    assert second is not None and second.tool == "baselines"
    assert referee.obligation(so_far.state, Call("x", "evaluate", {}, "planner")) is None


def test_a_users_file_is_held_out_before_the_first_turn() -> None:
    with_file = TASK.model_copy(update={"validation": "/data/held.csv"})
    step = referee.obligation(Run(with_file).state, None)
    assert step is not None and step.tool == "hold_out"
    assert referee.obligation(Run().state, None) is None


def test_a_better_source_replaces_generated_rows_once_and_baselines_with_them() -> None:
    score = {"metric": "accuracy", "value": 0.5, "low": 0.4, "high": 0.6, "n": 20, "split": "validation"}
    offer = {"dataset": "org/name", "split": "test", "handle": "offer_00000001"}
    so_far = Run().call("hold_out", data=HELD_OUT, by="referee")
    so_far.call("baselines", data={"baselines": [{"system": "majority", "score": score}]}, by="referee")
    so_far.call("import_dataset", data={"dataset": ROWS, "held_out_offer": offer})
    assert so_far.state.workspace.baselines
    step = referee.obligation(replace(so_far.state, resumed=1), None)
    assert step is not None and step.arguments == {"offer": offer}
    taken = {"held_out": {**HELD_OUT["held_out"], "source": "dataset:org/name"}}
    so_far.call("hold_out", data=taken, by="referee", arguments={"offer": offer})
    assert referee.better_offer(so_far.state) is None
    assert so_far.state.workspace.baselines == ()


def test_an_offer_with_no_tries_left_does_not_hide_the_baselines() -> None:
    offer = {"dataset": "org/name", "split": "test", "handle": "offer_00000001"}
    so_far = Run().call("hold_out", "no", error="provider", by="referee").call("hold_out", data=HELD_OUT, by="referee")
    so_far.call("import_dataset", data={"dataset": ROWS, "held_out_offer": offer})
    step = referee.obligation(so_far.state, Call("x", "fine_tune", {}, "planner"))
    assert step is not None and step.tool == "baselines"


def test_closing_delivers_once_a_session_and_gives_up_after_two_tries() -> None:
    so_far = Run().call("hold_out", data=HELD_OUT, by="referee").trained(0.5)
    step = referee.closing(so_far.state)
    assert step is not None and step.tool == "deliver"
    delivered = so_far.call("deliver", data={"test": {}}, by="referee")
    assert referee.closing(delivered.state) is None
    again = referee.closing(delivered.ended().add(RunResumed({"steps": 90})).state)
    assert again is not None and again.tool == "deliver"
    failing = Run().trained(0.5)
    for _ in range(2):
        failing.call("deliver", "crashed", error="crash", by="referee")
    assert referee.closing(failing.state) is None


def test_closing_without_a_student_trains_one_and_comes_to_an_end() -> None:
    so_far = Run().call("generate_batch", data={"dataset": ROWS})
    done = []
    while (step := referee.closing(so_far.state)) is not None:
        done.append(step.tool)
        so_far.call(step.tool, "failed", error="crash", by="referee")
        assert len(done) < 10
    assert done == ["hold_out", "hold_out", "fine_tune", "fine_tune"]


# budget and meter


def test_what_is_left_counts_planners_calls_rows_and_paid_llm_calls() -> None:
    so_far = Run(steps=5, examples=100, llm_calls=10, tokens=1000, usd=1.0, minutes=10)
    so_far.call("generate_batch", data={"dataset": ROWS, "written": 60})
    so_far.call("hold_out", data=HELD_OUT, by="referee")
    so_far.add(LLMSpend("teacher", "m", 4, 1, 300, 100, 0.25))
    so_far.seconds = 60.0
    now = left(so_far.state)
    assert (now.steps, now.examples, now.llm_calls, now.tokens, now.usd) == (4, 40, 7, 600, 0.75)
    assert now.seconds == 600 - reserve(10) - 60
    assert now.spent is None and replace(now, steps=0).spent == "steps" and replace(now, seconds=-1.0).spent == "time"


def test_spent_examples_and_no_dollars_do_not_end_a_run() -> None:
    assert left(Run(examples=0, usd=0).state).spent is None


def test_a_call_refused_for_want_of_time_is_not_asked_again() -> None:
    so_far = Run(minutes=10).call("generate_batch", "no time is left to write rows", error="budget")
    so_far.seconds = 600 - reserve(10) - 10
    verdict = judge(so_far.state)
    assert verdict is not None and verdict.kind == "budget" and "time" in verdict.text
    assert judge(so_far.call("evaluate").state) is None, "what still works may go on"
    early = Run(minutes=10).call("generate_batch", "no examples are left", error="budget")
    early.seconds = 60.0
    assert judge(early.state) is None


def test_a_resume_with_little_time_can_use_it() -> None:
    so_far = Run(minutes=30).call("evaluate")
    so_far.seconds = 1800.0
    assert left(so_far.state).spent == "time"
    so_far.add(RunResumed({"minutes": 32.0}))
    assert left(so_far.state).seconds == pytest.approx(120 - reserve(2))


def metered(**budget: Any) -> tuple[Run, Hooks, Meter]:
    so_far = Run(**budget)
    meter = Meter(so_far.events.append, lambda: left(so_far.state))
    return so_far, meter.hooks(), meter


def test_calls_in_flight_count_against_the_budget() -> None:
    so_far, hooks, meter = metered(tokens=1000)
    hooks.before_call("m", "teacher", 600, None)
    with pytest.raises(BudgetExceeded):
        hooks.before_call("m", "teacher", 600, None)
    hooks.on_spend(Spend("m", "teacher", 100, 100, None, False, 0.1))
    hooks.after_call("m", "teacher", 600, None)
    hooks.before_call("m", "teacher", 800, None)
    hooks.after_call("m", "teacher", 800, None)
    meter.flush()
    assert left(so_far.state).tokens == 800
    with pytest.raises(BudgetExceeded):
        hooks.before_call("m", "teacher", 801, None)


def test_a_dollar_budget_refuses_what_it_cannot_count() -> None:
    _, hooks, _ = metered(usd=0.01)
    with pytest.raises(BudgetExceeded, match="not known"):
        hooks.before_call("m", "teacher", 10, None)
    with pytest.raises(BudgetExceeded, match="would pass"):
        hooks.before_call("m", "teacher", 10, 0.02)
    hooks.before_call("m", "teacher", 10, 0.0)


def test_the_cache_is_free_and_unpriced_is_not_nothing() -> None:
    so_far, hooks, meter = metered()
    hooks.on_spend(Spend("m", "teacher", 100, 10, None, False, 0.1))
    hooks.on_spend(Spend("m", "teacher", 100, 10, None, True, 0.0))
    meter.flush()
    meter.flush()
    spend = so_far.state.spend
    assert (spend.calls, spend.cached, spend.tokens, spend.unpriced, spend.price) == (2, 1, 110, 1, "unpriced")


def test_one_retry_event_for_calls_that_fail_together() -> None:
    so_far, hooks, _ = metered()
    for _ in range(5):
        hooks.on_retry("429", 1, 2.0)
    assert sum(type(e).__name__ == "Retry" for e in so_far.events) == 1


# planners


def test_the_policy_looks_for_a_base_where_the_embedded_one_may_not_do() -> None:
    french = TASK.model_copy(update={"language": "fr"})
    named = TASK.model_copy(update={"student": StudentLimits(base="org/encoder")})
    folder = TASK.model_copy(update={"student": StudentLimits(base="/models/org/encoder")})
    for task, tool in ((TASK, "fine_tune"), (french, "rank_models"), (named, "rank_models"), (folder, "fine_tune")):
        made = Run(task).call("search_datasets", data={"hits": []}).call("generate_batch", data={"dataset": ROWS})
        checked = made.call("check_labels", data={"dataset": {**ROWS, "checked": True}})
        assert advise(view(checked.state, has_catalog=True))[0] == tool, task.language
        if tool == "rank_models":
            checked.call("rank_models", data={"models": [{"id": "x", "path": "/x", "kept": True}]})
            assert advise(view(checked.state, has_catalog=True))[0] == "fine_tune"


def test_base_models_are_compared_only_where_there_are_two() -> None:
    made = Run().call("hold_out", data=HELD_OUT, by="referee")
    made.call("generate_batch", data={"dataset": {**ROWS, "checked": True}})
    assert "try_models" not in view(made.state).menu
    one, other = ({"id": name, "path": f"/{name}", "kept": True} for name in ("x", "y"))
    made.call("rank_models", data={"models": [one]})
    assert "try_models" not in view(made.state).menu and advise(view(made.state))[0] == "fine_tune"
    made.call("rank_models", data={"models": [one, other]})
    assert advise(view(made.state))[0] == "try_models"
    made.call("try_models", data={"models": [other, one], "trial": {"winner": "y"}})
    assert "try_models" not in view(made.state).menu and advise(view(made.state))[0] == "fine_tune"


def test_models_beside_the_embedded_one_are_looked_at() -> None:
    made = Run().call("generate_batch", data={"dataset": {**ROWS, "checked": True}})
    assert advise(view(made.state))[0] == "fine_tune"
    assert advise(view(made.state, has_models=True))[0] == "rank_models"


def test_where_a_plain_baseline_leads_a_head_is_trained_on_the_real_rows() -> None:
    made = Run().call("generate_batch", data={"dataset": {**ROWS, "checked": True}}).trained(0.5)
    assert advise(view(made.state))[0] == "evaluate"
    score = {"metric": "accuracy", "value": 0.6, "low": 0.0, "high": 1.0, "n": 20, "split": "validation"}
    plain = {"system": "frozen embeddings + logistic regression", "score": score}
    made.call("baselines", data={"baselines": [plain]}, by="referee")
    tool, arguments, _ = advise(view(made.state))
    assert tool == "fine_tune" and arguments == {"method": "frozen", "data": []}


def test_after_a_catalogue_that_is_down_the_policy_writes_rows() -> None:
    down = Run().call("search_datasets", "The catalogue could not be searched: no connection", data={"hits": []})
    assert advise(view(down.state, has_catalog=True))[0] == "generate_batch"


def test_the_policy_never_proposes_what_the_guard_refuses_and_ends() -> None:
    """Every call fails: no rule may be proposed for ever while another, or finish, is open."""
    so_far = Run().call("generate_batch", data={"dataset": {**ROWS, "checked": True}}).trained(0.5)
    for _ in range(30):
        tool, arguments, _ = advise(view(so_far.state))
        if tool == "finish":
            return
        assert guard.refuses(so_far.state, Call("x", tool, arguments, "policy")) is None
        so_far.call(tool, "it failed", error="crash", arguments=arguments)
    pytest.fail("the policy goes round in circles")


def test_the_ledger_of_a_resumed_run_tells_nothing_of_the_sealed_test() -> None:
    so_far = Run().call("hold_out", data=HELD_OUT, by="referee").trained(0.5)
    so_far.call("deliver", "delivered: accuracy 0.4321 on 20 sealed test rows", data={"test": {}}, by="referee")
    page = ledger(view(so_far.ended().add(RunResumed({"steps": 90})).state), open_menu=True)
    assert "0.4321" not in page.text and "fine_tune" in page.text


@pytest.mark.parametrize("tool", [{"name": "finish"}, ["finish"], None, 3, "deliver", "hold_out"])
def test_an_action_that_names_no_tool_of_the_menu_is_malformed(tool: Any) -> None:
    turn = read_action(json.dumps({"why": "because", "tool": tool, "arguments": {}}), view(Run().state), "")
    assert turn.malformed and not turn.calls


class Intruder:
    """A planner with native calls that knows the names of the referee's steps."""

    name, by = "intruder", "planner"

    async def turn(self, view: View, on_text: Any) -> Turn:
        return Turn("I open the sealed test", (("deliver", {}), ("hold_out", {}), ("baselines", {})))


def test_a_planner_cannot_run_the_referees_steps(tmp_path: Path) -> None:
    settings = Settings(planner="policy", teacher="local:x", budget=Limits(steps=3))
    parts = Parts(
        tmp_path / "run",
        lambda hooks: (Intruder(), None),  # type: ignore[arg-type, return-value]
        PolicyPlanner(),
        tools.load_all(),
        task=TASK,
        settings=settings,
    )

    async def first_three() -> list[ToolFinished]:
        found: list[ToolFinished] = []
        events = run(parts)
        async for event in events:
            if isinstance(event, ToolFinished):
                found.append(event)
            if len(found) == 3:
                break
        await events.aclose()  # type: ignore[attr-defined]
        return found

    assert [e.error for e in asyncio.run(first_three())] == ["unknown_tool"] * 3
