"""Whole runs of a generation task: real tools, real training of a tiny decoder, real HTTP to a scripted teacher."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.state import Spend
from p2m.task.parse import NeedsLLM, load_task
from tests import scripted_writer as script
from tests.conftest import pack_member
from tests.fake_llm import FakeLLM
from tests.test_loop import p2m, state_of
from tests.tiny_writer import INSTRUCTION, make_writer, rows


@pytest.fixture
def teacher() -> Iterator[FakeLLM]:
    with FakeLLM(lambda request: script.answer(request.body)) as server:
        yield server


def write_task(folder: Path, **more: object) -> Path:
    examples = [{"input": r.input, "output": r.output} for r in rows(6, 50)]
    base = str(make_writer(folder / "base"))
    front = {"name": "plurals", "kind": "generate", "metric": "exact_match", "student": {"base": base}} | more
    front |= {"examples": examples, "budget": {"steps": 5, "examples": 150}}
    (folder / "task.md").write_text(f"---\n{json.dumps(front)}\n---\n{INSTRUCTION}\n")
    return folder / "task.md"


@pytest.mark.slow
def test_a_task_without_rows_is_written_answered_twice_trained_and_delivered(
    minilm: Path, teacher: FakeLLM, tmp_path: Path
) -> None:
    task, run, home = write_task(tmp_path, target=0.99), tmp_path / "run", tmp_path / "home"
    options = ("--planner", "policy", "--teacher", teacher.endpoint, "--out", run)
    done = p2m("run", task, *options, home=home)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    state = state_of(run)
    assert not [c for c in state.calls if c.error], [c.text for c in state.calls if c.error]
    tools = [c.tool for c in sorted(state.calls, key=lambda c: c.order)]
    assert tools[:4] == ["hold_out", "generate_batch", "baselines", "fine_tune"] and "check_labels" not in tools
    assert tools[-1] == "deliver" and "evaluate" in tools
    held_out = state.workspace.held_out
    assert held_out is not None and held_out.source == "generated"
    from p2m.store import Store

    store = Store(run / "artifacts")
    held = [*store.path(held_out.handle).glob("*.jsonl")]
    text = "".join(f.read_text() for f in held)
    assert "many geese" in text and "oxen" not in text  # what it does not answer the same twice is not held out
    trained = [row for info in state.workspace.datasets for row in store.rows(info.handle)]
    assert trained and all(row.output == script.plural_of(row.input) for row in trained)
    systems = {b.system for b in state.workspace.baselines}
    assert {"copy of the input", "answer of the nearest row"} < systems and any("teacher" in s for s in systems)
    analysis = state.workspace.analysis
    assert analysis and analysis["words"] and "per_class" not in (state.delivery or {})

    said = p2m("predict", run, "we saw the old dog", home=home)
    assert said.returncode == 0 and said.stdout.startswith("many ")
    as_json = json.loads(p2m("predict", run, "we saw the old dog", "--json", home=home).stdout)
    assert as_json == {"output": said.stdout.strip()}
    with (tmp_path / "mine.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([("input", "output"), *((r.input, r.output) for r in rows(12, 77))])
    table = p2m("eval", run, tmp_path / "mine.csv", home=home)
    assert table.returncode == 0 and "exact_match" in table.stdout and "chrf" in table.stdout
    card = (run / "model" / "README.md").read_text()
    assert "text-generation" in card and "A text generator" in card and "Labels:" not in card
    report = (run / "report.md").read_text()
    assert "copy of the input" in report and "Label by label" not in report
    python = next(c for c in card.split("```python\n")[1:]).partition("```")[0]
    code = python.replace("PATH_OF_THIS_FOLDER", str(run / "model")).replace("some text", "we saw the old dog")
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert fresh.stdout.strip() == said.stdout.strip()


def test_labelled_files_are_enough_and_further_answers_are_right_too(
    minilm: Path, teacher: FakeLLM, tmp_path: Path
) -> None:
    """The teacher is only compared with: what it answers is the first or a further right answer."""
    made = rows(120, 3)
    for name, part in (("train", made[:60]), ("held", made[60:])):
        lines = [json.dumps({"input": r.input, "output": [f"{r.output} !", r.output]}) for r in part]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    task = write_task(tmp_path, train="train.jsonl", validation="held.jsonl", target=0.01)
    run = tmp_path / "run"
    options = ("--planner", "policy", "--teacher", teacher.endpoint, "--out", run, "--budget-steps", "1")
    done = p2m("run", task, *options, home=tmp_path / "home")
    assert done.returncode in (0, 3), done.stdout + done.stderr
    state = state_of(run)
    assert state.delivery is not None and state.workspace.best is not None
    assert "lora" not in [e.method for e in state.workspace.experiments]
    (llm,) = (b for b in state.delivery["baselines"] if b["is_llm"])
    assert llm["score"]["value"] == 1.0


def test_labelled_files_are_enough_without_any_llm(minilm: Path, tmp_path: Path) -> None:
    made = rows(80, 3)
    for name, part in (("train", made[:60]), ("held", made[60:])):
        (tmp_path / f"{name}.jsonl").write_text(
            "\n".join(json.dumps({"input": r.input, "output": r.output}) for r in part)
        )
    task, run = write_task(tmp_path, train="train.jsonl", validation="held.jsonl"), tmp_path / "run"
    options = ("--planner", "policy", "--teacher", "none", "--out", run, "--budget-steps", "1")
    done = p2m("run", task, *options, home=tmp_path / "home")
    assert done.returncode == 0, done.stdout + done.stderr
    state = state_of(run)
    assert state.delivery is not None and not any(b["is_llm"] for b in state.delivery["baselines"])
    assert state.spend == Spend()
    assert not [c for c in state.calls if c.error], [c.text for c in state.calls if c.error]
    assert "teacher few-shot" not in (run / "report.md").read_text()


def test_the_tool_offers_what_the_kind_can(tmp_path: Path) -> None:
    from tools import load_all
    from tools.base import Facts
    from tools.workspace import DataInfo, Workspace

    tools, facts = load_all(), Facts(has_catalog=True, has_teacher=True, has_person=False)
    rows_in_use = (DataInfo("ds_1", "generated", 5, {}, {}),)
    writes, sorts = (Workspace(kind=k, datasets=rows_in_use) for k in ("generate", "classify"))
    check = tools["fine_tune"].check
    assert check({"method": "frozen"}, writes) and not check({"method": "lora"}, writes)
    assert check({"method": "lora"}, sorts) and not check({"method": "full"}, sorts)
    assert tools["check_labels"].precondition(writes, facts) == "only labels can be checked"
    assert tools["check_labels"].precondition(sorts, facts) is None


@pytest.mark.parametrize("name", ["num_to_verbal", "active_to_passive", "informal_to_formal"])
def test_instruction_induction_tasks_are_of_this_kind(shared: Path, name: str) -> None:
    from agent.session import check_task

    task = load_task(str(shared / "data" / "instruction_induction" / f"{name}.json"))
    assert not isinstance(task, NeedsLLM) and task.kind == "generate" and task.examples
    check_task(task)


@pytest.mark.slow
def test_an_instruction_induction_task_through_the_command_line(shared: Path, minilm: Path, tmp_path: Path) -> None:
    """The embedded SmolLM2 on 300 real rows of numbers in words, without any LLM."""
    pack_member("smollm2-135m")
    source = json.loads((shared / "data" / "instruction_induction" / "num_to_verbal.json").read_text())
    for name, pairs in (("train", source["induce"][:300]), ("held", source["execute"][:60])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps(p) for p in pairs))
    front = {"kind": "generate", "metric": "exact_match", "train": "train.jsonl", "validation": "held.jsonl"}
    (tmp_path / "task.md").write_text(f"---\n{json.dumps(front)}\n---\nWrite the number in English words.\n")
    options = ("--planner", "policy", "--teacher", "http://127.0.0.1:9/v1#none", "--budget-steps", "1")
    done = p2m("run", tmp_path / "task.md", *options, "--out", tmp_path / "run", home=tmp_path / "home", timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    delivery = state_of(tmp_path / "run").delivery
    assert delivery is not None
    beaten = max(b["score"]["value"] for b in delivery["baselines"])
    assert delivery["test"]["value"] > beaten + 0.2
