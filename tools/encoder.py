"""The encoder that tools compare texts with."""

from __future__ import annotations

from p2m.data.near import Embed


def find_encoder() -> Embed | None:
    """The embedded pack's encoder, or None where it has not been pulled: then a tool compares letters only."""
    from p2m import pack
    from p2m.train.embed import DEFAULT_BASE, Embedder

    return Embedder.default().embed if pack.find(DEFAULT_BASE) else None
