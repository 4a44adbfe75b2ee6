"""Planners and teachers as ``p2m doctor`` finds them: what is configured, what ``auto`` means, and who answers."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from agent.finding import Finding
from agent.plain import one_line
from agent.settings import NO_TEACHER
from p2m.errors import BadInput, P2MError
from p2m.llm.endpoint import Endpoint, default_endpoint
from p2m.llm.redact import redact
from p2m.pack import NAMES, find

ROLES = ("planner", "teacher")
WITHOUT_LLM = {"planner": "policy", "teacher": NO_TEACHER}
PLAIN_VARIABLES = ("P2M_PLANNER", "P2M_TEACHER", "P2M_MODEL", "OPENAI_BASE_URL")
KEY_VARIABLES = ("OPENAI_API_KEY", "P2M_API_KEY")
ANSWER_SECONDS = 10.0
IMPORT_SECONDS = 10.0

Resolved = dict[str, "Endpoint | BadInput"]


def resolved() -> Resolved:
    """What ``auto`` stands for here, by role; or why it stands for nothing."""
    found: Resolved = {}
    for role in ROLES:
        if os.environ.get(f"P2M_{role.upper()}") == WITHOUT_LLM[role]:
            continue  # a rule book, or nobody: nothing to reach
        try:
            found[role] = default_endpoint(role)
        except BadInput as error:
            found[role] = error
    return found


def local_names(configured: Resolved) -> set[str]:
    """The models of the embedded pack among them."""
    return {e.model for e in configured.values() if isinstance(e, Endpoint) and e.kind == "local" and e.model in NAMES}


def endpoints(configured: Resolved) -> list[Finding]:
    """The variables that configure endpoints, then each endpoint with whether it answers."""
    distinct = list(dict.fromkeys(e for e in configured.values() if isinstance(e, Endpoint)))
    answers = asyncio.run(_ask_all([e for e in distinct if e.kind != "local"]))
    answers |= {e: _look(e) for e in distinct if e.kind == "local"}
    return [_variables(), *(_role(role, what, answers) for role, what in configured.items())]


def _variables() -> Finding:
    said = [f"{name}={redact(one_line(os.environ[name]))}" for name in PLAIN_VARIABLES if os.environ.get(name)]
    said += [f"{name} is {'set' if os.environ.get(name) else 'not set'}" for name in KEY_VARIABLES]
    return Finding("environment", True, False, ", ".join(said))


def _role(role: str, what: Endpoint | BadInput, answers: dict[Endpoint, Finding]) -> Finding:
    if isinstance(what, BadInput):
        return Finding(role, False, True, f"auto: {redact(what.problem)}", f"P2M_{role.upper()}: {redact(what.fix)}")
    answer = answers[what]
    return Finding(role, answer.ok, answer.needed, f"auto is {what}: {answer.text}", answer.fix)


async def _ask_all(remote: list[Endpoint]) -> dict[Endpoint, Finding]:
    return dict(zip(remote, await asyncio.gather(*map(_ask, remote)), strict=True))


async def _ask(endpoint: Endpoint) -> Finding:
    """One request of one token, not repeated: an endpoint that must be asked twice is worth knowing about."""
    from p2m.llm.client import Patience, open_model

    name, fix = str(endpoint), "check the address, the model's name and the key, or take the embedded model: local:NAME"
    once = Patience(attempts=1, total_seconds=ANSWER_SECONDS, loading_seconds=0, request_seconds=ANSWER_SECONDS)
    began = time.monotonic()
    try:
        async with open_model(name, role="planner", use_cache=False, patience=once) as model:
            asked = model.chat([{"role": "user", "content": "Say yes."}], max_tokens=1)
            await asyncio.wait_for(asked, ANSWER_SECONDS)
    except TimeoutError:
        return Finding(name, False, True, f"no answer within {ANSWER_SECONDS:.0f} s", fix)
    except P2MError as error:
        return Finding(name, False, True, redact(one_line(error, 300)).removeprefix(f"{name}: "), fix)
    return Finding(name, True, True, f"answers, in {time.monotonic() - began:.1f} s")


def _look(endpoint: Endpoint) -> Finding:
    """Whether a local model's file is here and llama.cpp can be imported; it is not loaded."""
    name = str(endpoint)
    in_pack = endpoint.model in NAMES
    if not (find(endpoint.model) if in_pack else Path(endpoint.model).expanduser().is_file()):
        return Finding(name, False, True, "its file is not here", f"p2m pull {endpoint.model}" if in_pack else "")
    # In a child: a llama.cpp built for another processor dies of a signal, and would take us with it.
    command = [sys.executable, "-c", "import xllamacpp"]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Finding(name, False, True, f"xllamacpp takes over {IMPORT_SECONDS:.0f} s to import", "try again")
    if child.returncode:
        why = one_line((child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1])
        return Finding(
            name, False, True, f"xllamacpp does not import: {why}", "pip install -U --force-reinstall xllamacpp"
        )
    return Finding(name, True, True, "the file is here and llama.cpp imports (not loaded)")
