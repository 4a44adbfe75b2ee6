"""Where a training row came from: the rows that the student learnt from, found by their text."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from agent.plain import plain
from agent.state import RunState
from p2m.data.near import normalise
from p2m.errors import BadInput
from p2m.rows import Row, provenance, read_rows
from p2m.store import Store

MOST = 10


def training_rows(run_dir: Path, state: RunState) -> list[Row]:
    """The delivered student's training rows; before delivery those of the best student, else those in use.

    Raises ``BadInput`` where there is none yet.
    """
    store, best = Store(run_dir / "artifacts"), state.workspace.best
    files = [run_dir / "train.jsonl"] + ([store.path(best.model) / "train.jsonl"] if best else [])
    for file in files:
        if file.is_file():
            return read_rows(file)
    rows = [row for info in state.workspace.datasets for row in store.rows(info.handle)]
    if not rows:
        raise BadInput("the run has no training rows yet", where=str(run_dir), fix="Let it go on: p2m resume")
    return rows


def print_rows(rows: list[Row], text: str, stream: TextIO, *, as_json: bool) -> None:
    """The first rows whose input has ``text`` in it, but for case and punctuation, each with its origin.

    Raises ``BadInput`` where there is none.
    """
    wanted = normalise(text)
    found = [row for row in rows if wanted in normalise(row.input)]
    if not found:
        raise BadInput(f"none of the {len(rows):,} training rows contains {text[:80]!r}", where="--row")
    for row in found[:MOST]:
        if as_json:
            stream.write(json.dumps({**asdict(row), "provenance": provenance(row)}) + "\n")
        else:
            stream.write(f"{plain(row.input)[:200]}\n    label  {plain(row.output)}\n")
            stream.write(f"    from   {plain(provenance(row))}\n")
    if len(found) > MOST and not as_json:
        stream.write(f"{len(found) - MOST:,} more rows contain it\n")
