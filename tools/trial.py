"""A trial of base models on a run's rows: which can take part, and one candidate's training in one round."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from p2m import kinds
from p2m.catalog.importing import balanced
from p2m.catalog.needs import Conditions, Shape, embed_seconds
from p2m.catalog.untrusted import clean
from p2m.errors import P2MError, ToolFailure
from p2m.files import digest, write_atomic
from p2m.rows import Row
from tools.base import ToolContext
from tools.fine_tune import SECONDS_TO_DELIVER, fetched, weights_digest

if TYPE_CHECKING:
    from p2m.train.halving import Attempt, Candidate, Round
    from p2m.train.recipe import Progress, Recipe

MOST_TRIED = 4
MOST_FETCHED = 2
MOST_VALIDATION = 200
START_SECONDS = 10.0
"""Of a round's seconds, for starting a training, loading and saving its model."""
SHORT_EPOCHS = 3


@dataclass(frozen=True)
class Base:
    """A base model that lies on this machine. ``parameters_m`` in millions, None where no file says."""

    id: str
    folder: Path
    parameters_m: float | None
    shape: Shape | None


def trial_seconds(ctx: ToolContext, most: float, share: float) -> float:
    """What a trial may take: ``share`` of the time that is left beside delivery, at most ``most`` seconds."""
    left = ctx.seconds_left()
    return most if left is None else min(most, share * (left - SECONDS_TO_DELIVER))


class Trial:
    """Trains candidates on the same sample of rows in child processes, and keeps what each predicted."""

    def __init__(self, ctx: ToolContext, bases: Sequence[Base], training: list[Row], held_out: str) -> None:
        from p2m.data.referee import open_validation

        self.ctx, self.bases, self.training = ctx, {b.id: b for b in bases}, training
        # Enough rows to tell models apart, few enough to be read by each of them.
        whole = open_validation(ctx.store, held_out)
        self.validation = balanced(whole, MOST_VALIDATION, ctx.rng("trial", held_out), by_label=False)
        self.golds = [r.output for r in self.validation]
        self.held_out = held_out

    async def attempt(self, candidate: Candidate, at: Round) -> Attempt:
        """The candidate's training in a round. One that was made before, in a trial that was broken off, is not made
        again."""
        from p2m.train.halving import Attempt

        rows = self.rows(at.rows)
        recipe = self.recipe(candidate, at)
        handle = self.ctx.store.handle(
            "try",
            rows=digest([[r.input, r.output, r.probs] for r in rows]),
            base=await asyncio.to_thread(weights_digest, Path(recipe.base)),
            held_out=[self.held_out, len(self.validation)],
            recipe={k: v for k, v in asdict(recipe).items() if k not in ("base", "seconds")},
        )
        began = time.monotonic()
        try:
            if not self.ctx.store.has(handle):
                limit = at.seconds + START_SECONDS
                await asyncio.wait_for(self._train(handle, recipe, rows, candidate, at), limit)
        except TimeoutError:
            return Attempt(candidate, at, time.monotonic() - began, problem=f"it did not end within {limit:.0f} s")
        except ToolFailure as failure:
            problem = clean(failure, 200)
            return Attempt(candidate, at, time.monotonic() - began, problem=problem, broken=True)
        return self._scored(handle, candidate, at)

    def recipe(self, candidate: Candidate, at: Round) -> Recipe:
        """What a candidate's training in a round is asked to do."""
        return kinds.of(self.ctx.task).recipe(
            self.ctx.task,
            base=str(self.bases[candidate.id].folder),
            method=at.method,
            seed=self.ctx.seed,
            epochs=SHORT_EPOCHS if at.method == "full" else None,
            seconds=max(1.0, at.seconds - START_SECONDS),
        )

    def gap(self, first: Attempt, second: Attempt) -> tuple[float, float, float]:
        """How far the first is above the second on the same rows, in its interval: see ``difference``."""
        from p2m.evaluate.paired import difference

        task = self.ctx.task
        sides = (first.predictions, second.predictions)
        return difference(task.metric, self.golds, *sides, task.labels, seed=self.ctx.seed)

    def rows(self, n: int) -> list[Row]:
        """The sample of a round, the same for each candidate."""
        task = self.ctx.task
        return balanced(self.training, n, self.ctx.rng("trial", n), by_label=kinds.of(task).answers_are_labels)

    async def _train(self, handle: str, recipe: Recipe, rows: list[Row], candidate: Candidate, at: Round) -> None:
        from p2m.train.child import run_child
        from p2m.train.job import write_job

        name = clean(candidate.id, 60)
        what = (
            f"round {at.number}: {name}, {'a frozen head' if at.method == 'frozen' else at.method} on {len(rows)} rows"
        )
        self.ctx.progress(what, None)

        def on_progress(now: Progress) -> None:
            self.ctx.progress(f"{what}: epoch {now.epoch} of {now.epochs}, {now.eta:.0f} s left", now.step / now.steps)

        began = time.monotonic()
        with self.ctx.store.writing(handle) as folder:
            job = folder / "job"
            job.mkdir()
            write_job(job, recipe, rows, self.validation)
            await run_child(job, on_progress)
            (job / "validation_predictions.jsonl").rename(folder / "validation_predictions.jsonl")
            shutil.rmtree(job)
            meta = {"base": candidate.id, "round": asdict(at), "seconds": round(time.monotonic() - began, 2)}
            write_atomic(folder / "meta.json", json.dumps(meta, ensure_ascii=False, indent=1))

    def _scored(self, handle: str, candidate: Candidate, at: Round) -> Attempt:
        from p2m.evaluate.predict import read_outputs
        from p2m.train.halving import Attempt

        predictions = tuple(read_outputs(self.ctx.store.path(handle) / "validation_predictions.jsonl"))
        found = kinds.of(self.ctx.task).estimate(self.ctx.task, self.validation, predictions)
        return Attempt(candidate, at, self.ctx.store.meta(handle)["seconds"], found, predictions)


async def bases_at_hand(ctx: ToolContext, seconds: float) -> tuple[list[Base], dict[str, str]]:
    """The first of the ranked models that lie here or can be fetched within ``seconds``; why others are left out."""
    from p2m.catalog.models import read_model

    ready: list[Base] = []
    left_out: dict[str, str] = {}
    fetches, ends = 0, time.monotonic() + seconds
    for model in (m for m in ctx.workspace.models if m["kept"]):
        name = model["id"]
        if len(ready) == MOST_TRIED:
            break
        if model.get("late"):
            left_out[name] = "it has not the memory or the time"
            continue
        if not model["path"]:
            if fetches == MOST_FETCHED:
                continue
            fetches += 1
        try:
            folder = await asyncio.wait_for(asyncio.to_thread(fetched, ctx, model), max(1.0, ends - time.monotonic()))
        except TimeoutError:
            left_out[name] = f"it could not be downloaded within {seconds:.0f} s"
            continue
        except P2MError as error:
            left_out[name] = clean(error, 200)
            continue
        read = await asyncio.to_thread(read_model, folder, name)
        ready.append(Base(name, folder, read.parameters_m, read.shape))
    return ready, left_out


def in_time(trial: Trial, given: Conditions, seconds: float) -> tuple[list[Candidate], dict[str, str]]:
    """The candidates that can read the first round's rows in their share of ``seconds``, by estimate; and what speaks
    against the others."""
    from p2m.train.halving import FIRST_ROWS, FIRST_SHARE, Candidate

    rows = min(len(trial.training), FIRST_ROWS) + len(trial.validation)
    each = FIRST_SHARE * seconds / max(1, len(trial.bases))
    fast: list[Candidate] = []
    slow: dict[str, str] = {}
    for base in trial.bases.values():
        estimate = embed_seconds(base.shape, rows, given.texts, given.machine) if base.shape else None
        if estimate is not None and estimate > each:
            slow[base.id] = f"reading {rows} rows takes about {estimate:.0f} s here, {each:.0f} s are for each"
        else:
            fast.append(Candidate(base.id, base.parameters_m))
    return fast, slow
