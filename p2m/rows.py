"""A row of training or held-out data, and its JSONL form."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from p2m.files import write_atomic


@dataclass(frozen=True)
class Row:
    """One input and its answer. For a classifier ``output`` is the label.

    ``source`` says where the row comes from and stays with it to the report: ``user``, ``demonstration``,
    ``generated``, ``dataset:ORG/NAME/SPLIT``. ``probs`` are the teacher's label probabilities (sum 1), where it
    was asked. ``meta`` holds provenance: the brief it was generated for, the row number it was read from.
    """

    input: str
    output: str
    source: str = "user"
    probs: dict[str, float] | None = None
    meta: dict[str, Any] = field(default_factory=dict)


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
