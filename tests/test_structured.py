"""Files and tasks whose answers have a form: read as they are published, refused in words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from p2m import kinds
from p2m.data.labelled import read_labelled
from p2m.data.structured import label_set, shape_of
from p2m.errors import BadInput
from p2m.generate.answers import read, said, schema_of
from p2m.outputs import parse_spans
from p2m.task.parse import load_task
from p2m.task.spec import Example, TaskSpec


def table(folder: Path, *records: dict[str, object]) -> str:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return str(file)


def spans_task(**changes: object) -> TaskSpec:
    labels = ("band", "song")
    return TaskSpec(name="t", instruction="Find them.", kind="extract", labels=labels, metric="span_f1", **changes)  # type: ignore[arg-type]


def test_tagged_tokens_become_spans_of_their_text(tmp_path: Path) -> None:
    file = table(
        tmp_path,
        {
            "tokens": ["The", "Clash", "played", "Brand", "New"],
            "ner_tags": ["B-band", "I-band", "O", "I-song", "B-song"],
        },
        {"tokens": ["Nothing"], "ner_tags": ["O"]},
    )
    first, second = kinds.of(spans_task()).read(spans_task(), file)
    assert first.input == "The Clash played Brand New"
    found = [(s.text, s.label) for s in parse_spans(first.output, first.input)]
    assert found == [("The Clash", "band"), ("Brand", "song"), ("New", "song")]
    assert second.output == "[]"


def test_spans_beside_their_text_are_checked(tmp_path: Path) -> None:
    span = {"start": 3, "end": 7, "label": "city", "text": "Rome"}
    file = table(tmp_path, {"text": "to Rome", "spans": [span]}, {"text": "to Bonn", "spans": [span]})
    with pytest.raises(BadInput, match=r"rows.jsonl:2.*'Bonn', not 'Rome'"):
        read_labelled(file, kind="extract")


def test_a_label_that_the_task_has_not_is_named(tmp_path: Path) -> None:
    file = table(tmp_path, {"tokens": ["Rome"], "ner_tags": ["B-city"]})
    with pytest.raises(BadInput, match=r"rows.jsonl:1.*'city' is not one of the labels"):
        kinds.of(spans_task()).read(spans_task(), file)


def test_numbers_for_tags_need_names(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="a number without a name"):
        read_labelled(table(tmp_path, {"tokens": ["a"], "ner_tags": [0]}), kind="extract")


def test_squad_rows_know_the_place_of_their_answer(tmp_path: Path) -> None:
    file = table(
        tmp_path,
        {"question": "Who?", "context": "Ada and Ada.", "answers": {"text": ["Ada", "Ada."], "answer_start": [8, 8]}},
        {"question": "Why?", "context": "Nobody says.", "answers": {"text": [], "answer_start": []}},
    )
    first, second = read_labelled(file, kind="extract")
    assert first.input == "question: Who?\ncontext: Ada and Ada."
    assert first.output == "Ada" and first.meta["also"] == ["Ada."]
    assert first.input[first.meta["start"] :] == "Ada."
    assert second.output == ""


@pytest.mark.parametrize("value", [["a", "b"], '["a", "b"]', "a; b", "a|b", "a | b"])
def test_label_sets_are_read_as_people_write_them(tmp_path: Path, value: object) -> None:
    assert label_set(value) == ("a", "b")
    (row,) = read_labelled(table(tmp_path, {"text": "x", "labels": value}), labels=("B", "A"), multi_label=True)
    assert row.output == '["B", "A"]'


def test_an_unknown_label_of_a_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="'c' is not one of the labels"):
        read_labelled(table(tmp_path, {"text": "x", "labels": ["a", "c"]}), labels=("a", "b"), multi_label=True)


def test_plain_tables_have_no_shape() -> None:
    assert shape_of(("question", "context", "answer"), {"question": "q", "context": "c", "answer": "a"}) is None
    assert shape_of(("text", "label"), {"text": "x", "label": "a"}) is None


def task_file(folder: Path, text: str) -> TaskSpec:
    file = folder / "task.md"
    file.write_text(text, encoding="utf-8")
    found = load_task(str(file))
    assert isinstance(found, TaskSpec)
    return found


def test_the_kinds_that_a_task_file_names(tmp_path: Path) -> None:
    task = task_file(
        tmp_path, "---\nkind: score\nscale: 1 to 5\nexamples:\n  - {input: fine, output: 3.5}\n---\nRate it.\n"
    )
    assert (task.kind, task.scale, task.metric, kinds.of(task).name) == ("score", (1.0, 5.0), "spearman", "score")
    task = task_file(
        tmp_path,
        "---\nlabels: [a, b, c]\nmulti_label: true\nexamples:\n  - {input: x, output: c; a}\n---\nWhich apply?\n",
    )
    assert (task.multi_label, task.metric, kinds.of(task).name) == (True, "micro_f1", "multi_label")
    assert task.examples[0].output == '["a", "c"]'
    task = task_file(tmp_path, "---\nkind: extract\nlabels: [date]\n---\nFind the dates.\n")
    assert (task.labels, task.metric, kinds.of(task).name) == (("date",), "span_f1", "extract")


def test_ratings_with_decimals_are_a_scale(tmp_path: Path) -> None:
    shown = "".join(f"  - {{input: text {i}, output: {v}}}\n" for i, v in enumerate([0.2, 0.4, 1.0, 0.6, 0.2]))
    assert task_file(tmp_path, f"---\nexamples:\n{shown}---\nRate how polite a message is.\n").kind == "score"


def test_a_rating_off_the_scale_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="9 is not on the scale 1 to 5"):
        task_file(tmp_path, "---\nkind: score\nscale: [1, 5]\nexamples:\n  - {input: fine, output: 9}\n---\nRate it.\n")


def test_the_teachers_spans_must_be_in_the_text() -> None:
    task = spans_task(examples=(Example(input="x", output="[]"),))
    reply = json.dumps({"answer": [{"text": t, "label": "band"} for t in ("Clash", "Clash", "Abba")]})
    found = parse_spans(read(task, "Clash and Clash", reply) or "")
    assert [(s.start, s.end) for s in found] == [(0, 5), (10, 15)]
    assert read(task, "Clash", "no json") is None
    assert said(task, '[{"text": "Clash", "label": "band", "start": 0, "end": 5}]') == (
        '{"answer": [{"text": "Clash", "label": "band"}]}'
    )


def test_the_teachers_number_must_be_on_the_scale() -> None:
    task = TaskSpec(name="t", instruction="Rate.", kind="score", scale=(1, 5), metric="spearman")
    assert read(task, "x", '{"answer": 4}') == "4.0"
    assert read(task, "x", '{"answer": 9}') is None
    assert schema_of(task)["properties"]["answer"] == {"type": "number", "minimum": 1, "maximum": 5}


def test_an_empty_list_in_the_first_row_does_not_say_what_the_others_hold(tmp_path: Path) -> None:
    topics = [{"text": "thanks", "labels": []}, {"text": "it broke", "labels": ["bug"]}, {"text": "b", "labels": ["c"]}]
    rows = read_labelled(table(tmp_path, *topics), multi_label=True)
    assert [r.output for r in rows] == ["[]", '["bug"]', '["c"]']
    spans = [
        {"text": "nothing", "note": None, "spans": []},
        {"text": "to Rome", "note": None, "spans": [[3, 7, "city"]]},
    ]
    rows = read_labelled(table(tmp_path, *spans), kind="extract")
    assert [len(parse_spans(r.output)) for r in rows] == [0, 1]
