"""deliver: open the sealed test, once, and write the best student with its card."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.steps.baselines import real_rows, score_baselines
from agent.steps.measured import beyond_the_score, corrected, temperature_of
from p2m import kinds
from p2m.data.referee import open_test
from p2m.evaluate.intervals import Estimate
from p2m.files import clear_disk_errors, write_atomic
from p2m.rows import read_rows
from tools.base import ToolContext, ToolResult, need, tool
from tools.workspace import Experiment

if TYPE_CHECKING:
    from p2m.evaluate.predict import AnyPredictor, Prediction

ASIDE = ".model.new"


@tool()
async def deliver(ctx: ToolContext) -> ToolResult:
    """Score the best student and the baselines on the sealed test, and put the model where the user finds it."""
    best: Experiment = need(ctx.workspace.best, "precondition", "there is no student to deliver")
    held_out = ctx.workspace.held_out
    assert held_out is not None
    test = open_test(ctx.store, held_out.handle)
    texts = [r.input for r in test]
    ctx.progress("scoring the best student on the sealed test", 0.05)
    temperature = await asyncio.to_thread(_prepare_folder, ctx, best)
    predictor, found_there = await asyncio.to_thread(_predict, ctx.store.path(best.model) / "model", texts)
    predictions, truncated, kind = [p.output for p in found_there], predictor.truncated, kinds.of(ctx.task)
    estimate = kind.estimate(ctx.task, test, predictions)
    beyond = await asyncio.to_thread(beyond_the_score, ctx, best, test, found_there, temperature)
    correction = await asyncio.to_thread(corrected, ctx, predictor, test, found_there)
    real = await asyncio.to_thread(real_rows, ctx)
    found = await score_baselines(ctx, real, test, "test")
    rows_by_source = await asyncio.to_thread(_rows_by_source, ctx, best)
    data: dict[str, Any] = {
        "test": {**estimate.as_dict(), "split": "test"},
        "model": best.model,
        "held_out": {
            "handle": held_out.handle,
            "source": held_out.source,
            "sha256": ctx.store.meta(held_out.handle).get("sha256"),
        },
        "baselines": found,
        **kind.details(ctx.task, test, predictions),
        "folder": "model",
        "rows_by_source": rows_by_source,
        "truncated": truncated,
        "unfinished": getattr(predictor, "unfinished", 0),
        **beyond,
    }
    if correction is not None:
        data |= {"correction": correction.as_dict(), "estimate": {**correction.own.as_dict(), "split": "check"}}
    await asyncio.to_thread(_write_folder, ctx, best, data)
    text = f"delivered {best.model}: {_short(estimate)} on {estimate.n} sealed test rows"
    if correction is not None:
        text += f", {_short(correction.own)} on the user's own {correction.own.n}"
    return ToolResult(text, text, data)


def _short(estimate: Estimate) -> str:
    return f"{estimate.metric} {estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _predict(folder: Path, texts: list[str]) -> tuple[AnyPredictor, list[Prediction]]:
    from p2m.evaluate.predict import load_predictor

    predictor = load_predictor(folder)
    return predictor, predictor.predict(texts)


def _rows_by_source(ctx: ToolContext, best: Experiment) -> dict[str, int]:
    """Of the rows that it learnt from, not of its datasets: training leaves out what is near a held-out row."""
    return dict(Counter(row.source for row in read_rows(ctx.store.path(best.model) / "train.jsonl")))


def _link(source: str, target: str) -> None:
    """The same bytes under a second name where the file system can: a model need not lie on the disk twice."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _prepare_folder(ctx: ToolContext, best: Experiment) -> float:
    """A copy of the student aside, its logits divided by the temperature that validation asks for; gives that, and 1
    where the model cannot be changed so."""
    from p2m.export.tempered import divide_logits

    aside = ctx.run_dir / ASIDE
    shutil.rmtree(aside, ignore_errors=True)
    with clear_disk_errors(aside):
        shutil.copytree(ctx.store.path(best.model) / "model", aside, copy_function=_link)
        temperature = temperature_of(ctx, best)
        return temperature if temperature != 1 and divide_logits(aside, temperature) else 1.0


def _write_folder(ctx: ToolContext, best: Experiment, data: dict[str, Any]) -> None:
    """``RUN/model``, whole or absent: its card, then swapped in."""
    from p2m.export.card import CardFacts, write_card

    final, aside = ctx.run_dir / "model", ctx.run_dir / ASIDE
    write_card(aside, CardFacts.of(ctx.task, best, data))
    old = ctx.run_dir / ".model.old"
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    aside.rename(final)
    # The very rows that the student learnt from, each with where it comes from: beside the model, not in it.
    trained_on = ctx.store.path(best.model) / "train.jsonl"
    if trained_on.is_file():
        write_atomic(ctx.run_dir / "train.jsonl", trained_on.read_bytes())
    shutil.rmtree(old, ignore_errors=True)
