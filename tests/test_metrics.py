"""Metrics and error analysis, each against the library that defines it or against a count by hand."""

from __future__ import annotations

import json
import random
from typing import get_args

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from scipy.stats import spearmanr
from seqeval.metrics import f1_score as seqeval_f1
from sklearn.metrics import accuracy_score, classification_report, f1_score, matthews_corrcoef
from sklearn.preprocessing import MultiLabelBinarizer
from torchmetrics.functional.text import squad

from p2m.evaluate.errors import analyse
from p2m.evaluate.metrics import confusions, over_rows, per_label, row_scores, score
from p2m.evaluate.numbers import mean_absolute_error
from p2m.outputs import Span, format_labels, format_number, format_spans
from p2m.task.spec import Metric

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
    # A label that the rows do not hold and the answers do not name says nothing about either.
    assert score("macro_f1", golds, predictions, [*LABELS, "unseen"]) == pytest.approx(known)
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


def spans(places: list[tuple[int, int, str]]) -> str:
    return format_spans(Span(start, end, label, "x" * (end - start)) for start, end, label in places)


def tags(rng: random.Random, n: int) -> list[str]:
    """A valid BIO sequence with spans that touch, and equal neighbours."""
    made: list[str] = []
    for _ in range(n):
        label = rng.choice(["PER", "LOC", None, None])
        inside = made and made[-1] != "O" and rng.random() < 0.4
        made.append(f"I-{made[-1][2:]}" if inside else f"B-{label}" if label else "O")
    return made


def places(sequence: list[str]) -> list[tuple[int, int, str]]:
    """The spans of a BIO sequence whose tokens are a character each."""
    found: list[tuple[int, int, str]] = []
    for i, tag in enumerate(sequence):
        if tag.startswith("B-"):
            found.append((i, i + 1, tag[2:]))
        elif tag.startswith("I-"):
            start, _, label = found.pop()
            found.append((start, i + 1, label))
    return found


def test_span_f1_is_seqevals() -> None:
    rng = random.Random(3)
    for _ in range(30):
        golds = [tags(rng, rng.randint(1, 12)) for _ in range(8)]
        said = [g if rng.random() < 0.5 else tags(rng, len(g)) for g in golds]
        known = seqeval_f1(golds, said)
        ours = score("span_f1", [spans(places(g)) for g in golds], [spans(places(s)) for s in said])
        assert ours == pytest.approx(known)


def test_a_span_counts_only_with_its_place_and_label() -> None:
    gold = spans([(0, 4, "city"), (6, 9, "city")])
    assert score("span_f1", [gold], [spans([(0, 4, "city"), (6, 9, "name"), (6, 8, "city")])]) == pytest.approx(2 / 5)
    assert score("span_f1", [gold, "[]"], ["no list", None]) == 0
    with pytest.raises(ValueError, match="spans are a JSON array"):
        score("span_f1", ["Rome"], [gold])


TEXTS = [
    "The cat sat on the mat.",
    "a cat is on that mat",
    "cat",
    "An umbrella!",
    "umbrella",
    "the",
    "",
    "He left early, it seems; he's gone.",
    "It seems he left early",
    "12 km away",
    "12.5 km away from the Zürich-lake",
]


def pairs_of_texts(n: int = 150) -> tuple[list[str], list[str], list[list[str]]]:
    rng = random.Random(5)
    golds, said = rng.choices(TEXTS, k=n), rng.choices(TEXTS, k=n)
    return golds, said, [rng.sample(TEXTS, k=rng.randint(0, 2)) for _ in range(n)]


def test_rouge_l_is_rouge_scores() -> None:
    golds, said, also = pairs_of_texts()
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    known = [scorer.score(g, s)["rougeL"].fmeasure for g, s in zip(golds, said, strict=True)]
    assert row_scores("rouge_l", golds, said) == pytest.approx(known)
    several = [scorer.score_multi([g, *a], s)["rougeL"].fmeasure for g, s, a in zip(golds, said, also, strict=True)]
    assert row_scores("rouge_l", golds, said, also) == pytest.approx(several)


@given(st.lists(st.sampled_from("abc"), max_size=70), st.lists(st.sampled_from("abcd"), max_size=70))
def test_rouge_l_of_any_words_is_rouge_scores(gold: list[str], said: list[str]) -> None:
    known = RougeScorer(["rougeL"]).score(" ".join(gold), " ".join(said))["rougeL"].fmeasure
    assert score("rouge_l", [" ".join(gold)], [" ".join(said)]) == pytest.approx(known)


def test_squad_is_torchmetrics() -> None:
    golds, said, also = pairs_of_texts()
    for g, s, a in zip(golds, said, also, strict=True):
        target = {"answers": {"answer_start": [0] * (1 + len(a)), "text": [g, *a]}, "id": "1"}
        known = squad([{"prediction_text": s, "id": "1"}], [target])
        assert 100 * score("squad_em", [g], [s], also=[a]) == pytest.approx(float(known["exact_match"]), abs=1e-4)
        assert 100 * score("squad_f1", [g], [s], also=[a]) == pytest.approx(float(known["f1"]), abs=1e-4)


def test_mcc_is_scikit_learns() -> None:
    golds, predictions = answers()
    assert score("mcc", golds, predictions) == pytest.approx(matthews_corrcoef(golds, predictions))
    reversed_labels = {"bug": "praise", "praise": "bug"}
    two = [g for g in golds if g in reversed_labels]
    assert score("mcc", two, [reversed_labels[g] for g in two]) == pytest.approx(-1)
    assert score("mcc", golds, ["bug"] * len(golds)) == 0


def test_label_sets_are_scikit_learns_multilabel() -> None:
    rng = random.Random(2)
    golds = [[x for x in LABELS if rng.random() < 0.4] for _ in range(80)]
    said = [[x for x in LABELS if (x in g) != (rng.random() < 0.2)] for g in golds]
    as_text = [format_labels(g, LABELS) for g in golds], [format_labels(s, LABELS) for s in said]
    hot = MultiLabelBinarizer(classes=LABELS).fit([LABELS])
    matrices = hot.transform(golds), hot.transform(said)
    for average in ("macro", "micro"):
        known = f1_score(*matrices, average=average, zero_division=0)
        assert score(f"{average}_f1", *as_text, LABELS) == pytest.approx(known)  # type: ignore[arg-type]
    assert score("accuracy", *as_text) == pytest.approx(accuracy_score(*matrices))


def test_spearman_is_scipys() -> None:
    rng = np.random.default_rng(4)
    golds = rng.integers(1, 6, size=60).astype(float)
    said = golds + rng.normal(size=60).round(1)
    as_text = [format_number(g) for g in golds], [format_number(s) for s in said]
    assert score("spearman", *as_text) == pytest.approx(spearmanr(golds, said).statistic)
    assert score("spearman", ["1", "2", "3"], ["5", "5", "5"]) == 0
    # What is no number stands in the middle.
    known = spearmanr([1, 2, 3, 4], [3, 2, 3, 4]).statistic
    assert score("spearman", ["1", "2", "3", "4"], ["?", "2", "3", "4"]) == pytest.approx(known)
    assert mean_absolute_error(*as_text).value == pytest.approx(np.abs(golds - said).mean())


RESAMPLED: dict[str, tuple[list[str], list[str | None]]] = {
    "spearman": ([str(i % 5) for i in range(40)], [str((i * 7) % 6) for i in range(40)]),
    "span_f1": (
        [spans([(0, 2, "a"), (3 + i % 3, 7, "b")]) for i in range(40)],
        [spans([(0, 2 + i % 2, "a"), (4, 7, "b")]) for i in range(40)],
    ),
}


@pytest.mark.parametrize("metric", get_args(Metric))
def test_a_resampled_metric_is_the_metric_of_the_resample(metric: Metric) -> None:
    golds, predictions = RESAMPLED.get(metric, answers(40))
    if metric != "spearman":  # what is no number stands in the middle of those drawn
        predictions = [None if i == 5 else p for i, p in enumerate(predictions)]
    index = np.random.default_rng(0).integers(0, 40, size=(2, 3, 40))
    values = over_rows(metric, golds, predictions, LABELS)(index)
    assert values.shape == (2, 3)
    for rows, value in zip(index.reshape(-1, 40), values.ravel(), strict=True):
        drawn = score(metric, [golds[i] for i in rows], [predictions[i] for i in rows], LABELS)
        assert value == pytest.approx(drawn)


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
