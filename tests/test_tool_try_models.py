"""try_models as a run calls it: real trainings of tiny models in child processes, on validation rows."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from p2m.data.referee import HeldOutSet, Referee
from p2m.store import Store
from p2m.task.spec import TaskSpec
from tests.tiny_model import LABELS, make_encoder, rows
from tests.tool_call import FACTS, call
from tests.tool_call import context as tool_context
from tools.base import ToolContext
from tools.fine_tune import fine_tune
from tools.try_models import try_models
from tools.workspace import DataInfo, HeldOut, Workspace


def context(tmp_path: Path, models: list[dict[str, Any]], **parts: Any) -> ToolContext:
    store = Store(tmp_path / "artifacts")
    held_out = Referee(store, None).save(HeldOutSet("user", rows(60, 100), rows(30, 200), [], {}, ()))
    handle = store.handle("ds", rows="training")
    store.save_rows(handle, rows(90, 0), {})
    info = DataInfo(handle, "generated", 90, {}, {})
    task = TaskSpec(name="t", instruction="Sort words.", kind="classify", labels=LABELS)
    workspace = Workspace(held_out=HeldOut(held_out, "user", 60, 30), datasets=(info,), models=tuple(models))
    return tool_context(tmp_path, task, workspace, store=store, **parts)


def model(name: str, path: Path, **more: Any) -> dict[str, Any]:
    return {"id": name, "path": str(path), "parameters_m": None, "why": "", "kept": True, "late": False, **more}


def broken(folder: Path) -> Path:
    """It looks like a model until it is loaded."""
    make_encoder(folder)
    (folder / "tokenizer.json").unlink()
    return folder


@pytest.mark.slow
def test_the_broken_one_falls_out_and_the_winner_is_trained(
    minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.try_models.TRIAL_SECONDS", 3000.0)  # a busy machine must not decide
    good = make_encoder(tmp_path / "good")
    ctx = context(tmp_path, [model("a/broken", broken(tmp_path / "broken")), model("b/good", good)])
    told: list[str] = []
    result, ctx = call(try_models, replace(ctx, progress=lambda text, share: told.append(text)))
    assert result.text.startswith("Start from b/good: b/good alone could be scored.")
    assert [(m["id"], m["kept"]) for m in ctx.workspace.models] == [("b/good", True), ("a/broken", False)]
    assert "no tokenizer that loads" in ctx.workspace.models[1]["why"]
    trial = ctx.workspace.trial
    assert trial is not None and trial["decided"] and trial["winner"] == "b/good"
    assert any("round 1: b/good, a frozen head on 64 rows" in text for text in told)
    assert try_models.precondition(ctx.workspace, FACTS) is not None
    _, ctx = call(fine_tune, ctx, method="frozen")
    assert ctx.workspace.experiments[0].base == "b/good"


@pytest.mark.slow
def test_the_last_two_meet_in_a_full_fine_tune_on_validation(minilm: Path, tmp_path: Path) -> None:
    """A model that cannot tell the words apart, first by the evidence, against the pack's encoder."""
    blind = make_encoder(tmp_path / "blind")
    names = [model("a/blind", blind), model("all-minilm-l6-v2", minilm)]
    _blinded(blind)
    ctx = context(tmp_path, names)
    result, ctx = call(try_models, ctx)
    trial = ctx.workspace.trial
    assert trial is not None
    assert [(a["round"], a["method"], a["model"]) for a in trial["attempts"][:2]] == [
        (1, "frozen", "a/blind"),
        (1, "frozen", "all-minilm-l6-v2"),
    ]
    assert {a["method"] for a in trial["attempts"] if a["round"] == 2} == {"full"}
    assert all(a["score"]["split"] == "validation" and a["score"]["n"] == 60 for a in trial["attempts"])
    assert {a["rows"] for a in trial["attempts"] if a["round"] == 1} == {64}
    assert trial["winner"] == "all-minilm-l6-v2" and ctx.workspace.models[0]["id"] == "all-minilm-l6-v2"
    assert "| 2 | all-minilm-l6-v2 | full | 90 |" in result.display
    # What was measured before the run broke off is not measured again.
    told: list[str] = []
    before = replace(ctx, workspace=replace(ctx.workspace, trial=None), progress=lambda text, share: told.append(text))
    again, _ = call(try_models, before)
    assert again.data["trial"]["winner"] == trial["winner"] and not any("round" in text for text in told)


def _blinded(folder: Path) -> None:
    """Every word gets the same id: what is left is the length of a text."""
    import json

    file = folder / "tokenizer.json"
    raw = json.loads(file.read_text())
    raw["model"]["vocab"] = {word: i for word, i in raw["model"]["vocab"].items() if word.startswith("[")}
    file.write_text(json.dumps(raw))


@pytest.mark.slow
def test_a_tie_goes_to_the_smaller_and_says_so(minilm: Path, tmp_path: Path) -> None:
    twins = [model("a/first", make_encoder(tmp_path / "first")), model("b/second", make_encoder(tmp_path / "second"))]
    ctx = context(tmp_path, twins)
    result, _ = call(try_models, ctx)
    assert "no clear difference" in result.text and result.data["trial"]["decided"]


def test_without_time_the_evidence_order_stays(tmp_path: Path) -> None:
    names = [model("a/first", tmp_path / "first"), model("b/second", tmp_path / "second")]
    result, after = call(try_models, context(tmp_path, names, seconds_left=lambda: 150.0))
    assert result.text.startswith("Nothing was tried: 22 s of the time are for a trial")
    assert [m["id"] for m in after.workspace.models] == ["a/first", "b/second"]
    assert after.workspace.trial is not None and not after.workspace.trial["decided"]


def test_a_cancelled_trial_leaves_nothing_and_changes_nothing(minilm: Path, tmp_path: Path) -> None:
    names = [model("a/first", make_encoder(tmp_path / "first")), model("b/second", make_encoder(tmp_path / "second"))]
    started = asyncio.Event()

    def progress(text: str, share: float | None) -> None:
        if text.startswith("round 1"):
            started.set()

    ctx = context(tmp_path, names, progress=progress)

    async def cancelled() -> None:
        running = asyncio.create_task(try_models.fn(ctx))
        await started.wait()
        await asyncio.sleep(0.1)  # the child is on its way or up, and not done
        running.cancel()
        await running

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    left = {p.name.partition("_")[0] for p in (tmp_path / "artifacts").iterdir()}
    assert not any(name.startswith(("try", ".")) for name in left) and len(left) == 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"models": ()}, "there are not two base models to compare"),
        ({"datasets": ()}, "there are no training rows yet"),
        ({"trial": {"winner": "a"}}, "the base models were tried already"),
    ],
)
def test_it_is_offered_only_where_there_is_something_to_compare(
    tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    names = [model("a/first", tmp_path / "first"), model("b/second", tmp_path / "second")]
    workspace = context(tmp_path, names).workspace
    assert try_models.precondition(workspace, FACTS) is None
    assert try_models.precondition(replace(workspace, **change), FACTS) == why
    asked = replace(workspace, models=({**names[0], "asked": True}, names[1]))
    assert try_models.precondition(asked, FACTS) == "the task asks for a/first"
