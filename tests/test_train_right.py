"""What holds for students of every kind: a row teaches the same in any batch, rates and decay apply, trials are new."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from p2m import kinds
from p2m.evaluate.predict import load_predictor
from p2m.files import file_digest
from p2m.outputs import format_number
from p2m.rows import Row
from p2m.train import reader, tagger
from p2m.train.fit import OneLabel, _Texts
from p2m.train.multilabel import LabelSets
from p2m.train.reader import Reader
from p2m.train.recipe import Recipe, TrainResult
from p2m.train.scorer import NAME, Ratings
from p2m.train.student import Student
from p2m.train.tagger import Tagger
from p2m.train.write_fit import _Answers
from p2m.train.writer import Writer
from tests import tiny_writer
from tests.test_train_kinds import label_rows, question_rows, span_rows
from tests.tiny_model import FILLER, LABELS, make_encoder, rows


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_writer.make_writer(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_writer.make_writer(tmp_path_factory.mktemp("t5"), seq2seq=True)


def ratings(n: int, seed: int) -> list[Row]:
    return [replace(r, output=format_number(10.0 * LABELS.index(r.output))) for r in rows(n, seed)]


def questions(n: int, seed: int) -> list[Row]:
    """Of different lengths."""
    made = question_rows(n, seed)
    return [replace(r, input=r.input + " " + " ".join(FILLER[: i % 5])) for i, r in enumerate(made)]


DATA: dict[str, Callable[[int, int], list[Row]]] = {
    "classify": rows,
    "multi_label": label_rows,
    "score": ratings,
    "extract": span_rows,
    "read": questions,
    "generate": tiny_writer.rows,
    "lora": tiny_writer.rows,
    "seq2seq": tiny_writer.rows,
}
METRICS = {
    **dict.fromkeys(DATA, "exact_match"),
    **{"classify": "accuracy", "multi_label": "micro_f1", "score": "spearman", "extract": "span_f1"},
}


def base_of(kind: str, request: pytest.FixtureRequest) -> Path:
    names = {"generate": "decoder", "lora": "decoder", "seq2seq": "t5"}
    return request.getfixturevalue(names.get(kind, "encoder"))


def recipe_of(kind: str, base: Path, **changes: Any) -> Recipe:
    method = "lora" if kind == "lora" else "full"
    named = "generate" if kind in ("lora", "seq2seq") else kind
    made = Recipe(str(base), LABELS, METRICS[kind], method, 3, epochs=2, kind=named)  # type: ignore[arg-type]
    return replace(made, instruction=tiny_writer.INSTRUCTION, **changes)


def lesson_of(kind: str, base: Path) -> tuple[Any, Any]:
    """The items of a training of ``kind``, and the module that learns them."""
    recipe, data = recipe_of(kind, base), DATA[kind](12, 0)
    if kind in ("generate", "seq2seq"):
        writer = Writer(base, tiny_writer.INSTRUCTION)
        return _Answers(writer, writer.tokens(data)), writer.model
    if kind in ("extract", "read"):
        tags = Tagger(base, LABELS) if kind == "extract" else Reader(base, "")
        made = tagger.lesson(tags, data, 38) if isinstance(tags, Tagger) else reader.lesson(tags, data, 38)
        return made, tags.module
    if kind == "classify":  # ten of one label to one of each other: rows weigh differently
        data = [replace(r, output=LABELS[0] if i > 1 else LABELS[1 + i]) for i, r in enumerate(data)]
    goal: Any = {"classify": lambda: OneLabel(recipe), "multi_label": lambda: LabelSets(recipe)}.get(
        kind, lambda: Ratings(recipe, data)
    )()
    student = Student(base, (NAME,) if kind == "score" else LABELS)
    targets, weights = torch.from_numpy(goal.targets(data)), torch.from_numpy(goal.weights(data))
    return _Texts(student, goal, student.encode_texts([r.input for r in data]), targets, weights), student.module


@pytest.mark.parametrize("kind", [k for k in DATA if k != "lora"])
def test_a_row_teaches_the_same_alone_and_in_a_padded_batch(kind: str, request: pytest.FixtureRequest) -> None:
    """The loss of a batch is the mean of its rows' by their weight: nothing leaks from padding or from a neighbour."""
    lesson, module = lesson_of(kind, base_of(kind, request))
    module.eval()
    batch = list(range(len(lesson.lengths)))
    random.Random(0).shuffle(batch)
    assert len(set(lesson.lengths)) > 2
    with torch.inference_mode():
        whole = float(lesson.loss(batch))
        alone = sum(float(lesson.loss([i])) * lesson.weight([i]) for i in batch) / lesson.weight(batch)
    assert whole == pytest.approx(alone, rel=2e-3)  # bf16 where the CPU has it
    assert lesson.weight(batch) == pytest.approx(sum(lesson.weight([i]) for i in batch))


@pytest.mark.parametrize("kind", ["classify", "multi_label", "score", "extract", "read"])
def test_a_batch_goes_to_where_the_student_is(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device without memory stands for a GPU: it refuses tensors of two devices as a GPU does."""
    lesson, module = lesson_of(kind, base_of(kind, request))
    # transformers looks whether a mask can be left out, but there are no values to look at.
    monkeypatch.setattr("transformers.masking_utils._ignore_bidirectional_mask_sdpa", lambda *args: False)
    module.to("meta")
    loss = lesson.loss([0, 1, 2])
    loss.backward()
    learnt = [p.grad for p in module.parameters() if p.grad is not None]
    assert loss.device.type == "meta" and learnt and all(g.device.type == "meta" for g in learnt)


@pytest.mark.parametrize("kind", ["classify", "multi_label", "score"])
def test_a_batch_of_texts_is_its_texts_padded_and_its_targets(kind: str, encoder: Path) -> None:
    lesson, _ = lesson_of(kind, encoder)
    seen: dict[str, Any] = {}
    lesson.student.logits = lambda batch: seen.update(batch) or torch.zeros(3, 1 if kind == "score" else 3)
    chosen, data = [5, 0, 7], DATA[kind](12, 0)
    loss = lesson.loss(chosen)
    for i, ids, mask in zip(chosen, seen["input_ids"], seen["attention_mask"], strict=True):
        real = ids[mask.bool()]
        assert lesson.student.tokenizer.decode(real, skip_special_tokens=True) == data[i].input
        assert len(real) == lesson.lengths[i] and mask.tolist() == sorted(mask.tolist(), reverse=True)
    assert not seen["attention_mask"].all()
    targets = lesson.targets[chosen]
    by_hand = {
        "classify": lambda: torch.log(torch.tensor(3.0)),
        "multi_label": lambda: 3 * torch.log(torch.tensor(2.0)),
        "score": lambda: (targets**2).mean(),
    }[kind]()
    assert loss == pytest.approx(float(by_hand), rel=1e-5)


def test_a_batch_of_questions_teaches_ends_in_the_context(encoder: Path) -> None:
    student, data = Reader(encoder, ""), questions(6, 0)
    made = reader.lesson(student, data, 38)
    padded = student.pad(made.made)
    assert not padded["attention_mask"].all()  # some are padded
    for row, ids, window, (first, last) in zip(data, padded["input_ids"], made.made, made.ends, strict=True):
        assert student.tokenizer.decode(ids[first : last + 1]) == row.output
        start, end = window.offsets[first], window.offsets[last]
        assert start and end and reader.asked(row.input, "").context[start[0] : end[1]] == row.output


def test_cut_questions_and_rows_that_no_window_holds_are_counted(tmp_path: Path) -> None:
    base = make_encoder(tmp_path / "wide", positions=120)
    student = Reader(base, "", seed=3)
    data = question_rows(20, 0)
    long_question = Row(f"question: {' '.join(FILLER * 4)}\ncontext: we had the saw", "saw")
    answer = " ".join(FILLER * 7)
    long_answer = Row(f"question: saw\ncontext: {answer} end", answer)
    recipe = recipe_of("read", base, epochs=1)
    result = reader.train_reader(recipe, student, [*data, long_question, long_answer], data[:5], lambda _: None)
    assert (result.rows, result.truncated, result.max_length, result.cut_answers) == (21, 1, 64, 1)
    student.save(tmp_path / "model")
    predictor = load_predictor(tmp_path / "model")
    said = predictor.predict([data[0].input, long_question.input])
    assert [p.truncated for p in said] == [False, True] and predictor.truncated == 1


@pytest.mark.parametrize("kind", ["classify", "extract", "read", "lora"])
def test_rates_rise_and_fall_and_only_matrices_decay(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[list[tuple[float, float, int]]] = []
    step = torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, *a: object, **k: object) -> object:
        groups = [
            (g["lr"], g["weight_decay"], min(p.ndim for p in g["params"])) for g in self.param_groups if g["params"]
        ]
        seen.append(groups)
        return step(self, *a, **k)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    recipe = recipe_of(kind, base_of(kind, request), epochs=5, patience=99, learning_rate=1e-3)
    train(kind, recipe, tmp_path, n=40)
    assert all((decay == 0.01) == (dims >= 2) and decay in (0.0, 0.01) for _, decay, dims in seen[0])
    for group in range(len(seen[0])):
        rates = [groups[group][0] for groups in seen]
        top = rates.index(max(rates))
        assert 0 < top < len(rates) / 4
        assert rates[: top + 1] == sorted(rates[: top + 1]) and rates[top:] == sorted(rates[top:], reverse=True)
        assert rates[0] <= max(rates) / 2 and rates[-1] < max(rates) / 10
    assert max(g[0] for g in seen[len(seen) // 10]) > 0.9 * 1e-3


def train(kind: str, recipe: Recipe, folder: Path, n: int = 24) -> TrainResult:
    data, validation = DATA[kind](n, 0), DATA[kind](12, 1)
    return kinds.named(recipe.kind).train(recipe, data, validation, folder / "model", lambda _: None)


@pytest.mark.parametrize("kind", DATA)
def test_every_trial_is_fresh_and_its_seed_decides(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    base = base_of(kind, request)
    before = file_digest(base / "model.safetensors")
    found = []
    for name, seed in (("a", 3), ("other", 4), ("b", 3)):
        torch.rand(len(name))  # whatever was drawn before
        result = train(kind, recipe_of(kind, base, seed=seed), tmp_path / name)
        found.append((file_digest(tmp_path / name / "model" / "model.safetensors"), [e.loss for e in result.epochs]))
    assert found[0] == found[2] and found[0][1] != found[1][1]
    assert file_digest(base / "model.safetensors") == before


@pytest.mark.parametrize("kind", ["classify", "multi_label", "score"])
def test_a_head_that_is_not_fitted_is_drawn_from_the_seed(kind: str, tmp_path: Path) -> None:
    """DistilBERT's own classifier begins at random."""
    base = make_encoder(tmp_path / "base", "distilbert")
    losses = [
        [e.loss for e in train(kind, recipe_of(kind, base, seed=seed), tmp_path / str(i)).epochs]
        for i, seed in enumerate((3, 4, 3))
    ]
    assert losses[0] == losses[2] != losses[1]
