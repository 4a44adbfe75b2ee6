"""Training in a child process: its result, its progress, and every way in which it can end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from p2m.errors import ToolFailure
from p2m.evaluate.predict import Predictor, read_outputs
from p2m.train import child
from p2m.train.job import OUT_OF_MEMORY, SAID, read_recipe, write_job
from p2m.train.recipe import Progress, Recipe
from p2m.train.runtime import is_out_of_memory
from tests.tiny_model import LABELS, make_encoder, rows


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("bert"))


def job(folder: Path, base: Path, epochs: int, patience: int = 3) -> Path:
    folder.mkdir()
    recipe = Recipe(str(base), LABELS, "accuracy", "full", 0, epochs=epochs, patience=patience, learning_rate=1e-3)
    write_job(folder, recipe, rows(60, 0), rows(30, 1))
    assert read_recipe(folder) == recipe
    return folder


def gone(pid: int, seconds: float) -> bool:
    """Whether the process ended, or is a zombie that waits for its parent, within ``seconds``."""
    for _ in range(int(seconds * 10)):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


def children_of(folder: Path) -> list[int]:
    """The processes that write what they say into ``folder``."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and Path(os.readlink(entry / "fd" / "2")) == folder / SAID:
                found.append(int(entry.name))
    return found


def test_it_trains_tells_and_leaves_a_model(base: Path, tmp_path: Path) -> None:
    folder = job(tmp_path / "job", base, epochs=2)
    told: list[Progress] = []
    result = asyncio.run(child.run_child(folder, told.append))
    assert result.rows == 60 and [e.epoch for e in result.epochs] == [0, 1, 2]
    assert result == child.read_result(folder)
    assert told and told[-1].step == told[-1].steps and told[-1].eta == 0
    predictions = Predictor(folder / "model").predict([row.input for row in rows(30, 1)])
    assert read_outputs(folder / "validation_predictions.jsonl") == [p.label for p in predictions]
    assert children_of(folder) == []


def test_cancelling_stops_the_child(base: Path, tmp_path: Path) -> None:
    folder = job(tmp_path / "job", base, epochs=100_000, patience=100_000)
    seen: list[int] = []

    async def cancel_when_it_trains() -> None:
        started = asyncio.Event()
        task = asyncio.create_task(child.run_child(folder, lambda _: started.set()))
        await started.wait()
        seen.extend(children_of(folder))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    began = time.monotonic()
    asyncio.run(cancel_when_it_trains())
    assert len(seen) == 1 and gone(seen[0], 1)
    assert time.monotonic() - began < 120
    assert not (folder / "result.json").exists()


def test_a_killed_parent_takes_the_child_along(base: Path, tmp_path: Path) -> None:
    folder = job(tmp_path / "job", base, epochs=100_000, patience=100_000)
    code = (
        "import asyncio, sys; from pathlib import Path; from p2m.train.child import run_child\n"
        f"asyncio.run(run_child(Path({str(folder)!r}), lambda p: print(p.step, flush=True)))"
    )
    root = Path(__file__).resolve().parent.parent
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE)
    assert parent.stdout is not None and parent.stdout.readline()
    (pid,) = children_of(folder)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert gone(pid, 10)


def test_children_come_from_one_server_and_elsewhere_are_new_interpreters(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parents: list[int] = []

    def train(name: str) -> None:
        folder = job(tmp_path / name, base, epochs=1)
        found: set[int] = set()

        def look(_: Progress) -> None:
            found.update(
                int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in children_of(folder)
            )

        assert asyncio.run(child.run_child(folder, look)).rows == 60
        parents.extend(found)

    train("first")
    train("second")
    assert len(parents) == 2 and parents[0] == parents[1] != os.getpid()
    assert b"multiprocessing.forkserver" in Path(f"/proc/{parents[0]}/cmdline").read_bytes()
    monkeypatch.setattr(child, "GPUS", ("/dev/null",))
    child._context.cache_clear()
    train("where there is a GPU")
    child._context.cache_clear()
    assert parents[2] == os.getpid()


def test_where_no_server_starts_a_child_is_a_new_interpreter(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoServer:
        def Process(self, **_: object) -> NoServer:
            return self

        def start(self) -> None:
            raise OSError("AF_UNIX path too long")

    monkeypatch.setattr(child, "_context", NoServer)
    assert asyncio.run(child.run_child(job(tmp_path / "job", base, epochs=1), lambda _: None)).rows == 60
    monkeypatch.setattr(child.multiprocessing, "get_context", lambda _: NoServer())
    with pytest.raises(ToolFailure, match="could not start: AF_UNIX path too long"):
        asyncio.run(child.run_child(job(tmp_path / "none", base, epochs=1), lambda _: None))


def test_a_base_that_does_not_load_is_the_callers_mistake(tmp_path: Path) -> None:
    folder = job(tmp_path / "job", tmp_path / "nothing here", epochs=1)
    with pytest.raises(ToolFailure) as caught:
        asyncio.run(child.run_child(folder, lambda _: None))
    assert caught.value.kind == "invalid_args"
    assert "nothing here" in str(caught.value) and "\n" not in str(caught.value)


def test_a_bug_in_the_child_is_a_crash_with_its_last_line(base: Path, tmp_path: Path) -> None:
    folder = job(tmp_path / "job", base, epochs=1)
    (folder / "train.jsonl").write_text('{"input": "x", "output": "no such label"}\n')
    with pytest.raises(ToolFailure) as caught:
        asyncio.run(child.run_child(folder, lambda _: None))
    assert caught.value.kind == "crash" and "no such label" in str(caught.value)


def test_a_child_killed_by_the_system_was_out_of_memory(base: Path, tmp_path: Path) -> None:
    folder = job(tmp_path / "job", base, epochs=100_000, patience=100_000)

    def kill(_: Progress) -> None:
        for pid in children_of(folder):
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(ToolFailure) as caught:
        asyncio.run(child.run_child(folder, kill))
    assert caught.value.kind == "crash"
    assert "out of memory" in str(caught.value) and "fewer rows" in str(caught.value)


def test_a_failed_allocation_is_told_from_other_errors() -> None:
    import torch

    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    assert is_out_of_memory(caught.value) and is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert "out of memory" in str(child._failure(OUT_OF_MEMORY, [], Path()))
