"""A whole run over a folder catalogue: the right dataset is found, held out from, trained on, and the log says why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_llm import Behaviour, FakeLLM, Request
from tests.test_loop import p2m, state_of

TASK = """---
name: banking-intents
labels: [card arrival, lost or stolen card, exchange rate, declined card payment, top up failed, change pin]
target: 0.85
budget: {steps: 8}
examples:
  - {input: "my new card still is not here", output: card arrival}
  - {input: "someone took my wallet, block my card", output: lost or stolen card}
  - {input: "what rate do you use for euros", output: exchange rate}
  - {input: "the shop's terminal refused my card", output: declined card payment}
  - {input: "I tried to add money and it did not work", output: top up failed}
  - {input: "where can I set a different PIN", output: change pin}
---
Route the questions that customers type into an online bank's help chat to the intent they have.
"""


@pytest.fixture
def silent_teacher() -> Iterator[FakeLLM]:
    """Labels everything the same: what is good about the student comes from the dataset."""

    def behave(request: Request) -> Behaviour:
        return "card arrival"

    with FakeLLM(behave) as server:
        yield server


def test_a_banking_task_finds_banking77(shared: Path, minilm: Path, silent_teacher: FakeLLM, tmp_path: Path) -> None:
    (tmp_path / "task.md").write_text(TASK)
    run, home = tmp_path / "run", tmp_path / "home"
    args = ("--catalog", shared / "hub", "--planner", "policy", "--teacher", silent_teacher.endpoint)
    done = p2m("run", tmp_path / "task.md", "--out", run, *args, home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    state = state_of(run)
    assert state.workspace.held_out is not None
    assert state.workspace.held_out.source == "dataset:polyai/banking77"
    assert any(d.source.startswith("dataset:polyai/banking77") for d in state.workspace.datasets)
    assert state.generated == 0
    log = [json.loads(line) for line in p2m("log", run, "--json", home=home).stdout.splitlines()]
    inspect = next(entry for entry in log if entry["tool"] == "inspect_dataset")
    assert "banking77" in json.dumps(inspect["arguments"]) and "6 of 6" in inspect["result"]
    judged = next(entry for entry in log if entry["tool"] == "judge_data")
    assert (
        judged["by"] == "referee" and "polyai/banking77" in judged["result"] and "validation rows" in judged["result"]
    )
    assert log.index(judged) < next(i for i, entry in enumerate(log) if entry["tool"] == "fine_tune")
    rows = [json.loads(line) for line in (run / "train.jsonl").read_text().splitlines()]
    real = [row for row in rows if row["source"] == "dataset:polyai/banking77/train"]
    assert len(real) > 100 and all(
        {"dataset", "revision", "split", "row", "done"} <= row["meta"].keys() for row in real
    )
    told = p2m("log", run, "--row", real[0]["input"], home=home).stdout
    assert f"row {real[0]['meta']['row']} of polyai/banking77 train at {real[0]['meta']['revision']}, mapped" in told
