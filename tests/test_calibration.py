"""Calibration, the temperature in the weights, and when not to answer."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torchmetrics.functional.classification import binary_calibration_error
from transformers import AutoModelForSequenceClassification

from p2m.evaluate.abstain import Abstention, answered, choose_threshold, kept
from p2m.evaluate.calibration import at_temperature, calibration, ece, fit_temperature, probabilities
from p2m.evaluate.intervals import wilson
from p2m.evaluate.predict import Predictor
from p2m.export.tempered import divide_logits
from p2m.files import file_digest
from p2m.train.fit import train
from p2m.train.recipe import Recipe
from p2m.train.student import Student
from tests.tiny_model import LABELS, make_encoder, rows


def overconfident(n: int, seed: int, factor: float = 3.0) -> tuple[np.ndarray, list[str]]:
    """Probabilities whose logits are ``factor`` times what they should be, and labels drawn as they should be."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, size=(n, 3))
    golds = [LABELS[rng.choice(3, p=p)] for p in softmax(logits, axis=1)]
    return softmax(logits * factor, axis=1), golds


def test_ece_is_torchmetrics() -> None:
    rng = np.random.default_rng(0)
    confidences, right = rng.random(500), rng.random(500) < 0.7
    known = binary_calibration_error(torch.tensor(confidences), torch.tensor(right.astype(int)), n_bins=15, norm="l1")
    assert ece(confidences, right) == pytest.approx(float(known), abs=1e-6)
    assert ece(np.array([1.0, 1.0]), np.array([True, False])) == 0.5
    assert ece(np.array([]), np.array([])) == 0


def test_the_temperature_is_found_and_helps_on_other_rows() -> None:
    probs, golds = overconfident(4000, 1)
    temperature = fit_temperature(probs, golds, LABELS)
    assert temperature == pytest.approx(3, rel=0.1)
    other, golds = overconfident(2000, 2)
    right = np.array([LABELS[i] == g for i, g in zip(other.argmax(1), golds, strict=True)])
    found = calibration(other, right, temperature)
    assert found.before > 0.1 > 0.04 > found.after
    assert 0 < found.chance < 0.03 and found.n == 2000
    assert (at_temperature(other, temperature).argmax(1) == other.argmax(1)).all()


def test_the_fitted_temperature_has_the_least_loss() -> None:
    probs, golds = overconfident(300, 3, factor=0.4)
    at = [LABELS.index(g) for g in golds]

    def loss(temperature: float) -> float:
        return float(-log_softmax(np.log(probs) / temperature, axis=1)[range(300), at].mean())

    found = fit_temperature(probs, golds, LABELS)
    assert found < 1
    assert loss(found) == pytest.approx(min(loss(t) for t in np.geomspace(0.05, 20, 400)), abs=1e-3)


def test_all_right_does_not_make_certain() -> None:
    probs = softmax(np.tile([2.0, 0.0, 0.0], (60, 1)), axis=1)
    found = at_temperature(probs, fit_temperature(probs, [LABELS[0]] * 60, LABELS))[0, 0]
    assert found == pytest.approx(1 - 1 / 62, abs=1e-3)


def test_labels_that_the_model_has_not_do_not_count() -> None:
    probs, golds = overconfident(200, 4)
    alone = fit_temperature(probs, golds, LABELS)
    assert fit_temperature(np.concatenate([probs, probs]), golds + ["?"] * 200, LABELS) == pytest.approx(alone)
    assert fit_temperature(probs, ["?"] * 200, LABELS) == 1


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_a_tempered_folder_gives_calibrated_probabilities_to_everyone(kind: str, tmp_path: Path) -> None:
    base = make_encoder(tmp_path / "base", kind)
    student = Student(base, LABELS)
    train(Recipe(str(base), LABELS, "accuracy", "full", 0, epochs=2), student, rows(60, 0), rows(30, 1), lambda _: None)
    student.save(tmp_path / "model")
    delivered = tmp_path / "delivered"
    delivered.mkdir()
    for file in (tmp_path / "model").iterdir():
        os.link(file, delivered / file.name)
    before = file_digest(tmp_path / "model" / "model.safetensors")
    assert divide_logits(delivered, 0.4)
    assert file_digest(tmp_path / "model" / "model.safetensors") == before, "the artifact is another name of the file"
    texts = [row.input for row in rows(40, 2)]
    raw, tempered = (Predictor(f).predict(texts) for f in (tmp_path / "model", delivered))
    expected = at_temperature(probabilities([p.probs for p in raw], LABELS), 0.4)
    assert probabilities([p.probs for p in tempered], LABELS) == pytest.approx(expected, abs=1e-4)
    assert [p.label for p in tempered] == [p.label for p in raw]


def test_a_model_in_several_files_is_left_alone(tmp_path: Path) -> None:
    base = make_encoder(tmp_path / "base")
    Student(base, LABELS).save(tmp_path / "model")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    model.save_pretrained(tmp_path / "model", max_shard_size="20KB")
    before = {f.name: file_digest(f) for f in (tmp_path / "model").iterdir()}
    assert not divide_logits(tmp_path / "model", 2.0)
    assert {f.name: file_digest(f) for f in (tmp_path / "model").iterdir()} == before


def test_the_threshold_is_the_lowest_whose_bound_reaches_the_goal() -> None:
    confidences = np.array([0.99] * 60 + [0.7] * 20 + [0.5] * 20)
    right = np.array([True] * 60 + [True] * 19 + [False] + [False] * 20)
    # 60 of 60: bound 0.973; 79 of 80: 0.957; 79 of 100: 0.73.
    assert choose_threshold(confidences, right, 0.95) == 0.7
    assert choose_threshold(confidences, right, 0.97) == 0.99
    assert choose_threshold(confidences, right, 0.5) == 0
    assert choose_threshold(confidences, right, 0.99) is None
    assert wilson(79, 80, 0.8)[0] > 0.95


def test_rows_that_are_equally_sure_are_kept_together() -> None:
    confidences, right = np.array([0.9] * 50), np.array([True] * 40 + [False] * 10)
    assert choose_threshold(confidences, right, 0.85) is None


def test_what_a_threshold_keeps_is_counted() -> None:
    found = kept(np.array([0.9, 0.8, 0.8, 0.3]), np.array([True, True, False, False]), 0.8)
    assert found.accuracy is not None
    assert (found.accuracy.value, found.accuracy.n) == (pytest.approx(2 / 3), 3)
    assert (found.coverage.value, found.coverage.low, found.coverage.high) == (0.75, *wilson(3, 4))
    none = kept(np.array([0.2]), np.array([True]), 0.8)
    assert none.accuracy is None and none.coverage.value == 0
    whole = Abstention(0.8, 0.95, found, none)
    assert Abstention.of_dict(whole.as_dict()) == whole
    assert "less probable than 0.8" in whole.words() and "no answer is kept" in whole.words()
    assert answered(["a", "b"], [0.9, 0.79], 0.8) == ["a", ""]


def test_the_bound_keeps_its_word_on_other_rows() -> None:
    """Chosen on 150 rows, the answers kept reach the goal on new rows nine times in ten, or nearly."""
    rng, goal, reached, found = np.random.default_rng(5), 0.9, 0, 0
    sure = rng.beta(4, 1.5, size=20000)
    right = rng.random(20000) < sure
    for _ in range(200):
        index = rng.integers(20000, size=150)
        threshold = choose_threshold(sure[index], right[index], goal)
        if threshold is not None:
            found += 1
            reached += right[sure >= threshold].mean() >= goal
    assert found > 100 and reached / found > 0.75
