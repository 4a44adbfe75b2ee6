"""Finding runs: by folder or by name, and the table of them all."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path

from agent import journal
from agent.state import RunState, fold
from p2m.errors import BadInput, P2MError


def runs_dir() -> Path:
    """``$P2M_RUNS``, else ``runs`` here."""
    return Path(os.environ.get("P2M_RUNS") or "runs")


def new_run_dir(name: str, out: str | None) -> Path:
    """The folder for a new run. Raises ``BadInput`` where ``out`` holds something else than nothing."""
    if out is not None:
        path = Path(out)
        if path.is_file():
            raise BadInput("is a file", where=str(path), fix="Give a folder with --out")
        if (path / journal.FILE).exists():
            raise BadInput(
                "there is a run already",
                where=str(path),
                fix=f"Go on with it: p2m resume {path}, or give another --out",
            )
        if path.is_dir() and any(p.name != "lock" for p in path.iterdir()):
            raise BadInput("the folder is not empty", where=str(path), fix="Give an empty or new folder with --out")
        return path
    stamp = datetime.now().strftime("%m%d-%H%M%S")
    slug = re.sub(r"[^\w.-]+", "-", name).strip("-.")[:40] or "run"
    base = runs_dir() / f"{slug}-{stamp}"
    path, n = base, 2
    while path.exists():
        path, n = base.with_name(f"{base.name}-{n}"), n + 1
    return path


def find_run(text: str) -> Path:
    """The folder that ``text`` names: a path, or a name under ``runs_dir()``. Raises ``BadInput`` with near names."""
    for path in (Path(text), runs_dir() / text):
        if (path / journal.FILE).is_file():
            return path
    known = [p.name for p in list_runs(runs_dir())]
    near = get_close_matches(text, known, 3, 0.4)
    fix = f"Did you mean {', '.join(near)}?" if near else "p2m runs lists those there are"
    raise BadInput("there is no run here", where=text, fix=fix)


def list_runs(folder: Path) -> list[Path]:
    """Folders with a journal, newest first."""
    found = [p.parent for p in folder.glob(f"*/{journal.FILE}")] if folder.is_dir() else []
    return sorted(found, key=lambda p: (p / journal.FILE).stat().st_mtime, reverse=True)


def load_state(path: Path) -> RunState:
    """The state of a run. Raises ``BadInput`` where it has not begun, ``P2MError`` for a damaged journal."""
    state = fold(journal.read(path / journal.FILE))
    if state is None:
        raise BadInput("the run has not begun", where=str(path), fix="Start it again with p2m run")
    return state


@dataclass(frozen=True)
class RunRow:
    """A line of ``p2m runs``."""

    run: str
    task: str
    status: str
    metric: str
    best: float | None
    low: float | None
    high: float | None
    split: str
    price: str
    tokens: int
    seconds: float


def summary(path: Path) -> RunRow:
    """One run in a line; a damaged journal is a line too."""
    try:
        state = load_state(path)
    except P2MError as error:
        return RunRow(path.name, "?", f"unreadable: {error}", "", None, None, None, "", "", 0, 0.0)
    best = state.workspace.best
    score = state.estimate or (best.score if best else None)
    status = state.ended.status if state.ended else ("running" if is_held(path) else "interrupted")
    return RunRow(
        run=path.name,
        task=state.task.name,
        status=status,
        metric=state.task.metric,
        best=score.value if score else None,
        low=score.low if score else None,
        high=score.high if score else None,
        split=score.split if score else "",
        price=state.spend.price,
        tokens=state.spend.tokens,
        seconds=state.seconds,
    )


def is_held(path: Path) -> bool:
    """Whether a process works on the run now."""
    import fcntl

    try:
        with (path / "lock").open("a+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
