"""A task taken for one of another kind: read again, so that what contradicts the new kind is refused."""

from __future__ import annotations

from p2m.errors import BadInput
from p2m.task.draft import Draft, Fields, Place, Shown
from p2m.task.finish import NeedsLLM, finish
from p2m.task.spec import Kind, TaskSpec

PLACE = Place("the task")


def with_kind(task: TaskSpec, kind: Kind, labels: tuple[str, ...], reason: str) -> TaskSpec:
    """``task`` as one of ``kind``, measured by that kind's own metric; its notes end with the reason.

    Raises ``BadInput``: labels that the kind needs or cannot have, examples of another form, a target that is a number
    on the metric of the present kind.
    """
    from p2m import kinds
    from p2m.rows import Row

    fields = Fields(
        name=task.name,
        kind=kind,
        labels=labels,
        language=task.language,
        validation=task.validation,
        train=task.train,
        input_column=task.input_column,
        output_column=task.output_column,
        budget=task.budget,
        student=task.student,
    )
    shown = tuple(Shown(e.input, e.output, PLACE) for e in task.examples)
    made = finish(Draft(PLACE, task.instruction, task.instruction, fields, shown))
    if isinstance(made, NeedsLLM):
        raise BadInput(made.reason, fix="Give labels")
    if task.target is not None and made.metric != task.metric:
        raise BadInput(
            f"the target is {task.target:g} on {task.metric}, which is no target for {made.metric}", fix="Keep the kind"
        )
    wrong = [e for e in made.examples if not kinds.of(made).valid(made, Row(e.input, e.output, "demonstration"))]
    if wrong:
        raise BadInput(f"an example is not of kind {kind}: its output is {wrong[0].output[:60]!r}", fix="Keep the kind")
    kinds.of(made).check(made)
    kept = [note for note in task.notes if not note.startswith(("kind:", "metric:"))]
    changed = f"kind changed from {task.kind} to {kind} by the planner: {reason}"
    return made.model_copy(update={"notes": (*kept, changed), "target": task.target})
