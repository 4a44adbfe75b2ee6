"""Content-addressed artifacts of a run: a handle is the hash of what made it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from p2m.errors import ToolFailure
from p2m.files import digest, new_folder, write_atomic
from p2m.rows import Row, read_rows, write_rows

# Part of every handle: raise it when code changes what the same arguments give.
CODE_VERSION = 2


class Store:
    """The ``artifacts`` folder of a run. Handles look like ``ds_3f2a91c4`` (data) or ``m_77ab01de`` (model)."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def handle(self, prefix: str, **made_from: Any) -> str:
        """The name of the artifact that ``made_from`` (inputs, parameters) makes."""
        return f"{prefix}_{digest({'v': CODE_VERSION, 'p': prefix, **made_from}, 8)}"

    def path(self, handle: str) -> Path:
        """Where ``handle`` lies. Raises ``ToolFailure`` for a name that is no handle (no path leaves the run)."""
        prefix, _, tail = handle.partition("_")
        if not (prefix.isalpha() and tail and all(c in "0123456789abcdef" for c in tail)):
            raise ToolFailure("invalid_args", f"{handle!r} is not a handle; handles look like ds_3f2a91c4")
        return self.root / handle

    def has(self, handle: str) -> bool:
        return self.path(handle).is_dir()

    @contextmanager
    def writing(self, handle: str) -> Iterator[Path]:
        """A folder to fill; it becomes ``handle`` when the block ends well, and vanishes when it does not."""
        with new_folder(self.path(handle)) as folder:
            yield folder

    def meta(self, handle: str) -> dict[str, Any]:
        """The artifact's ``meta.json``. Raises ``ToolFailure`` where there is no such artifact."""
        file = self.path(handle) / "meta.json"
        if not file.is_file():
            raise ToolFailure("invalid_args", f"there is no artifact {handle}")
        return json.loads(file.read_text(encoding="utf-8"))

    def save_rows(self, handle: str, rows: Sequence[Row], meta: dict[str, Any]) -> None:
        """Store a dataset: ``rows.jsonl`` and ``meta.json``. A no-op where the handle exists."""
        if self.has(handle):
            return
        with self.writing(handle) as folder:
            write_rows(folder / "rows.jsonl", rows)
            write_atomic(folder / "meta.json", json.dumps(meta, ensure_ascii=False, indent=1))

    def rows(self, handle: str) -> list[Row]:
        """The rows of a dataset. Raises ``ToolFailure`` where there is no such dataset."""
        file = self.path(handle) / "rows.jsonl"
        if not file.is_file():
            raise ToolFailure("invalid_args", f"there is no dataset {handle}")
        return read_rows(file)
