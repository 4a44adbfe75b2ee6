"""benchmarks/train_speed.py: its tasks, and what it makes of measurements."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from p2m import kinds
from p2m.rows import Row
from p2m.task.spec import TaskSpec

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(sys, "argv", ["train_speed.py"])


def test_time_to_equal_loss_is_to_the_loss_that_both_reach() -> None:
    from speed_tasks import SpeedTask
    from train_speed import rows_of

    rows = [Row("x", "a"), Row("y", "b")]
    task = SpeedTask(
        TaskSpec(name="t", instruction="i", kind="classify", labels=("a", "b")), rows * 50, rows, rows * 10
    )

    def found(seconds: list[float], curve: list[list[float]], right: int) -> list[dict[str, Any]]:
        answers = ["a" if i < right else "?" for i in range(20)]
        return [{"seconds": s, "peak_mb": 100.0, "curve": curve, "epochs": 3, "answers": answers} for s in seconds]

    ours, default = rows_of(
        task,
        500,
        {
            "p2m": found([10.0, 12.0], [[2.0, 0.9], [5.0, 0.5], [9.0, 0.2]], 20),
            "Trainer": found([30.0, 34.0], [[10.0, 0.8], [20.0, 0.4], [30.0, 0.45]], 10),
        },
    )
    assert ours["equal_loss"] == default["equal_loss"] == 0.4
    assert (ours["seconds_to_loss"], default["seconds_to_loss"]) == (9.0, 20.0)
    assert (ours["seconds"], ours["examples_per_second"], ours["tokens_per_second"]) == (11.0, 300 / 11, 1500 / 11)
    assert (ours["accuracy"], ours["n"], default["accuracy"]) == (0.5, 20, 0.25)


@pytest.mark.parametrize("name", ["few_shot", "multi_label", "extract", "read", "score", "generate", "lora", "seq2seq"])
def test_its_tasks_are_rows_of_their_kind_and_apart(shared: Path, name: str) -> None:
    from speed_tasks import ROWS, TASKS

    made = TASKS[name](shared / "hub/datasets", ROWS[name][1], 0)
    kind = kinds.of(made.task)
    assert len(made.train) == ROWS[name][1] and len(made.test) >= 32 and len(made.validation) >= 16
    assert all(kind.valid(made.task, row) for row in (*made.train, *made.validation, *made.test))
    assert not {r.input for r in made.train} & {r.input for r in (*made.validation, *made.test)}
