"""Metrics of generated and extracted text: exact match, chrF++, ROUGE-L, and SQuAD's exact match and F1."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from p2m.evaluate.counted import Counted

if TYPE_CHECKING:
    import numpy as np

Answer = str | None
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_CHRF_BETA = 2.0


def exact(prediction: str, gold: str) -> float:
    """1 where both are the same but for spaces at the ends and runs of spaces."""
    return float(prediction.split() == gold.split())


def squad_em(prediction: str, gold: str) -> float:
    """1 where both are the same after SQuAD's normalisation: case, punctuation, articles, spaces.

    Rajpurkar et al. 2016, "SQuAD: 100,000+ Questions for Machine Comprehension of Text", and its evaluation script.
    """
    return float(_squad_tokens(prediction) == _squad_tokens(gold))


def squad_f1(prediction: str, gold: str) -> float:
    """F1 of the words in both, after the same normalisation; where a side has none ``squad_em``, as in SQuAD 2.0."""
    said, right = _squad_tokens(prediction), _squad_tokens(gold)
    if not said or not right:
        return float(said == right)
    shared = sum((Counter(said) & Counter(right)).values())
    return 2 * shared / (len(said) + len(right))


def rouge_l(prediction: str, gold: str) -> float:
    """ROUGE-L F1 (Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries") as ``rouge_score`` counts it.

    Its words are runs of a to z and digits, in lower case and not stemmed: in other scripts there are none.
    """
    said, right = (re.findall(r"[a-z0-9]+", text.lower()) for text in (prediction, gold))
    return 2 * _common(said, right) / (len(said) + len(right)) if said and right else 0.0


def best(
    measure: Callable[[str, str], float],
    golds: Sequence[str],
    predictions: Sequence[Answer],
    also: Sequence[Sequence[str]] | None = None,
) -> list[float]:
    """``measure`` of each prediction and the right answer that it fits best; 0 for no answer."""
    others = also or [()] * len(golds)
    return [
        0.0 if p is None else max(measure(p, answer) for answer in (g, *a))
        for g, p, a in zip(golds, predictions, others, strict=True)
    ]


def chrf(golds: Sequence[str], predictions: Sequence[Answer], also: Sequence[Sequence[str]] | None = None) -> Counted:
    """chrF++ of the corpus (Popović 2017, "chrF++: words helping character n-grams"; sacrebleu, word order 2) over 100.

    Each row counts its n-grams against the right answer that it fits best, as sacrebleu's own bootstrap does.
    """
    import numpy as np
    from sacrebleu.metrics import CHRF

    answers = [[g, *(also[i] if also else ())] for i, g in enumerate(golds)]
    most = max(map(len, answers))
    # sacrebleu's shape: streams of one reference a row, None where a row has fewer.
    streams: list[list[str | None]] = [[a[k] if k < len(a) else None for a in answers] for k in range(most)]
    metric: Any = CHRF(word_order=2)
    counts = metric._extract_corpus_statistics([p or "" for p in predictions], streams)
    return Counted(np.array(counts, dtype=float), _chrf_of)


def _chrf_of(sums: np.ndarray) -> np.ndarray:
    """From (said, right, shared) n-grams of each order: F2 of mean precision and recall, over the orders there are."""
    import numpy as np

    said, right, shared = (sums[..., part::3] for part in range(3))
    there = (said > 0) & (right > 0)
    orders = np.maximum(there.sum(axis=-1), 1)
    precision = np.where(there, shared / np.maximum(said, 1), 0.0).sum(axis=-1) / orders
    recall = np.where(there, shared / np.maximum(right, 1), 0.0).sum(axis=-1) / orders
    below = _CHRF_BETA**2 * precision + recall
    return np.where(below > 0, (1 + _CHRF_BETA**2) * precision * recall / np.where(below > 0, below, 1.0), 0.0)


def _squad_tokens(text: str) -> list[str]:
    return re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(_PUNCTUATION)).split()


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence: bits of one big integer in place of a table.

    Hyyrö 2004, "Bit-parallel LCS-length computation revisited".
    """
    places: dict[str, int] = {}
    for i, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << i
    everywhere = (1 << len(one)) - 1
    row = everywhere
    for word in other:
        matched = row & places.get(word, 0)
        row = (row + matched | row - matched) & everywhere
    return len(one) - row.bit_count()
