"""What is wrong with generated answers on validation, so that the next rows can be aimed at it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from p2m.evaluate.errors import Fault
from p2m.evaluate.metrics import row_scores
from p2m.rows import Row

TEXTS_A_FAULT = 3
TEXT_LENGTH = 120
# A sentence's chrF++ from here on is the same answer in slightly other words.
GOOD = 0.8
TOO_LONG, TOO_SHORT = 2.0, 0.5


@dataclass(frozen=True)
class TextErrors:
    """Of ``n`` rows ``exact`` are answered word for word; each other one that is not ``GOOD`` is in one of ``faults``,
    most first. ``brief`` asks for rows against the commonest; empty where nothing is wrong."""

    n: int
    exact: int
    faults: tuple[Fault, ...]
    brief: str

    @property
    def wrong(self) -> int:
        return sum(fault.count for fault in self.faults)


def analyse_texts(rows: Sequence[Row], predictions: Sequence[str]) -> TextErrors:
    """Each wrong row under the first fault that it has; of each fault the worst by the sentence's chrF++.

    ``rows`` are validation rows: never call it on the sealed test where the planner sees the result.
    """
    golds, also = [r.output for r in rows], [r.meta.get("also", ()) for r in rows]
    same = [score == 1 for score in row_scores("exact_match", golds, predictions, also)]
    scores = sentence_chrf(golds, predictions, also)
    found: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        if not same[i] and scores[i] < GOOD:
            found.setdefault(_fault(row, predictions[i]), []).append(i)
    faults = []
    for name, members in sorted(found.items(), key=lambda item: -len(item[1])):
        worst = sorted(members, key=lambda i: scores[i])[:TEXTS_A_FAULT]
        shown = tuple(f"{_cut(rows[i].input)} → {_cut(predictions[i])} (right: {_cut(golds[i])})" for i in worst)
        faults.append(Fault(name, len(members), shown))
    brief = _BRIEFS.get(faults[0].name, "") if faults else ""
    return TextErrors(len(rows), int(sum(same)), tuple(faults), brief)


def sentence_chrf(
    golds: Sequence[str], predictions: Sequence[str], also: Sequence[Sequence[str]] | None = None
) -> list[float]:
    """chrF++ of each answer against its best right one, as a fraction of 1 (see ``p2m.evaluate.metrics``)."""
    from sacrebleu.metrics import CHRF

    chrf = CHRF(word_order=2)
    others = also or [()] * len(golds)
    return [
        float(chrf.sentence_score(said, [gold, *more]).score) / 100
        for gold, said, more in zip(golds, predictions, others, strict=True)
    ]


def _fault(row: Row, said: str) -> str:
    return next(name for name, has in _FAULTS.items() if has(row, said))


def _copies(row: Row, said: str) -> bool:
    return _plain(said) == _plain(row.input)


def _script(text: str) -> str:
    """The script of most letters: the first word of their Unicode names (LATIN, CYRILLIC, CJK)."""
    names = [unicodedata.name(c, "?").partition(" ")[0] for c in text if c.isalpha()]
    return max(sorted(set(names)), key=names.count) if names else ""


def _other_script(row: Row, said: str) -> bool:
    ours, theirs = _script(said), _script(row.output)
    return bool(ours and theirs) and ours != theirs


def _numbers(text: str) -> list[str]:
    return sorted(re.findall(r"\d+(?:[.,]\d+)*", text))


_FAULTS: dict[str, Callable[[Row, str], bool]] = {
    "empty answers": lambda row, said: not said.strip(),
    "the input copied": _copies,
    "another script than the right answer's": _other_script,
    "repeats itself": lambda row, said: _loops(said),
    "more than twice as long as the right answer": lambda row, said: len(said) > TOO_LONG * len(row.output) + 10,
    "less than half as long as the right answer": lambda row, said: len(said) < TOO_SHORT * len(row.output),
    "wrong numbers": lambda row, said: _numbers(said) != _numbers(row.output),
    "other words than the right answer": lambda row, said: True,
}
_BRIEFS = {
    "empty answers": "inputs of the kinds that are easily left unanswered: unusual, short, or without a hint",
    "the input copied": "inputs whose answer differs clearly from the input",
    "another script than the right answer's": "inputs whose answer is in another script or language than they are",
    "repeats itself": "inputs with long answers that have several different parts",
    "more than twice as long as the right answer": "inputs whose right answer is short, though they are long",
    "less than half as long as the right answer": "long inputs with several parts that must all be in the answer",
    "wrong numbers": "inputs with numbers, amounts or dates that the answer must get right",
    "other words than the right answer": "inputs with names, words or constructions that the examples do not have",
}


def _loops(text: str) -> bool:
    """Whether the end of ``text`` is one piece three times or more."""
    return bool(re.search(r"(.{2,40}?)\1{2,}\W*$", " ".join(text.split())[-200:]))


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _cut(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= TEXT_LENGTH else f"{flat[: TEXT_LENGTH - 1]}…"
