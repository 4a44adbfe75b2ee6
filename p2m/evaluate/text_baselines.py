"""What there is without a student where answers are text: the input itself, and the nearest known one's answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from p2m.rows import Row

if TYPE_CHECKING:
    from p2m.train.embed import Embedder

# Similarities of this many texts with all rows at once.
CHUNK = 1024


def copied(texts: Sequence[str]) -> list[str]:
    """Each input as its own answer: what a task that changes little has to beat."""
    return list(texts)


def nearest_answers(train: Sequence[Row], texts: Sequence[str], embedder: Embedder) -> list[str]:
    """The answer of the row of ``train`` whose input is nearest to each text, by cosine of sentence embeddings; of
    equals the first."""
    import numpy as np

    known = embedder.embed([row.input for row in train])
    found: list[str] = []
    for start in range(0, len(texts), CHUNK):
        near = np.argmax(embedder.embed(texts[start : start + CHUNK]) @ known.T, axis=1)
        found += [train[int(i)].output for i in near]
    return found


def run_text_baselines(train: Sequence[Row], texts: Sequence[str], embedder: Embedder) -> list[tuple[str, list[str]]]:
    """Each system's name and its answers; without rows to know there is only the copy."""
    found = [("copy of the input", copied(texts))]
    if train:
        found.append(("answer of the nearest row", nearest_answers(train, texts, embedder)))
    return found
