"""Which label of a dataset is which label of the task, judged by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2m.catalog.base import Embed

if TYPE_CHECKING:
    import numpy as np

# Measured on pairs of label names with all-MiniLM-L6-v2: "human"/"person" 0.76, "weather"/"get weather" 0.77, but
# "positive"/"negative" 0.71 and "play music"/"play radio" 0.69.
SIMILAR = 0.74
SHARED_WORDS = 0.6
_STOP = {"a", "an", "and", "at", "by", "for", "from", "in", "is", "it", "my", "of", "on", "or", "the", "to", "with"}
_GENERIC = {"category", "class", "get", "intent", "label", "message", "query", "question", "request", "text", "type"}
_NEGATION = {"no", "non", "not", "without", "un", "never", "none"}


@dataclass(frozen=True)
class Match:
    """The task's label for a dataset's value; ``similarity`` in (0, 1]; ``how`` is
    exact, words, card, meaning or elimination."""

    label: str
    similarity: float
    how: str


def normalise(name: str) -> str:
    """``getWeather``, ``get_weather`` and ``Get Weather?`` are one name: ``get weather``."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return " ".join(re.sub(r"[\W_]+", " ", spaced).casefold().split())


def words(name: str) -> frozenset[str]:
    """The words of a name that carry its meaning, without plural s."""
    every = [w for w in normalise(name).split() if w not in _STOP]
    telling = [w for w in every if w not in _GENERIC] or every
    return frozenset(w[:-1] if len(w) > 3 and w.endswith("s") and not w.endswith("ss") else w for w in telling)


def match_labels(
    labels: Sequence[str], values: Sequence[str], embed: Embed | None = None, about: str = ""
) -> dict[str, Match]:
    """Dataset value -> the task's label it stands for, one to one; a value without a counterpart is left out.

    The assignment maximises the sum of similarities (Hungarian algorithm, ``scipy.optimize.linear_sum_assignment``).
    What names leave open is settled by ``about``, the card's text, which may gloss a value ("legitimate (ham)"), and
    by elimination: "not spam" is what is not "spam", and one label left over of three or more is the one value left.
    """
    from scipy.optimize import linear_sum_assignment

    values = list(dict.fromkeys(values))
    if not labels or not values:
        return {}
    scores, how = _similarities(labels, values, embed)
    found = {}
    for i, j in zip(*linear_sum_assignment(-scores), strict=True):
        if scores[i, j] > 0:
            found[values[j]] = Match(labels[i], round(float(scores[i, j]), 3), how[i][j])
    for value in [v for v in values if v not in found]:
        known = _glosses(about, value)
        left = [label for label in labels if normalise(label) in known and not _taken(label, found)]
        if left:
            found[value] = Match(left[0], 0.9, "card")
    return _eliminate(labels, values, found)


def _taken(label: str, found: dict[str, Match]) -> bool:
    return any(m.label == label for m in found.values())


def _eliminate(labels: Sequence[str], values: Sequence[str], found: dict[str, Match]) -> dict[str, Match]:
    open_labels = [label for label in labels if not _taken(label, found)]
    open_values = [v for v in values if v not in found]
    if len(open_labels) != 1 or len(open_values) != 1:
        return found
    others = {word for m in found.values() for word in words(m.label)}
    negates = words(open_labels[0]) - _NEGATION == others and words(open_labels[0]) & _NEGATION
    if negates or len(labels) >= 3:
        found[open_values[0]] = Match(open_labels[0], 0.8 if negates else 0.6, "elimination")
    return found


def _glosses(about: str, value: str) -> frozenset[str]:
    """What a card calls a value: the word before it in ``legitimate (ham)``, or after it in ``0 = negative``."""
    quoted = rf"['\"`]?{re.escape(value)}['\"`]?"
    before = re.findall(rf"([\w-]+)\s*\(\s*{quoted}\s*\)", about, re.IGNORECASE)
    after = re.findall(rf"(?<![\w-]){quoted}\s*(?:=|:|means\b|for\b)\s*([\w-]+)", about, re.IGNORECASE)
    return frozenset(normalise(word) for word in (*before, *after))


def _similarities(
    labels: Sequence[str], values: Sequence[str], embed: Embed | None
) -> tuple[np.ndarray, list[list[str]]]:
    """Similarity of each label to each value, 0 where it is under the threshold; and how it was judged."""
    import numpy as np

    meaning = np.zeros((len(labels), len(values)))
    names, targets = [normalise(x) for x in labels], [normalise(x) for x in values]
    open_labels = [i for i, name in enumerate(names) if name not in set(targets)]
    if embed is not None and open_labels:
        vectors = unit(embed([*(names[i] or " " for i in open_labels), *(t or " " for t in targets)]))
        meaning[open_labels] = vectors[: len(open_labels)] @ vectors[len(open_labels) :].T
    scores = np.zeros_like(meaning)
    how = [[""] * len(values) for _ in labels]
    for i, label in enumerate(labels):
        for j, value in enumerate(values):
            scores[i, j], how[i][j] = _pair(label, value, float(meaning[i, j]))
    return scores, how


def _pair(label: str, value: str, meaning: float) -> tuple[float, str]:
    if label == value:
        return 1.0, "exact"
    if normalise(label) == normalise(value):
        return 0.99, "exact"
    a, b = words(label), words(value)
    if (a & _NEGATION) != (b & _NEGATION):
        return 0.0, ""
    if a == b:
        return 0.95, "words"
    if _abbreviates(label, value) or _abbreviates(value, label):
        return 0.85, "words"
    shared = 0.9 * len(a & b) / len(a | b)
    if shared >= SHARED_WORDS:
        return max(shared, min(meaning, 0.94)), "words"
    return (min(meaning, 0.94), "meaning") if meaning >= SIMILAR else (0.0, "")


def _abbreviates(short: str, long: str) -> bool:
    """``neg`` for negative, ``HUM`` for human: a start of at least three letters, one word each."""
    a, b = normalise(short), normalise(long)
    return len(a) >= 3 and " " not in a + b and b.startswith(a)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of ``vectors`` (n, d) scaled to length 1."""
    import numpy as np

    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
