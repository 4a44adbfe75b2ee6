"""What a user has, to a ``TaskSpec``: a task file, a JSON task, or the task in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2m.data.textfile import missing, read_text
from p2m.errors import BadInput
from p2m.task.ask import ask
from p2m.task.draft import Draft, Place
from p2m.task.fields import read_fields
from p2m.task.finish import NeedsLLM, finish
from p2m.task.jsontask import read_json_task
from p2m.task.markdown import load_yaml, read_keys, read_markdown
from p2m.task.spec import TaskSpec

if TYPE_CHECKING:
    from p2m.llm.client import ChatModel

__all__ = ["NeedsLLM", "Overrides", "load_task", "load_task_with"]

TASK_SUFFIXES = (".md", ".markdown", ".txt", ".json", ".yaml", ".yml")
DATA_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
LONGEST_PATH = 400


@dataclass(frozen=True)
class Overrides:
    """Options that overrule the task's own keys, as written on the command line; errors name them ``--like-this``.

    Paths are relative to the working directory. ``budget`` and ``student`` overrule limit by limit.
    """

    name: str | None = None
    kind: str | None = None
    labels: Sequence[str] = ()
    metric: str | None = None
    target: str | float | None = None
    language: str | None = None
    validation: str | None = None
    train: str | None = None
    input_column: str | None = None
    output_column: str | None = None
    budget: Mapping[str, str | float | None] = field(default_factory=dict)
    student: Mapping[str, Any] = field(default_factory=dict)


NO_OVERRIDES = Overrides()


def load_task(source: str, *, overrides: Overrides = NO_OVERRIDES) -> TaskSpec | NeedsLLM:
    """The task in ``source``: a path of a .md, .txt, .json or .yaml file, else the text itself. No LLM is asked.

    ``NeedsLLM`` where code cannot tell what the task is. Raises ``BadInput``, one line with file, line and fix, for a
    missing or empty task, an unreadable key or file, and a task that contradicts itself.
    """
    return finish(_overruled(_draft(source), overrides))


async def load_task_with(source: str, model: ChatModel, *, overrides: Overrides = NO_OVERRIDES) -> TaskSpec:
    """As ``load_task``, and where that needs an LLM, with one call to ``model``; the notes say so.

    Raises ``BadInput`` also where the model's answer is of no use: it says what to add to the task.
    """
    loaded = load_task(source, overrides=overrides)
    if isinstance(loaded, TaskSpec):
        return loaded
    completed = finish(await ask(loaded.draft, model))
    if isinstance(completed, NeedsLLM):
        raise completed.draft.place.bad(completed.reason, "Add kind: and labels: to the task, or a few examples.")
    return completed


def _draft(source: str) -> Draft:
    path = _as_path(source)
    if path is None:
        text = source.lstrip("\ufeff")
        return read_json_task(text, None) if _is_json_object(text) else read_markdown(text, None)
    if path.suffix.lower() in DATA_SUFFIXES:
        raise BadInput(
            "this is data, not a task",
            where=str(path),
            fix=f"Write a task file that says what to do, with a line train: {path.name} or validation: {path.name}.",
        )
    text = read_text(path)
    if path.suffix.lower() == ".json":
        return read_json_task(text, path) if text.strip() else read_markdown(text, path)
    if path.suffix.lower() in (".yaml", ".yml"):
        raw, lines = load_yaml(text, str(path))
        return read_keys(text, path, raw, lines)
    return read_markdown(text, path)


def _as_path(source: str) -> Path | None:
    """The path, where ``source`` is one or was meant for one."""
    text = source.strip()
    if not text or "\n" in text or len(text) > LONGEST_PATH:
        return None
    path = Path(text).expanduser()
    if path.exists():
        return path
    like_a_file = path.suffix.lower() in (*TASK_SUFFIXES, *DATA_SUFFIXES) and text.count(" ") <= 2
    like_a_path = text.isascii() and "/" in text and not any(c.isspace() for c in text)
    if like_a_file or like_a_path:
        raise missing(path)
    return None


def _is_json_object(text: str) -> bool:
    return text.lstrip().startswith("{") and text.rstrip().endswith("}") and '"instruction"' in text


def _overruled(draft: Draft, overrides: Overrides) -> Draft:
    raw = {f.name: getattr(overrides, f.name) for f in fields(overrides)}
    raw["labels"] = list(overrides.labels)
    for limits in ("budget", "student"):
        raw[limits] = {k: v for k, v in raw[limits].items() if v is not None}
    given = {key: value for key, value in raw.items() if value not in (None, "", [], {})}
    if not given:
        return draft

    def place(*keys: Any) -> Place:
        return Place("--" + "-".join(str(key).replace("_", "-") for key in keys))

    options = read_fields(given, place, Path.cwd())
    merged = {key: getattr(options, key) for key in given if key not in ("budget", "student")}
    if options.metric and not options.kind and options.metric != draft.fields.metric:
        merged["metric"] = options.metric
    for limits in ("budget", "student"):
        overruling = getattr(options, limits).model_dump(exclude_none=True)
        merged[limits] = getattr(draft.fields, limits).model_copy(update=overruling)
    places = {**draft.fields.places, **options.places}
    return replace(draft, fields=replace(draft.fields, **merged, places=places))
