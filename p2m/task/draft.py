"""A task as read so far: what the user wrote, each piece with the place it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from p2m.errors import BadInput
from p2m.task.spec import Kind, Limits, Metric, StudentLimits

TASK_TEXT = "the task text"


@dataclass(frozen=True)
class Place:
    """A file, option or text, and the 1-based line in it where one is known."""

    where: str
    line: int | None = None

    def bad(self, problem: str, fix: str = "") -> BadInput:
        """The error for what stands here."""
        return BadInput(problem, where=self.where, line=self.line, fix=fix)


@dataclass(frozen=True)
class Shown:
    """A demonstration as it was found."""

    input: str
    output: str
    place: Place


@dataclass(frozen=True)
class Fields:
    """The keys of a task file (or the options that overrule them) that were given; ``places`` says where each was."""

    name: str | None = None
    kind: Kind | None = None
    labels: tuple[str, ...] = ()
    multi_label: bool = False
    scale: tuple[float, float] | None = None
    metric: Metric | None = None
    target: float | None = None
    language: str | None = None
    validation: str | None = None
    train: str | None = None
    input_column: str | None = None
    output_column: str | None = None
    instruction: str | None = None
    examples: tuple[Shown, ...] = ()
    budget: Limits = field(default_factory=Limits)
    student: StudentLimits = field(default_factory=StudentLimits)
    places: Mapping[str, Place] = field(default_factory=dict)


@dataclass(frozen=True)
class Draft:
    """``instruction`` is without the examples; ``source`` is the whole text, for an LLM to read where code cannot."""

    place: Place
    source: str
    instruction: str
    fields: Fields
    examples: tuple[Shown, ...] = ()
    name: str = ""
    notes: tuple[str, ...] = ()

    def at(self, key: str) -> Place:
        """Where ``key`` was given, else where the task is."""
        return self.fields.places.get(key, self.place)


def folder_of(path: Path | None) -> Path:
    """What the paths in a task are relative to: the folder of its file, else the working directory."""
    return path.resolve().parent if path else Path.cwd()
