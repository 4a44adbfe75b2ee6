"""The demo as a test: planned and taught by the embedded model, on the rows of examples/."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agent.runs import load_state
from tests.conftest import ROOT, pack_member


@pytest.mark.slow
def test_the_embedded_llm_plans_a_run_that_beats_the_baselines(minilm: Path, tmp_path: Path) -> None:
    pack_member("qwen2.5-coder-1.5b")
    run = tmp_path / "run"
    command = [sys.executable, "-m", "agent.cli", "run", "examples/question-type.md", "--out", str(run)]
    local = "local:qwen2.5-coder-1.5b"
    done = subprocess.run([*command, "--planner", local, "--teacher", local], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    state = load_state(run)
    assert state.turns and all(turn.by == "planner" for turn in state.turns)
    malformed = sum(turn.malformed is not None for turn in state.turns)
    assert malformed <= len(state.turns) / 10
    assert not state.handed_over
    delivery = state.delivery
    assert delivery is not None
    others = [b["score"]["value"] for b in delivery["baselines"] if not b["is_llm"]]
    assert delivery["test"]["value"] >= max(others) + 0.15
