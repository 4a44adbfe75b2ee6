"""``p2m doctor``: what is installed, which planners and teachers answer, what is missing and how to get it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from agent.doctor_endpoints import endpoints, local_names, resolved
from agent.doctor_machine import machine
from agent.doctor_models import llm_cache, pack_members
from agent.finding import Finding

__all__ = ["Finding", "examine", "print_findings"]

STUDENT = "all-minilm-l6-v2"


def examine() -> list[Finding]:
    """Look at everything, without loading a model. Remote endpoints each get one request of one token."""
    configured = resolved()
    needed = {STUDENT, *local_names(configured)}
    return [*machine(needed), *pack_members(needed), llm_cache(), *endpoints(configured)]


def print_findings(findings: Sequence[Finding], stream: TextIO) -> None:
    """A line a finding; ``ok``, ``!!`` for what is needed and missing, ``--`` for what can be done without."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, highlight=False)
    width = max(len(f.name) for f in findings)
    for f in findings:
        mark, style = ("ok", "green") if f.ok else ("!!", "bold red") if f.needed else ("--", "yellow")
        line = Text.assemble((mark, style), "  ", f"{f.name:<{width}}  {f.text}")
        if not f.ok and f.fix:
            line.append(f"\n{' ' * (width + 6)}to do: {f.fix}")
        console.print(line, soft_wrap=True)
    missing = [f.name for f in findings if f.needed and not f.ok]
    verdict = f"missing: {', '.join(missing)}" if missing else "everything needed is here"
    console.print(Text(f"\n{verdict}", style="bold"), soft_wrap=True)
