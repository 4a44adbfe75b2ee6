"""Spans and label sets as people write them: in task files, pasted JSON lines and labelled files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from p2m import kinds
from p2m.data.spans import are_spans, spans_in
from p2m.errors import BadInput
from p2m.outputs import format_spans
from p2m.task.parse import load_task
from p2m.task.spec import TaskSpec

TEXT = "2 cups of flour and 2 eggs"
WANTED = [(0, 1, "number"), (10, 15, "food"), (20, 21, "number"), (22, 26, "food")]
WAYS: dict[str, Any] = {
    "texts": [
        {"text": "2", "label": "number"},
        {"text": "flour", "label": "food"},
        {"text": "2", "label": "number"},
        {"text": "eggs", "label": "food"},
    ],
    "places": [{"start": s, "end": e, "label": label} for s, e, label in WANTED],
    "a task file's places": [{"start": str(s), "end": str(e), "type": label} for s, e, label in WANTED],
    "spaCy": [list(span) for span in WANTED],
    "a pipeline": [{"word": TEXT[s:e], "entity_group": label, "start": s, "end": e} for s, e, label in WANTED],
    "by label": {"number": ["2", "2"], "food": ["flour", "eggs"]},
    "places of some": [
        {"start": 20, "end": 21, "label": "number"},
        {"text": "2", "label": "number"},
        {"text": "flour", "label": "food"},
        {"text": "eggs", "label": "food"},
    ],
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_write_spans_is_the_same_spans(way: str) -> None:
    assert are_spans(WAYS[way])
    assert sorted(s.place for s in spans_in(TEXT, WAYS[way])) == WANTED


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([{"text": "milk", "label": "food"}], "'milk' .food. is not in the text: spans are copied"),
        ([{"text": "flour", "label": "food"}] * 2, "not in the text once more"),
        ([{"text": "flour"}], "has a label"),
        ([{"label": "food"}], "neither"),
        ([{"start": 0, "end": 90, "label": "food"}], "characters 0 to 90"),
        ([{"start": 0, "end": 1, "text": "3", "label": "number"}], "are '2', not '3'"),
        ([3], "has a label"),
        ("flour", "are a list"),
    ],
)
def test_what_is_no_span_of_the_text_is_said(value: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        spans_in(TEXT, value)


def load(folder: Path, front: str, body: str) -> TaskSpec:
    file = folder / "task.md"
    file.write_text(f"---\n{front}\n---\n{body}\n", encoding="utf-8")
    task = load_task(str(file))
    assert isinstance(task, TaskSpec)
    return task


def test_a_task_file_shows_spans_as_a_person_writes_them(tmp_path: Path) -> None:
    front = """examples:
- {input: 2 cups of flour and 2 eggs, output: {number: [2, 2], food: [flour, eggs]}}
- {input: a pinch of salt, output: [{text: salt, label: food}]}
- {input: stir well, output: []}"""
    task = load(tmp_path, front, "Find the ingredients and how many there are.")
    assert (task.kind, task.labels) == ("extract", ("number", "food"))
    assert task.examples[0].output == format_spans(spans_in(TEXT, WAYS["texts"]))
    assert [e.output for e in task.examples[1:]] == [
        format_spans(spans_in("a pinch of salt", [[11, 15, "food"]])),
        "[]",
    ]


def test_a_part_that_is_not_in_its_example_is_named_with_its_line(tmp_path: Path) -> None:
    front = "examples:\n- {input: salt, output: {food: salt}}\n- {input: some flour, output: {food: floor}}"
    with pytest.raises(BadInput, match=r"task.md:4: example 2: 'floor' .food. is not in the text"):
        load(tmp_path, front, "Find the ingredients.")


def test_a_task_file_shows_label_sets_as_lists(tmp_path: Path) -> None:
    front = """examples:
- {input: it crashed and you charged me, output: [bug, billing]}
- {input: how do I export, output: [how_to]}
- {input: all good now, output: []}
- {input: refund please, output: billing}"""
    task = load(tmp_path, front, "Tag a message with every topic that it touches.")
    assert (task.kind, kinds.of(task).name) == ("classify", "multi_label")
    assert task.labels == ("bug", "billing", "how_to")
    assert [json.loads(e.output) for e in task.examples] == [["bug", "billing"], ["how_to"], [], ["billing"]]


def test_a_list_where_one_answer_is_wanted_holds_right_answers(tmp_path: Path) -> None:
    front = (
        "kind: generate\nexamples:\n- {input: say hi, output: [Hello., Hi there.]}\n- {input: bye, output: [See you.]}"
    )
    task = load(tmp_path, front, "Answer politely.")
    assert [e.output for e in task.examples] == ["Hello.", "See you."]


def test_pasted_json_lines_may_have_spans(tmp_path: Path) -> None:
    rows = [
        {"text": TEXT, "entities": WAYS["texts"]},
        {"text": "salt", "entities": [{"text": "salt", "label": "food"}]},
    ]
    body = "Find the ingredients.\n\n" + "\n".join(map(json.dumps, rows))
    (tmp_path / "task.md").write_text(body, encoding="utf-8")
    task = load_task(str(tmp_path / "task.md"))
    assert isinstance(task, TaskSpec)
    assert (task.kind, task.labels, len(task.examples)) == ("extract", ("number", "food"), 2)


def test_a_labelled_file_needs_no_places(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [
        {"text": TEXT, "spans": WAYS["texts"]},
        {"text": "salt", "spans": []},
        {"text": "eggs", "spans": [[0, 4, "food"]]},
    ]
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    task = TaskSpec(name="x", instruction="x", kind="extract", labels=("number", "food"))
    first, second, third = kinds.of(task).read(task, str(file))
    assert first.output == format_spans(spans_in(TEXT, WAYS["texts"])) and second.output == "[]"
    assert third.output == format_spans(spans_in("eggs", [[0, 4, "food"]]))
