"""The child process of a training, all of which is in one folder.

It reads ``job.json``, ``train.jsonl`` and ``validation.jsonl``; writes ``model/``, ``validation_predictions.jsonl``
and, last, ``result.json``. Progress goes to ``progress.jsonl``, one object a line. An expected failure is one line in
``said.txt`` with its exit code; anything else is a traceback there and exit code 1.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from p2m.errors import EXIT_INTERRUPTED, P2MError
from p2m.files import write_atomic
from p2m.rows import Row, read_rows, write_rows
from p2m.train.recipe import Progress, Recipe
from p2m.train.runtime import is_out_of_memory

OUT_OF_MEMORY = 75
DISK_FULL = 74
PROGRESS, SAID = "progress.jsonl", "said.txt"
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISABLE_SAFETENSORS_CONVERSION": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def write_job(folder: Path, recipe: Recipe, rows: list[Row], validation: list[Row]) -> None:
    """Fill a folder with what the child reads."""
    write_rows(folder / "train.jsonl", rows)
    write_rows(folder / "validation.jsonl", validation)
    write_recipe(folder, recipe)


def write_recipe(folder: Path, recipe: Recipe) -> None:
    """The recipe alone, for a job whose rows are there."""
    write_atomic(folder / "job.json", json.dumps(asdict(recipe), ensure_ascii=False, indent=1))


def read_recipe(folder: Path) -> Recipe:
    """The recipe that ``write_job`` wrote."""
    raw = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    return Recipe(**{**raw, "labels": tuple(raw["labels"])})


def run(folder: Path) -> None:
    """Train, save, predict the validation rows with what was saved."""
    from p2m import kinds
    from p2m.evaluate.predict import load_predictor, write_predictions

    recipe = read_recipe(folder)
    rows, validation = read_rows(folder / "train.jsonl"), read_rows(folder / "validation.jsonl")
    result = kinds.named(recipe.kind).train(recipe, rows, validation, folder / "model", _tell)
    predictions = load_predictor(folder / "model").predict([row.input for row in validation])
    write_predictions(folder / "validation_predictions.jsonl", predictions)
    write_atomic(folder / "result.json", json.dumps(asdict(result), indent=1))


def work(folder: Path, environment: dict[str, str]) -> None:
    """What the child does: the job in ``folder``, with what its parent's environment is now. Ends the process."""
    if hasattr(os, "setsid"):
        os.setsid()  # the terminal's Ctrl-C is for the parent, who decides when this stops
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment | ENVIRONMENT)
    for stream, name in ((1, PROGRESS), (2, SAID)):
        file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, stream)
        os.close(file)
    _die_with_parent()
    sys.exit(main(folder))


def main(folder: Path) -> int:
    """Run the job; the exit code."""
    try:
        run(folder)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:
        if is_out_of_memory(error):
            return OUT_OF_MEMORY
        # safetensors wraps the system's error in one of its own and keeps only the words.
        if os.strerror(errno.ENOSPC) in str(error) or getattr(error, "errno", None) == errno.ENOSPC:
            return DISK_FULL
        if not isinstance(error, P2MError):
            raise
        print(error, file=sys.stderr)
        return DISK_FULL if "disk is full" in str(error) else error.exit_code
    return 0


def _tell(progress: Progress) -> None:
    print(json.dumps(asdict(progress)), flush=True)


def _die_with_parent() -> None:
    """A thread kills this process when the run's dies; Linux does when the server does that it was forked from."""
    import ctypes
    import multiprocessing
    import threading

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, linux/prctl.h

    def watch() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
            os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
