"""Label checks: confident learning finds planted errors, and what is done about a label follows the rules."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from p2m.data.label_check import Suspicion, agreement, confident_learning, out_of_sample_probs, settle, suspect, to_ask
from p2m.generate.label import Labelled
from p2m.rows import Row

LABELS = ["a", "b", "c"]


def clouds(n: int, wrong: float) -> tuple[np.ndarray, list[Row], set[int]]:
    """Three clouds of unit vectors with their labels, and the positions that were given a wrong one."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, size=n)
    vectors = np.eye(8)[truth] + rng.normal(scale=0.12, size=(n, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    bad = set(rng.choice(n, size=int(wrong * n), replace=False).tolist())
    rows = [Row(str(i), LABELS[(t + (i in bad)) % 3], "generated") for i, t in enumerate(truth)]
    return vectors.astype(np.float32), rows, bad


def test_planted_errors_are_found() -> None:
    vectors, rows, bad = clouds(240, 0.1)
    found = suspect(rows, vectors)
    assert len(bad & set(found.rows)) >= 0.75 * len(bad)
    assert len(bad & set(found.rows)) >= 0.9 * len(found.rows)
    assert all(found.guess[i] == LABELS[(LABELS.index(rows[i].output) - 1) % 3] for i in bad & set(found.rows))
    assert found == suspect(rows, vectors)


def test_clean_rows_are_not_suspected() -> None:
    vectors, rows, _ = clouds(240, 0.0)
    assert len(suspect(rows, vectors).rows) <= 2


def test_probabilities_are_out_of_sample_and_named() -> None:
    vectors, rows, _ = clouds(60, 0.0)
    labels = [r.output for r in rows]
    probs, names = out_of_sample_probs(vectors, labels)
    assert (probs.shape, names) == ((60, 3), LABELS)
    assert probs.sum(axis=1) == pytest.approx(1, abs=1e-6)
    # Labels that have nothing to do with the vectors cannot be told apart by who has not seen them.
    rng = np.random.default_rng(1)
    probs, names = out_of_sample_probs(rng.normal(size=(60, 200)), labels)
    assert np.mean([names[k] == label for k, label in zip(probs.argmax(axis=1), labels, strict=True)]) < 0.6


def test_a_label_with_one_row_breaks_nothing() -> None:
    vectors, rows, _ = clouds(60, 0.0)
    rows[0] = Row("0", "lonely", "generated")
    probs, names = out_of_sample_probs(vectors, [r.output for r in rows])
    assert 0 <= min(confident_learning(rows, probs, names), default=0) < 60


def test_too_little_to_learn_from_suspects_nothing() -> None:
    vectors, rows, _ = clouds(20, 0.2)
    assert suspect(rows, vectors) == Suspicion((), {})
    assert suspect([Row(str(i), "a") for i in range(60)], np.eye(60)) == Suspicion((), {})
    with pytest.raises(ValueError, match="two labels"):
        out_of_sample_probs(np.eye(5), ["a"] * 5)


def test_agreement_is_over_the_rows_answered() -> None:
    rows = [Row(str(i), "a") for i in range(4)]
    found = agreement(rows, ["a", "b", None, "a"])
    assert (found.share, found.n, found.disagree) == (pytest.approx(2 / 3), 3, (1,))
    assert agreement(rows, [None] * 4).n == 0


SURE = Labelled("b", {"a": 0.2, "b": 0.8})
UNSURE = Labelled("b", {"a": 0.3, "b": 0.4, "c": 0.3})
DOUBT = Suspicion((0,), {0: "b"})
NONE = Suspicion((), {})


@pytest.mark.parametrize(
    ("source", "said", "suspicion", "outcome"),
    [
        ("generated", Labelled("a", {"a": 0.9, "b": 0.1}), DOUBT, "a"),
        ("generated", SURE, NONE, "b"),
        ("generated", Labelled("b"), NONE, "b"),
        ("generated", UNSURE, NONE, "a"),
        ("generated", UNSURE, DOUBT, None),
        ("generated", Labelled(None), DOUBT, "a"),
        ("generated", None, DOUBT, "a"),
        ("dataset:o/n/train", SURE, NONE, "a"),
        ("dataset:o/n/train", SURE, DOUBT, "b"),
        ("dataset:o/n/train", SURE, Suspicion((0,), {0: "c"}), "a"),
        ("dataset:o/n/train", UNSURE, DOUBT, "a"),
        ("user", SURE, DOUBT, "a"),
        ("demonstration", SURE, DOUBT, "a"),
    ],
)
def test_what_becomes_of_a_label(source: str, said: Labelled | None, suspicion: Suspicion, outcome: str | None) -> None:
    row = Row("x", "a", source)
    checked = settle([row], [said], suspicion)
    assert [r.output for r in checked.kept] == ([outcome] if outcome else [])
    assert checked.relabelled == ([(row, "b")] if outcome == "b" else [])
    assert [r.reason for r in checked.removed] == ([] if outcome else ["label_rejected"])


def test_the_teachers_probabilities_stay_with_the_row() -> None:
    kept = settle([Row("x", "a", "generated"), Row("y", "b", "generated")], [SURE, SURE], NONE).kept
    assert [r.probs for r in kept] == [SURE.probs, SURE.probs]


def test_only_rows_whose_answer_counts_are_asked_about() -> None:
    rows = [
        Row("0", "a", "generated"),
        Row("1", "a", "generated", {"a": 1.0}),
        Row("2", "a", "dataset:o/n/train"),
        Row("3", "a", "dataset:o/n/train"),
        Row("4", "a", "user"),
    ]
    assert to_ask(rows, Suspicion((3, 4), {3: "b", 4: "b"})) == [0, 3]


def test_real_rows_with_planted_errors(shared: Path, minilm: Path) -> None:
    from p2m.train.embed import Embedder

    lines = (shared / "hub/datasets/clinc/clinc-oos-small/train.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    labels = sorted({r["intent"] for r in records})[:8]
    rng = random.Random(0)
    records = rng.sample([r for r in records if r["intent"] in labels], 240)
    bad = {i for i in range(240) if rng.random() < 0.12}
    rows = [
        Row(r["text"], rng.choice([x for x in labels if x != r["intent"]]) if i in bad else r["intent"], "generated")
        for i, r in enumerate(records)
    ]
    found = set(suspect(rows, Embedder(minilm).embed([r.input for r in rows])).rows)
    assert len(found & bad) >= 0.7 * len(bad)
    assert len(found & bad) >= 0.8 * len(found)
