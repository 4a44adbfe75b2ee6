"""Parts of the rows, and the user's few rows beside generated ones."""

from __future__ import annotations

import numpy as np
import pytest

from p2m.evaluate.intervals import Estimate, wilson
from p2m.evaluate.powered import Correction, correction, powered_mean
from p2m.evaluate.slices import Slice, slices
from p2m.rows import Row


def test_thirds_by_length_and_sources_each_with_n_and_interval() -> None:
    rows = [Row("x" * (1 + i), "ab"[i % 2], "user" if i < 60 else "dataset:o/n/test") for i in range(90)]
    # Long inputs are often wrong.
    said = [r.output if i < 60 or i % 3 == 0 else "?" for i, r in enumerate(rows)]
    found = {s.name: s for s in slices("accuracy", rows, said, labels=["a", "b"])}
    short, middling, long = "short (up to 30 characters)", "middling (up to 60 characters)", "long (from 61)"
    assert list(found) == [short, middling, long, "user", "dataset:o/n/test"]
    assert [found[name].low for name in (short, middling, long)] == [False, False, True]
    assert found["dataset:o/n/test"].low and found["dataset:o/n/test"].by == "source"
    assert found[long].estimate == Estimate("accuracy", 1 / 3, *wilson(10, 30), 30)
    assert Slice.of_dict(found[long].as_dict()) == found[long]


def test_every_row_is_in_one_third_also_where_lengths_repeat() -> None:
    rows = [Row("x" * length, "a") for length in [5] * 40 + [6] * 10 + [7] * 10]
    found = slices("accuracy", rows, ["a"] * 60)
    assert sum(s.estimate.n for s in found) == 60
    assert not any(s.low for s in found)


def test_few_rows_and_rows_of_one_length_have_no_parts() -> None:
    assert slices("accuracy", [Row("x" * i, "a") for i in range(1, 13)], ["a"] * 12) == []
    assert slices("accuracy", [Row("same", "a")] * 60, ["a"] * 60) == []


def test_a_label_that_a_part_has_not_is_no_failure_of_the_part() -> None:
    rows = [Row("x" * 3, "a")] * 20 + [Row("x" * 9, "b")] * 20 + [Row("x" * 12, "a")] * 20
    said = [r.output for r in rows]
    assert [s.estimate.value for s in slices("macro_f1", rows, said, labels=["a", "b"])] == [1, 1, 1]


def test_slices_of_free_text_take_other_right_answers() -> None:
    rows = [Row("x" * i, "yes", meta={"also": ["yeah"]}) for i in range(1, 61)]
    assert {s.estimate.value for s in slices("exact_match", rows, ["yeah"] * 60)} == {1.0}


def test_the_weight_is_that_of_least_variance() -> None:
    """On many rows: the formula of PPI++ by hand, and an interval shorter than the rows alone give."""
    rng = np.random.default_rng(0)
    truth = rng.random(2000) < 0.8
    proxy = np.where(rng.random(2000) < 0.9, truth, ~truth)
    many_truth = rng.random(20000) < 0.8
    many = np.where(rng.random(20000) < 0.9, many_truth, ~many_truth)
    value, low, high, weight = powered_mean(truth, proxy, many)
    both = np.concatenate([proxy, many]).astype(float)
    by_hand = np.cov(truth, proxy, bias=True)[0, 1] / ((1 + 2000 / 20000) * both.var())
    assert weight == pytest.approx(by_hand, abs=0.005)
    assert value == pytest.approx(truth.mean() + weight * (many.mean() - proxy.mean()), abs=0.002)
    assert high - low < 0.85 * (wilson(truth.sum(), 2000)[1] - wilson(truth.sum(), 2000)[0])
    assert low < 0.8 < high


def test_a_teacher_that_says_nothing_of_the_truth_adds_nothing() -> None:
    rng = np.random.default_rng(1)
    truth, proxy, many = rng.random(500) < 0.8, rng.random(500) < 0.5, rng.random(5000) < 0.5
    assert powered_mean(truth, proxy, many)[3] < 0.15


@pytest.mark.parametrize("n", [10, 39])
def test_few_rows_that_all_agree_still_leave_doubt(n: int) -> None:
    """The plain normal interval would have no width here."""
    value, low, high, _ = powered_mean(np.ones(n, bool), np.ones(n, bool), np.ones(80, bool))
    assert high - low > 0.02 and low < 0.97 and value > 0.9


def test_the_users_rows_correct_generated_ones() -> None:
    golds = ["a"] * 10 + ["b"] * 10
    said = ["a"] * 10 + ["b"] * 7 + ["a"] * 3
    generated = (["a"] * 50 + ["b"] * 30, ["a"] * 50 + ["b"] * 22 + ["a"] * 8)
    found = correction("accuracy", golds, said, golds, generated)
    assert found.own == Estimate("accuracy", 0.85, *wilson(17, 20), 20)
    assert found.generated.value == 0.9 and found.teacher is not None and found.teacher.value == 1
    assert found.powered is not None and found.own.value < found.powered.value <= found.generated.value
    assert found.powered.width < found.own.width
    assert Correction.of_dict(found.as_dict()) == found
    estimate, powered, teacher = found.words()
    assert "user's own 20 rows" in estimate and f"{100 * found.own.width:.0f} points wide" in estimate
    assert "no basis for the verdict" in powered and "teacher's own answers" in teacher


def test_generated_rows_that_are_easier_are_told() -> None:
    golds = ["a"] * 10 + ["b"] * 10
    said = ["a"] * 10 + ["b"] * 5 + ["a"] * 5
    found = correction("accuracy", golds, said, golds, (["a"] * 80, ["a"] * 80))
    assert found.shifted and found.own.value == 0.75
    assert "on 75% of the user's rows and on 100% of the generated ones" in " ".join(found.words())


def test_without_the_teachers_answers_the_rows_stand_alone() -> None:
    golds, said = ["a"] * 8, ["a"] * 7 + ["b"]
    found = correction("accuracy", golds, said, None, (golds, said))
    assert found.powered is None and found.teacher is None and len(found.words()) == 1
    macro = correction("macro_f1", golds, said, golds, (golds, said), labels=["a", "b"])
    assert macro.powered is None and macro.own.metric == "macro_f1"
