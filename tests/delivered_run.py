"""A delivered run with a tiny, trained classifier: its journal, held-out rows and model are made by the real parts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from agent.events import RunEnded, ToolFinished, ToolStarted
from agent.journal import Journal
from p2m.data.referee import HeldOutSet, Referee
from p2m.export.card import CardFacts, write_card
from p2m.rows import Row
from p2m.task.spec import TaskSpec
from p2m.train.fit import train
from p2m.train.recipe import Method, Recipe
from p2m.train.student import Student
from tests.scripted_run import Script, experiment, score
from tests.tiny_model import LABELS, make_encoder, rows

TASK = TaskSpec(
    name="things", instruction="Say what it is: <b>fruit</b>, tool or animal.", kind="classify", labels=LABELS
)
MODEL = "m_eeee0005"


def trained(folder: Path, base: Path, model_type: str = "bert", method: Method = "frozen") -> Path:
    """A delivered model folder: a student on a tiny encoder, made in ``base``."""
    student = Student(make_encoder(base, model_type), LABELS)
    train(Recipe(str(base), LABELS, "accuracy", method, 0), student, rows(90, 0), rows(30, 1), lambda _: None)
    student.save(folder)
    write_card(folder, CardFacts.of(TASK, SimpleNamespace(base="tiny", method=method), delivery_of(MODEL)))
    return folder


def delivered_run(run_dir: Path, base: Path, task: TaskSpec = TASK) -> Path:
    """A finished run in ``run_dir`` with 40 validation rows and the model above."""
    finished(run_dir, task, rows(40, 5), rows(40, 6))
    trained(run_dir / "model", base)
    return run_dir


def finished(run_dir: Path, task: TaskSpec, validation: list[Row], test: list[Row]) -> None:
    """The journal and the held-out rows of a run that delivered; the model is still to be put in ``run_dir/model``."""
    script = Script(run_dir, task)
    held_out = HeldOutSet("user", validation, test, [], {}, ())
    handle = Referee(script.store, None).save(held_out)
    fixed = {"held_out": {"handle": handle, "source": "user", "validation": 40, "test": 40}, "removed": {}}
    script.step("hold_out", "first", "held out", fixed)
    script.call("fine_tune", {"method": "frozen"}, "train", "m", experiment(MODEL, "frozen", [], 90, 120, 1.0))
    script.step("deliver", "at the end", "delivered", delivery_of(MODEL))
    script.add(RunEnded("met", 0, "no target was set"))
    script.journal.close()


def deliver_another(run_dir: Path) -> None:
    """What a resumed run may do: deliver a better model."""
    journal = Journal(run_dir)
    journal.append(ToolStarted("r1.deliver.1", "deliver", {}, "referee", "again"))
    journal.append(ToolFinished("r1.deliver.1", "delivered", "", delivery_of("m_ffff0006"), None, 1.0))
    journal.close()


def delivery_of(model: str) -> dict[str, Any]:
    return {
        "test": score(36, 40, "test"),
        "model": model,
        "held_out": {"handle": "ho_00000000", "source": "user", "sha256": {}},
        "baselines": [],
        "per_class": [],
        "confusion": {"labels": list(LABELS), "matrix": [[0] * 3] * 3},
        "folder": "model",
        "rows_by_source": {"generated": 90},
        "truncated": 0,
    }
