"""Targets of rows, and the linear head that is fitted to them."""

from __future__ import annotations

import time

import numpy as np
import pytest

from p2m.rows import Row
from p2m.train.heads import fit_head
from p2m.train.targets import row_weights, soft_targets, unbalanced

AB = ("a", "b")


def test_targets_are_one_hot_without_a_teacher_and_mixed_with_one() -> None:
    rows = [
        Row("x", "b"),
        Row("x", "a", probs={"a": 0.6, "b": 0.4}),
        Row("x", "a", probs={"b": 0.5, "unheard of": 0.5}),
        Row("x", "a", probs={"unheard of": 1.0}),
    ]
    targets = soft_targets(rows, AB)
    np.testing.assert_allclose(targets, [[0, 1], [0.8, 0.2], [0.5, 0.5], [1, 0]], atol=1e-6)
    with pytest.raises(ValueError, match="unheard of"):
        soft_targets([Row("x", "unheard of")], AB)


def test_only_unbalanced_labels_are_weighted() -> None:
    even = [Row("x", "a")] * 30 + [Row("x", "b")] * 10
    assert not unbalanced(even) and set(row_weights(even, AB)) == {1.0}
    skewed = [Row("x", "a")] * 90 + [Row("x", "b")] * 10
    weights = row_weights(skewed, (*AB, "without rows"))
    assert unbalanced(skewed)
    assert weights[:90].sum() == pytest.approx(weights[90:].sum())
    assert weights.mean() == pytest.approx(1.0)


def blobs(n: int, labels: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around one direction a label."""
    rng = np.random.default_rng(seed)
    gold = np.arange(n) % labels
    centres = np.random.default_rng(99).normal(size=(labels, 24))
    x = centres[gold] + noise * rng.normal(size=(n, 24))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), gold


@pytest.mark.parametrize("labels", [2, 5])
def test_it_separates_what_can_be_separated(labels: int) -> None:
    x, gold = blobs(100, labels, 0.5, 0)
    head = fit_head(x, np.eye(labels, dtype=np.float32)[gold], np.ones(100), seed=0)
    fresh, truth = blobs(400, labels, 0.5, 1)
    assert head.weights.shape == (labels, 24)
    assert (head.logits(fresh).argmax(1) == truth).mean() > 0.95


def test_wrong_labels_ask_for_more_regularisation_than_right_ones() -> None:
    x, gold = blobs(120, 3, 0.8, 0)
    wrong = np.where(np.random.default_rng(0).random(120) < 0.3, (gold + 1) % 3, gold)
    clean = fit_head(x, np.eye(3, dtype=np.float32)[gold], np.ones(120), seed=0)
    noisy = fit_head(x, np.eye(3, dtype=np.float32)[wrong], np.ones(120), seed=0)
    assert noisy.strength < clean.strength


def test_soft_targets_and_weights_move_it() -> None:
    x = np.zeros((4, 2), dtype=np.float32)
    hard = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=np.float32)
    soft = np.array([[0.9, 0.1]] * 4, dtype=np.float32)
    assert fit_head(x, hard, np.ones(4), 0).bias == pytest.approx([0, 0], abs=1e-3)
    low, high = np.exp(fit_head(x, soft, np.ones(4), 0).logits(x)[0])
    assert low / (low + high) == pytest.approx(0.9, abs=0.01)
    heavy = fit_head(x, hard, np.array([3, 3, 1, 1]), 0)
    assert heavy.bias[0] - heavy.bias[1] == pytest.approx(np.log(3), abs=0.01)


def test_a_label_without_rows_is_never_the_answer_and_one_label_always() -> None:
    x, gold = blobs(60, 2, 0.3, 0)
    targets = np.eye(3, dtype=np.float32)[gold]
    assert set(fit_head(x, targets, np.ones(60), 0).logits(x).argmax(1)) == {0, 1}
    only = np.eye(3, dtype=np.float32)[np.full(60, 2)]
    assert set(fit_head(x, only, np.ones(60), 0).logits(x).argmax(1)) == {2}


def test_one_row_a_label_is_enough() -> None:
    x, gold = blobs(3, 3, 0.1, 0)
    head = fit_head(x, np.eye(3, dtype=np.float32)[gold], np.ones(3), seed=0)
    assert (head.logits(x).argmax(1) == gold).all()


def test_a_thousand_unbalanced_labels_are_learnt_in_seconds() -> None:
    """Two rows of most labels, forty of some: weighted, the rare ones are found as well."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(1000, 64))
    gold = np.concatenate([np.repeat(np.arange(1000), 2), np.repeat(np.arange(20), 38)])

    def around(labels: np.ndarray) -> np.ndarray:
        x = centres[labels] + 0.6 * rng.normal(size=(len(labels), 64))
        return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)

    rows = [Row("x", str(k)) for k in gold]
    labels = tuple(map(str, range(1000)))
    began = time.monotonic()
    head = fit_head(around(gold), soft_targets(rows, labels), row_weights(rows, labels), seed=0)
    assert time.monotonic() - began < 60  # under a second on a quiet machine
    said = head.logits(around(np.arange(1000))).argmax(1)
    assert (said == np.arange(1000)).mean() > 0.9
    assert np.bincount(said, minlength=1000)[:20].sum() < 60  # the common ones do not swallow the rest
