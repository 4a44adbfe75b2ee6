"""What both layouts share: the template environment, and how much of a long thing a report shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.plain import cut, duration, one_line
from agent.report.data import reason_words
from agent.report.facts import score_words, spent_words
from p2m import kinds

if TYPE_CHECKING:
    from jinja2 import Environment

    from agent.report.facts import Report

MOST_LABELS = 30
MOST_MATRIX = 16
MOST_CONFUSIONS = 15
LONGEST_TEXT = 300
LONGEST_RESULT = 4000
NO_THRESHOLD = "No confidence on validation is so high that the answers above it are right often enough to rely on."
ROLES = {"student": "student", "baseline": "baseline", "llm": "LLM"}
SPLITS = {"test": "Sealed test", "validation": "Validation"}


def environment(finalize: Callable[[Any], Any]) -> Environment:
    """Templates beside this file. ``finalize`` makes every value safe to stand in the page before it gets there."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(duration=duration, reason=reason_words, score=score_words, short=short, arguments=arguments)
    return made


def values(report: Report) -> dict[str, Any]:
    """The variables of both templates."""
    best = max(report.experiments, key=lambda e: e.score.value, default=None)
    return {
        "report": report,
        "task": report.task,
        "counted": kinds.of(report.task).counted,
        "spoken": kinds.of(report.task).spoken,
        "roles": ROLES,
        "splits": SPLITS,
        "spent": spent_words(report),
        "most_labels": MOST_LABELS,
        "chosen": report.delivered or (best.model if best else ""),
        "confusions": worst_confusions(report.confusion),
        "matrix": report.confusion if report.confusion and len(report.confusion["labels"]) <= MOST_MATRIX else None,
        "classes": sorted(report.per_class, key=lambda c: (c["f1"], c["label"])),
        "longest": LONGEST_RESULT,
        "abstaining": report.abstention.words() if report.abstention else NO_THRESHOLD,
    }


def worst_confusions(confusion: dict[str, Any] | None) -> list[tuple[str, str, int]]:
    """(gold, predicted, count) of the wrong cells, most first."""
    if not confusion:
        return []
    labels, matrix = confusion["labels"], confusion["matrix"]
    wrong = [
        (labels[i], labels[j], count) for i, row in enumerate(matrix) for j, count in enumerate(row) if i != j and count
    ]
    return sorted(wrong, key=lambda c: (-c[2], c[0], c[1]))[:MOST_CONFUSIONS]


def short(text: str, limit: int = LONGEST_TEXT) -> str:
    """``text`` on one line, cut."""
    return one_line(text, limit)


def arguments(values: dict[str, Any]) -> str:
    """A call's arguments as JSON, cut."""
    return cut(json.dumps(values, ensure_ascii=False, default=str), LONGEST_RESULT)
