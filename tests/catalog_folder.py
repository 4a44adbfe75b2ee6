"""Small datasets on disk, for the tests of the catalogue."""

from __future__ import annotations

import json
from pathlib import Path

ROWS = [{"text": f"message {i}", "label": "spam" if i % 3 == 0 else "ham"} for i in range(30)]


def make(root: Path, name: str, front: str = "license: mit", rows: object = ROWS, file: str = "train.jsonl") -> Path:
    """A dataset with a card and one JSONL file."""
    folder = root / "datasets" / name
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(f"---\n{front}\n---\n# {name}\n\nMessages of some kind.\n", encoding="utf-8")
    if isinstance(rows, str):
        (folder / file).write_text(rows, encoding="utf-8")
    elif isinstance(rows, list):
        (folder / file).write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return folder


def files(*paths: str) -> str:
    declared = "".join(f"\n    - split: s{i}\n      path: {json.dumps(p)}" for i, p in enumerate(paths))
    return f"license: mit\nconfigs:\n- config_name: default\n  data_files:{declared}"


BANKING = (
    "card arrival",
    "lost or stolen card",
    "exchange rate",
    "card not working",
    "declined transfer",
    "pending top up",
    "change pin",
    "cancel transfer",
    "age limit",
    "request refund",
)
"""Ten of Banking77's intents, as a person would write them."""
