"""From what a command was given to the parts of a run: task, models, catalogue, tools."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tools
from agent.approval import AskApproval
from agent.loop import Parts
from agent.planner import Planner
from agent.planner_llm import LLMPlanner
from agent.planner_policy import PolicyPlanner
from agent.settings import NO_TEACHER, Approve, DataRules, Settings
from p2m import paths
from p2m.errors import BadInput
from p2m.llm.endpoint import default_endpoint, parse_endpoint
from p2m.task.spec import Limits, TaskSpec

if TYPE_CHECKING:
    from p2m.catalog.base import Catalog
    from p2m.llm.client import ChatModel
    from p2m.llm.hooks import Hooks

Ask = Callable[[str], Awaitable[str]]


def resolve_endpoint(text: str, role: str) -> str:
    """``auto`` to what it stands for here; the rest checked. Raises ``BadInput`` for what is no endpoint."""
    alone = "policy" if role == "planner" else NO_TEACHER  # what stands for no LLM at all in this role
    if text == "auto" and os.environ.get(f"P2M_{role.upper()}") == alone:
        text = alone
    if text == NO_TEACHER and role == "teacher":
        return text
    if text == "policy":
        if role == "planner":
            return text
        raise BadInput(
            "policy plans, it cannot teach", where="--teacher", fix="Give local:NAME, openai:MODEL, URL#MODEL or none"
        )
    endpoint = default_endpoint(role) if text == "auto" else parse_endpoint(text)
    return str(endpoint)


def open_catalog(text: str | None, rules: DataRules | None = None) -> Catalog | None:
    """The catalogue that ``--catalog`` names, under ``rules``; ``hub`` is the one at ``$HF_ENDPOINT``, which is
    not asked anything yet. Raises ``BadInput`` where it is none."""
    if text is None:
        return None
    from p2m.catalog.card_embedding import known
    from p2m.catalog.embedding import default_embed
    from p2m.catalog.index.seen import Seen
    from p2m.catalog.index.store import remembered_model

    by = known(remembered_model(paths.catalog_index()))
    seen = Seen(paths.catalog_index(), by.queries, by.cards, model=by.model)
    settings = (rules or DataRules()).safety()
    if text == "hub":
        from p2m.catalog.hub import HubCatalog
        from p2m.catalog.hubclient import HubClient

        return HubCatalog(HubClient(use_login=settings.allow_gated), default_embed(), settings, seen)
    from p2m.catalog.folder import FolderCatalog

    return FolderCatalog(Path(text), default_embed(), settings, seen)


def read_rules(licences: str | None, any_licence: bool, max_mb: str | None, allow_gated: bool) -> DataRules:
    """What may be imported, from the options as typed. Raises ``BadInput`` naming the option."""
    named = None
    if licences is not None:
        named = tuple(name.strip().lower() for name in licences.split(",") if name.strip())
        if not named:
            raise BadInput("no licence is named", where="--allow-licences", fix="For example mit,apache-2.0,cc-by-4.0")
    try:
        size = DataRules().max_mb if max_mb is None else float(max_mb)
        if not 0 < size < float("inf"):
            raise ValueError
    except ValueError:
        raise BadInput(f"{max_mb!r} is not a number above 0", where="--max-dataset-mb", fix="For example 500") from None
    return DataRules(licenses=named, any_license=any_licence, max_mb=size, allow_gated=allow_gated)


def read_approve(mode: str, usd: str | None, mb: str | None) -> Approve:
    """Which calls wait for a yes, from the options as typed. Raises ``BadInput`` naming the option."""
    limits = {}
    for name, text in (("usd", usd), ("mb", mb)):
        if text is None:
            continue
        try:
            limits[name] = float(text)
            if not 0 <= limits[name] < float("inf"):
                raise ValueError
        except ValueError:
            raise BadInput(
                f"{text!r} is not a number, 0 or above", where=f"--approve-above-{name}", fix="For example 1"
            ) from None
    return Approve.model_validate({"mode": mode, **limits})


def open_reader(teacher: str) -> ChatModel:
    """The model that is asked what a task in plain words is. Raises ``BadInput`` where there is no teacher."""
    from p2m.llm.client import open_model

    if teacher == NO_TEACHER:
        raise BadInput(
            "what the task is cannot be told from its words, and there is no LLM to ask (--teacher none)",
            fix="Add kind: and labels:, a labelled file or a few examples",
        )
    return open_model(teacher, role="planner")


def check_task(task: TaskSpec, settings: Settings | None = None) -> None:
    """What would stop the run later, found before it begins: unreadable files, a kind that has no student yet, nothing
    to train on where ``settings`` have neither teacher nor catalogue."""
    from p2m import kinds
    from p2m.data.labelled import read_for

    kinds.of(task).check(task)
    for path in filter(None, (task.validation, task.train)):
        read_for(task, path)
    if settings and settings.teacher == NO_TEACHER and not settings.catalog and not task.train:
        raise BadInput(
            "there is nothing to train on: no training file, no catalogue, and no teacher to write rows",
            where="--teacher none",
            fix="Give a labelled file (train: in the task), --catalog, or a teacher",
        )


def parts_for(
    run_dir: Path,
    settings: Settings,
    *,
    task: TaskSpec | None = None,
    new_budget: dict[str, Any] | None = None,
    ask: Ask | None = None,
    approve: AskApproval | None = None,
) -> Parts:
    """What ``agent.loop.run`` needs. ``task`` for a new run; ``new_budget`` for a resumed one."""

    def open_models(hooks: Hooks) -> tuple[Planner, ChatModel | None]:
        from p2m.llm.client import open_model

        teacher = None
        if settings.teacher != NO_TEACHER:
            teacher = open_model(settings.teacher, role="teacher", hooks=hooks)
        if settings.planner == "policy":
            return PolicyPlanner(), teacher
        model = open_model(settings.planner, role="planner", hooks=hooks)
        return LLMPlanner(model, seed=settings.seed), teacher

    return Parts(
        run_dir=run_dir,
        open_models=open_models,
        policy=PolicyPlanner(),
        tools=tools.load_all(),
        catalog=open_catalog(settings.catalog, settings.rules),
        ask=ask,
        approve=approve,
        task=task,
        settings=settings,
        new_budget=new_budget or {},
    )


def read_limits(options: dict[str, str | None]) -> Limits:
    """Limits from ``{"minutes": "10", ...}`` as typed. Raises ``BadInput`` naming the option."""
    values: dict[str, float | int] = {}
    for name, text in options.items():
        if text is None:
            continue
        whole = name in ("examples", "tokens", "steps")
        try:
            value = int(text) if whole else float(text)
            if not 0 <= value < float("inf") or (value == 0 and name not in ("examples", "usd")):
                raise ValueError
        except ValueError:
            kind = "a whole number" if whole else "a number"
            raise BadInput(f"{text!r} is not {kind} above 0", where=f"--budget-{name}", fix="For example 20") from None
        values[name] = value
    return Limits(**values)  # type: ignore[arg-type]


def quiet_libraries() -> None:
    """No network behind the user's back, no progress bars of libraries in our output."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "0")
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
