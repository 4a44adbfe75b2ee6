"""Task files and task texts: every key, every fault, one line each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from p2m.errors import EXIT_USAGE, BadInput
from p2m.task.parse import NeedsLLM, Overrides, load_task
from p2m.task.spec import Example, Limits, StudentLimits, TaskSpec

FRONT = """---
name: Tickets
labels: [billing, "no", "1"]
metric: macro-F1
target: 85%
language: de
validation: held.csv
train: data/train.jsonl#
input_column: text
output_column: label
budget: {minutes: 10, examples: 2_000, usd: 0.5, tokens: 1000, llm_calls: 5, steps: 7}
student: {max_parameters_m: 33.4, licenses: [Apache-2.0, MIT], base: smollm2-135m}
examples:
- {input: I was charged twice, output: Billing}
- {text: it is off, label: no}
- [it is on, 1]
---
# Ticket routing

Say what a ticket is about.

Examples:

Input: refund me
Output: billing
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "held.csv").write_text("text,label\nhi,billing\nho,no\n")
    (tmp_path / "rows.csv").write_text("text,label\nfine,good\nawful,bad\nnice,good\npoor,bad\n")
    (tmp_path / "latin.csv").write_bytes("text,label\nschön,good\n".encode("latin-1"))
    return tmp_path


def task(folder: Path, front: str, body: str = "Classify texts.\n", **overrides: object) -> TaskSpec | NeedsLLM:
    path = folder / "task.md"
    path.write_text(f"---\n{front}\n---\n{body}", encoding="utf-8")
    return load_task(str(path), overrides=Overrides(**overrides))  # type: ignore[arg-type]


def spec(loaded: TaskSpec | NeedsLLM) -> TaskSpec:
    assert isinstance(loaded, TaskSpec)
    return loaded


def test_every_key(folder: Path) -> None:
    path = folder / "task.md"
    path.write_text(FRONT.replace("train: data/train.jsonl#\n", "train: ./held.csv\n"))
    found = spec(load_task(str(path)))
    assert found == TaskSpec(
        name="Tickets",
        instruction="# Ticket routing\n\nSay what a ticket is about.",
        kind="classify",
        labels=("billing", "no", "1"),
        examples=(
            Example(input="I was charged twice", output="billing"),
            Example(input="it is off", output="no"),
            Example(input="it is on", output="1"),
            Example(input="refund me", output="billing"),
        ),
        metric="macro_f1",
        target=0.85,
        language="de",
        validation=str(folder / "held.csv"),
        train=str(folder / "held.csv"),
        input_column="text",
        output_column="label",
        budget=Limits(minutes=10, examples=2000, usd=0.5, tokens=1000, llm_calls=5, steps=7),
        student=StudentLimits(max_parameters_m=33.4, licenses=("apache-2.0", "mit"), base="smollm2-135m"),
    )


def test_json_and_yaml_with_the_same_keys(folder: Path) -> None:
    keys = {"instruction": "Judge it.", "labels": ["good", "bad"], "target": 0.9, "validation": "rows.csv"}
    (folder / "t.json").write_text(json.dumps({**keys, "examples": [{"input": "x", "output": "good"}]}))
    (folder / "t.yaml").write_text(
        "instruction: Judge it.\nlabels: [good, bad]\ntarget: accuracy >= 0.9\n"
        "validation: rows.csv\nexamples:\n- [x, good]\n"
    )
    assert spec(load_task(str(folder / "t.json"))) == spec(load_task(str(folder / "t.yaml")))
    assert spec(load_task(json.dumps({"instruction": "Judge.", "labels": ["yes", True]}))).labels == ("yes", "true")


def test_labels_come_from_the_labelled_file(folder: Path) -> None:
    found = spec(task(folder, "validation: rows.csv"))
    assert (found.kind, found.labels) == ("classify", ("good", "bad"))
    assert any("good, bad" in note for note in found.notes)


@pytest.mark.parametrize(
    ("written", "value"), [("0.85", 0.85), ("85%", 0.85), ("accuracy>=0.85", 0.85), (".9", 0.9), ("acc ≥ 100%", 1.0)]
)
def test_targets(folder: Path, written: str, value: float) -> None:
    assert spec(task(folder, f'labels: [a, b]\ntarget: "{written}"')).target == value


def test_options_overrule_the_file(folder: Path) -> None:
    found = spec(
        task(
            folder,
            "labels: [a, b]\ntarget: 0.5\nbudget: {minutes: 5, steps: 3}",
            target="macro_f1>=0.8",
            budget={"minutes": "20", "usd": None},
        )
    )
    assert (found.metric, found.target) == ("macro_f1", 0.8)
    assert found.budget == Limits(minutes=20, steps=3)


FAULTS = {
    "unknown key": ("label: [a, b]", 2, ["'label'", "labels"]),
    "key twice": ("name: a\nname: b", 3, ["'name'", "twice"]),
    "broken YAML": ("name: x\nlabels: [a, b\nkind: classify", None, ["broken YAML"]),
    "colon in a value": ("name: a: b", 2, ["broken YAML", "quotes"]),
    "unknown kind": ("kind: clasify", 2, ["'clasify'", "classify, generate, extract"]),
    "one label": ("name: x\nlabels: [spam]", 3, ["one label", "'spam'"]),
    "same label twice": ("labels: [spam, ham, spam]", 2, ["'spam' twice"]),
    "labels that read the same": ("labels: [Not spam, not_spam]", 2, ["'Not spam' and 'not_spam'"]),
    "labels for another kind": ("kind: generate\nlabels: [a, b]", 3, ["classify", "generate"]),
    "example outside the labels": (
        "labels: [a, b]\nexamples:\n- {input: x, output: a}\n- {input: y, output: c}",
        5,
        ["example 2 ('y')", "'c'", "a, b"],
    ),
    "contradicting examples": ("kind: generate\nexamples:\n- [x, a]\n- [x, b]", 5, ["contradict", "'x'", "line 4"]),
    "one label in all examples": ("kind: classify\nexamples:\n- [x, a]\n- [y, a]", None, ["one label, 'a'"]),
    "an example without output": ("labels: [a, b]\nexamples:\n- {input: x}", 4, ["example 1"]),
    "an empty output": ("labels: [a, b]\nexamples:\n- {input: x, output: ''}", 4, ["empty output"]),
    "unknown metric": ("labels: [a, b]\nmetric: bleu", 3, ["'bleu'", "macro_f1"]),
    "metric of another kind": ("labels: [a, b]\nmetric: chrf", 3, ["chrf", "classify", "accuracy"]),
    "metric of the target": ("labels: [a, b]\ntarget: chrf>=0.5", 3, ["chrf", "classify"]),
    "two metrics": ("labels: [a, b]\nmetric: accuracy\ntarget: f1>=0.8", 4, ["macro_f1", "accuracy"]),
    "target too large": ("labels: [a, b]\ntarget: 85", 3, ["85", "85%"]),
    "target of zero": ("labels: [a, b]\ntarget: 0", 3, ["between 0 and 1"]),
    "unreadable target": ("labels: [a, b]\ntarget: high", 3, ["'high'", "0.85"]),
    "unreadable budget": ("labels: [a, b]\nbudget: {minutes: soon}", 3, ["minutes", "'soon'"]),
    "negative budget": ("labels: [a, b]\nbudget:\n  usd: -1", 4, ["usd", "'-1'"]),
    "infinite budget": ("labels: [a, b]\nbudget: {minutes: inf}", 3, ["minutes"]),
    "half a step": ("labels: [a, b]\nbudget: {steps: 1.5}", 3, ["whole number"]),
    "budget without limits": ("labels: [a, b]\nbudget: an hour", 3, ["minutes, examples, usd"]),
    "unknown limit": ("labels: [a, b]\nbudget: {minute: 3}", 3, ["'minute'", "minutes"]),
    "unknown student key": ("labels: [a, b]\nstudent: {licence: mit}", 3, ["'licence'", "licenses"]),
    "missing validation": ("labels: [a, b]\nvalidation: row.csv", 3, ["row.csv", "rows.csv"]),
    "a folder for validation": ("labels: [a, b]\nvalidation: .", 3, ["folder"]),
    "name with a slash": ("name: ../x", 2, ["'../x'"]),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_faults_are_one_line_with_file_line_and_fix(folder: Path, case: str) -> None:
    front, line, fragments = FAULTS[case]
    with pytest.raises(BadInput) as error:
        task(folder, front)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(f"{folder / 'task.md'}:{line}:" if line else str(folder / "task.md"))
    assert error.value.exit_code == EXIT_USAGE
    for fragment in fragments:
        assert fragment in message


def test_faults_of_the_labelled_file_name_that_file(folder: Path) -> None:
    with pytest.raises(BadInput, match=r"rows\.csv:2: 'good' is not one of the labels .*: a, b"):
        task(folder, "labels: [a, b]\nvalidation: rows.csv")
    with pytest.raises(BadInput, match=r"latin\.csv:2: byte 4 .*iconv -f CP1252"):
        task(folder, "labels: [good, bad]\nvalidation: latin.csv")


def test_an_example_in_the_body_outside_the_labels(folder: Path) -> None:
    body = "Judge.\n\nInput: a\nOutput: positive\n\nInput: b\nOutput: neutral\n"
    with pytest.raises(BadInput, match=r"task\.md:9: example 2 .*'neutral'.*positive, negative"):
        task(folder, "kind: classify", body, labels=("positive", "negative"))
    with pytest.raises(BadInput, match="labels that the instruction names: a, b"):
        load_task("Put it into one of: a, b.\n\nx -> a\ny -> b\nz -> c")


def test_faults_of_options_name_the_option(folder: Path) -> None:
    for overrides, start in (
        ({"target": "1.5"}, "--target: "),
        ({"budget": {"minutes": "soon"}}, "--budget-minutes: "),
        ({"validation": "nowhere.csv"}, "--validation: "),
        ({"labels": ["a"]}, "--labels: "),
    ):
        with pytest.raises(BadInput) as error:
            task(folder, "labels: [a, b]", **overrides)
        assert str(error.value).startswith(start)


def test_a_missing_task_file(folder: Path) -> None:
    (folder / "tickets.md").write_text("Route tickets into one of: a, b.")
    for source in (folder / "ticket.md", folder / "Tickets.MD"):
        with pytest.raises(BadInput, match=r"no such file\. Did you mean tickets\.md"):
            load_task(str(source))
    with pytest.raises(BadInput, match="no folder"):
        load_task("nowhere/at/all")
    with pytest.raises(BadInput, match="folder, not a file"):
        load_task(str(folder))
    with pytest.raises(BadInput, match=r"data, not a task.*train: rows\.csv"):
        load_task(str(folder / "rows.csv"))


def test_an_empty_task(folder: Path) -> None:
    (folder / "empty.md").write_text(" \n")
    (folder / "empty.json").write_text("")
    for source in ("", "  \n", str(folder / "empty.md"), str(folder / "empty.json"), "---\nname: x\n---\n"):
        with pytest.raises(BadInput, match="task is empty"):
            load_task(source)
    with pytest.raises(BadInput, match="no instruction"):
        load_task('input="a"\noutput="b"')


def test_json_that_is_no_task(folder: Path) -> None:
    for name, content, message in (
        ("a.json", "[1, 2]", "without an instruction"),
        ("b.json", "3", "no task"),
        ("c.json", '{"instruction": "x",\n\n "lables": []}', r"c\.json:3: unknown key 'lables'.*labels"),
        ("d.json", '{"instruction": \n', r"d\.json:2: broken JSON"),
    ):
        (folder / name).write_text(content)
        with pytest.raises(BadInput, match=message):
            load_task(str(folder / name))


def test_front_matter_left_open(folder: Path) -> None:
    with pytest.raises(BadInput, match="front matter is not closed"):
        load_task("---\nname: x\nClassify.")


def test_windows_line_ends(folder: Path) -> None:
    path = folder / "task.md"
    path.write_bytes(b"---\r\nlabels: [a, b]\r\n---\r\nJudge.\r\n\r\nInput: x\r\nOutput: a\r\n")
    found = spec(load_task(str(path)))
    assert (found.instruction, found.examples) == ("Judge.", (Example(input="x", output="a"),))


def test_a_repeated_example_counts_once() -> None:
    found = spec(load_task("Judge: positive or negative?\n\na -> positive\nb -> negative\na -> positive"))
    assert len(found.examples) == 2
    assert "1 repeated example left out" in found.notes
