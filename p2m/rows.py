"""A row of training or held-out data, and its JSONL form."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from p2m.files import write_atomic


@dataclass(frozen=True)
class Row:
    """One input and its answer. For a classifier ``output`` is the label.

    ``source`` says where the row comes from and stays with it to the report: ``user``, ``demonstration``,
    ``generated``, ``dataset:ORG/NAME/SPLIT``, ``transformed:ORG/NAME/SPLIT`` (a dataset's row that the teacher made
    into one of the task). ``probs`` are the teacher's label probabilities (sum 1), where it was asked. ``meta`` holds
    provenance: the brief it was generated for; the dataset, revision, split and row number it was read from; under
    ``done`` what was done to it since (mapped, relabelled, transformed), under ``was`` its label before.
    """

    input: str
    output: str
    source: str = "user"
    probs: dict[str, float] | None = None
    meta: dict[str, Any] = field(default_factory=dict)


def is_real(source: str) -> bool:
    """Whether rows of this source were written and labelled by people, not by the teacher."""
    return source.partition(":")[0] not in ("generated", "transformed")


def done_to(row: Row, what: str, **more: Any) -> Row:
    """``row`` with ``what`` added to what was done to it, and ``more`` in its ``meta``."""
    return replace(row, meta={**row.meta, **more, "done": [*row.meta.get("done", ()), what]})


def provenance(row: Row) -> str:
    """Where a row comes from, in words: ``row 812 of polyai/banking77 train at 3fa2c1, mapped``."""
    meta, kind = row.meta, row.source.partition(":")[0]
    if "dataset" in meta and "row" in meta:
        place = f"row {meta['row']} of {meta['dataset']} {meta.get('split', '')}".rstrip()
        place += f" at {meta['revision']}" if meta.get("revision") else ""
    else:
        known = {"demonstration": "an example of the task", "user": "labelled by the user"}
        known["generated"] = "written by the teacher" + (f" for “{meta['brief']}”" if meta.get("brief") else "")
        place = known.get(kind, row.source)
    done = ", ".join(meta.get("done", ()))
    was = f" (its label was {meta['was']})" if meta.get("was") else ""
    return place + (f", {done}" if done else "") + was


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as JSONL, atomically."""
    lines = []
    for row in rows:
        record = {k: v for k, v in asdict(row).items() if v not in (None, {})}
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    write_atomic(path, "".join(lines))


def read_rows(path: Path) -> list[Row]:
    """Read rows that ``write_rows`` wrote."""
    with path.open(encoding="utf-8") as handle:
        return [Row(**json.loads(line)) for line in handle if line.strip()]
