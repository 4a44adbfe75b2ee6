"""Training in the memory there is: smaller passes teach the same."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from p2m.evaluate.predict import Predictor
from p2m.train import child, fit, memory, write_fit
from p2m.train.job import read_recipe, write_job
from p2m.train.memory import Passes, tokens_that_fit
from p2m.train.recipe import Progress, Recipe
from p2m.train.student import Student
from p2m.train.writer import Writer
from tests import tiny_writer
from tests.test_train_child import children_of
from tests.test_train_right import lesson_of
from tests.tiny_model import LABELS, make_encoder, rows


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_writer.make_writer(tmp_path_factory.mktemp("llama"))


def no_room_beyond(items: int, loss: Callable[[Any, list[int]], torch.Tensor]) -> Any:
    """``loss`` on a machine whose allocator fails for more than so many items, as torch words it."""

    def tight(self: Any, batch: list[int]) -> torch.Tensor:
        if len(batch) > items:
            loss(self, batch[:1]).backward()  # type: ignore[no-untyped-call]  # it fails half-way: something is left
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory")
        return loss(self, batch)

    return tight


def gradients(lesson: Any, module: Any, model: Any, most: int) -> tuple[float, list[torch.Tensor], Passes]:
    module.train()
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    trained = [p for p in module.parameters() if p.requires_grad]
    for p in trained:
        p.grad = None
    passes = Passes(lesson, model, trained, most)
    loss = passes.backward(list(range(len(lesson.lengths))))
    return loss, [torch.zeros(1) if p.grad is None else p.grad.clone() for p in trained], passes


@pytest.mark.parametrize("kind", ["classify", "extract", "read", "generate"])
@pytest.mark.parametrize("most", [40, 1])
def test_parts_and_recomputing_leave_the_gradient_as_it_is(
    kind: str, most: int, encoder: Path, decoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2m.train.runtime.has_fast_bf16", lambda: False)  # bf16 would hide small differences
    lesson, module = lesson_of(kind, decoder if kind == "generate" else encoder)
    model = module["encoder"] if kind == "classify" else module
    known, expected, whole = gradients(lesson, module, model, 10**9)
    loss, found, passes = gradients(lesson, module, model, most)
    assert whole.spared is None and "batches went in parts" in (passes.spared or "")
    assert passes.recomputes == (most == 1)
    assert loss == pytest.approx(known, rel=1e-5)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_a_failed_allocation_halves_the_pass_and_the_training_ends_well(
    encoder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe = Recipe(str(encoder), LABELS, "accuracy", "full", 0, epochs=3, learning_rate=1e-3)
    easy = fit.train(recipe, Student(encoder, LABELS), rows(60, 0), rows(30, 1), lambda _: None)
    student = Student(encoder, LABELS)
    monkeypatch.setattr(fit._Texts, "loss", no_room_beyond(3, fit._Texts.loss))
    result = fit.train(recipe, student, rows(60, 0), rows(30, 1), lambda _: None)
    assert "batches went in parts" in (result.spared or "") and "twice" not in (result.spared or "")
    assert easy.spared is None and len(result.epochs) == 4
    best, expected = (max(e.validation for e in r.epochs) for r in (result, easy))
    assert best == pytest.approx(expected, abs=0.11)  # dropout falls otherwise
    student.save(tmp_path / "m")
    assert len(Predictor(tmp_path / "m").predict(["apple"])) == 1


def test_a_generator_that_does_not_fit_goes_in_parts_too(decoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(str(decoder), (), "exact_match", "full", 0, epochs=1, kind="generate")
    writer = Writer(decoder, tiny_writer.INSTRUCTION)
    monkeypatch.setattr(write_fit._Answers, "loss", no_room_beyond(2, write_fit._Answers.loss))
    data = tiny_writer.rows(24, 0)
    result, _ = write_fit.train(recipe, writer, data, data[:6], lambda _: None)
    assert "batches went in parts" in (result.spared or "")


def test_where_not_even_one_row_fits_it_recomputes_and_then_gives_up(encoder: Path) -> None:
    lesson, module = lesson_of("classify", encoder)
    lesson = no_room(lesson)
    passes = Passes(lesson, module["encoder"], list(module.parameters()), 10**9)
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        passes.backward([0, 1, 2])
    assert passes.recomputes and lesson.sizes == [3, 1, 1]  # in parts, then recomputed, then no more


def no_room(lesson: Any) -> Any:
    class Full:
        lengths, weight = lesson.lengths, staticmethod(lesson.weight)

        def __init__(self) -> None:
            self.sizes: list[int] = []

        def loss(self, batch: list[int]) -> torch.Tensor:
            self.sizes.append(len(batch))
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    return Full()


def test_another_error_is_not_taken_for_a_lack_of_memory(encoder: Path) -> None:
    lesson, module = lesson_of("classify", encoder)
    passes = Passes(lesson, module["encoder"], list(module.parameters()), 10**9)
    with pytest.raises(IndexError):
        passes.backward([0, 99])


def test_what_fits_grows_with_the_memory_and_shrinks_with_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    class Config:
        num_hidden_layers, hidden_size = 6, 384

    monkeypatch.setattr(memory, "has_fast_bf16", lambda: True)
    monkeypatch.setattr(memory, "memory_available", lambda: 8 * 2**30)
    small = tokens_that_fit(Config)
    assert 30_000 < small < 80_000  # 78 kB a token, of half of 8 GB
    assert tokens_that_fit(Config, words=25_000.0) < small / 3
    Config.num_hidden_layers = 12
    assert tokens_that_fit(Config) == pytest.approx(small / 2, abs=1)
    monkeypatch.setattr(memory, "has_fast_bf16", lambda: False)
    assert tokens_that_fit(Config) == pytest.approx(small / 4, abs=2)


def test_a_child_that_the_system_killed_is_started_again_with_smaller_passes(encoder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    recipe = Recipe(str(encoder), LABELS, "accuracy", "full", 0, epochs=3, seconds=300.0)
    write_job(folder, recipe, rows(60, 0), rows(30, 1))
    killed: list[int] = []

    def kill_once(_: Progress) -> None:
        if not killed:
            killed.extend(children_of(folder))
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    result = asyncio.run(child.run_child(folder, kill_once))
    again = read_recipe(folder)
    assert len(killed) == 1 and len(result.epochs) == 4
    assert again.pass_tokens == child.PASS_TOKENS[0] and again.seconds is not None and again.seconds < 300
    assert replace(again, pass_tokens=None, seconds=300.0) == recipe
