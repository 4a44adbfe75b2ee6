"""The score on parts of the rows: short, middling and long inputs, and each source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from p2m.evaluate.intervals import Estimate, interval
from p2m.evaluate.metrics import Answer
from p2m.outputs import parse_labels
from p2m.rows import Row
from p2m.task.spec import Metric

# An interval on fewer rows is half of the scale wide.
FEWEST = 10
LENGTHS = ("short", "middling", "long")


@dataclass(frozen=True)
class Slice:
    """The rows of ``name``, by ``by`` (``length`` or ``source``). ``low``: they score clearly below the whole, that
    is, their interval lies below the score on all rows."""

    by: str
    name: str
    estimate: Estimate
    low: bool

    def as_dict(self) -> dict[str, Any]:
        """For a journal; ``of_dict`` reads it back."""
        return asdict(self)

    @classmethod
    def of_dict(cls, raw: Mapping[str, Any]) -> Slice:
        """From what ``as_dict`` gave."""
        return cls(raw["by"], raw["name"], Estimate(**raw["estimate"]), raw["low"])


def slices(
    metric: Metric,
    rows: Sequence[Row],
    predictions: Sequence[Answer],
    *,
    labels: Sequence[str] = (),
    confidence: float = 0.95,
) -> list[Slice]:
    """``metric`` by thirds of the input's length in characters and, where rows have several, by source.

    A part of fewer than 10 rows is left out; so is a division of which one part is left, the whole. Label metrics
    average over the labels that a part has: a label that never occurs in it is no failure.
    """
    whole = interval(metric, *_answers(rows, predictions), labels=labels, also=_also(rows), confidence=confidence)
    found = []
    for by, parts in (("length", _lengths(rows)), ("source", _sources(rows))):
        large = [(name, places) for name, places in parts if len(places) >= FEWEST]
        for name, places in large if len(large) > 1 else ():
            chosen, said = [rows[i] for i in places], [predictions[i] for i in places]
            there = {label for r in chosen for label in parse_labels(r.output, labels)} if labels else set()
            golds, answers = _answers(chosen, said)
            part = interval(
                metric,
                golds,
                answers,
                labels=[x for x in labels if x in there],
                also=_also(chosen),
                confidence=confidence,
            )
            found.append(Slice(by, name, part, part.high < whole.value))
    return found


def _answers(rows: Sequence[Row], predictions: Sequence[Answer]) -> tuple[list[str], list[Answer]]:
    return [r.output for r in rows], list(predictions)


def _also(rows: Sequence[Row]) -> list[list[str]] | None:
    others = [list(r.meta.get("also", ())) for r in rows]
    return others if any(others) else None


def _lengths(rows: Sequence[Row]) -> Iterator[tuple[str, list[int]]]:
    """Thirds by length; rows of one length are in one third."""
    lengths = sorted(len(r.input) for r in rows)
    ends = [lengths[-(-len(rows) * part // 3) - 1] for part in (1, 2, 3)]
    least = 0
    for name, end in zip(LENGTHS, ends, strict=True):
        places = [i for i, r in enumerate(rows) if least <= len(r.input) <= end]
        if places:
            yield f"{name} (up to {end} characters)" if name != LENGTHS[-1] else f"{name} (from {least})", places
        least = end + 1


def _sources(rows: Sequence[Row]) -> Iterator[tuple[str, list[int]]]:
    for source in dict.fromkeys(r.source for r in rows):
        yield source, [i for i, r in enumerate(rows) if r.source == source]
