"""The embedded pack and the LLM cache, as ``p2m doctor`` finds them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection
from pathlib import Path

from agent.finding import Finding
from p2m import paths
from p2m.pack import PACK, Member, find


def pack_members(needed: Collection[str]) -> list[Finding]:
    """A finding a model; those in ``needed`` are missed where they are absent."""
    return [_member(m, m.name in needed) for m in PACK]


def _member(m: Member, needed: bool) -> Finding:
    path, pull = find(m.name), f"p2m pull {m.name}"
    size = f"{m.size / 1e6:,.0f} MB"
    if path is None:
        half = (paths.pack_dir() / f".{m.name}.work").is_dir() or (paths.pack_dir() / m.target).exists()
        text = "not whole or not checked yet" if half else "not here"
        return Finding(m.name, False, needed, f"{text} ({m.role}; {size})", pull)
    missing = [name for name in m.files if name and not (path / name).is_file()]
    if missing or (path.is_file() and path.stat().st_size != m.size):
        what = f"{missing[0]} is gone" if missing else "its size has changed"
        return Finding(m.name, False, needed, f"damaged, {what}: {path}", pull)
    return Finding(m.name, True, needed, f"{size}, SHA-256 was right when fetched ({m.role}): {path}")


def llm_cache() -> Finding:
    """Whether the cache of answered calls can be read, and its size. Without one everything works, at a price."""
    path = paths.llm_cache()
    if os.environ.get("P2M_NO_CACHE"):
        return Finding("LLM cache", True, False, "switched off by P2M_NO_CACHE")
    if not path.exists():
        return Finding("LLM cache", True, False, f"none yet; will be {path}")
    try:
        _open_cache(path)
    except (sqlite3.Error, OSError) as error:
        fix = f"move {path} away: only the answers it kept are lost"
        return Finding("LLM cache", False, False, f"cannot be read ({error}): {path}", fix)
    return Finding("LLM cache", True, False, f"{path.stat().st_size / 1e6:,.1f} MB, readable: {path}")


def _open_cache(path: Path) -> None:
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=1)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    finally:
        connection.close()
