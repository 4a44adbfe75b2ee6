"""The embedder that searches and mappings use where it has been pulled."""

from __future__ import annotations

from p2m.catalog.base import Embed


def default_embed() -> Embed | None:
    """The embedded pack's sentence embedder, the one that training uses too; None where it has not been pulled."""
    from p2m import pack
    from p2m.train.embed import DEFAULT_BASE, Embedder

    return Embedder.default().embed if pack.find(DEFAULT_BASE) else None


def bulk_embed() -> Embed | None:
    """The same for many texts that come once: what it embedded is not kept in memory."""
    from p2m import pack
    from p2m.train.embed import DEFAULT_BASE, Embedder

    return Embedder.default().encode if pack.find(DEFAULT_BASE) else None
