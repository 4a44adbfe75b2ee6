"""benchmarks/kinds.py: its tasks are what they say, and what it calls the same answer."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from p2m.outputs import Span, format_spans
from p2m.task.parse import load_task
from p2m.task.spec import TaskSpec
from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
from kinds_tasks import TASKS
from reload_kinds import same

KINDS = {
    "banking-77": "classify",
    "nl2bash": "generate",
    "dates": "generate",
    "crossner-music": "extract",
    "squad": "read",
    "wellformedness": "score",
}


@pytest.mark.parametrize("name", TASKS)
def test_each_task_reads_as_its_kind_with_no_text_in_both_files(shared: Path, tmp_path: Path, name: str) -> None:
    from p2m import kinds
    from p2m.data.labelled import read_for

    task = TASKS[name](shared, True)
    front = {"name": name, **task.front, "train": "train.jsonl", "validation": "held-out.jsonl"}
    for file, rows in (("train", task.train), ("held-out", task.held_out)):
        (tmp_path / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "task.md").write_text(f"---\n{json.dumps(front)}\n---\n{task.instruction}\n", encoding="utf-8")
    read = load_task(str(tmp_path / "task.md"))
    assert isinstance(read, TaskSpec) and kinds.of(read).name == KINDS[name]
    assert len(read.labels) == {"banking-77": 77, "crossner-music": 13}.get(name, 0)
    assert read.train and read.validation
    train, held_out = read_for(read, read.train), read_for(read, read.validation)
    assert (len(train), len(held_out)) == (len(task.train), len(task.held_out))
    if name == "squad":
        contexts = [{row.input.partition("\ncontext: ")[2] for row in rows} for rows in (train, held_out)]
        assert contexts[0] and contexts[1] and not contexts[0] & contexts[1]


def test_answers_are_the_same_in_either_spelling() -> None:
    spans = format_spans([Span(0, 5, "band", "Queen")])
    assert same(spans, [[0, 5, "band"]]) and not same(spans, [[0, 5, "song"]]) and not same(spans, [])
    assert same('["b", "a"]', ["a", "b"]) and not same('["a"]', ["a", "b"])
    assert same("0.25", 0.2501) and not same("0.25", 0.26)
    assert same("ls -l", "ls -l") and not same("ls -l", "ls")
