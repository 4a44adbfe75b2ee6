"""What all prompts of a batch begin with is read once: the same losses and gradients as without."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch

from p2m.train import formats, write_fit
from p2m.train.prefix import LEAST_SHARED, after_shared_start, shared_start
from p2m.train.recipe import Method
from p2m.train.writer import Writer
from tests.tiny_writer import INSTRUCTION, make_writer, rows


@pytest.fixture
def writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writer:
    monkeypatch.setattr(write_fit, "autocast", lambda where: contextlib.nullcontext())  # float32 everywhere
    return Writer(make_writer(tmp_path), INSTRUCTION)


def learnt(writer: Writer, monkeypatch: pytest.MonkeyPatch, *, shared: bool) -> tuple[float, list[torch.Tensor]]:
    """Loss and gradients of one batch, with what the model was called with."""
    if not shared:
        monkeypatch.setattr(formats, "after_shared_start", lambda model, batch: None)
    trained = [p for p in writer.model.parameters() if p.requires_grad]
    writer.model.train()
    loss = write_fit._loss(writer, writer.tokens(rows(9, 0)))
    loss.backward()
    gradients = [p.grad.clone() for p in trained if p.grad is not None]
    writer.model.zero_grad()
    return float(loss.detach()), gradients


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_shared_start_changes_no_loss_and_no_gradient(
    method: Method, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.prepare(method)
    seen: list[int] = []
    call = type(writer.model).forward

    def watched(model: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(kwargs["input_ids"].numel())
        return call(model, *args, **kwargs)

    monkeypatch.setattr(type(writer.model), "forward", watched)
    loss, gradients = learnt(writer, monkeypatch, shared=True)
    read, seen[:] = sum(seen), []
    whole, expected = learnt(writer, monkeypatch, shared=False)
    assert loss == pytest.approx(whole, rel=1e-5)
    assert len(gradients) == len(expected) > 0
    for ours, plain in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-6)
    assert read <= sum(seen) - 8 * LEAST_SHARED


def test_what_is_shared_is_all_that_prompts_begin_with_and_no_answer(writer: Writer) -> None:
    form = writer.format
    some = [form.row(text, "many cows", 90) for text in ("the cow", "the old cow", "a")]
    prompts = [t.prompt for t in some]
    least = min(map(len, prompts))
    same = next((k for k in range(least) if len({p[k] for p in prompts}) > 1), least)
    assert shared_start(form.batch(some)) == same >= LEAST_SHARED
    # A prompt that another begins with: its last token is read in its row, where its answer's first token is predicted.
    assert shared_start(form.batch([some[0], some[0]])) == len(some[0].prompt) - 1
    assert shared_start(form.batch(some[:1])) == 0


def test_activations_that_are_computed_twice_keep_no_cache(writer: Writer) -> None:
    batch = writer.format.batch(writer.tokens(rows(4, 0)))
    assert after_shared_start(writer.model, batch) is not None
    writer.model.train()
    writer.model.gradient_checkpointing_enable({"use_reentrant": False})
    assert after_shared_start(writer.model, batch) is None
