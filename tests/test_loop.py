"""Whole runs: real tools, real training, real HTTP; only the teacher's words come from a script."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import journal
from agent.events import PlannerSpoke, RunEnded, ToolFinished, ToolStarted, Verdict
from agent.state import RunState, fold
from p2m.llm.client import open_model
from tests import scripted_teacher as script
from tests.conftest import ROOT
from tests.fake_llm import Behaviour, Fail, FakeLLM, Request

P2M = [sys.executable, "-m", "agent.cli"]


@pytest.fixture(autouse=True)
def _pack(minilm: Path) -> None:
    """Every run here trains the embedded encoder."""


@pytest.fixture
def teacher() -> Iterator[FakeLLM]:
    with FakeLLM(lambda request: script.answer(request.body)) as server:
        yield server


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return write_task(tmp_path)


def write_task(folder: Path, per_label: int = 14, **more: Any) -> Path:
    """A task file beside its labelled rows."""
    examples = [
        {"input": t, "output": label} for label in script.LABELS for t in script.write(label, 3, f"demo {label}")
    ]
    front = {"name": "smoke", "kind": "classify", "labels": list(script.LABELS), "validation": "held.csv"}
    front |= {"target": 0.9, "examples": examples, "budget": {"steps": 10, "examples": 120}, **more}
    front = {key: value for key, value in front.items() if value is not None}
    (folder / "task.md").write_text(f"---\n{json.dumps(front)}\n---\nSay what kind of answer a question asks for.\n")
    with (folder / "held.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([("text", "label"), *script.held_out(per_label)])
    return folder / "task.md"


def p2m(*args: str | Path, home: Path, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*P2M, *map(str, args)], capture_output=True, text=True, timeout=timeout, cwd=ROOT, env=environment(home)
    )


def environment(home: Path) -> dict[str, str]:
    """An LLM cache of the test's own; the embedded pack where it is."""
    from p2m.paths import pack_dir

    home.mkdir(exist_ok=True)
    if not (home / "pack").exists():
        (home / "pack").symlink_to(pack_dir().resolve())
    return {**os.environ, "P2M_HOME": str(home), "OMP_NUM_THREADS": "2"}


def state_of(run: Path) -> RunState:
    state = fold(journal.read(run / journal.FILE))
    assert state is not None
    return state


def test_a_run_from_task_to_model(task: Path, teacher: FakeLLM, tmp_path: Path) -> None:
    run, home = tmp_path / "run", tmp_path / "home"
    done = p2m("run", task, "--out", run, "--planner", "policy", "--teacher", teacher.endpoint, home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    state = state_of(run)
    tools = [e.tool for e in _events(run) if isinstance(e, ToolStarted)]
    assert tools[0] == "hold_out" and tools[-1] == "deliver"
    assert tools.index("hold_out") < tools.index("generate_batch")
    assert tools.index("baselines") < tools.index("fine_tune")
    assert {b.system.split(" (")[0] for b in state.workspace.baselines} >= {"majority", "teacher few-shot"}
    assert state.ended is not None and state.ended.status == "met"
    assert state.delivery is not None and state.delivery["test"]["n"] == state.workspace.held_out.test  # type: ignore[union-attr]
    for name in ("model/config.json", "model/README.md", "report.md", "report.html"):
        assert (run / name).stat().st_size > 0
    said = p2m("predict", run, "How many boats cost the harbour last year?", "--json", home=home)
    assert json.loads(said.stdout)["label"] == "number"
    assert state.delivery["calibration"]["n"] == state.delivery["test"]["n"]
    held_back = p2m("predict", run, "How many boats?", "--json", "--abstain", "1", home=home)
    assert json.loads(held_back.stdout)["label"] == "" and json.loads(held_back.stdout)["probabilities"]
    odd = p2m("predict", run, "How many boats?", "--abstain", "1.5", home=home)
    assert odd.returncode == 2 and "'1.5' is no probability" in odd.stderr
    # The model is a plain Hugging Face folder.
    code = f"""
from transformers import pipeline
print(pipeline("text-classification", model={str(run / "model")!r})("Where stands the mill?")[0]["label"])
"""
    plain = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert plain.stdout.strip() == "place", plain.stderr
    again = p2m("resume", run, home=home)
    assert again.returncode == 0 and "has ended" in again.stderr


def test_the_llm_planner_plans_the_same_loop(task: Path, teacher: FakeLLM, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = p2m(
        "run", task, "--out", run, "--planner", teacher.endpoint, "--teacher", teacher.endpoint, home=tmp_path / "h"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    turns = state_of(run).turns
    assert turns and all(t.by == "planner" and t.malformed is None and t.text for t in turns)


def test_resume_from_every_prefix_gives_the_same_state(task: Path, teacher: FakeLLM, tmp_path: Path) -> None:
    run, home = tmp_path / "run", tmp_path / "home"
    done = p2m("run", task, "--out", run, "--planner", teacher.endpoint, "--teacher", teacher.endpoint, home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    whole = state_of(run).essence()
    lines = (run / journal.FILE).read_bytes().splitlines(keepends=True)
    kinds = [json.loads(line)["type"] for line in lines]
    # A prefix that ends in progress or spend leaves the same open call as the event before it.
    cuts = [n for n in range(1, len(lines)) if kinds[n - 1] not in ("ToolProgress", "LLMSpend", "Retry")]
    loop_in_this_process(run, home, lines, cuts, whole)


def loop_in_this_process(run: Path, home: Path, lines: list[bytes], cuts: list[int], whole: dict[str, Any]) -> None:
    """Resume each prefix with the loop itself: a process a prefix would spend its time importing torch."""
    code = f"""
import asyncio, json, sys
from pathlib import Path
from agent.loop import run as loop
from agent.runs import load_state
from agent.session import parts_for, quiet_libraries
quiet_libraries()
run = Path({str(run)!r})
lines = (run / "journal.jsonl").read_bytes().splitlines(keepends=True)
async def resume():
    async for _ in loop(parts_for(run, load_state(run).settings)):
        pass
for cut in {cuts!r}:
    (run / "journal.jsonl").write_bytes(b"".join(lines[:cut]))
    asyncio.run(resume())
    print(json.dumps([cut, load_state(run).essence()], default=str), flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=400, cwd=ROOT, env=environment(home)
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [cut for cut, _ in results] == cuts
    expected = json.loads(json.dumps(whole, default=str))
    for cut, essence in results:
        assert essence == expected, f"resumed after {cut} events"


@pytest.mark.slow
def test_kill_9_at_ten_moments_then_resume(task: Path, teacher: FakeLLM, tmp_path: Path) -> None:
    """The same deliverables as a run that nobody killed, byte for byte where no time is written."""
    home = tmp_path / "home"
    reference = tmp_path / "reference"
    args = ("--planner", teacher.endpoint, "--teacher", teacher.endpoint)
    started = time.monotonic()
    assert p2m("run", task, "--out", reference, *args, home=home).returncode == 0
    seconds = time.monotonic() - started
    rng = random.Random(0)
    run = tmp_path / "run"
    command: list[str] = ["run", str(task), "--out", str(run), *args]
    other = environment(tmp_path / "other-home")  # its own cache: what a kill loses is really lost
    for _ in range(10):
        process = subprocess.Popen(
            [*P2M, *command], cwd=ROOT, env=other, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            process.wait(timeout=2 + rng.random() * seconds * 0.6)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        if (run / journal.FILE).exists() and (run / journal.FILE).stat().st_size:
            command = ["resume", str(run)]
    last = subprocess.run([*P2M, *command], cwd=ROOT, env=other, capture_output=True, text=True)
    assert last.returncode == 0, last.stderr
    assert state_of(run).essence() == state_of(reference).essence()
    for name in ("model/model.safetensors", "model/config.json", "model/tokenizer.json"):
        assert (run / name).read_bytes() == (reference / name).read_bytes(), name


@pytest.mark.parametrize("signals", [(signal.SIGINT,), (signal.SIGINT, signal.SIGTERM)])
def test_ctrl_c_is_130_and_loses_nothing(task: Path, tmp_path: Path, signals: tuple[signal.Signals, ...]) -> None:
    def slowly(request: Request) -> Behaviour:
        time.sleep(0.3)
        return script.answer(request.body)

    with FakeLLM(slowly) as server:
        run, home = tmp_path / "run", tmp_path / "home"
        process = subprocess.Popen(
            [*P2M, "run", str(task), "--out", str(run), "--planner", "policy", "--teacher", server.endpoint],
            cwd=ROOT,
            env=environment(home),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not any("generate_batch" in str(r) for r in _events(run)):
            time.sleep(0.2)
        for number in signals:
            process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "p2m: stopping" in err and "Traceback" not in err
        assert len(signals) == 2 or f"p2m resume {run}" in err
        assert p2m("resume", run, home=home).returncode == 0


def _events(run: Path) -> list[Any]:
    try:
        return [r.event for r in journal.read(run / journal.FILE)]
    except Exception:
        return []


def test_a_dead_teacher_is_exit_4_and_resumable(tmp_path: Path) -> None:
    task = write_task(tmp_path, target=1.0)
    run, home = tmp_path / "run", tmp_path / "home"
    with FakeLLM(lambda request: Fail(401, "bad key")) as dead:
        done = p2m("run", task, "--out", run, "--planner", "policy", "--teacher", dead.endpoint, home=home)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert any(isinstance(e, Verdict) and e.kind == "no_way" for e in _events(run))
    assert (run / "model" / "config.json").exists(), "the best there is, from the examples alone"


def test_without_a_labelled_file_the_held_out_rows_are_written(tmp_path: Path, teacher: FakeLLM) -> None:
    task = write_task(tmp_path, validation=None, budget={"steps": 4, "examples": 60})
    run = tmp_path / "run"
    done = p2m("run", task, "--out", run, "--planner", "policy", "--teacher", teacher.endpoint, home=tmp_path / "h")
    assert done.returncode in (0, 3), done.stdout + done.stderr
    state = state_of(run)
    assert state.workspace.held_out is not None and state.workspace.held_out.source == "generated"
    assert "generated" in (run / "report.md").read_text()
    from p2m.rows import read_rows

    store = run / "artifacts"
    held = [read_rows(store / state.workspace.held_out.handle / f"{split}.jsonl") for split in ("validation", "test")]
    kept = {row.input for rows in held for row in rows}
    trained = {row.input for d in state.workspace.datasets for row in read_rows(store / d.handle / "rows.jsonl")}
    assert kept and trained and not kept & trained


def test_a_users_few_rows_correct_what_generated_rows_say(tmp_path: Path, teacher: FakeLLM) -> None:
    task = write_task(tmp_path, per_label=9, budget={"steps": 3, "examples": 60})
    run, home = tmp_path / "run", tmp_path / "home"
    done = p2m("run", task, "--out", run, "--planner", "policy", "--teacher", teacher.endpoint, home=home)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    state = state_of(run)
    held_out, delivery = state.workspace.held_out, state.delivery
    assert held_out is not None and held_out.source == "generated" and 8 <= held_out.check < 30
    assert delivery is not None and state.estimate is not None and state.ended is not None
    assert (state.estimate.split, state.estimate.n) == ("check", held_out.check)
    assert delivery["test"]["n"] == held_out.test != state.estimate.n
    assert delivery["correction"]["powered"]["n"] == held_out.check
    assert f"on {held_out.check} rows that the user labelled" in state.ended.text
    assert (done.returncode == 0) == (state.estimate.value >= 0.9)
    from p2m.rows import read_rows

    store = run / "artifacts"
    check = {row.input for row in read_rows(store / held_out.handle / "check.jsonl")}
    trained = {row.input for d in state.workspace.datasets for row in read_rows(store / d.handle / "rows.jsonl")}
    assert check and trained and not check & trained
    report = " ".join((run / "report.md").read_text().split())
    assert f"The user's own {held_out.check} rows" in report and "Prediction-powered inference" in report
    assert f"The user's own {held_out.check} rows" in (run / "model" / "README.md").read_text()


@pytest.mark.slow
def test_a_users_few_rows_are_split_where_the_teacher_writes_nothing(tmp_path: Path) -> None:
    task = write_task(tmp_path, per_label=9, budget={"steps": 1, "examples": 60})
    with FakeLLM(lambda request: Fail(401, "bad key")) as dead:
        args = ("--planner", "policy", "--teacher", dead.endpoint)
        done = p2m("run", task, "--out", tmp_path / "run", *args, home=tmp_path / "home")
    assert "Traceback" not in done.stderr
    state = state_of(tmp_path / "run")
    assert state.workspace.held_out is not None and state.workspace.held_out.source == "user"
    assert state.workspace.held_out.check == 0 and state.estimate is not None and state.estimate.split == "test"


def test_a_teacher_that_dies_mid_batch_loses_no_row(task: Path, tmp_path: Path) -> None:
    def dies(request: Request) -> Behaviour:
        return script.answer(request.body) if request.number % 3 else Fail(400, "refused")

    with FakeLLM(dies) as server:
        done = p2m(
            "run",
            task,
            "--out",
            tmp_path / "r",
            "--planner",
            "policy",
            "--teacher",
            server.endpoint,
            home=tmp_path / "h",
        )
    assert done.returncode in (0, 3), done.stdout + done.stderr
    batch = next(c for c in state_of(tmp_path / "r").calls if c.tool == "generate_batch")
    assert batch.error is None and "call_failed" in batch.text


def test_nonsense_from_the_planner_hands_over(task: Path, teacher: FakeLLM, tmp_path: Path) -> None:
    with FakeLLM(lambda request: "I would rather talk about the weather.") as babbler:
        run = tmp_path / "run"
        args = ("--planner", babbler.endpoint, "--teacher", teacher.endpoint)
        done = p2m("run", task, "--out", run, *args, home=tmp_path / "h")
    assert done.returncode == 0, done.stdout + done.stderr
    state = state_of(run)
    assert state.handed_over
    assert [t.malformed is not None for t in state.turns[:4]] == [True, True, True, False]


def test_a_spent_budget_delivers_the_best_and_more_budget_goes_on(tmp_path: Path, teacher: FakeLLM) -> None:
    task = write_task(tmp_path, target=1.0, budget={"steps": 1, "examples": 60})
    run, home = tmp_path / "run", tmp_path / "home"
    done = p2m("run", task, "--out", run, "--planner", "policy", "--teacher", teacher.endpoint, home=home)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    state = state_of(run)
    assert state.verdict is not None and state.verdict.kind == "budget"
    assert state.steps == 1 and state.generated <= 60
    assert (run / "model" / "config.json").exists()
    if done.returncode == 3:
        more = p2m("resume", run, "--budget-steps", "6", home=home)
        assert more.returncode in (0, 3)
        assert state_of(run).steps > 1


def test_a_token_budget_is_never_passed(task: Path, teacher: FakeLLM, tmp_path: Path) -> None:
    run = tmp_path / "run"
    args = ("--planner", "policy", "--teacher", teacher.endpoint, "--budget-tokens", "3000")
    p2m("run", task, "--out", run, *args, home=tmp_path / "h")
    assert state_of(run).spend.tokens <= 3000


def test_two_processes_on_one_run(task: Path, tmp_path: Path) -> None:
    held = journal.Journal(tmp_path / "run")
    args = ("--planner", "policy", "--teacher", "http://127.0.0.1:9/v1#x")
    done = p2m("run", task, "--out", tmp_path / "run", *args, home=tmp_path / "h")
    held.close()
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_sealed_test_is_never_in_a_planners_prompt(task: Path, teacher: FakeLLM, tmp_path: Path) -> None:
    run = tmp_path / "run"
    p2m("run", task, "--out", run, "--planner", teacher.endpoint, "--teacher", teacher.endpoint, home=tmp_path / "h")
    state = state_of(run)
    assert state.workspace.held_out is not None
    from p2m.rows import read_rows

    test = read_rows(run / "artifacts" / state.workspace.held_out.handle / "test.jsonl")
    seen = "\n".join(r.last for r in teacher.requests if "Suggested next call:" in r.last)
    assert seen and not any(row.input in seen for row in test)
    opened = [i for i, e in enumerate(_events(run)) if isinstance(e, ToolStarted) and e.tool == "deliver"]
    spoke = [i for i, e in enumerate(_events(run)) if isinstance(e, PlannerSpoke)]
    assert len(opened) == 1 and max(spoke) < opened[0]
    assert isinstance(_events(run)[-1], RunEnded)
    assert any(isinstance(e, ToolFinished) and "held_out" in e.data for e in _events(run))


def test_the_client_is_shared_by_no_global(teacher: FakeLLM) -> None:
    """Opening and closing models leaves nothing running that a later run would trip over."""

    async def twice() -> str:
        for _ in range(2):
            model = open_model(teacher.endpoint, role="teacher", use_cache=False)
            reply = await model.chat([{"role": "user", "content": "Where is it?"}], max_tokens=5)
            await model.close()
        return reply.text

    assert asyncio.run(twice()) == "place"
