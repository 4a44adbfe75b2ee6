"""What a tool is: a typed async function, its schema, and a result with three faces."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

from p2m.errors import BadInput, ToolFailure

if TYPE_CHECKING:
    from p2m.catalog.base import Catalog
    from p2m.llm.client import ChatModel
    from p2m.store import Store
    from p2m.task.spec import TaskSpec
    from tools.workspace import Workspace

ErrorKind = Literal[
    "bad_json", "invalid_args", "unknown_tool", "precondition", "timeout", "cancelled", "budget", "provider", "crash"
]


P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class ToolResult:
    """``text`` goes to the planner, ``display`` (Markdown) to the person, ``data`` (JSON) to code and the journal.

    ``data`` alone changes the workspace (see ``tools.workspace``); it holds handles and summaries, never rows.
    """

    text: str
    display: str = ""
    data: dict[str, Any] = field(default_factory=dict)


LEAST_SECONDS = 20.0


@dataclass(frozen=True)
class ToolContext:
    """What a tool may touch. It has no way to the sealed test: that is opened by the loop, once, at the end."""

    task: TaskSpec
    workspace: Workspace
    store: Store
    run_dir: Path
    seed: int
    teacher: ChatModel | None
    catalog: Catalog | None
    progress: Callable[[str, float | None], None]
    examples_left: Callable[[], int | None]
    seconds_left: Callable[[], float | None]
    ask: Callable[[str], Awaitable[str]] | None = None

    def out_of_time(self) -> bool:
        """Whether what is left of the time budget is for training and delivery: no tool starts more LLM calls."""
        seconds = self.seconds_left()
        return seconds is not None and seconds < LEAST_SECONDS

    def time_share(self, share: float) -> Callable[[], bool]:
        """Whether ``share`` of the time that is left now is spent, or all of it: what comes after needs the rest."""
        at_first = self.seconds_left()

        def spent() -> bool:
            left = self.seconds_left()
            return left is not None and at_first is not None and left < max(LEAST_SECONDS, (1 - share) * at_first)

        return spent

    def rng(self, *salt: Any) -> random.Random:
        """A random source that depends on the run's seed and ``salt`` alone, so that a resume draws the same."""
        return random.Random(repr((self.seed, *salt)))


@dataclass(frozen=True)
class Tool:
    """A declaration: what the planner sees, when it may be called, and the function.

    ``precondition(workspace, ctx_facts)`` gives the reason why it cannot be called now, or None.
    ``choices(workspace)`` gives, per argument, the values that exist now: they become enums in the schema.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    fn: Callable[..., Awaitable[ToolResult]]
    precondition: Callable[[Workspace, Facts], str | None]
    choices: Callable[[Workspace], dict[str, list[Any]]]
    timeout_seconds: float

    def schema(self, workspace: Workspace) -> dict[str, Any]:
        """The JSON schema of the arguments, narrowed to what exists now."""
        schema = {**self.parameters, "properties": {k: dict(v) for k, v in self.parameters["properties"].items()}}
        for name, values in self.choices(workspace).items():
            prop = schema["properties"][name]
            kinds = (prop, *prop.get("anyOf", ()))
            if array := next((kind for kind in kinds if kind.get("type") == "array"), None):
                narrowed = {**array, "items": {"enum": values}}
                others = [kind for kind in prop.get("anyOf", ()) if kind is not array]
                schema["properties"][name] = {**prop, "anyOf": [narrowed, *others]} if others else narrowed
            else:
                schema["properties"][name] = {
                    **{k: prop[k] for k in ("description", "default") if k in prop},
                    "enum": values,
                }
        return schema

    def check(self, arguments: Any, workspace: Workspace) -> list[str]:
        """Every fault of the arguments at once, each as one sentence; empty where there is none."""
        from jsonschema import Draft202012Validator

        validator = Draft202012Validator(self.schema(workspace))
        errors = sorted(validator.iter_errors(arguments), key=lambda e: list(map(str, e.path)))
        return [f"{'.'.join(map(str, e.path)) or self.name}: {e.message}" for e in errors]


@dataclass(frozen=True)
class Facts:
    """What a precondition may need beside the workspace."""

    has_catalog: bool
    has_teacher: bool
    has_person: bool
    generation_ended: bool = False
    examples_left: int | None = None
    has_models: bool = False
    """Whether the person put base models on this machine beside the embedded one."""
    kind_is_open: bool = False
    """Whether the task's kind was only inferred, and the planner is able to think better of it."""


def _always(workspace: Workspace, facts: Facts) -> str | None:
    return None


def _no_choices(workspace: Workspace) -> dict[str, list[Any]]:
    return {}


def tool(
    *,
    precondition: Callable[[Workspace, Facts], str | None] = _always,
    choices: Callable[[Workspace], dict[str, list[Any]]] = _no_choices,
    timeout_seconds: float = 1800.0,
) -> Callable[[Callable[..., Awaitable[ToolResult]]], Tool]:
    """Make a ``Tool`` of an async function ``fn(ctx, *, typed keyword arguments) -> ToolResult``.

    The first paragraph of the docstring is the description the planner reads; the types (``Annotated`` with a
    pydantic ``Field`` for bounds and a description) are the schema.
    """

    def declare(fn: Callable[..., Awaitable[ToolResult]]) -> Tool:
        description = inspect.cleandoc(fn.__doc__ or "").split("\n\n")[0].replace("\n", " ")
        return Tool(fn.__name__, description, _parameters(fn), fn, precondition, choices, timeout_seconds)

    return declare


def _parameters(fn: Callable[..., Any]) -> dict[str, Any]:
    from typing import get_type_hints

    from pydantic import ConfigDict, create_model

    hints = get_type_hints(fn, include_extras=True)
    fields: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(fn).parameters.items())[1:]:
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        fields[name] = (hints[name], default)
    model = create_model(fn.__name__, __config__=ConfigDict(extra="forbid"), **fields)
    schema = model.model_json_schema()
    for prop in schema.get("properties", {}).values():
        prop.pop("title", None)
    return {
        "type": "object",
        "properties": schema.get("properties", {}),
        "required": schema.get("required", []),
        "additionalProperties": False,
    }


async def read_catalog(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """``fn`` in a thread. A dataset that breaks a safety rule or turns out broken as it is read fails the call, not the
    run; what the message quotes of it (names of files and columns) is a stranger's text."""
    from p2m.catalog.safety import Refused
    from p2m.catalog.untrusted import clean

    try:
        return await asyncio.to_thread(fn, *args, **kwargs)
    except (Refused, BadInput) as error:
        raise ToolFailure("invalid_args", clean(error, 400)) from error


def first_problem(problems: Iterable[str | None]) -> str | None:
    """The first reason that is one."""
    return next((p for p in problems if p), None)


def need(value: Any, kind: ErrorKind, message: str) -> Any:
    """``value``, or ``ToolFailure(kind, message)`` where there is none."""
    if value is None:
        raise ToolFailure(kind, message)
    return value
