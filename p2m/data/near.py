"""Rows that say the same: inside the training data, and between training and held-out data.

Three steps, each on what the one before let through: the same text but for case, spaces and punctuation (exact);
Jaccard similarity of shingles through MinHash LSH (near; Broder 1997, "On the resemblance and containment of
documents"); cosine of sentence embeddings (similar).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2m.rows import Row

if TYPE_CHECKING:
    import numpy as np

Embed = Callable[[Sequence[str]], "np.ndarray"]
"""Texts to unit vectors: float32 of shape (n, d)."""

# Measured on Banking77, HWU64 and SMS spam, 4,000 to 10,000 rows each: at 0.8, 2 to 4% of the rows have an earlier
# near-duplicate ("do I get a real card", "how do I get a real card") and at most 2% of the pairs differ in label; at
# 0.7 it is 3 to 11% of the rows, and up to 5% of the pairs.
NEAR = 0.8
# Measured with all-MiniLM-L6-v2 on 2,000 to 2,500 rows of five datasets. At 0.95 it finds 7% of Banking77, 3% of CLINC,
# 2% of HWU64, 1% of SMS spam and Snips, and none of 600 film-review sentences: the same said almost alike ("Where do I
# find my card PIN?", "Where is my card PIN?"). At 0.90 it would take 22% of Banking77, much of it worth training on
# ("Am I limited to what ATM I can use my card?", "What ATMs can I use my card?"); pairs that differ in label grow from
# 5 to 32.
SIMILAR = 0.95
# What the encoder reads of a text (256 word pieces): beyond it two texts could differ unseen.
LONGEST_EMBEDDED = 1000
PERMUTATIONS = 128
# 21 bands of 6: a pair at Jaccard 0.8 is a candidate with probability 0.998 (the library's own choice for 0.8 has
# 0.63); each candidate's true Jaccard is then computed, so false candidates cost time only.
BANDS = (21, 6)
BLOCK = 1024

_QUOTES = str.maketrans("’‘“”«»„", '\'\'"""""')
# Only at a word's edge: 3.5 and don't keep theirs; brackets and signs stay, since 1 + 2, 1 - 2 and :) mean something.
_MARKS = re.compile(r"(?<!\w)[.,;!?'\"…。、]+|(?<=\w)[.,;:!?'\"…。、]+(?!\w)")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Removed:
    """A row that was taken out. ``match`` is the text it repeats; empty for a held-out one, which is never shown."""

    row: Row
    reason: str
    match: str = ""


def samples(removed: Sequence[Removed], most: int = 20) -> list[dict[str, str]]:
    """The first of the removed rows as a report shows them: text cut to 200 characters, and reason."""
    return [{"input": r.row.input[:200], "reason": r.reason} for r in removed[:most]]


@dataclass(frozen=True)
class Admitted:
    """What passed, in the order given, and what did not."""

    kept: list[Row]
    removed: list[Removed]

    @property
    def counts(self) -> dict[str, int]:
        """Rows removed, by reason."""
        return dict(Counter(r.reason for r in self.removed))


def normalise(text: str) -> str:
    """``text`` in NFKC and lower case, with single spaces and without punctuation at the edges of words.

    A text of punctuation alone keeps it.
    """
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().translate(_QUOTES).split())
    return " ".join(_MARKS.sub(" ", plain).split()) or plain


class HeldOutGuard:
    """Keeps whatever is near-identical to a held-out text out of training.

    ``embed`` None skips the third step: paraphrases then pass. Reasons: ``held_out_exact``, ``held_out_near``,
    ``held_out_similar``. The row's answer does not matter: a held-out text with another label is no better.
    """

    def __init__(self, held_out_texts: Sequence[str], embed: Embed | None) -> None:
        self._embed = embed
        self._texts = list(dict.fromkeys(held_out_texts))
        self._exact = {normalise(t) for t in self._texts}
        self._near = _NearIndex()
        for number, signature in enumerate(_signatures(self._texts)):
            self._near.add(number, signature)

    def admit(self, rows: Sequence[Row]) -> Admitted:
        """Split ``rows`` into those that may train and those that repeat a held-out text."""
        reasons: dict[int, str] = {}
        for i, row in enumerate(rows):
            if normalise(row.input) in self._exact:
                reasons[i] = "held_out_exact"
        rest = [i for i in range(len(rows)) if i not in reasons]
        for i, signature in zip(rest, _signatures([rows[i].input for i in rest]), strict=True):
            if next(self._near.matches(signature), None) is not None:
                reasons[i] = "held_out_near"
        rest = [i for i in rest if i not in reasons]
        reasons |= {rest[k]: "held_out_similar" for k in self._similar([rows[i].input for i in rest])}
        kept = [row for i, row in enumerate(rows) if i not in reasons]
        return Admitted(kept, [Removed(rows[i], reasons[i]) for i in sorted(reasons)])

    def _similar(self, texts: list[str]) -> set[int]:
        """Positions in ``texts`` that a held-out text is a paraphrase of."""
        if self._embed is None:
            return set()
        new, old = _embeddable(texts), _embeddable(self._texts)
        if not new or not old:
            return set()
        # Held-out texts first, so that every pair of interest is (a new one, an earlier held-out one).
        together = [self._texts[j] for j in old] + [texts[i] for i in new]
        return {
            new[a - len(old)]
            for a, b in _similar_pairs(self._embed(together))
            if a >= len(old) > b and _numbers(together[a]) == _numbers(together[b])
        }


def deduplicate(rows: Sequence[Row], embed: Embed | None, earlier: Sequence[Row] = ()) -> Admitted:
    """Take out of ``rows`` what repeats another row or one of ``earlier``, which itself is never touched.

    Of two alike the real one stays (the user's, then a dataset's, then a generated one), of equals the earlier.
    Near and similar texts with different answers both stay: they draw the line between two labels. The same text
    with two answers cannot both be right, so there only the first stays. ``embed`` None skips the third step.
    Reasons: ``duplicate_exact``, ``duplicate_near``, ``duplicate_similar``.
    """
    pool = [*earlier, *rows]
    order = sorted(range(len(pool)), key=lambda i: (_rank(pool[i]), i))
    found: dict[int, tuple[str, int]] = {}

    def drop(i: int, reason: str, match: int) -> bool:
        if i >= len(earlier):
            found[i] = (reason, match)
        return i >= len(earlier)

    first: dict[str, int] = {}
    for i in order:
        match = first.setdefault(normalise(pool[i].input), i)
        if match != i:
            drop(i, "duplicate_exact", match)
    order = [i for i in order if i not in found]

    near = _NearIndex()
    for i, signature in zip(order, _signatures([pool[i].input for i in order]), strict=True):
        twin = next((j for j in near.matches(signature) if pool[j].output == pool[i].output), None)
        if twin is None or not drop(i, "duplicate_near", twin):
            near.add(i, signature)
    order = [i for i in order if i not in found]

    if embed is not None:
        texts = [pool[i].input for i in order]
        at = [order[k] for k in _embeddable(texts)]
        for a, b in _similar_pairs(embed([pool[i].input for i in at])) if at else ():
            i, j = at[a], at[b]
            alike = pool[i].output == pool[j].output and _numbers(pool[i].input) == _numbers(pool[j].input)
            if alike and i not in found and j not in found:
                drop(i, "duplicate_similar", j)

    kept = [row for i, row in enumerate(pool) if i >= len(earlier) and i not in found]
    removed = [Removed(pool[i], reason, pool[j].input) for i, (reason, j) in sorted(found.items())]
    return Admitted(kept, removed)


def _rank(row: Row) -> int:
    if row.source == "generated":
        return 2
    return 1 if row.source.startswith(("dataset:", "transformed:")) else 0


def _numbers(text: str) -> list[str]:
    """Encoders hardly tell 6169 from 6163 (cosine 0.95), but the numbers are often the point."""
    return sorted(_NUMBER.findall(text))


def _embeddable(texts: Sequence[str]) -> list[int]:
    return [i for i, text in enumerate(texts) if len(text) <= LONGEST_EMBEDDED]


def _similar_pairs(vectors: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs (i, j), j < i, of rows with cosine of at least ``SIMILAR``, by i then j."""
    import numpy as np

    for start in range(0, len(vectors), BLOCK):
        stop = min(start + BLOCK, len(vectors))
        later, before = np.nonzero(vectors[start:stop] @ vectors[:stop].T >= SIMILAR)
        later += start
        for i, j in zip(later.tolist(), before.tolist(), strict=True):
            if j < i:
                yield i, j


@dataclass(frozen=True)
class _Signature:
    shingles: frozenset[str]
    minhash: Hashable


def _signatures(texts: Sequence[str]) -> Iterator[_Signature]:
    """Shingles of each text (character 3-grams; and words, so that a changed word weighs more) and their MinHash."""
    from zlib import crc32

    from datasketch import MinHash

    every = []
    for text in texts:
        plain = normalise(text)
        padded = f" {plain} "
        grams = {padded[i : i + 3] for i in range(len(padded) - 2)}
        every.append(frozenset(grams | {f"#{word}" for word in plain.split()}))
    hashes = MinHash.generator(
        ([s.encode() for s in shingles] for shingles in every), num_perm=PERMUTATIONS, seed=1, hashfunc=crc32
    )
    return (_Signature(s, h) for s, h in zip(every, hashes, strict=True))


class _NearIndex:
    """Signatures by LSH band; a match is confirmed by the true Jaccard similarity."""

    def __init__(self) -> None:
        from datasketch import MinHashLSH

        self._lsh = MinHashLSH(num_perm=PERMUTATIONS, params=BANDS)
        self._shingles: dict[int, frozenset[str]] = {}

    def add(self, key: int, signature: _Signature) -> None:
        self._lsh.insert(key, signature.minhash)
        self._shingles[key] = signature.shingles

    def matches(self, signature: _Signature) -> Iterator[int]:
        """Keys of the texts with a Jaccard similarity of at least ``NEAR``, lowest first."""
        mine = signature.shingles
        for key in sorted(self._lsh.query(signature.minhash)):
            other = self._shingles[key]
            if len(mine & other) >= NEAR * len(mine | other):
                yield key
