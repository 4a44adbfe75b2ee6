"""Predictions of a delivered folder."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from p2m.errors import BadInput
from p2m.evaluate import predict
from p2m.evaluate.predict import Prediction, Predictor, read_outputs, write_predictions
from p2m.train.fit import train
from p2m.train.recipe import Recipe
from p2m.train.student import Student
from tests.tiny_model import FILLER, LABELS, make_encoder, rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = make_encoder(tmp_path_factory.mktemp("bert"))
    student = Student(base, LABELS)
    recipe = Recipe(str(base), LABELS, "accuracy", "frozen", 0)
    train(recipe, student, rows(90, 0), rows(30, 1), lambda _: None)
    model = tmp_path_factory.mktemp("model")
    student.save(model)
    return model


def test_each_text_has_its_own_answer_in_order(folder: Path) -> None:
    predictor = Predictor(folder)
    texts = [row.input for row in rows(50, 2)] + ["", "apple", "apple " * 30, "apple"]
    together = predictor.predict(texts)
    assert len(together) == len(texts) and predictor.labels == LABELS
    for text, prediction in zip(texts, together, strict=True):
        (alone,) = predictor.predict([text])
        assert alone.label == prediction.label
        assert alone.probs == pytest.approx(prediction.probs, abs=1e-5)
        assert sum(prediction.probs.values()) == pytest.approx(1)
        assert prediction.label == max(prediction.probs, key=lambda label: prediction.probs[label])
    assert predictor.predict([]) == []


def test_batch_size_does_not_matter(folder: Path) -> None:
    texts = [row.input for row in rows(50, 2)]
    small, large = Predictor(folder).predict(texts, 16), Predictor(folder).predict(texts, 100_000)
    assert [p.label for p in small] == [p.label for p in large]


def test_a_fresh_process_with_plain_transformers_says_the_same(folder: Path) -> None:
    texts = [row.input for row in rows(20, 3)] + ["apple " * 100]
    code = (
        "import json, sys; from transformers import pipeline\n"
        "classify = pipeline('text-classification', model=sys.argv[1])\n"
        "print(json.dumps(classify(json.load(sys.stdin), truncation=True, top_k=None)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    for ours, theirs in zip(Predictor(folder).predict(texts), json.loads(done.stdout), strict=True):
        assert theirs[0]["label"] == ours.label
        assert {t["label"]: t["score"] for t in theirs} == pytest.approx(ours.probs, abs=1e-4)


def test_a_stream_is_answered_as_it_comes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "WINDOW", 8)
    taken = 0

    def endless():  # type: ignore[no-untyped-def]
        nonlocal taken
        while True:
            taken += 1
            yield "the apple"

    first = list(islice(Predictor(folder).stream(endless()), 20))
    assert len(first) == 20 and len({p.label for p in first}) == 1
    assert taken == 24


def test_cut_texts_are_counted(folder: Path) -> None:
    predictor = Predictor(folder)
    predictor.predict(
        ["apple", " ".join(FILLER * 2), " ".join(FILLER[:18] * 2)]
    )  # 40 words; 36 and the two special tokens just fit
    assert predictor.truncated == 1
    predictor.predict([" ".join(FILLER * 5)])
    assert predictor.truncated == 2


def test_predictions_survive_a_file(tmp_path: Path) -> None:
    made = [Prediction("sí\n", {"sí\n": 0.75, "no": 0.25}), Prediction("no", {"sí\n": 0.1, "no": 0.9})]
    write_predictions(tmp_path / "p.jsonl", made)
    assert read_outputs(tmp_path / "p.jsonl") == ["sí\n", "no"]


def test_what_is_no_classifier_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="several labels"):
        config = json.loads((folder / "config.json").read_text())
        for file in folder.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        config["problem_type"] = "multi_label_classification"
        (tmp_path / "config.json").write_text(json.dumps(config))
        Predictor(tmp_path)


def test_the_pack_truncates_where_it_was_trained_to_read(minilm: Path) -> None:
    assert Student(minilm, LABELS).longest == 512
