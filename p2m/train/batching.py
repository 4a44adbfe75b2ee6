"""Batches of near-equal length under a token budget, so that little of a batch is padding."""

from __future__ import annotations

import random
from collections.abc import Sequence


def token_batches(
    lengths: Sequence[int],
    tokens: int,
    *,
    rows: int | None = None,
    rng: random.Random | None = None,
    even: bool = False,
) -> list[list[int]]:
    """Group the indices of ``lengths`` into batches of similar length, each at most ``tokens`` when padded.

    ``rows`` bounds the rows of a batch. Without ``rng`` the batches come longest first (an out-of-memory shows at
    once). With ``rng`` rows of equal length are shuffled before they are grouped and the batches come in random
    order. A row longer than ``tokens`` is a batch by itself. ``even`` ends a batch that is a quarter full where lengths
    change: of many rows most batches then have no padding, and attention needs no mask.
    """
    order = list(range(len(lengths)))
    if rng is not None:
        rng.shuffle(order)  # the sort below is stable: this order decides among equals
    order.sort(key=lambda i: -lengths[i])
    batches: list[list[int]] = []
    widest = padded = 0
    for i in order:
        full = not batches or padded + widest > tokens or (rows and len(batches[-1]) >= rows)
        if full or (even and lengths[i] < widest and 4 * padded >= tokens):
            batches.append([])
            widest, padded = lengths[i], 0
        batches[-1].append(i)
        padded += widest
    if rng is not None:
        rng.shuffle(batches)
    return batches
