"""fine_tune: train a student on the rows in use, in a child process, and score it on validation."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from p2m import kinds
from p2m.catalog.untrusted import clean
from p2m.errors import P2MError, ToolFailure
from p2m.files import digest, file_digest, write_atomic
from p2m.rows import Row
from tools.base import Facts, ToolContext, ToolResult, need, tool
from tools.workspace import Experiment, Score, Workspace

if TYPE_CHECKING:
    pass

# What saving, scoring and delivering the student take after a training that uses all the time it is given.
SECONDS_TO_DELIVER = 60.0
LEAST_SECONDS = 20.0


def _can_train(workspace: Workspace, facts: Facts) -> str | None:
    return None if workspace.datasets else "there are no training rows yet"


def _choices(workspace: Workspace) -> dict[str, list[Any]]:
    kept = [m["id"] for m in workspace.models if m["kept"]]
    known: dict[str, list[Any]] = {"method": list(kinds.named(workspace.kind).methods)}
    known["data"] = [d.handle for d in workspace.datasets]
    return known | ({"base": [*kept, None]} if kept else {})


@tool(precondition=_can_train, choices=_choices)
async def fine_tune(
    ctx: ToolContext,
    *,
    method: Annotated[
        Literal["frozen", "lora", "full"],
        Field(
            description="frozen: seconds, only a head; lora: minutes, a few added weights; full: minutes, all weights"
        ),
    ] = "full",
    data: Annotated[list[str] | None, Field(description="leave out for all rows in use")] = None,
    epochs: Annotated[int | None, Field(ge=1, le=30, description="leave out: chosen, with early stopping")] = None,
    learning_rate: Annotated[float | None, Field(ge=1e-6, le=1e-3, description="leave out: chosen")] = None,
    base: Annotated[str | None, Field(description="the base model; leave out for the best ranked")] = None,
) -> ToolResult:
    """Train a student on the rows in use and the examples, and score it on validation."""
    from p2m.data.referee import open_validation

    kind = kinds.of(ctx.task)
    if method not in kind.methods:
        raise ToolFailure("invalid_args", f"a student of kind {kind.name} trains by {' or '.join(kind.methods)}")
    held_out = need(ctx.workspace.held_out, "precondition", "no rows are held out yet")
    # [] is the examples alone; a planner that means "all" must not get that by mistake.
    if data == [] and not ctx.workspace.plain_head_leads:
        raise ToolFailure("invalid_args", "data is empty: leave it out to train on all rows in use")
    name, place = await asyncio.to_thread(_base, ctx, base)
    folder = await _prepared(ctx, name, place)
    handles = tuple(data) if data is not None else tuple(d.handle for d in ctx.workspace.datasets)
    ctx.progress("checking the rows against the held-out ones", None)
    training = await asyncio.to_thread(assemble, ctx, handles)
    recipe = kind.recipe(
        ctx.task,
        base=str(folder),
        method=method,
        seed=ctx.seed,
        epochs=epochs,
        seconds=_seconds(ctx),
        learning_rate=learning_rate if learning_rate is not None else _found_rate(ctx.workspace, method),
    )
    model = ctx.store.handle(
        "m",
        rows=digest([[r.input, r.output, r.probs] for r in training.rows]),
        base=await asyncio.to_thread(weights_digest, folder),
        held_out=held_out.handle,
        recipe={k: v for k, v in asdict(recipe).items() if k not in ("base", "seconds")},
    )
    validation = open_validation(ctx.store, held_out.handle)
    if not ctx.store.has(model):
        await _train(ctx, model, recipe, name, training, validation)
    return _result(ctx, model, handles, validation)


async def _prepared(ctx: ToolContext, name: str, place: Path) -> Path:
    """The folder to train from; a ``.gguf`` file is made one first."""
    from p2m.train.gguf import base_folder

    if place.suffix == ".gguf":
        ctx.progress(f"preparing {name} for training", None)
    return await asyncio.to_thread(base_folder, place)


async def train_folder(ctx: ToolContext, base: str) -> Path:
    """The folder of a base model that an experiment of this run was trained from."""
    ranked = {m["id"] for m in ctx.workspace.models if m["kept"]}
    name, place = await asyncio.to_thread(_base, ctx, base if base in ranked else None)
    return await _prepared(ctx, name, place)


@dataclass(frozen=True)
class Training:
    """The rows to train on; how many were taken out, by reason, with samples."""

    rows: list[Row]
    removed: dict[str, int]
    removed_samples: list[dict[str, str]]


def assemble(ctx: ToolContext, handles: Sequence[str]) -> Training:
    """The datasets' rows and the demonstrations, once each, without what repeats a held-out row.

    Raises ``ToolFailure`` ``precondition`` where these are not enough, as where a label is left without rows.
    """
    from p2m.data.near import HeldOutGuard, samples
    from p2m.data.referee import guard_texts
    from p2m.train.embed import Embedder

    assert ctx.workspace.held_out is not None
    kind = kinds.of(ctx.task)
    rows = [Row(e.input, e.output, "demonstration") for e in ctx.task.examples]
    rows += [row for handle in handles for row in ctx.store.rows(handle)]
    valid = [row for row in rows if kind.valid(ctx.task, row)]
    once = list({(row.input, row.output): row for row in reversed(valid)}.values())[::-1]
    # Rows were checked when they came in, but perhaps against other held-out rows.
    guard = HeldOutGuard(guard_texts(ctx.store, ctx.workspace.held_out.handle), Embedder.default().embed)
    admitted = guard.admit(once)
    if lacking := kind.lacking(ctx.task, admitted.kept):
        raise ToolFailure("precondition", lacking)
    removed = {"duplicate_exact": len(valid) - len(once), "other_label": len(rows) - len(valid)}
    counts = {k: n for k, n in {**removed, **admitted.counts}.items() if n}
    return Training(admitted.kept, counts, samples(admitted.removed))


def _base(ctx: ToolContext, asked: str | None) -> tuple[str, Path]:
    """Name and folder of the model to start from: asked for, else the best ranked, else the task's, else the pack's."""
    from p2m import pack

    ranked = {m["id"]: m for m in ctx.workspace.models if m["kept"]}
    wanted = asked or ctx.task.student.base or kinds.of(ctx.task).default_base
    if asked is not None and asked in ranked:
        return asked, fetched(ctx, ranked[asked])
    if asked is None and ranked:
        return _first_fetched(ctx, list(ranked.values()))
    if wanted in pack.NAMES:
        return wanted, pack.require(wanted)
    # Only the person's own words name a folder; a planner chooses among the ranked ones.
    if wanted == ctx.task.student.base:
        return wanted, Path(wanted)
    known = ", ".join(ranked) or "none; call rank_models"
    raise ToolFailure("invalid_args", f"there is no base model {wanted!r}; ranked are: {known}")


def _first_fetched(ctx: ToolContext, ranked: list[dict[str, Any]]) -> tuple[str, Path]:
    """The best ranked model that can be had: a Hub that fails must not leave a run without a student."""
    for model in ranked[:-1]:
        try:
            return model["id"], fetched(ctx, model)
        except P2MError as error:
            ctx.progress(f"{model['id']} cannot be fetched ({clean(error, 200)}): taking the next", 1.0)
    return ranked[-1]["id"], fetched(ctx, ranked[-1])


def fetched(ctx: ToolContext, model: dict[str, Any]) -> Path:
    """The folder of a ranked model; one of the Hub is downloaded at the commit it was ranked at."""
    from p2m.catalog.hub_models import OffersModels
    from p2m.catalog.safety import Refused

    if model["path"]:
        return Path(model["path"])
    if not isinstance(ctx.catalog, OffersModels):
        raise ToolFailure("precondition", f"{model['id']} is on the Hub, which is not the catalogue of this run")
    ctx.progress(f"downloading {model['id']}", None)
    try:
        return ctx.catalog.base_models.fetch(model["id"], model["revision"])
    except Refused as refused:
        raise ToolFailure("invalid_args", clean(f"{refused}. Choose another base", 400)) from refused


def weights_digest(folder: Path) -> str:
    return digest([[f.name, file_digest(f)] for f in sorted(folder.glob("*.safetensors"))])


def _found_rate(workspace: Workspace, method: str) -> float | None:
    """The rate that ``try_rates`` found for ``method``, if it was asked and could tell."""
    found = workspace.rates
    return found["rate"] if found and found["decided"] and found["method"] == method else None


def _seconds(ctx: ToolContext) -> float | None:
    left = ctx.seconds_left()
    return None if left is None else max(LEAST_SECONDS, left - SECONDS_TO_DELIVER)


async def _train(
    ctx: ToolContext, model: str, recipe: Any, base: str, training: Training, validation: list[Row]
) -> None:
    from p2m.train.child import run_child
    from p2m.train.job import write_job
    from p2m.train.recipe import Progress

    def on_progress(now: Progress) -> None:
        score = "" if now.validation is None else f", validation {now.validation:.3f}"
        text = f"epoch {now.epoch} of {now.epochs}{score}, loss {now.loss:.3f}, {now.examples_per_second:.0f} rows/s"
        ctx.progress(f"{text}, {now.eta:.0f} s left", now.step / now.steps)

    with ctx.store.writing(model) as folder:
        job = folder / "job"
        job.mkdir()
        write_job(job, recipe, training.rows, validation)
        ctx.progress(f"training on {len(training.rows)} rows", 0.0)
        result = await run_child(job, on_progress)
        (job / "model").rename(folder / "model")
        (job / "train.jsonl").rename(folder / "train.jsonl")
        (job / "validation_predictions.jsonl").rename(folder / "validation_predictions.jsonl")
        shutil.rmtree(job)
        meta = {"base": base, "removed": training.removed, "removed_samples": training.removed_samples}
        meta |= {"recipe": asdict(recipe), "result": asdict(result)}
        write_atomic(folder / "meta.json", json.dumps(meta, ensure_ascii=False, indent=1))


def _result(ctx: ToolContext, model: str, handles: tuple[str, ...], validation: list[Row]) -> ToolResult:
    from p2m.evaluate.predict import read_outputs

    meta, kind = ctx.store.meta(model), kinds.of(ctx.task)
    predictions = read_outputs(ctx.store.path(model) / "validation_predictions.jsonl")
    score = Score(**kind.estimate(ctx.task, validation, predictions).as_dict(), split="validation")
    stands_out = kind.highlights(ctx.task, validation, predictions)
    result, recipe = meta["result"], meta["recipe"]
    experiment = Experiment(
        model=model,
        method=recipe["method"],
        base=meta["base"],
        data=handles,
        rows=result["rows"],
        score=score,
        per_label=stands_out.per_label,
        seconds=round(result["seconds"], 1),
    )
    text = (
        f"{model} ({experiment.method}, {experiment.rows} rows): {score.metric} {score.value:.3f} "
        f"[{score.low:.3f}, {score.high:.3f}] on {score.n} validation rows. {_standing(ctx, experiment)}"
    )
    text += f" {stands_out.sentence}" if stands_out.sentence else ""
    return ToolResult(
        text, _display(text, meta, kind.untrained), {"experiment": asdict(experiment), "removed": meta["removed"]}
    )


def _standing(ctx: ToolContext, new: Experiment) -> str:
    """How the student stands to the target, the baselines and the best before it."""
    parts, value = [], new.score.value
    if ctx.task.target is not None:
        parts.append(f"target {ctx.task.target:.3f} {'met' if value >= ctx.task.target else 'not met'}")
    others = [b for b in ctx.workspace.baselines if not b.is_llm]
    if strongest := max(others, key=lambda b: b.score.value, default=None):
        parts.append(f"best baseline {strongest.score.value:.3f} ({strongest.system})")
    best = ctx.workspace.best
    if best is not None and best.model != new.model:
        parts.append(
            f"{'better than' if value > best.score.value else 'not better than'} {best.model} {best.score.value:.3f}"
        )
    return "; ".join(parts).capitalize() + "." if parts else ""


def _display(text: str, meta: dict[str, Any], untrained: str) -> str:
    result = meta["result"]
    lines = [text, "", "| epoch | loss | validation |", "| --: | --: | --: |"]
    for epoch in result["epochs"]:
        loss = untrained if epoch["loss"] is None else f"{epoch['loss']:.3f}"
        kept = " (kept)" if epoch["epoch"] == result["best_epoch"] else ""
        lines.append(f"| {epoch['epoch']} | {loss} | {epoch['validation']:.3f}{kept} |")
    notes = []
    if result["truncated"]:
        notes.append(f"{result['truncated']} rows cut at {result['max_length']} tokens")
    if result["cut_answers"]:
        notes.append(f"{result['cut_answers']} rows left out: their answers are longer than the model can learn")
    if result.get("spared"):
        notes.append(f"memory was short: {result['spared']}")
    if result["weighted"]:
        notes.append("rows weighted, as the labels are unbalanced")
    if result["out_of_time"]:
        notes.append("stopped early: the time was up")
    notes += [f"{count} rows left out: {reason}" for reason, count in meta["removed"].items()]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)]).rstrip()
