"""The referee: what is held out, from where, and that nobody else can open it."""

from __future__ import annotations

import ast
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from p2m.data.near import normalise
from p2m.data.referee import Referee, better, guard_texts, open_check, open_test, open_validation
from p2m.data.split import sizes, split
from p2m.errors import BadInput, P2MError, ToolFailure
from p2m.rows import Row
from p2m.store import Store
from p2m.task.spec import Example, TaskSpec
from tests.conftest import ROOT

WORDS = [
    "amber",
    "birch",
    "cedar",
    "dune",
    "ember",
    "frost",
    "grove",
    "haze",
    "iris",
    "jade",
    "kelp",
    "lark",
    "mist",
    "north",
    "oak",
    "pine",
    "quartz",
    "reed",
]


def text(i: int) -> str:
    return f"{WORDS[i % 18]} {WORDS[i // 18 % 18]} {WORDS[i // 324 % 18]} {i}"


def rows(n: int, labels: tuple[str, ...] = ("a", "b"), source: str = "user") -> list[Row]:
    return [Row(text(i), labels[i % len(labels)], source) for i in range(n)]


def task(**changes: object) -> TaskSpec:
    base = {"name": "t", "instruction": "Sort the texts.", "kind": "classify", "labels": ("a", "b")}
    return TaskSpec(**{**base, **changes})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "artifacts")


@pytest.mark.parametrize(
    ("n", "use", "expected"),
    [
        (10, "validation_file", (5, 5, 0)),
        (41, "validation_file", (20, 21, 0)),
        (600, "test_split", (300, 300, 0)),
        (900, "validation_file", (300, 600, 0)),
        (5000, "validation_file", (300, 1000, 3700)),
        (5000, "test_split", (200, 400, 4400)),
        (100, "training_file", (25, 25, 50)),
        (5000, "training_file", (300, 300, 4400)),
    ],
)
def test_sizes(n: int, use: str, expected: tuple[int, int, int]) -> None:
    found = sizes(n, use)
    assert (found.validation, found.test, found.leftover) == expected


def test_split_is_stratified_whole_and_the_same_for_a_seed() -> None:
    data = rows(700, ("a",) * 6 + ("b",) * 3 + ("c",))
    drawn = split(data, 1, use="test_split", strata=[r.output for r in data])
    parts = [drawn.validation, drawn.test, drawn.leftover]
    assert [len(p) for p in parts] == [200, 400, 100]
    assert sorted(r.input for p in parts for r in p) == sorted(r.input for r in data)
    assert Counter(r.output for r in drawn.validation) == {"a": 120, "b": 60, "c": 20}
    assert Counter(r.output for r in drawn.test) == {"a": 240, "b": 120, "c": 40}
    assert drawn == split(data, 1, use="test_split", strata=[r.output for r in data])
    assert drawn.test != split(data, 2, use="test_split", strata=[r.output for r in data]).test


def test_rare_labels_are_in_both_splits_where_they_can_be() -> None:
    data = [*rows(960, ("a",)), *(Row(f"rare {i}", "two") for i in range(2)), Row("alone", "one")]
    drawn = split(data, 0, use="test_split", strata=[r.output for r in data])
    for part in (drawn.validation, drawn.test):
        assert "two" in {r.output for r in part}
    assert any("only one held-out row" in note and "one" in note for note in drawn.notes)


def test_more_labels_than_seats_still_fills_the_splits() -> None:
    data = [Row(f"{text(i)} x", f"label {i // 2}") for i in range(20)]
    drawn = split(data, 0, use="training_file", strata=[r.output for r in data])
    assert (len(drawn.validation), len(drawn.test), len(drawn.leftover)) == (5, 5, 10)


def test_free_text_answers_are_drawn_plainly() -> None:
    data = [Row(text(i), f"answer {i}") for i in range(40)]
    drawn = split(data, 0, use="validation_file", strata=None)
    assert (len(drawn.validation), len(drawn.test), drawn.notes) == (20, 20, ())


def write_csv(path: Path, data: list[Row]) -> str:
    path.write_text("text,label\n" + "".join(f"{r.input},{r.output}\n" for r in data), encoding="utf-8")
    return str(path)


def test_validation_file_is_held_out_whole(tmp_path: Path, store: Store) -> None:
    file = write_csv(tmp_path / "dev.csv", rows(50))
    held = Referee(store, None).fix_from_file(task(validation=file), 0)
    assert (held.source, len(held.validation), len(held.test), held.leftover) == ("user", 25, 25, [])
    assert any("95% interval" in note for note in held.notes)


def test_training_file_alone_keeps_half_for_training(tmp_path: Path, store: Store) -> None:
    file = write_csv(tmp_path / "train.csv", rows(60))
    held = Referee(store, None).fix_from_file(task(train=file), 0)
    assert (len(held.validation), len(held.test), len(held.leftover)) == (15, 15, 30)


def test_three_rows_are_too_few_and_the_error_says_so(tmp_path: Path, store: Store) -> None:
    file = write_csv(tmp_path / "dev.csv", rows(3))
    with pytest.raises(BadInput, match=r"dev\.csv: 3 labelled rows are too few.*±\d\d points.*at least 10") as error:
        Referee(store, None).fix_from_file(task(validation=file), 0)
    assert "\n" not in str(error.value)


def test_labels_that_the_task_has_not_are_an_error(store: Store) -> None:
    with pytest.raises(BadInput, match="'c'"):
        Referee(store, None).fix_from_rows(task(), rows(30, ("a", "c")), "dataset:o/n", 0)


def test_demonstrations_repetitions_and_contradictions_are_taken_out(store: Store) -> None:
    shown = "this exact sentence was shown to the teacher as an example of the task"
    data = [
        *rows(30),
        Row(shown.upper(), "a"),
        Row(shown.replace("exact ", ""), "b"),
        Row(text(0).title() + "!", "a"),
        Row("said twice", "a"),
        Row("Said twice.", "b"),
    ]
    examples = (Example(input=shown, output="a"),)
    held = Referee(store, None).fix_from_rows(task(examples=examples), data, "dataset:o/n", 0)
    assert held.removed == {"demonstration": 2, "contradiction": 2, "duplicate": 1}
    assert {r.input for r in held.validation + held.test} == {text(i) for i in range(30)}


def test_two_answers_to_one_input_are_no_contradiction_for_free_text(store: Store) -> None:
    data = [*rows(30), Row(text(3), "another right answer"), rows(30)[4]]
    held = Referee(store, None).fix_from_rows(task(kind="generate", labels=()), data, "dataset:o/n", 0)
    assert held.removed == {"merged": 1, "duplicate": 1}
    (both,) = [r for r in (*held.validation, *held.test) if r.input == text(3)]
    assert both.meta["also"] == ["another right answer"]


def test_generated_rows_that_nearly_repeat_count_once(store: Store) -> None:
    long = "please could you tell me where my parcel with the birthday present is right now"
    data = [*rows(30, source="generated"), *(Row(f"{long}{end}", "a", "generated") for end in ("", " please", "s"))]
    assert Referee(store, None).fix_from_rows(task(), data, "generated", 0).removed == {"duplicate": 2}
    assert Referee(store, None).fix_from_rows(task(), data, "dataset:o/n", 0).removed == {}


def test_a_label_without_held_out_rows_is_said(store: Store) -> None:
    held = Referee(store, None).fix_from_rows(task(labels=("a", "b", "c")), rows(30), "generated", 0)
    assert any("no held-out row has the label c" in note for note in held.notes)


def test_saved_rows_come_back_and_cannot_be_changed_unseen(store: Store) -> None:
    referee = Referee(store, None)
    held = referee.fix_from_rows(task(), rows(40), "generated", 0)
    handle = referee.save(held)
    assert handle.startswith("ho_") and referee.save(held) == handle
    assert open_validation(store, handle) == held.validation
    assert open_test(store, handle) == held.test
    assert guard_texts(store, handle) == [r.input for r in held.validation + held.test]
    file = store.path(handle) / "test.jsonl"
    record = json.loads(file.read_text().splitlines()[0])
    file.write_text(json.dumps(record) + "\n")
    with pytest.raises(P2MError, match="was changed after it was fixed"):
        open_test(store, handle)
    assert open_validation(store, handle) == held.validation
    store.save_rows("ds_00aa", rows(3), {})
    with pytest.raises(ToolFailure, match="holds no held-out rows"):
        open_validation(store, "ds_00aa")


def test_precedence() -> None:
    order = ["generated", "dataset:o/n", "user"]
    for i, new in enumerate(order):
        for j, old in enumerate(order):
            assert better(new, old) == (i > j)
    assert not better("dataset:o/other", "dataset:o/n")


def test_a_real_test_split(shared: Path, store: Store) -> None:
    records = (shared / "hub/datasets/polyai/banking77/test.jsonl").read_text().splitlines()
    data = [Row(r["text"], r["category"], "dataset:polyai/banking77/test") for r in map(json.loads, records)]
    labels = tuple(sorted({r.output for r in data}))
    held = Referee(store, None).fix_from_rows(task(labels=labels), data, "dataset:polyai/banking77", 0)
    assert (len(held.validation), len(held.test)) == (200, 400)
    assert {r.output for r in held.validation} == {r.output for r in held.test} == set(labels)
    everything = [normalise(r.input) for r in held.validation + held.test + held.leftover]
    assert len(everything) == len(set(everything))


def test_no_tool_opens_the_sealed_test() -> None:
    """Nothing under tools/ may name ``open_test`` or the sealed file, however it is imported."""
    files = sorted((ROOT / "tools").rglob("*.py"))
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            named = {getattr(node, "id", None), getattr(node, "attr", None), getattr(node, "name", None)}
            assert not {"open_test", "open_check"} & named, f"{file} names what opens sealed rows"
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                reached = [s for s in ("open_test", "test.jsonl", "open_check", "check.jsonl") if s in node.value]
                assert not reached, f"{file} reaches for sealed rows"


def test_few_rows_of_the_user_check_generated_ones(tmp_path: Path, store: Store) -> None:
    referee = Referee(store, None)

    def few(n: int) -> list[Row]:
        return referee.few_rows(task(validation=write_csv(tmp_path / f"{n}.csv", rows(n))))

    assert [len(few(n)) for n in (3, 7, 8, 39, 40)] == [0, 0, 8, 39, 0]
    assert referee.few_rows(task(train=write_csv(tmp_path / "train.csv", rows(20)))) == []
    shown = tuple(Example(input=text(i), output="a") for i in range(3))
    assert [r.input for r in referee.few_rows(task(validation=str(tmp_path / "39.csv"), examples=shown))] == [
        text(i) for i in range(3, 39)
    ]
    assert referee.few_rows(task(validation=str(tmp_path / "8.csv"), examples=shown)) == []


def test_the_users_few_rows_are_sealed_and_guarded_too(store: Store) -> None:
    referee = Referee(store, None)
    held = referee.fix_from_rows(task(), rows(40), "generated", 0)
    mine = (Row("one of mine", "a", meta={"teacher": None}), Row("another of mine", "b", meta={"teacher": "a"}))
    handle = referee.save(replace(held, check=mine))
    assert handle != referee.save(held)
    assert open_check(store, handle) == list(mine) and open_check(store, referee.save(held)) == []
    assert {"one of mine", "another of mine"} < set(guard_texts(store, handle))
    (store.path(handle) / "check.jsonl").write_text("")
    with pytest.raises(P2MError, match="was changed after it was fixed"):
        open_check(store, handle)
