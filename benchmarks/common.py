"""What every benchmark shares: where the data is, its options, its JSON, its Markdown table."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def options(description: str, *, only: Iterable[str] = ()) -> argparse.Namespace:
    """``--fast --json FILE --seed N``, as every benchmark takes them; ``--only NAME`` where there are names."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--fast", action="store_true", help="fewer rows: under 10 minutes on 2 cores")
    parser.add_argument("--json", metavar="FILE", help="write rows and summary here")
    parser.add_argument("--seed", type=int, default=0)
    if only:
        parser.add_argument("--only", choices=list(only), metavar="NAME", help=f"one of: {', '.join(only)}")
    return parser.parse_args()


def shared() -> Path:
    """The shared data. Exits with one line where it is missing."""
    path = Path(os.environ.get("P2M_SHARED") or ROOT.parent / "shared")
    if not path.is_dir():
        sys.exit(f"needs the shared data: {path} is not there (set P2M_SHARED)")
    return path


def say(text: str) -> None:
    """Progress goes to standard error: standard output is the table."""
    print(text, file=sys.stderr, flush=True)


def table(columns: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def write_json(path: str | None, rows: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    """``{"rows", "summary"}``, where a file was asked for."""
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps({"rows": rows, "summary": summary}, indent=1, ensure_ascii=False) + "\n")
