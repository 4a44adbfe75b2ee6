"""try_rates: a short trial of a few learning rates, on validation, that says which to train with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2m import kinds
from p2m.catalog.untrusted import clean
from tools.base import Facts, ToolContext, ToolResult, need, tool
from tools.fine_tune import assemble, train_folder
from tools.trial import START_SECONDS, Base, Trial, trial_seconds
from tools.try_models import attempt_data, attempt_line, attempts_table
from tools.workspace import Experiment, Workspace

if TYPE_CHECKING:
    from p2m.train.halving import Candidate, Outcome, Round
    from p2m.train.recipe import Method, Recipe

FACTORS = (1.0, 1 / 3, 3.0)
LOWEST, HIGHEST = 1e-6, 1e-3
TRIAL_SECONDS, TRIAL_SHARE = 600.0, 0.3
"""A trial takes this share of the time that is left, and never more than so many seconds."""
LEAST_ROWS = 64
WORTH_TRAININGS = 1.5
"""A round on a quarter of the rows and one on all take about as many times as long as the training before."""


def _best_trained(workspace: Workspace) -> Experiment | None:
    """The best student that a rate decided: a frozen head has none."""
    return max((e for e in workspace.experiments if e.method != "frozen"), key=lambda e: e.score.value, default=None)


def _something_to_tune(workspace: Workspace, facts: Facts) -> str | None:
    if workspace.rates is not None:
        return "learning rates were tried already"
    if not workspace.datasets:
        return "there are no training rows yet"
    return None if _best_trained(workspace) else "no student is trained yet: fine_tune by full or lora first"


class _RateTrial(Trial):
    """Candidates are learning rates; base and method are the same for all."""

    def __init__(
        self, ctx: ToolContext, base: Base, rates: dict[str, float], training: list[Any], held_out: str
    ) -> None:
        super().__init__(ctx, [base], training, held_out)
        self.base, self.rates = base, rates

    def recipe(self, candidate: Candidate, at: Round) -> Recipe:
        made = kinds.of(self.ctx.task).recipe(
            self.ctx.task,
            base=str(self.base.folder),
            method=at.method,
            seed=self.ctx.seed,
            seconds=max(1.0, at.seconds - START_SECONDS),
        )
        return replace(made, learning_rate=self.rates[candidate.id])


@tool(precondition=_something_to_tune)
async def try_rates(ctx: ToolContext) -> ToolResult:
    """Try a lower and a higher learning rate than the default on some of the rows, the same budget for each; the next
    training uses what does best on validation."""
    from p2m.train.halving import Candidate, halve

    began = time.monotonic()
    held_out = need(ctx.workspace.held_out, "precondition", "no rows are held out yet").handle
    best = need(_best_trained(ctx.workspace), "precondition", "no student is trained yet")
    method: Method = best.method  # type: ignore[assignment]
    default = kinds.of(ctx.task).recipe(ctx.task, base="", method=method, seed=ctx.seed).learning_rate
    rates = {f"{rate:.1e}": rate for rate in (min(HIGHEST, max(LOWEST, default * f)) for f in FACTORS)}
    left = trial_seconds(ctx, TRIAL_SECONDS, TRIAL_SHARE)
    if left < max(2 * START_SECONDS * len(rates), WORTH_TRAININGS * best.seconds):
        why = f"{max(left, 0):.0f} s of the time are for a trial, too few for {len(rates)} trainings like the last"
        return _result(method, default, default, None, why, 0.0)
    folder = await train_folder(ctx, best.base)
    ctx.progress("checking the rows against the held-out ones", None)
    training = (await asyncio.to_thread(assemble, ctx, [d.handle for d in ctx.workspace.datasets])).rows
    trial = _RateTrial(ctx, Base(best.base, Path(folder), None, None), rates, training, held_out)
    candidates = [Candidate(name, abs(log(rate / default))) for name, rate in rates.items()]

    found = await halve(
        candidates,
        trial.attempt,
        trial.gap,
        rows=len(training),
        labels=len(ctx.task.labels),
        seconds=left - (time.monotonic() - began),
        quick=method,
        last=method,
        plainer="the rate nearer to the default",
        first=max(LEAST_ROWS, len(training) // 4),
    )
    rate = rates[found.order[0]] if found.decided else default
    return _result(method, default, rate, found, clean(found.why, 400), time.monotonic() - began)


def _result(
    method: str, default: float, rate: float, found: Outcome | None, why: str, seconds: float
) -> ToolResult:  # fmt: skip
    attempts: Sequence[dict[str, Any]] = [attempt_data(a) for a in found.attempts] if found else []
    decided = found is not None and found.decided
    if not decided:
        text = f"Nothing was decided: {why}. The learning rate stays {default:.1e}."
    elif rate == default:
        text = f"The default learning rate {default:.1e} stays: {why}."
    else:
        text = f"Train with learning rate {rate:.1e} (the default is {default:.1e}): {why}."
    rates = {
        "method": method,
        "rate": rate,
        "default": default,
        "decided": decided,
        "why": why,
        "seconds": round(seconds, 1),
        "attempts": attempts,
    }
    lines = "\n".join([text, *(attempt_line(a) for a in attempts)])
    return ToolResult(lines, attempts_table(text, attempts, (), what="rate"), {"rates": rates})
