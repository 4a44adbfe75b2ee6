"""p2m as its user starts it: a process of its own, with nothing configured but what a test says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

MODULE = (sys.executable, "-m", "agent.cli")


def environment(folder: Path) -> dict[str, str]:
    """The variables of a user whose p2m home and runs are under ``folder``, and empty."""
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("P2M_", "OPENAI_")) and k != "NO_COLOR"}
    python_path = os.pathsep.join(filter(None, (str(ROOT), mine.get("PYTHONPATH"))))
    return {**mine, "P2M_HOME": str(folder / "home"), "P2M_RUNS": str(folder / "runs"), "PYTHONPATH": python_path}


def p2m(
    *arguments: str, cwd: Path, env: dict[str, str], program: tuple[str, ...] = MODULE
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end, with no standard input."""
    return subprocess.run(
        [*program, *arguments],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def read_all(terminal: int) -> bytes:
    """What was written to a pseudo-terminal, until its other end is closed."""
    said = b""
    try:
        while block := os.read(terminal, 4096):
            said += block
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(terminal)
    return said
