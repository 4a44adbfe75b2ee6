"""How to do the run again: the task as a file, the command, the versions, and the hashes to compare."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.events import RunStarted
from agent.journal import FILE, Record
from agent.state import RunState
from p2m import kinds
from p2m.errors import P2MError
from p2m.files import file_digest
from p2m.store import Store
from p2m.task.spec import TaskSpec

TASK_FILE = "task.md"
LIBRARIES = ("torch", "transformers", "scikit-learn", "xllamacpp", "openai")


@dataclass(frozen=True)
class Reproduction:
    """``commands`` are (what for, command); ``versions`` and ``hashes`` are (what, value)."""

    commands: tuple[tuple[str, str], ...]
    seed: int
    versions: tuple[tuple[str, str], ...]
    hashes: tuple[tuple[str, str], ...]
    resumed: int
    python: str
    """How to load the delivered model without p2m; empty before delivery."""


def reproduction_of(run_dir: Path, state: RunState, records: Sequence[Record], store: Store) -> Reproduction:
    """Versions of libraries are those of the machine that writes the report."""
    started = records[0].event
    assert isinstance(started, RunStarted)
    return Reproduction(
        commands=tuple(_commands(run_dir, state)),
        seed=state.settings.seed,
        versions=(("p2m", started.p2m_version), *_versions()),
        hashes=tuple(_hashes(run_dir, state, store)),
        resumed=state.resumed,
        python=_python(run_dir, state.task) if state.delivery else "",
    )


def task_file(task: TaskSpec) -> str:
    """The task as a Markdown file with YAML front matter, as ``p2m run`` reads it."""
    import yaml

    fields = task.model_dump(mode="json", exclude_none=True, exclude={"notes", "instruction"})
    fields = {name: value for name, value in fields.items() if value not in ({}, [], ())}
    front = yaml.safe_dump({**fields, "instruction": task.instruction}, allow_unicode=True, sort_keys=False, width=100)
    return f"---\n{front}---\n"


def _commands(run_dir: Path, state: RunState) -> list[tuple[str, str]]:
    run, settings = shlex.quote(str(run_dir)), state.settings
    command = ["p2m", "run", str(run_dir / TASK_FILE), "--planner", settings.planner, "--teacher", settings.teacher]
    command += ["--seed", str(settings.seed)]
    if settings.catalog:
        command += ["--catalog", settings.catalog, *settings.rules.options()]
    for name, value in state.limits.model_dump(exclude_none=True).items():
        if name != "llm_calls":  # only a task file sets it, and the task file is here
            command += [f"--budget-{name}", f"{value:.10g}"]
    again = [("Run it again", shlex.join(command))]
    if state.ended is None or state.ended.status != "met":
        again.append(("Go on with this run", f"p2m resume {run}"))
    if state.delivery is None:
        return again
    text = " ".join(state.task.examples[0].input.split())[:80] if state.task.examples else "some text"
    return [
        ("Use the model", f"p2m predict {run} {shlex.quote(text)}"),
        ("Use it on a file", f"p2m predict {run} --file in.csv --out out.csv"),
        ("Score it on your rows", f"p2m eval {run} labelled.csv"),
        *again,
    ]


def _python(run_dir: Path, task: TaskSpec) -> str:
    snippet = kinds.of(task).card(task.labels).snippet
    return snippet.replace('"{model}"', json.dumps(str(run_dir / "model")))


def _versions() -> list[tuple[str, str]]:
    from importlib.metadata import PackageNotFoundError, version

    found = [("python", platform.python_version())]
    for name in LIBRARIES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return [*found, ("machine", f"{platform.system()} {platform.machine()}")]


def _hashes(run_dir: Path, state: RunState, store: Store) -> list[tuple[str, str]]:
    found = [("journal", file_digest(run_dir / FILE))]
    workspace = state.workspace
    if workspace.held_out:
        handle = workspace.held_out.handle
        try:
            sealed = store.meta(handle).get("sha256") or {}
        except P2MError:
            sealed = {}
        found += [(f"{handle} {split}.jsonl", value) for split, value in sealed.items()] or [("held out", handle)]
    found += [("training data", info.handle) for info in workspace.datasets]
    if delivery := state.delivery:
        found.append(("delivered student", delivery["model"]))
        weights = run_dir / delivery.get("folder", "model") / "model.safetensors"
        if weights.is_file():
            found.append(("model.safetensors", file_digest(weights)))
    return found
