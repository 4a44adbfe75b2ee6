"""What delivery says beyond the score: calibration, a threshold to abstain below, parts of the rows, a correction by
the user's own few rows. Everything is chosen on validation and measured on the sealed rows, once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from p2m import kinds
from p2m.data.referee import open_check, open_validation
from p2m.evaluate.abstain import GOAL, Abstention, choose_threshold, kept
from p2m.evaluate.calibration import at_temperature, calibration, fit_temperature, probabilities
from p2m.evaluate.powered import Correction, correction
from p2m.evaluate.slices import slices
from p2m.rows import Row
from p2m.task.spec import TaskSpec
from tools.base import ToolContext
from tools.workspace import Experiment

if TYPE_CHECKING:
    import numpy as np

    from p2m.evaluate.predict import AnyPredictor, Prediction


def validated(ctx: ToolContext, best: Experiment) -> tuple[np.ndarray, list[str]]:
    """The student's probabilities on validation, of shape (n, labels), and the right labels."""
    from p2m.evaluate.predict import read_predictions

    assert ctx.workspace.held_out is not None
    golds = [row.output for row in open_validation(ctx.store, ctx.workspace.held_out.handle)]
    predictions = read_predictions(ctx.store.path(best.model) / "validation_predictions.jsonl")
    return probabilities([p.probs for p in predictions], ctx.task.labels), golds


def temperature_of(ctx: ToolContext, best: Experiment) -> float:
    """The temperature that validation asks for; 1 where answers are no labels."""
    if not kinds.of(ctx.task).answers_are_labels:
        return 1.0
    probs, golds = validated(ctx, best)
    return fit_temperature(probs, golds, ctx.task.labels)


def beyond_the_score(
    ctx: ToolContext, best: Experiment, test: Sequence[Row], predictions: Sequence[Prediction], temperature: float
) -> dict[str, Any]:
    """``slices``, and where answers are labels ``calibration`` and ``abstain`` (None where no threshold reaches the
    goal), as JSON.

    ``predictions`` are those at temperature 1, ``temperature`` is the delivered model's.
    """
    import numpy as np

    task, labels = ctx.task, ctx.task.labels
    parts = slices(task.metric, test, [p.output for p in predictions], labels=labels)
    divided = {"slices": [part.as_dict() for part in parts]}
    if not kinds.of(task).answers_are_labels:
        return divided
    probs = probabilities([p.probs for p in predictions], labels)
    right = np.array([p.label == row.output for p, row in zip(predictions, test, strict=True)])
    on_validation, golds = validated(ctx, best)
    sure = at_temperature(on_validation, temperature)
    right_there = np.array([labels[i] == gold for i, gold in zip(sure.argmax(axis=1), golds, strict=True)])
    goal = abstain_goal(task)
    threshold = choose_threshold(sure.max(axis=1), right_there, goal)
    abstention = None
    if threshold is not None:
        there = kept(sure.max(axis=1), right_there, threshold)
        here = kept(at_temperature(probs, temperature).max(axis=1), right, threshold)
        abstention = Abstention(threshold, goal, there, here).as_dict()
    return {"calibration": calibration(probs, right, temperature).as_dict(), "abstain": abstention, **divided}


def abstain_goal(task: TaskSpec) -> float:
    """The accuracy that kept answers should have: the task's target where that is on accuracy."""
    return task.target if task.target is not None and task.metric == "accuracy" else GOAL


def corrected(
    ctx: ToolContext, predictor: AnyPredictor, test: Sequence[Row], predictions: Sequence[Prediction]
) -> Correction | None:
    """What the user's few rows say of a student measured on generated ones; None where there are no such rows."""
    assert ctx.workspace.held_out is not None
    rows = open_check(ctx.store, ctx.workspace.held_out.handle)
    if not rows:
        return None
    teacher = [row.meta.get("teacher") for row in rows]
    return correction(
        ctx.task.metric,
        [row.output for row in rows],
        [p.label for p in predictor.predict([row.input for row in rows])],
        teacher if any(answer is not None for answer in teacher) else None,
        ([row.output for row in test], [p.label for p in predictions]),
        labels=ctx.task.labels,
    )
