"""fine_tune and evaluate as a run calls them, on the embedded encoder."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.steps.deliver import deliver
from p2m.data.referee import HeldOutSet, Referee
from p2m.errors import ToolFailure
from p2m.evaluate.predict import Predictor
from p2m.rows import Row
from p2m.store import Store
from p2m.task.spec import Example, StudentLimits, TaskSpec
from tests.tiny_model import LABELS, make_encoder, rows
from tests.tool_call import FACTS, call
from tests.tool_call import context as tool_context
from tools.base import ToolContext
from tools.evaluate import evaluate
from tools.fine_tune import fine_tune
from tools.workspace import Baseline, DataInfo, HeldOut, Score, Workspace

VALIDATION, TEST = rows(45, 100), rows(30, 200)


def context(tmp_path: Path, training: list[Row], **task: Any) -> ToolContext:
    store = Store(tmp_path / "artifacts")
    held_out = Referee(store, None).save(HeldOutSet("user", VALIDATION, TEST, [], {}, ()))
    handle = store.handle("ds", rows=[[r.input, r.output] for r in training])
    store.save_rows(handle, training, {})
    info = DataInfo(handle, "generated", len(training), {}, {})
    spec = TaskSpec(
        name="t",
        instruction="Sort words.",
        kind="classify",
        labels=LABELS,
        examples=(Example(input="an apple and a pear", output="fruit"),),
        target=0.5,
        student=StudentLimits(base=str(make_encoder(tmp_path / "base"))),
    ).model_copy(update=task)
    return tool_context(
        tmp_path, spec, Workspace(held_out=HeldOut(held_out, "user", 45, 30), datasets=(info,)), store=store
    )


def test_train_then_look_at_the_errors(minilm: Path, tmp_path: Path) -> None:
    ctx = context(tmp_path, rows(60, 0))
    baseline = Baseline("majority", Score("accuracy", 0.33, 0.2, 0.5, 45, "validation"))
    ctx = replace(ctx, workspace=replace(ctx.workspace, baselines=(baseline,)))
    quick, ctx = call(fine_tune, ctx, method="frozen")
    (frozen,) = ctx.workspace.experiments
    assert frozen.method == "frozen" and frozen.data == (ctx.workspace.datasets[0].handle,)
    assert frozen.score.n == 45 and frozen.score.split == "validation" and set(frozen.per_label) == set(LABELS)
    assert "target 0.500 met" in quick.text.lower() and "majority" in quick.text

    told: list[tuple[str, float | None]] = []
    slow, ctx = call(fine_tune, replace(ctx, progress=lambda t, f: told.append((t, f))), epochs=2, learning_rate=1e-3)
    full = ctx.workspace.experiments[-1]
    assert len(ctx.workspace.experiments) == 2 and full.model != frozen.model
    assert frozen.model in slow.text and any("epoch" in text for text, _ in told)

    # What was scored is what lies in the folder.
    said = [p.label for p in Predictor(ctx.store.path(full.model) / "model").predict([r.input for r in VALIDATION])]
    right = sum(p == r.output for p, r in zip(said, VALIDATION, strict=True))
    assert full.score.value == pytest.approx(right / 45)
    assert sorted(p.name for p in ctx.store.path(full.model).iterdir()) == [
        "meta.json",
        "model",
        "train.jsonl",
        "validation_predictions.jsonl",
    ]

    looked, ctx = call(evaluate, ctx, model=full.model)
    analysis = ctx.workspace.analysis
    assert analysis is not None and analysis["model"] == full.model
    assert sum(n for *_, n in analysis["confusions"]) == 45 - right and f"{45 - right} of 45" in looked.text
    assert set(analysis["weak"]) <= set(LABELS)
    assert not any(row.input in looked.text for row in VALIDATION)  # the planner reads the text


def test_the_same_again_is_a_cache_hit_and_another_seed_is_not(minilm: Path, tmp_path: Path) -> None:
    ctx = context(tmp_path, rows(30, 0))
    first, ctx = call(fine_tune, ctx, method="frozen")
    told: list[str] = []
    again, after = call(fine_tune, replace(ctx, progress=lambda t, f: told.append(t)), method="frozen")
    assert again.data["experiment"] == first.data["experiment"] and after.workspace == ctx.workspace
    assert not any("training" in text for text in told)
    other, _ = call(fine_tune, replace(ctx, seed=8), method="frozen")
    assert other.data["experiment"]["model"] != first.data["experiment"]["model"]


def test_held_out_rows_never_train_whatever_let_them_in(minilm: Path, tmp_path: Path) -> None:
    leaked = [VALIDATION[0], TEST[0], replace(TEST[1], input=TEST[1].input.upper() + "!")]
    ctx = context(tmp_path, [*rows(60, 0), *leaked, rows(1, 0)[0], Row("apple", "no label of ours")])
    result, _ = call(fine_tune, ctx, method="frozen")
    removed = result.data["removed"]
    assert removed["held_out_exact"] == 3
    assert removed["duplicate_exact"] == 1 and removed["other_label"] == 1
    kept = 60 + 1 - sum(n for reason, n in removed.items() if reason in ("held_out_near", "held_out_similar"))
    assert result.data["experiment"]["rows"] == kept


def test_a_label_without_rows_is_named(minilm: Path, tmp_path: Path) -> None:
    ctx = context(tmp_path, [row for row in rows(60, 0) if row.output != "tool"])
    with pytest.raises(ToolFailure, match="label tool") as caught:
        call(fine_tune, ctx, method="frozen")
    assert caught.value.kind == "precondition"
    assert [p.name for p in (tmp_path / "artifacts").iterdir() if p.name.startswith(".")] == []


def test_what_cannot_be_trained_is_refused(tmp_path: Path) -> None:
    ctx = context(tmp_path, rows(6, 0))
    with pytest.raises(ToolFailure, match="trains by frozen or full") as caught:
        asyncio.run(fine_tune.fn(ctx, method="lora"))
    assert caught.value.kind == "invalid_args"
    assert fine_tune.check({"method": "lora"}, ctx.workspace)
    with pytest.raises(ToolFailure, match="rank_models") as caught:
        asyncio.run(fine_tune.fn(ctx, base="../../etc"))
    assert caught.value.kind == "invalid_args"
    assert fine_tune.precondition(Workspace(), FACTS) and evaluate.precondition(Workspace(), FACTS)


def test_the_menu_offers_what_there_is(tmp_path: Path) -> None:
    ctx = context(tmp_path, rows(6, 0))
    models = ({"id": "org/small", "path": "/x", "kept": True}, {"id": "org/large", "path": "/y", "kept": False})
    workspace = replace(ctx.workspace, models=models)
    (handle,) = (d.handle for d in workspace.datasets)
    assert fine_tune.check({"base": "org/small", "data": [handle]}, workspace) == []
    assert fine_tune.check({"base": "org/large"}, workspace) and fine_tune.check({"data": ["ds_00"]}, workspace)
    assert fine_tune.check({"method": "best"}, workspace)


def test_the_examples_alone_are_for_where_a_plain_baseline_leads(minilm: Path, tmp_path: Path) -> None:
    wrong = [replace(row, output=LABELS[(LABELS.index(row.output) + 1) % len(LABELS)]) for row in rows(60, 0)]
    ctx = context(tmp_path, wrong, examples=tuple(Example(input=r.input, output=r.output) for r in rows(6, 300)))
    with pytest.raises(ToolFailure, match="leave it out"):
        call(fine_tune, ctx, method="frozen", data=[])
    _, ctx = call(fine_tune, ctx, method="frozen")
    baseline = Baseline("frozen embeddings + logistic regression", Score("accuracy", 0.9, 0.8, 1, 45, "validation"))
    ctx = replace(ctx, workspace=replace(ctx.workspace, baselines=(baseline,)))
    _, ctx = call(fine_tune, ctx, method="frozen", data=[])
    harmed, plain = ctx.workspace.experiments
    assert plain.rows == 6 and plain.data == () and plain.score.value > harmed.score.value


def test_a_delivery_counts_the_rows_that_trained_not_those_of_the_datasets(minilm: Path, tmp_path: Path) -> None:
    ctx = context(tmp_path, [*rows(60, 0), VALIDATION[0], TEST[0]])
    done, ctx = call(fine_tune, ctx, method="frozen")
    given = asyncio.run(deliver.fn(ctx))
    assert given.data["rows_by_source"].keys() == {"demonstration", *(r.source for r in rows(1, 0))}
    assert sum(given.data["rows_by_source"].values()) == done.data["experiment"]["rows"] < 63
