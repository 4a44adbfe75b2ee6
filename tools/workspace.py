"""What the tools have made so far: a pure fold of the ``data`` of their results.

The loop applies each finished call's ``data`` here, live and on resume alike, so a workspace is never stored.
A tool's ``data`` may hold any of these keys: ``held_out``, ``baselines``, ``hits``, ``inspected``, ``advised``,
``imported`` (dataset ids), ``dataset`` (with ``replaces``), ``datasets`` (several of these), ``models``, ``trial``,
``experiment``, ``analysis``, ``answer``, ``worth`` (a list of ``{"handle", "worth"}``), ``rejected`` (a list of
``{"dataset", "worth"}``, with ``handle`` where the rows were in use), ``proposed`` (``{"dataset", "mapping"}``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class HeldOut:
    """The referee's rows: one handle, two splits in it. ``source`` is ``user``, ``dataset:NAME`` or ``generated``.

    ``check`` counts the rows of the user that correct an estimate on generated ones.
    """

    handle: str
    source: str
    validation: int
    test: int
    check: int = 0


@dataclass(frozen=True)
class DataInfo:
    """A training dataset in the run. ``labels`` counts rows a label; ``removed`` counts rows taken out, by reason."""

    handle: str
    source: str
    rows: int
    labels: dict[str, int]
    removed: dict[str, int]
    brief: str = ""
    checked: bool = False
    deduplicated: bool = False
    new_share: float = 1.0
    """Share of the written rows that were new (kept): near 0 means that the generator repeats itself."""
    worth: dict[str, Any] | None = None
    """``p2m.catalog.worth.Worth`` of an imported dataset; None where it is not judged (yet)."""

    @property
    def dataset(self) -> str | None:
        """The id of the dataset in the catalogue that the rows come from."""
        kind, _, place = self.source.partition(":")
        return place.rpartition("/")[0] or place if kind in ("dataset", "transformed") else None


@dataclass(frozen=True)
class Score:
    """A metric on named rows: ``value`` in ``[low, high]`` (95%), on ``n`` rows of ``split`` (``validation``, ``test``,
    or ``check``: the user's few rows beside generated ones)."""

    metric: str
    value: float
    low: float
    high: float
    n: int
    split: str

    @property
    def rows(self) -> str:
        """The rows in words: ``150 sealed test rows``."""
        kinds = {"test": "sealed test rows", "check": "rows that the user labelled"}
        return f"{self.n} {kinds.get(self.split, f'{self.split} rows')}"


@dataclass(frozen=True)
class Baseline:
    system: str
    score: Score
    is_llm: bool = False


@dataclass(frozen=True)
class Experiment:
    """One training: ``model`` is its handle, ``score`` is on validation."""

    model: str
    method: str
    base: str
    data: tuple[str, ...]
    rows: int
    score: Score
    per_label: dict[str, float]
    """Recall a label on validation, for classification."""
    seconds: float


@dataclass(frozen=True)
class Workspace:
    kind: str = "classify"
    """Of the task, by its name in ``p2m.kinds``: some tools are for some kinds."""
    held_out: HeldOut | None = None
    baselines: tuple[Baseline, ...] = ()
    searched: bool = False
    searches: int = 0
    hits: tuple[dict[str, Any], ...] = ()
    inspected: tuple[str, ...] = ()
    advised: tuple[str, ...] = ()
    """Inspected datasets that fit the task."""
    imported: tuple[str, ...] = ()
    rejected: tuple[dict[str, Any], ...] = ()
    """Datasets that would harm, each ``{"dataset", "worth"}``: never offered again."""
    proposed: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Dataset id -> a mapping that the teacher proposed and code checked."""
    datasets: tuple[DataInfo, ...] = ()
    """Training data in use; a dataset that replaced another stands in its place."""
    models: tuple[dict[str, Any], ...] = ()
    trial: dict[str, Any] | None = None
    """How the base models did against each other: ``{"winner", "decided", "why", "seconds", "attempts": [...]}``."""
    rates: dict[str, Any] | None = None
    """Which learning rate did best: ``{"method", "rate", "default", "decided", "why", "seconds", "attempts": [...]}``;
    the next trainings by that method use it."""
    experiments: tuple[Experiment, ...] = ()
    analysis: dict[str, Any] | None = None
    """The last ``evaluate``: its ``model``, and what ``p2m.kinds.base.Errors.analysis`` holds."""
    answers: tuple[tuple[str, str], ...] = ()

    @property
    def rows(self) -> int:
        """Training rows in use."""
        return sum(d.rows for d in self.datasets)

    @property
    def best(self) -> Experiment | None:
        """The experiment with the best validation score; the first of equals."""
        return max(self.experiments, key=lambda e: e.score.value, default=None)

    @property
    def plain_head_leads(self) -> bool:
        """Whether the baseline on frozen embeddings, trained on the real rows alone, is above every student."""
        plain = [b.score.value for b in self.baselines if b.system.startswith("frozen embeddings")]
        return bool(plain) and self.best is not None and max(plain) > self.best.score.value

    @property
    def refused(self) -> set[str]:
        """Ids of the datasets that were rejected."""
        return {r["dataset"] for r in self.rejected}

    @property
    def unjudged(self) -> tuple[DataInfo, ...]:
        """Datasets from the catalogue in use whose worth is not measured on the held-out rows there are."""
        if self.held_out is None:
            return ()
        now = self.held_out.handle
        return tuple(d for d in self.datasets if d.dataset and (d.worth or {}).get("held_out") != now)

    def dataset(self, handle: str) -> DataInfo | None:
        return next((d for d in self.datasets if d.handle == handle), None)

    def apply(self, data: dict[str, Any]) -> Workspace:
        """The workspace after a tool result with this ``data``."""
        after = self
        if "held_out" in data:
            # Baselines on other rows compare with nothing: they are scored again on these.
            after = replace(after, held_out=HeldOut(**data["held_out"]), baselines=())
        if "baselines" in data:
            found = tuple(Baseline(b["system"], Score(**b["score"]), b.get("is_llm", False)) for b in data["baselines"])
            after = replace(after, baselines=found)
        if "hits" in data:
            known = {h["id"] for h in after.hits}
            fresh = tuple(h for h in data["hits"] if h["id"] not in known)
            after = replace(after, searched=True, searches=after.searches + 1, hits=after.hits + fresh)
        if "inspected" in data:
            after = replace(after, inspected=(*after.inspected, data["inspected"]))
        if "advised" in data:
            after = replace(after, advised=(*after.advised, data["advised"]))
        if "imported" in data:
            after = replace(after, imported=(*after.imported, data["imported"]))
        if "dataset" in data:
            fresh_set = DataInfo(**data["dataset"])
            replaces = set(data.get("replaces", ())) | {fresh_set.handle}
            kept = tuple(d for d in after.datasets if d.handle not in replaces)
            after = replace(after, datasets=(*kept, fresh_set) if fresh_set.rows else kept)
        for update in data.get("datasets", ()):
            after = after.apply(update)
        for judged in data.get("worth", ()):
            known_worth = tuple(
                replace(d, worth=judged["worth"]) if d.handle == judged["handle"] else d for d in after.datasets
            )
            after = replace(after, datasets=known_worth)
        for refused in data.get("rejected", ()):
            left = tuple(d for d in after.datasets if d.handle != refused.get("handle"))
            after = replace(after, datasets=left, rejected=(*after.rejected, refused))
        if "proposed" in data:
            given = data["proposed"]
            after = replace(after, proposed={**after.proposed, given["dataset"]: given["mapping"]})
        if "models" in data:
            after = replace(after, models=tuple(data["models"]))
        if "trial" in data:
            after = replace(after, trial=data["trial"])
        if "rates" in data:
            after = replace(after, rates=data["rates"])
        if "experiment" in data:
            raw = data["experiment"]
            made = Experiment(**{**raw, "data": tuple(raw["data"]), "score": Score(**raw["score"])})
            kept_e = tuple(e for e in after.experiments if e.model != made.model)
            after = replace(after, experiments=(*kept_e, made))
        if "analysis" in data:
            after = replace(after, analysis=data["analysis"])
        if "answer" in data:
            after = replace(after, answers=(*after.answers, (data["answer"]["question"], data["answer"]["text"])))
        return after


def dataset_updates(updates: Sequence[tuple[DataInfo, str]]) -> dict[str, Any]:
    """Result ``data`` for datasets that each take the place of the handle beside it."""
    each = [{"dataset": asdict(info), "replaces": [old]} for info, old in updates]
    return each[0] if len(each) == 1 else {"datasets": each}
