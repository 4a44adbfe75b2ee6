"""The command line as its user meets it: through a real process, its exit code and what it says."""

from __future__ import annotations

import argparse
import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.cli import build_parser
from tests.as_user import MODULE, environment, p2m, read_all
from tests.scripted_run import finished_run, unfinished_run

SCRIPT = Path(sys.executable).with_name("p2m")
HEAVY = ("torch", "transformers", "textual", "openai", "numpy", "pydantic")
HELP_SECONDS = 0.4
TASK = """---
name: tone
kind: classify
labels: [good, bad]
---
Say whether the text is good or bad.
"""


def subcommands() -> dict[str, argparse.ArgumentParser]:
    return next(a.choices for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))


@pytest.fixture(params=["module", "script"])
def program(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Both ways to start p2m."""
    if request.param == "script" and not SCRIPT.exists():
        pytest.skip(f"needs p2m to be installed: {SCRIPT} is not there (pip install -e .)")
    return (str(SCRIPT),) if request.param == "script" else MODULE


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path)


def test_help_is_quick(program: tuple[str, ...], tmp_path: Path, env: dict[str, str]) -> None:
    def seconds() -> float:
        begun = time.perf_counter()
        assert p2m("--help", cwd=tmp_path, env=env, program=program).returncode == 0
        return time.perf_counter() - begun

    assert min(seconds() for _ in range(5)) < HELP_SECONDS


def test_help_imports_nothing_heavy(tmp_path: Path, env: dict[str, str]) -> None:
    code = (
        "import contextlib, io, sys\n"
        "from agent.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    main(['--help'])\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    said = p2m("-c", code, cwd=tmp_path, env=env, program=(sys.executable,))
    assert (said.stdout.strip(), said.stderr) == ("[]", "")


def test_help_says_where_to_start(program: tuple[str, ...], tmp_path: Path, env: dict[str, str]) -> None:
    said = p2m("--help", cwd=tmp_path, env=env, program=program)
    assert said.stdout == p2m(cwd=tmp_path, env=env, program=program).stdout
    for part in ("p2m run TASK", "p2m pull", "exit codes: 0 target met", *subcommands()):
        assert part in said.stdout


@pytest.mark.parametrize("name", subcommands())
def test_each_command_has_help_that_teaches(name: str, tmp_path: Path, env: dict[str, str]) -> None:
    said = p2m(name, "--help", cwd=tmp_path, env=env)
    assert (said.returncode, said.stderr) == (0, "")
    parser = subcommands()[name]
    assert f"usage: p2m {name}" in said.stdout
    assert parser.description and parser.description[:40] in said.stdout
    silent = [a.dest for a in parser._actions if not a.help]
    assert not silent, "every argument says what it is for"


def test_the_rules_for_data_survive_the_journal_and_are_typed_again() -> None:
    from agent.session import read_rules
    from agent.settings import DataRules, Settings

    rules = read_rules("MIT, apache-2.0", True, "50", True)
    kept = Settings.model_validate(Settings(planner="policy", teacher="local:x", rules=rules).model_dump(mode="json"))
    assert kept.rules == rules
    assert rules.options() == [
        *("--allow-licences", "mit,apache-2.0", "--any-licence"),
        *("--max-dataset-mb", "50", "--allow-gated"),
    ]
    safe = rules.safety()
    assert (safe.licenses, safe.max_bytes, safe.allow_gated) == (("mit", "apache-2.0"), 50_000_000, True)
    assert read_rules(None, False, None, False) == DataRules() and DataRules().options() == []


BAD = {
    "missing task file": (["run", "missing.md"], "missing.md"),
    "empty task": (["run", "empty.md"], "empty.md"),
    "target": (["run", "task.md", "--target", "nonsense"], "nonsense"),
    "budget": (["run", "task.md", "--budget-minutes", "soon"], "--budget-minutes"),
    "budget of nothing": (["run", "task.md", "--budget-steps", "0"], "--budget-steps"),
    "planner": (["run", "task.md", "--planner", "foo:bar"], "foo:bar"),
    "teacher that cannot teach": (["run", "task.md", "--teacher", "policy"], "--teacher"),
    "nothing to train on": (["run", "task.md", "--teacher", "none"], "train:"),
    "catalogue": (["run", "task.md", "--catalog", "/nowhere"], "/nowhere"),
    "dataset size": (["run", "task.md", "--max-dataset-mb", "big"], "--max-dataset-mb"),
    "licences": (["run", "task.md", "--allow-licences", ","], "--allow-licences"),
    "no run to push": (["push", "nowhere", "me/x"], "nowhere"),
    "nothing to push": (["push", "half", "me/x"], "p2m resume"),
    "folder in use": (["run", "task.md", "--out", "full"], "full"),
    "seed": (["run", "task.md", "--seed", "x"], "--seed"),
    "one label": (["run", "one.md"], "label"),
    "unknown labels": (["run", "wrong.md"], "wrong.csv:3"),
    "no such run": (["log", "nowhere"], "nowhere"),
    "no such run to resume": (["resume", "nowhere"], "nowhere"),
    "no text": (["predict", "nowhere"], "TEXT"),
    "no argument": (["predict"], "RUN"),
    "a text without quotes": (["predict", "half", "who", "wrote", "it?"], "in quotes"),
    "no model to predict with": (["predict", "half", "hello"], "p2m resume"),
    "no model to score": (["eval", "half", "wrong.csv"], "p2m resume"),
    "unknown command": (["bogus"], "bogus"),
    "no folder of runs": (["runs", "--dir", "nowhere"], "nowhere"),
    "unknown model": (["pull", "minilm"], "all-minilm-l6-v2"),
}


@pytest.fixture
def desk(tmp_path: Path, env: dict[str, str]) -> Path:
    """A user's folder with a good task, bad ones, and a run that has not delivered."""
    folder = tmp_path / "desk"
    (folder / "full").mkdir(parents=True)
    (folder / "full" / "thesis.txt").write_text("mine")
    (folder / "task.md").write_text(TASK)
    (folder / "empty.md").write_text(" \n")
    (folder / "one.md").write_text(TASK.replace("[good, bad]", "[good]"))
    (folder / "wrong.md").write_text(TASK.replace("kind: classify", "kind: classify\nvalidation: wrong.csv"))
    (folder / "wrong.csv").write_text("text,label\nlovely,good\nso so,middling\nawful,bad\n")
    unfinished_run(Path(env["P2M_RUNS"]) / "half")
    return folder


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_2(case: str, desk: Path, env: dict[str, str]) -> None:
    arguments, named = BAD[case]
    before = sorted(Path(env["P2M_RUNS"]).iterdir())
    said = p2m(*arguments, cwd=desk, env=env)
    assert said.returncode == 2, said.stderr
    assert re.fullmatch(r"p2m[^\n]*\n", said.stderr), said.stderr
    assert named in said.stderr
    assert "Traceback" not in said.stderr and said.stdout == ""
    assert sorted(Path(env["P2M_RUNS"]).iterdir()) == before, "what was refused leaves no run behind"
    assert [p.name for p in (desk / "full").iterdir()] == ["thesis.txt"]


def test_an_error_through_the_installed_script(program: tuple[str, ...], desk: Path, env: dict[str, str]) -> None:
    said = p2m("run", "missing.md", cwd=desk, env=env, program=program)
    assert (said.returncode, said.stderr.count("\n")) == (2, 1)


def test_runs_of_an_empty_folder_says_how_to_start(tmp_path: Path, env: dict[str, str]) -> None:
    said = p2m("runs", cwd=tmp_path, env=env)
    assert (said.returncode, said.stderr) == (0, "")
    assert "p2m run" in said.stdout
    as_json = p2m("runs", "--json", cwd=tmp_path, env=env)
    assert (as_json.returncode, as_json.stdout) == (0, ""), "no run, no line"


def test_runs_and_log_show_a_run(tmp_path: Path, env: dict[str, str]) -> None:
    finished_run(Path(env["P2M_RUNS"]) / "done")
    listed = json.loads(p2m("runs", "--json", cwd=tmp_path, env=env).stdout)
    assert (listed["run"], listed["status"], listed["split"]) == ("done", "met", "test")
    said = p2m("log", "done", "--json", cwd=tmp_path, env=env)
    assert said.returncode == 0, said.stderr
    calls = [json.loads(line) for line in said.stdout.splitlines()]
    assert "generate_batch" in {c["tool"] for c in calls}


def test_a_near_name_is_offered(desk: Path, env: dict[str, str]) -> None:
    assert "Did you mean half?" in p2m("log", "halv", cwd=desk, env=env).stderr


COLOUR = re.compile(rb"\x1b\[(?:\d+;)*(?:3|4|9)\d(?:;\d+)*m")


def in_terminal(*arguments: str, cwd: Path, env: dict[str, str]) -> bytes:
    """What p2m writes when its output is a terminal."""
    ours, its = pty.openpty()
    with subprocess.Popen([*MODULE, *arguments], cwd=cwd, env=env, stdin=its, stdout=its, stderr=its) as child:
        os.close(its)
        said = read_all(ours)
        child.wait(60)
    return said


def test_no_color_is_obeyed_in_a_terminal(tmp_path: Path, env: dict[str, str]) -> None:
    finished_run(Path(env["P2M_RUNS"]) / "done")
    env = {**env, "TERM": "xterm-256color", "COLUMNS": "200"}
    assert COLOUR.search(in_terminal("runs", cwd=tmp_path, env=env))
    plain = in_terminal("runs", cwd=tmp_path, env={**env, "NO_COLOR": "1"})
    assert b"done" in plain and not COLOUR.search(plain)


def test_a_closed_pipe_is_no_error(tmp_path: Path, env: dict[str, str]) -> None:
    finished_run(Path(env["P2M_RUNS"]) / "done")
    ours, its = os.pipe()
    os.close(ours)
    command = [*MODULE, "log", "done", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=its, stderr=subprocess.PIPE) as child:
        os.close(its)
        _, said = child.communicate(timeout=60)
    assert (child.returncode, said) == (0, b"")
