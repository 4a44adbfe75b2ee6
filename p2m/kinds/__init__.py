"""Kinds of task: what differs between classifying, generating and so on is asked of one object, ``of(task)``."""

from __future__ import annotations

from functools import cache

from p2m.errors import BadInput
from p2m.kinds.base import TaskKind
from p2m.task.spec import TaskSpec

__all__ = ["TaskKind", "named", "of"]


@cache
def _known() -> dict[str, TaskKind]:
    from p2m.kinds.classify import Classify
    from p2m.kinds.extract import Extract
    from p2m.kinds.generate import Generate
    from p2m.kinds.multilabel import MultiLabel
    from p2m.kinds.read import Read
    from p2m.kinds.score import Score

    return {kind.name: kind for kind in (Classify(), MultiLabel(), Generate(), Extract(), Read(), Score())}


def _name(task: TaskSpec) -> str:
    """What the answers of a task are decides among students of one kind."""
    if task.kind == "classify":
        return "multi_label" if task.multi_label else "classify"
    return "read" if task.kind == "extract" and not task.labels else task.kind


def of(task: TaskSpec) -> TaskKind:
    """The kind of ``task``. Raises ``BadInput`` for one that has no student yet."""
    found = _known().get(_name(task))
    if found is None:
        raise BadInput(
            f"{task.name} is a task of kind {task.kind}; this version trains {', '.join(_known())} only",
            fix="Give the labels (labels: [a, b]) if the answer is one of a fixed set",
        )
    return found


def named(name: str) -> TaskKind:
    """The kind called ``name``, as a recipe, a card or a workspace holds it."""
    return _known()[name]
