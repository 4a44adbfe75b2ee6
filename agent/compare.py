"""Two experiments of a run beside each other: what was different, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent.state import RunState
from p2m.errors import P2MError
from p2m.store import Store
from tools.workspace import Experiment


@dataclass(frozen=True)
class Difference:
    """One line: ``change`` is empty where both are the same or a difference says nothing."""

    what: str
    first: str
    second: str
    change: str = ""


def compare(state: RunState, store: Store, first: str, second: str) -> list[Difference]:
    """Settings, data, score and recall of the experiments ``first`` and ``second`` (their models' handles).

    Raises ``KeyError`` where the run has no such experiment.
    """
    by_model = {e.model: e for e in state.workspace.experiments}
    a, b = by_model[first], by_model[second]
    lines = [
        Difference("method", a.method, b.method),
        Difference("base", a.base, b.base),
        Difference("rows", str(a.rows), str(b.rows), f"{b.rows - a.rows:+}"),
        Difference("data", ", ".join(a.data), ", ".join(b.data), _data_change(a, b)),
        *_recipe(store, a, b),
        Difference(a.score.metric, _score(a), _score(b), f"{b.score.value - a.score.value:+.3f}"),
        Difference("seconds", f"{a.seconds:.0f}", f"{b.seconds:.0f}", f"{b.seconds - a.seconds:+.0f}"),
    ]
    both = [label for label in a.per_label if label in b.per_label]
    for label in sorted(both, key=lambda name: b.per_label[name] - a.per_label[name]):
        before, after = a.per_label[label], b.per_label[label]
        lines.append(Difference(f"recall of {label}", f"{before:.2f}", f"{after:.2f}", f"{after - before:+.2f}"))
    return lines


def _score(e: Experiment) -> str:
    return f"{e.score.value:.3f} [{e.score.low:.3f}, {e.score.high:.3f}] n={e.score.n}"


def _data_change(a: Experiment, b: Experiment) -> str:
    more, less = set(b.data) - set(a.data), set(a.data) - set(b.data)
    return " ".join([*(f"+{d}" for d in sorted(more)), *(f"-{d}" for d in sorted(less))])


def _recipe(store: Store, a: Experiment, b: Experiment) -> list[Difference]:
    """The training settings that are not the same; nothing where one is no longer on the disk."""
    found: list[dict[str, Any]] = []
    for e in (a, b):
        try:
            found.append(store.meta(e.model)["recipe"])
        except (P2MError, KeyError, OSError, ValueError):
            return []
    one, other = found
    skip = {"base", "labels", "method", "seconds"}
    return [
        Difference(name.replace("_", " "), str(one[name]), str(other[name]))
        for name in one
        if name in other and name not in skip and one[name] != other[name]
    ]
