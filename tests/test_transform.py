"""A dataset's rows made into rows of the task: planned once, row by row, keeping what validates."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.planner_policy import advise
from p2m.catalog.folder import FolderCatalog
from p2m.catalog.untrusted import FENCE_OPEN
from p2m.errors import ProviderError, ToolFailure
from p2m.generate.transform import Plan, plan_transform, transform_rows
from p2m.llm.cache import Cache
from p2m.llm.client import ChatModel, open_model
from p2m.rows import Row
from p2m.task.spec import Example, TaskSpec
from tests.bag_of_words import embed
from tests.catalog_folder import make
from tests.fake_llm import Behaviour, Fail, FakeLLM, Request
from tests.folded_run import Run
from tests.scripted_teacher import LABELS, label_of, write
from tests.test_rules import view
from tests.tool_call import FACTS, call, context
from tools.base import ToolContext
from tools.transform_dataset import transform_dataset
from tools.workspace import Workspace

FEW = tuple(Example(input=write(label, 1, "few")[0], output=label) for label in LABELS)
TASK = TaskSpec(name="t", instruction="What does the question ask for?", kind="classify", labels=LABELS, examples=FEW)
TEXTS = [text for label in LABELS for text in dict.fromkeys(write(label, 20, f"data {label}"))]
RECORDS = [{"id": i, "body": text, "mood": "calm" if i % 2 else "cross"} for i, text in enumerate(TEXTS)]
RELABEL = {"columns": ["body"], "mode": "relabel", "steps": ""}
REWRITE = {"columns": ["body", "mood"], "mode": "rewrite", "steps": "Ask the same, politely."}


def teacher_of(plan: dict[str, Any], row: Callable[[str], Behaviour] | None = None) -> Callable[[Request], Behaviour]:
    def behave(request: Request) -> Behaviour:
        if "Plan it once for all rows" in request.last:
            return json.dumps(plan)
        if row is None:
            return label_of(request.last)
        return row(request.last)

    return behave


def politely(prompt: str) -> str:
    """The row between the marks, as a question of the task."""
    body = prompt.split("body: ")[1].split("\n")[0]
    return json.dumps({"fits": True, "input": f"Please: {body}", "label": label_of(body)})


def opened(server: FakeLLM) -> ChatModel:
    return open_model(server.endpoint, role="teacher", use_cache=False)


def pairs(n: int) -> list[tuple[dict[str, Any], Row]]:
    return [(r, Row(str(r["body"]), "", "transformed:a/b/train", meta={"row": i})) for i, r in enumerate(RECORDS[:n])]


def test_the_plan_is_asked_for_once_from_three_rows() -> None:
    with FakeLLM(teacher_of(REWRITE)) as server:
        plan = asyncio.run(plan_transform(TASK, RECORDS, ["id", "body", "mood"], opened(server)))
        prompt = server.requests[0].last
    assert plan == Plan(("body", "mood"), "rewrite", "Ask the same, politely.")
    assert [TEXTS[i] in prompt for i in range(4)] == [True, True, True, False]
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {**REWRITE, "columns": ["nope"]},
        {**REWRITE, "mode": "delete"},
        {**REWRITE, "steps": " "},
        {"columns": "body"},
    ],
)
def test_a_plan_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with FakeLLM(teacher_of(wrong)) as server, pytest.raises(ProviderError, match="no usable plan"):
        asyncio.run(plan_transform(TASK, RECORDS, ["body", "mood"], opened(server)))


def test_only_what_validates_is_kept_and_the_rest_is_counted() -> None:
    answers: dict[int, Behaviour] = {
        0: "no JSON at all",
        1: json.dumps({"fits": False, "input": "x", "label": "person"}),
        2: json.dumps({"fits": True, "input": "who?", "label": "animal"}),
        3: json.dumps({"fits": True, "input": "  ", "label": "person"}),
        4: json.dumps({"fits": True, "input": "w" * 2001, "label": "person"}),
        5: json.dumps({"fits": True, "input": FEW[0].input, "label": "person"}),
        6: json.dumps({"fits": True, "input": f"{FENCE_OPEN} hello", "label": "person"}),
        7: json.dumps({"fits": True, "input": TASK.instruction.upper(), "label": "person"}),
        8: politely(f"body: {TEXTS[9]}\n"),
        10: json.dumps({"fits": True, "input": 7, "label": "person"}),
        11: Fail(400, "no"),
    }
    places = {TEXTS[i]: i for i in range(12)}

    def row(prompt: str) -> Behaviour:
        body = prompt.split("body: ")[1].split("\n")[0]
        return answers.get(places[body], politely(prompt))

    with FakeLLM(teacher_of(REWRITE, row)) as server:
        made = asyncio.run(transform_rows(TASK, Plan(("body",), "rewrite", "steps"), pairs(12), opened(server)))
    assert [r.input for r in made.rows] == [f"Please: {TEXTS[9]}"]
    assert made.rows[0].meta == {"row": 8, "done": ["transformed"]}
    assert made.removed == {
        "not_json": 2,
        "does_not_fit": 1,
        "no_label": 1,
        "empty": 1,
        "too_long": 1,
        "prompt_text": 3,
        "repeated": 1,
        "call_failed": 1,
    }
    assert made.asked == 12


@pytest.mark.parametrize("plan", [Plan(("body",), "relabel"), Plan(("body",), "rewrite", "Ask politely.")])
def test_what_was_done_in_time_is_kept_and_a_repetition_costs_nothing(tmp_path: Path, plan: Plan) -> None:
    with FakeLLM(teacher_of({}, politely if plan.mode == "rewrite" else None)) as server:
        plain = opened(server)
        teacher = ChatModel(
            plain.endpoint,
            role="teacher",
            hooks=plain.hooks,
            cache=Cache(tmp_path / "c.sqlite"),
            patience=plain.patience,
        )

        def stop() -> bool:
            return len(server.requests) >= 6

        made = asyncio.run(transform_rows(TASK, plan, pairs(40), teacher, stop=stop))
        calls = len(server.requests)
        again = asyncio.run(transform_rows(TASK, plan, pairs(calls), teacher))
        assert len(server.requests) == calls < 40
    assert 0 < len(made.rows) <= calls
    assert made.removed["not_reached"] == 40 - calls == 40 - made.asked
    assert again.rows == made.rows


def prepared(tmp_path: Path, server: FakeLLM, monkeypatch: pytest.MonkeyPatch, **parts: Any) -> ToolContext:
    make(tmp_path, "a/letters", rows=RECORDS)

    def screened(ctx: ToolContext, rows: list[Row]) -> tuple[list[Row], Counter[str], list[dict[str, str]]]:
        return rows, Counter(), []

    monkeypatch.setattr("tools.transform_dataset.screen", screened)
    monkeypatch.setattr("tools.worth.default_embed", lambda: embed)
    hits = ({"id": "a/letters", "fit": "maybe"}, {"id": "a/other", "fit": "maybe"})
    space = Workspace(searched=True, hits=hits, inspected=("a/letters",))
    return context(tmp_path, TASK, space, catalog=FolderCatalog(tmp_path), teacher=opened(server), **parts)


def test_a_plan_to_rewrite_that_gives_nothing_becomes_relabelling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no(prompt: str) -> str:
        if prompt.startswith(FENCE_OPEN):
            return json.dumps({"input": "", "label": "person", "fits": False})
        return label_of(prompt)

    with FakeLLM(teacher_of(REWRITE, no)) as server:
        ctx = prepared(tmp_path, server, monkeypatch)
        result, after = call(transform_dataset, ctx, dataset="a/letters", max_rows=30)
    rows = ctx.store.rows(after.workspace.datasets[0].handle)
    assert "labelled anew" in result.text and {row.input for row in rows} <= set(TEXTS)


@pytest.mark.parametrize("plan", [RELABEL, REWRITE])
def test_a_dataset_becomes_rows_of_the_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: dict[str, Any]
) -> None:
    with FakeLLM(teacher_of(plan, politely if plan is REWRITE else None)) as server:
        ctx = prepared(tmp_path, server, monkeypatch)
        assert transform_dataset.choices(ctx.workspace) == {"dataset": ["a/letters"]}
        result, after = call(transform_dataset, ctx, dataset="a/letters", max_rows=30)
        again, _ = call(transform_dataset, ctx, dataset="a/letters", max_rows=30)
        tried = 8 if plan is REWRITE else 0  # answered from the cache where there is one
        assert len(server.requests) == 31 + tried and again == result
    info = after.workspace.datasets[0]
    rows = ctx.store.rows(info.handle)
    assert (info.source, info.rows, info.dataset) == ("transformed:a/letters/train", len(rows), "a/letters")
    assert result.data["written"] == 30
    for row in rows:
        source = TEXTS[row.meta["row"]]
        assert row.output == label_of(source)
        assert row.input == (source if plan is RELABEL else f"Please: {source}")
        assert row.meta["done"] == ["relabelled" if plan is RELABEL else "transformed"]
        assert row.meta["dataset"] == "a/letters" and row.meta["revision"]
    assert "no inspected dataset" in str(transform_dataset.precondition(after.workspace, FACTS))


def test_the_rule_book_offers_it_once_where_only_the_subject_fits() -> None:
    looked_at = {"hits": [{"id": "a/letters", "fit": "maybe"}]}
    so_far = Run(TASK).call("search_datasets", data=looked_at).call("inspect_dataset", data={"inspected": "a/letters"})
    tool, arguments, why = advise(view(so_far.state, has_catalog=True))
    assert (tool, arguments["dataset"]) == ("transform_dataset", "a/letters") and "labels" in why
    assert advise(view(so_far.state, has_catalog=True, has_teacher=False))[0] != "transform_dataset"
    so_far.call("transform_dataset", error="provider")
    assert advise(view(so_far.state, has_catalog=True))[0] == "generate_batch"
    fits = Run(TASK).call("search_datasets", data={"hits": [{"id": "a/letters", "fit": "yes"}]})
    fits.call("inspect_dataset", data={"inspected": "a/letters", "advised": "a/letters"})
    assert advise(view(fits.state, has_catalog=True))[0] == "import_dataset"


def test_limits_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeLLM(teacher_of(RELABEL)) as server:
        ctx = prepared(tmp_path, server, monkeypatch, examples_left=lambda: 12)
        result, _ = call(transform_dataset, ctx, dataset="a/letters", max_rows=40)
        assert result.data["written"] == 12
        late = replace(ctx, seconds_left=lambda: 5.0, seed=9)
        with pytest.raises(ToolFailure, match="no time is left"):
            call(transform_dataset, late, dataset="a/letters", max_rows=40)
    no_teacher = replace(FACTS, has_teacher=False)
    assert transform_dataset.precondition(ctx.workspace, no_teacher) == "there is no teacher to transform rows"
