"""What an imported dataset is worth is measured on validation rows, and a harmful one is rejected by code."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from agent import referee
from agent.referee import referee_tools
from agent.settings import Settings
from agent.state import RunState
from p2m.catalog.folder import FolderCatalog
from p2m.catalog.worth import Worth, worth
from p2m.data.referee import Referee
from p2m.rows import Row
from p2m.task.spec import Example, Limits, TaskSpec
from tests.bag_of_words import embed
from tests.catalog_folder import make
from tests.scripted_teacher import LABELS, write
from tests.tool_call import call, context
from tools.base import ToolContext
from tools.import_dataset import import_dataset
from tools.workspace import HeldOut, Workspace
from tools.worth import judge

SWAPPED = {"person": "place", "place": "number", "number": "person"}


def questions(n: int, seed: str) -> list[Row]:
    return [Row(text, label) for label in LABELS for text in dict.fromkeys(write(label, n, f"{seed} {label}"))]


VALIDATION = questions(20, "validation")
DATA = questions(60, "data")
FEW = questions(2, "few")


def judged(rows: list[Row], others: list[Row], *, trusted: bool = True, seed: int = 1) -> Worth:
    return worth(rows, others, VALIDATION, embed, seed=seed, trusted=trusted)


def test_right_rows_help_and_the_same_seed_says_the_same() -> None:
    found = judged(DATA, FEW)
    assert (found.verdict, found.harmful) == ("helps", False)
    assert found.low is not None and found.difference is not None and found.high is not None
    assert 0 < found.low <= found.difference <= found.high
    assert found.alone is not None and found.alone > 0.9
    assert found == judged(DATA, FEW)
    assert f"{found.difference:+.3f}" in found.words()


def test_rows_with_the_labels_of_others_are_harmful() -> None:
    wrong = [replace(r, output=SWAPPED[r.output]) for r in DATA]
    found = judged(wrong, DATA[:40] + DATA[60:100] + DATA[120:160])
    assert (found.verdict, found.harmful) == ("below chance", True)
    assert judged(wrong, []).harmful
    assert judged(wrong, [], trusted=False).harmful


def test_one_wrong_label_beside_good_rows_is_harmful_where_people_labelled_the_validation_rows() -> None:
    # Half of the ways to ask for a place are filed under number: better than chance, worse than a few good rows.
    bad = [replace(r, output="number") if r.input.startswith(("Where", "In which")) else r for r in DATA]
    good = questions(20, "good")
    found = judged(bad, good)
    assert (found.verdict, found.harmful) == ("harms", True)
    assert found.high is not None and found.high < 0
    # A teacher's validation rows are easy for a teacher's rows: real ones may lower that score and still be right.
    assert not judged(bad, good, trusted=False).harmful


def test_more_of_the_same_is_no_clear_difference() -> None:
    found = judged(questions(10, "more"), DATA)
    assert (found.verdict, found.harmful) == ("no clear difference", False)


def test_too_little_to_measure_on_is_said() -> None:
    assert "too few" in worth(DATA, FEW, VALIDATION[:5], embed, seed=1, trusted=True).words()
    assert "one label" in worth(DATA[:9], FEW, VALIDATION, embed, seed=1, trusted=True).words()


def prepared(tmp_path: Path, label: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> ToolContext:
    """A catalogue with one dataset, and a task with held-out rows that a person labelled."""
    monkeypatch.setattr("tools.worth.default_embed", lambda: embed)
    monkeypatch.setattr("p2m.catalog.embedding.default_embed", lambda: embed)
    rows = [{"text": r.input, "label": label.get(r.output, r.output)} for r in DATA]
    make(tmp_path, "a/one", rows=rows)
    shown = tuple(Example(input=r.input, output=r.output) for r in FEW)
    task = TaskSpec(name="t", instruction="What is asked for?", kind="classify", labels=LABELS, examples=shown)
    space = Workspace(searched=True, hits=({"id": "a/one", "fit": "yes"},))
    ctx = context(tmp_path, task, space, catalog=FolderCatalog(tmp_path))
    held = Referee(ctx.store, None)
    rows_held = questions(45, "held")
    handle = held.save(held.fix_from_rows(task, rows_held, "user", 1))
    n = len((ctx.store.path(handle) / "validation.jsonl").read_text().splitlines())
    return replace(ctx, workspace=replace(space, held_out=HeldOut(handle, "user", n, n)))


def test_an_import_is_judged_and_its_number_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = prepared(tmp_path, {}, monkeypatch)
    result, after = call(import_dataset, ctx, dataset="a/one")
    info = after.workspace.datasets[0]
    assert info.worth and info.worth["verdict"] == "helps"
    assert f"{info.worth['difference']:+.3f}" in result.text
    assert after.workspace.unjudged == ()


def test_a_harmful_dataset_is_rejected_with_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = prepared(tmp_path, SWAPPED, monkeypatch)
    result, after = call(import_dataset, ctx, dataset="a/one")
    assert result.text.startswith("Rejected a/one") and "chance 0.333" in result.text
    assert after.workspace.datasets == ()
    assert after.workspace.refused == {"a/one"}
    assert "held_out_offer" not in result.data
    assert import_dataset.choices(after.workspace)["dataset"] == []


@pytest.mark.parametrize("harmful", [False, True])
def test_rows_imported_before_there_were_held_out_ones_are_judged_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harmful: bool
) -> None:
    ctx = prepared(tmp_path, SWAPPED if harmful else {}, monkeypatch)
    held_out = ctx.workspace.held_out
    _, early = call(import_dataset, replace(ctx, workspace=replace(ctx.workspace, held_out=None)), dataset="a/one")
    assert early.workspace.datasets[0].worth is None
    later = replace(early, workspace=replace(early.workspace, held_out=held_out))

    def owed(workspace: Workspace) -> str | None:
        state = RunState(ctx.task, Settings(planner="policy", teacher="local:none"), Limits(), workspace=workspace)
        training = referee.Call("x", "fine_tune", {}, "planner")
        step = referee.obligation(state, training)
        return step.tool if step else None

    assert owed(later.workspace) == "judge_data"
    result, after = call(referee_tools()["judge_data"], later)
    assert owed(after.workspace) == "baselines"
    if harmful:
        assert result.text.startswith("rejected a/one") and after.workspace.datasets == ()
        assert after.workspace.refused == {"a/one"}
    else:
        assert "stays, helps" in result.text
        assert after.workspace.datasets[0].worth is not None


def test_only_validation_rows_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = prepared(tmp_path, {}, monkeypatch)
    assert ctx.workspace.held_out is not None
    (ctx.store.path(ctx.workspace.held_out.handle) / "test.jsonl").unlink()
    found = asyncio.run(judge(ctx, DATA))
    assert found is not None and found.n == ctx.workspace.held_out.validation


def test_without_time_or_encoder_it_is_said_and_owed_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = prepared(tmp_path, {}, monkeypatch)
    late = asyncio.run(judge(replace(ctx, seconds_left=lambda: 3.0), DATA))
    monkeypatch.setattr("tools.worth.default_embed", lambda: None)
    bare = asyncio.run(judge(ctx, DATA))
    for found, why in ((late, "no time is left"), (bare, "the encoder is not here")):
        assert found is not None and not found.harmful and why in found.words()
        assert ctx.workspace.held_out is not None and found.held_out == ctx.workspace.held_out.handle
