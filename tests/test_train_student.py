"""Training and saving: what is delivered is what was trained, and the same again is the same."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from p2m.errors import BadInput
from p2m.evaluate.predict import Predictor
from p2m.files import file_digest
from p2m.rows import Row
from p2m.train.fit import _head_rows, train
from p2m.train.recipe import Epoch, Progress, Recipe, TrainResult, better, stalled
from p2m.train.student import Student
from tests.tiny_model import FILLER, LABELS, make_encoder, rows


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("bert"))


def recipe(base: Path, method: str = "full", **changes: object) -> Recipe:
    # A random encoder is far from where it should be; a pretrained one is not, and the default rate is for it.
    defaults = Recipe(str(base), LABELS, "accuracy", "full", seed=3, epochs=4, learning_rate=1e-3)
    return replace(defaults, method=method, **changes)  # type: ignore[arg-type]


def run(recipe: Recipe, data: list[Row], validation: list[Row]) -> tuple[Student, TrainResult, list[Progress]]:
    told: list[Progress] = []
    student = Student(Path(recipe.base), recipe.labels)
    return student, train(recipe, student, data, validation, told.append), told


def logits(student: Student, texts: list[str]) -> np.ndarray:
    import torch

    student.module.eval()
    with torch.no_grad():
        return student.logits(student.pad(student.encode_texts(texts))).numpy()


def saved_logits(folder: Path, texts: list[str], attention: str = "sdpa") -> np.ndarray:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation=attention).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        return model(**tokenizer(texts, padding=True, truncation=True, return_tensors="pt")).logits.numpy()


@pytest.mark.parametrize("model_type", ["bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra"])
@pytest.mark.parametrize("method", ["frozen", "full"])
def test_the_saved_folder_answers_as_the_student_did(tmp_path: Path, model_type: str, method: str) -> None:
    source = make_encoder(tmp_path / "base", model_type)
    student, result, _ = run(recipe(source, method, epochs=2), rows(60, 0), rows(30, 1))
    student.save(tmp_path / "model")
    texts = [row.input for row in rows(40, 2)]
    ours, theirs = logits(student, texts), saved_logits(tmp_path / "model", texts)
    assert student.pooled == (model_type in ("bert", "roberta", "xlm-roberta", "camembert"))
    np.testing.assert_allclose(ours, theirs, atol=0.01 * max(1.0, np.abs(ours).max()))
    # The end of the longest text is read as far as the base model has positions.
    assert student.longest == 38
    assert saved_logits(tmp_path / "model", [" ".join(FILLER * 9)]).shape == (1, 3)
    assert result.rows == 60


def test_the_mean_layer_is_the_mean_whatever_computes_attention(base: Path, tmp_path: Path) -> None:
    student, _, _ = run(recipe(base, "frozen"), rows(60, 0), rows(30, 1))
    student.save(tmp_path)
    texts = ["saw", *(row.input for row in rows(20, 2))]  # short and long together: padding must not count
    ours = logits(student, texts)
    for attention in ("sdpa", "eager"):
        np.testing.assert_allclose(ours, saved_logits(tmp_path, texts, attention), atol=0.01)


def test_the_config_is_a_plain_classifiers(base: Path, tmp_path: Path) -> None:
    student = Student(base, LABELS)
    student.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert config["id2label"] == {"0": "fruit", "1": "tool", "2": "animal"}
    assert config["label2id"]["animal"] == 2
    assert config["problem_type"] == "single_label_classification"
    assert config["dtype"] == "float32"
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text())
    assert tokenizer["truncation"] is None and tokenizer["padding"] is None
    assert not [f for f in tmp_path.iterdir() if f.suffix in (".bin", ".pt", ".pkl", ".py")]


def test_it_learns_and_full_is_no_worse_than_the_head_it_starts_from(base: Path) -> None:
    data, validation = rows(120, 0), rows(60, 1)
    _, frozen, _ = run(recipe(base, "frozen"), data, validation)
    _, full, told = run(recipe(base), data, validation)
    assert [e.epoch for e in frozen.epochs] == [0] and frozen.epochs[0].loss is None
    assert full.epochs[0] == frozen.epochs[0]
    best = next(e for e in full.epochs if e.epoch == full.best_epoch)
    assert best.validation >= 0.9 and best.validation >= frozen.epochs[0].validation
    assert told and all(p.step <= p.steps and p.examples_per_second > 0 for p in told)
    assert full.epochs[-1].loss < full.epochs[1].loss  # type: ignore[operator]


def test_the_best_epochs_weights_are_kept(base: Path) -> None:
    student, result, _ = run(recipe(base, learning_rate=0.05, epochs=5, patience=9), rows(60, 0), rows(60, 1))
    predictions = logits(student, [r.input for r in rows(60, 1)]).argmax(1)
    accuracy = np.mean([LABELS[p] == r.output for p, r in zip(predictions, rows(60, 1), strict=True)])
    best = max(result.epochs, key=lambda e: e.validation)
    assert len({e.validation for e in result.epochs}) > 1  # the rate is wild: epochs differ
    assert accuracy == pytest.approx(best.validation, abs=0.02)  # one near tie may turn without bf16


def test_patience_ends_it(base: Path) -> None:
    mixed = random.Random(0)
    noise = [replace(row, output=mixed.choice(LABELS)) for row in rows(60, 0)]
    _, result, _ = run(recipe(base, learning_rate=0.05, epochs=20, patience=2), noise, rows(60, 1))
    assert len(result.epochs) - 1 == result.best_epoch + 2 < 20


def test_time_ends_it_with_the_best_so_far(base: Path) -> None:
    student, result, _ = run(recipe(base, seconds=0.0, epochs=20), rows(60, 0), rows(30, 1))
    assert result.out_of_time and [e.epoch for e in result.epochs] == [0, 1]
    assert logits(student, ["apple"]).shape == (1, 3)


def test_two_runs_give_identical_weights(base: Path, tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        student, result, _ = run(recipe(base), rows(60, 0), rows(30, 1))
        student.save(tmp_path / name)
        found.append((file_digest(tmp_path / name / "model.safetensors"), result.epochs))
    assert found[0] == found[1]
    # The weights kept may be those of epoch 0, which no seed moves: what it learnt on the way tells seeds apart.
    _, other, _ = run(recipe(base, seed=4), rows(60, 0), rows(30, 1))
    assert [e.loss for e in other.epochs[1:]] != [e.loss for e in found[0][1][1:]]


def test_word_embeddings_stay_and_biases_do_not_decay(base: Path) -> None:
    from p2m.train.loop import optimizer

    student = Student(base, LABELS)
    before = student.encoder.get_input_embeddings().weight.clone()
    groups = optimizer(recipe(base), student).param_groups
    for group in groups:
        assert all((p.ndim < 2) == (group["weight_decay"] == 0.0) for p in group["params"])
    assert {g["lr"] for g in groups} == {1e-3, 5e-4}
    run_student, _, _ = run(recipe(base), rows(60, 0), rows(30, 1))
    assert (run_student.encoder.get_input_embeddings().weight == before).all()


def test_long_texts_are_cut_and_counted(base: Path) -> None:
    long = Row(" ".join(FILLER * 3), "fruit")
    _, result, _ = run(recipe(base, "frozen"), [*rows(300, 0), long], rows(30, 1))
    assert result.max_length <= 24 and result.truncated == 1


def test_ties_go_to_the_lower_loss() -> None:
    assert better(Epoch(2, 0.1, 0.8, 0.4), Epoch(1, 0.2, 0.8, 0.5))
    assert not better(Epoch(2, 0.1, 0.8, 0.6), Epoch(1, 0.2, 0.8, 0.5))
    assert better(Epoch(2, 0.1, 0.9, 0.6), Epoch(1, 0.2, 0.8, 0.5))


def test_a_first_token_sentence_encoder_keeps_its_own_pooling(base: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "cls"
    shutil.copytree(base, folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    assert not Student(folder, LABELS).pooled
    (folder / "1_Pooling" / "config.json").write_text("[]")
    with pytest.raises(BadInput, match="pooling"):
        Student(folder, LABELS)


def test_a_folder_that_is_no_model_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=str(tmp_path)):
        Student(tmp_path, LABELS)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(BadInput, match=str(tmp_path)):
        Predictor(tmp_path)


def test_few_shot_on_the_pack_beats_chance_by_far(minilm: Path) -> None:
    """The frozen head on MiniLM, four rows a label: what the quick trial is for."""
    four = recipe(minilm, "frozen")
    _, result, _ = run(four, rows(12, 0), rows(60, 1))
    assert result.epochs[0].validation > 0.6


@pytest.mark.parametrize(
    ("labels", "rows", "head", "epochs"),
    [(3, 400, 400, 10), (7, 1500, 512, 6), (77, 1540, 1540, 12), (77, 9000, 1848, 4), (1000, 20_000, 8000, 12)],
)
def test_many_labels_get_a_head_of_more_rows_and_more_epochs(labels: int, rows: int, head: int, epochs: int) -> None:
    asked = Recipe("base", tuple(map(str, range(labels))), "accuracy", "full", 0)
    assert (len(_head_rows(asked, rows)), asked.epochs_for(rows)) == (head, epochs)
    assert len(_head_rows(replace(asked, method="frozen"), rows)) == rows


@pytest.mark.parametrize(
    ("metrics", "losses", "ends"),
    [
        ([0.8, 0.7, 0.7], [1.0, 0.9, 0.8], False),  # the metric fell, but the loss still does
        ([0.8, 0.7, 0.7], [0.5, 0.9, 0.8], True),
        ([0.7, 0.8, 0.8], [0.5, 0.9, 0.8], False),  # the same metric at a lower loss is an epoch to keep
        ([0.7, 0.9, 0.8, 0.8], [0.5, 0.9, 0.8, 0.8], True),
    ],
)
def test_training_ends_when_neither_metric_nor_loss_gets_better(
    metrics: list[float], losses: list[float], ends: bool
) -> None:
    history = [Epoch(i, None, *scores) for i, scores in enumerate(zip(metrics, losses, strict=True))]
    assert stalled(history, 2) is ends and not stalled(history, 3)
