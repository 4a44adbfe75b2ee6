"""The embedder that searches and mappings use where it has been pulled."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from p2m.catalog.base import Embed


def default_embed() -> Embed | None:
    """The embedded pack's sentence embedder, loaded once a process; None where it has not been pulled."""
    from p2m import pack
    from p2m.train.embed import DEFAULT_BASE

    folder = pack.find(DEFAULT_BASE)
    return _embedder(folder) if folder else None


@lru_cache(maxsize=1)
def _embedder(folder: Path) -> Embed:
    from p2m.train.embed import Embedder

    return Embedder(folder).embed
