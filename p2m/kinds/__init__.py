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
    from p2m.kinds.generate import Generate

    return {kind.name: kind for kind in (Classify(), Generate())}


def of(task: TaskSpec) -> TaskKind:
    """The kind of ``task``. Raises ``BadInput`` for one that has no student yet."""
    found = _known().get(task.kind)
    if found is None:
        raise BadInput(
            f"{task.name} is a task of kind {task.kind}; this version trains {', '.join(_known())} only",
            fix="Give the labels (labels: [a, b]) if the answer is one of a fixed set",
        )
    return found


def named(name: str) -> TaskKind:
    """The kind called ``name``, as a recipe, a card or a workspace holds it."""
    return _known()[name]
