"""Metrics and error analysis, each against the library that defines it or against a count by hand."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import sacrebleu
from sklearn.metrics import accuracy_score, classification_report, f1_score

from p2m.evaluate.errors import analyse
from p2m.evaluate.metrics import chrf_over_rows, confusions, macro_f1_over_rows, per_label, score

LABELS = ["bug", "praise", "question", "unused"]


def answers(n: int = 200) -> tuple[list[str], list[str]]:
    rng = random.Random(7)
    golds = rng.choices(LABELS[:3], weights=(6, 3, 1), k=n)
    return golds, [g if rng.random() < 0.7 else rng.choice([*LABELS, "no such label"]) for g in golds]


def test_accuracy_is_scikit_learns() -> None:
    golds, predictions = answers()
    assert score("accuracy", golds, predictions) == accuracy_score(golds, predictions)


def test_macro_f1_is_scikit_learns_over_the_tasks_labels() -> None:
    golds, predictions = answers()
    known = f1_score(golds, predictions, labels=LABELS, average="macro", zero_division=0)
    assert score("macro_f1", golds, predictions, LABELS) == pytest.approx(known)
    assert score("macro_f1", golds, predictions, LABELS) < score("macro_f1", golds, predictions, LABELS[:3])
    seen = f1_score(golds, predictions, average="macro", zero_division=0)
    assert score("macro_f1", golds, predictions) == pytest.approx(seen)


def test_no_answer_is_a_wrong_answer() -> None:
    golds = ["bug", "bug", "praise", "praise"]
    assert score("accuracy", golds, ["bug", None, None, "praise"]) == 0.5
    by_hand = np.mean([2 / 3, 2 / 3])
    assert score("macro_f1", golds, ["bug", None, None, "praise"]) == pytest.approx(by_hand)
    assert score("exact_match", golds, [None] * 4) == 0
    assert score("chrf", golds, [None] * 4) == 0


def test_exact_match_forgives_spaces_only_and_takes_other_right_answers() -> None:
    golds = ["two words", "Berlin", "Paris"]
    assert score("exact_match", golds, [" two  words\n", "berlin", "Paris."]) == pytest.approx(1 / 3)
    assert score("exact_match", golds, ["x", "berlin", "Paris."], also=[[], ["berlin"], []]) == pytest.approx(1 / 3)


def test_chrf_is_sacrebleus_chrf_plus_plus() -> None:
    golds = ["The cat sat on the mat.", "He left early, it seems.", "12 km away"]
    predictions = ["The cat is on the mat.", "He seems to have left.", "12 miles away"]
    known = sacrebleu.corpus_chrf(predictions, [golds], word_order=2).score / 100
    assert score("chrf", golds, predictions) == pytest.approx(known)
    also = [["A cat is on the mat.", "The cat lay there."], [], ["12 miles off"]]
    streams = [golds, ["A cat is on the mat.", None, "12 miles off"], ["The cat lay there.", None, None]]
    known = sacrebleu.corpus_chrf(predictions, streams, word_order=2).score / 100
    assert score("chrf", golds, predictions, also=also) == pytest.approx(known)


def test_resampled_metrics_are_the_metrics_of_the_resample() -> None:
    golds, predictions = answers(40)
    predictions[5] = None
    index = np.random.default_rng(0).integers(0, 40, size=(6, 40))
    f1 = macro_f1_over_rows(golds, predictions, LABELS)(index)
    chrf = chrf_over_rows(golds, predictions, None)(index)
    for rows, a, b in zip(index, f1, chrf, strict=True):
        g, p = [golds[i] for i in rows], [predictions[i] for i in rows]
        assert a == pytest.approx(score("macro_f1", g, p, LABELS))
        assert b == pytest.approx(score("chrf", g, p))


def test_per_label_is_scikit_learns_report() -> None:
    golds, predictions = answers()
    report = classification_report(golds, predictions, labels=LABELS, output_dict=True, zero_division=0)
    for line in per_label(golds, predictions, LABELS):
        known = report[line.label]
        assert (line.precision, line.recall, line.f1, line.support) == pytest.approx(
            (known["precision"], known["recall"], known["f1-score"], known["support"])
        )


def test_confusions_count_every_row_once() -> None:
    golds, predictions = ["a", "a", "a", "b"], ["a", "b", "b", None]
    assert confusions(golds, predictions) == [("a", "b", 2), ("a", "a", 1), ("b", "", 1)]


@pytest.mark.parametrize(("golds", "predictions"), [([], []), (["a"], ["a", "b"])])
def test_nothing_to_score_is_an_error(golds: list[str], predictions: list[str]) -> None:
    with pytest.raises(ValueError, match="cannot score"):
        score("accuracy", golds, predictions)


def test_analysis_names_what_to_aim_at() -> None:
    golds = ["bug"] * 10 + ["question"] * 8 + ["praise"] * 1 + ["other"] * 20
    predictions = ["bug"] * 10 + ["bug"] * 5 + ["question"] * 2 + [None] + ["bug"] + ["other"] * 20
    texts = [f"text {i} " + "x" * (200 if i == 11 else 30 - i % 7) for i in range(len(golds))]
    found = analyse(golds, predictions, texts, ["bug", "question", "praise", "other", "unseen"])
    assert (found.n, found.wrong) == (39, 7)
    assert found.confusions == (("question", "bug", 5), ("praise", "bug", 1), ("question", "", 1))
    # A label with one row of one missed is less surely weak than one with six of eight.
    assert [(w.label, w.recall, w.n) for w in found.weak] == [("question", 0.25, 8), ("praise", 0.0, 1)]
    first = found.clusters[0]
    assert (first.gold, first.predicted, first.count, len(first.texts)) == ("question", "bug", 5, 3)
    assert set(first.texts) <= {texts[i] for i in (10, 12, 13, 14)}
    assert json.loads(json.dumps(found.as_dict()))["confusions"][0] == ["question", "bug", 5]


def test_analysis_of_a_perfect_student_is_empty() -> None:
    found = analyse(["a", "b"], ["a", "b"], ["x", "y"], ["a", "b"])
    assert (found.wrong, found.confusions, found.weak, found.clusters) == (0, (), (), ())
