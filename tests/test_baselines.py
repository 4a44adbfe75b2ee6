"""The baselines, on a task whose answer is in the words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from p2m.evaluate.baselines import Majority, embeddings, run_baselines, tfidf
from p2m.rows import Row
from p2m.train.embed import Embedder
from tests.tiny_model import LABELS, make_encoder, rows


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return Embedder(make_encoder(tmp_path_factory.mktemp("bert")))


def accuracy(said: Sequence[str], held_out: Sequence[Row]) -> float:
    return sum(p == r.output for p, r in zip(said, held_out, strict=True)) / len(held_out)


def test_three_systems_answer_every_text(embedder: Embedder) -> None:
    held_out = rows(60, 1)
    found = run_baselines(rows(120, 0), [r.input for r in held_out], labels=LABELS, embedder=embedder)
    assert [name for name, _ in found] == [
        "majority",
        "TF-IDF + logistic regression",
        "frozen embeddings + logistic regression",
    ]
    majority, words, vectors = (accuracy(said, held_out) for _, said in found)
    assert majority == pytest.approx(1 / 3)
    assert words > 0.9 and vectors > 0.7


def test_few_shot_and_unbalanced_rows_do(embedder: Embedder) -> None:
    one_each = rows(3, 0)
    skewed = [r for r in rows(300, 0) if r.output != "tool"] + [r for r in rows(12, 5) if r.output == "tool"]
    for train in (one_each, skewed):
        for system in (tfidf(), embeddings(embedder)):
            system.fit(train)
            said = system.predict([r.input for r in rows(90, 2)])
            assert set(said) == set(LABELS)


def test_one_label_or_no_rows_leave_a_sensible_answer(embedder: Embedder) -> None:
    only = [r for r in rows(30, 0) if r.output == "tool"]
    for _, said in run_baselines(only, ["x", "y"], labels=LABELS, embedder=embedder):
        assert said == ["tool", "tool"]
    assert run_baselines([], ["x"], labels=LABELS, embedder=embedder) == [("majority", ["fruit"])]


def test_the_majority_of_equals_does_not_depend_on_order() -> None:
    for order in (1, -1):
        system = Majority(LABELS)
        system.fit(rows(9, 0)[::order])
        assert system.predict(["?"]) == ["fruit"]


def test_embeddings_are_unit_vectors_whatever_they_are_batched_with(embedder: Embedder) -> None:
    texts = [r.input for r in rows(40, 3)] + ["apple", "apple", ""]
    vectors = embedder.embed(texts)
    assert vectors.shape == (43, 32) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    alone = Embedder(embedder.folder).embed(["apple"])
    np.testing.assert_allclose(vectors[40], alone[0], atol=0.02)  # bf16 rounds a padded batch its own way
    np.testing.assert_array_equal(vectors[40], vectors[41])
    assert embedder.embed([]).shape == (0, 32)


def test_the_pack_knows_paraphrases(minilm: object) -> None:
    a, b, c = Embedder.default().embed(["How do I reset my PIN?", "I forgot my PIN code", "The cat sat on the mat"])
    assert a @ b > 0.6 > 0.3 > a @ c
    assert Embedder.default() is Embedder.default()
