"""``p2m eval`` of a student of every kind, saved by a real training: numbers, slices, a table."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from agent.eval_table import evaluation, print_evaluation
from p2m import kinds
from p2m.outputs import parse_labels, parse_spans
from p2m.rows import Row
from p2m.task.spec import TaskSpec
from tests import tiny_writer
from tests.test_train_right import DATA, METRICS, recipe_of
from tests.tiny_model import LABELS, make_encoder

TASKS: dict[str, TaskSpec] = {
    "classify": TaskSpec(name="t", instruction="i", kind="classify", labels=LABELS),
    "multi_label": TaskSpec(
        name="t", instruction="i", kind="classify", labels=LABELS, multi_label=True, metric="micro_f1"
    ),
    "score": TaskSpec(name="t", instruction="i", kind="score", metric="spearman"),
    "extract": TaskSpec(name="t", instruction="i", kind="extract", labels=LABELS, metric="span_f1"),
    "read": TaskSpec(name="t", instruction="i", kind="extract", metric="exact_match"),
    "generate": TaskSpec(name="t", instruction=tiny_writer.INSTRUCTION, kind="generate", metric="exact_match"),
}


def as_line(kind: str, row: Row) -> str:
    """As a user writes it."""
    output: object = row.output
    if kind == "multi_label":
        output = list(parse_labels(row.output, frozenset(LABELS)))
    if kind == "extract":
        output = [{"start": s.start, "end": s.end, "label": s.label} for s in parse_spans(row.output, row.input)]
    if kind == "score":
        output = float(row.output)
    return json.dumps({"input": row.input, "output": output}) + "\n"


@pytest.mark.parametrize("kind", TASKS)
def test_a_student_of_each_kind_is_scored_with_its_parts(kind: str, tmp_path: Path) -> None:
    task = TASKS[kind]
    base = tiny_writer.make_writer(tmp_path / "b") if kind == "generate" else make_encoder(tmp_path / "b")
    recipe = recipe_of(kind, base, epochs=1)
    data, held_out = DATA[kind](24, 0), DATA[kind](45, 1)
    kinds.of(task).train(recipe, data, data[:10], tmp_path / "model", lambda _: None)
    file = tmp_path / "held_out.jsonl"
    file.write_text("".join(as_line(kind, row) for row in held_out))
    found = evaluation(tmp_path / "model", task, str(file))
    assert found.n == 45 and found.estimates[0].metric == METRICS[kind]
    assert all(e.low <= e.value <= e.high for e in found.estimates)
    assert (found.ece is not None) == (kind in ("classify", "multi_label"))
    by_length = [s for s in found.slices if s.by == "length"]
    assert len(by_length) >= 2 and sum(s.estimate.n for s in by_length) <= 45
    stream = io.StringIO()
    print_evaluation(found, stream)
    assert METRICS[kind] in stream.getvalue() and json.dumps(found.as_dict())
