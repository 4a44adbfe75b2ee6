"""Curves, bars and answers in characters: what is drawn without a screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.answers import from_words, in_words, typed
from agent.compare import compare
from agent.tryout import spans_of
from agent.tui.curve import POINT, SPAN, curve
from agent.tui.drawings import drawing
from agent.tui.feed import why_so_far
from agent.tui.safe import cell, line, markdown, text
from agent.tui.tryit import shown
from p2m.errors import BadInput
from p2m.task.spec import TaskSpec
from tests.scripted_run import finished_run


def test_the_curve_has_a_point_an_interval_and_the_target(tmp_path: Path) -> None:
    state, _ = finished_run(tmp_path / "run")
    rows = curve(state.workspace.experiments, 0.82, 40, 11)
    assert len(rows) == 11 and all(len(row) <= 40 for row in rows)
    assert sum(row.count(POINT) for row in rows) == 2 and any(SPAN in row for row in rows)
    across = [row for row in rows[1:-2] if "─" in row]
    assert len(across) == 1 and "0.82" in across[0]
    later, earlier = (next(n for n, row in enumerate(rows) if row[place:].count(POINT)) for place in (25, 0))
    assert later <= earlier, "the second experiment is better, so higher"
    assert curve((), 0.8, 40, 11) == []


def test_results_are_drawn_for_what_they_are(tmp_path: Path) -> None:
    state, _ = finished_run(tmp_path / "run")
    drawn = {c.tool: drawing(c.tool, c.data or {}) for c in state.calls if c.finished and not c.error}
    assert "recall on validation" in drawn["fine_tune"].plain  # type: ignore[union-attr]
    confusion = drawn["deliver"].plain  # type: ignore[union-attr]
    assert "abbreviation" in confusion and "majority" in confusion and "28" in confusion
    assert "entity taken for description, 7 times" in drawn["evaluate"].plain  # type: ignore[union-attr]
    assert drawn["search_datasets"] is None


def test_experiments_are_compared_field_by_field(tmp_path: Path) -> None:
    state, store = finished_run(tmp_path / "run")
    first, second = (e.model for e in state.workspace.experiments)
    found = {d.what: d for d in compare(state, store, first, second)}
    assert found["method"].first == "frozen" and found["method"].second == "full"
    assert found["accuracy"].change == "+0.127" and found["data"].change == "+ds_dddd0004"


def test_a_stream_of_json_shows_its_reason_only() -> None:
    whole = '{"why": "Labels are \\"fresh\\", so I check", "tool": "check_labels"}'
    said = [why_so_far(whole[:n]) for n in range(len(whole) + 1)]
    assert said[-1] == 'Labels are "fresh", so I check'
    assert all(not s.startswith("{") for s in said if s != "{" * len(s))
    assert why_so_far("I would rather say it") == "I would rather say it"


def test_hostile_text_is_text() -> None:
    bad = "[red]x[/] \x1b[2J\x07\u202e"
    assert text(bad).plain == line(bad).plain + " " == "[red]x[/] " and cell(bad).plain == "[red]x[/]"
    assert markdown("<script> ![p](u) [l](http://x)") == "\\<script> !\\[p]\\(u) [l]\\(http://x)"


def answer(kind: str, output: str, **more: Any) -> dict[str, Any]:
    near = [{"text": "a [b]bold[/b] row", "output": output, "from": "written by the teacher", "similarity": 0.91}]
    return {"kind": kind, "output": output, "probs": None, "spans": [], "nearest": near, **more}


def test_an_answer_of_the_model() -> None:
    said = shown("where?", answer("classify", "place", probs={"place": 0.9, "person": 0.1})).plain
    assert " 90.0% ##################.. place" in said and "0.91  place  a [b]bold[/b] row" in said
    assert "no model" in shown("", {"error": "no model"}).plain


def test_an_answer_of_every_kind() -> None:
    both = shown("it fails", answer("multi_label", '["bug", "billing"]', probs={"bug": 0.8, "billing": 0.7})).plain
    assert "bug, billing" in both and " 70.0%" in both
    assert "none of the labels" in shown("it fails", answer("multi_label", "[]")).plain
    text = "Ann of Rome"
    output = '[{"text": "Rome", "label": "city", "start": 7, "end": 11}]'
    spans = shown(text, answer("extract", output, spans=spans_of("extract", text, output))).plain
    assert "Ann of [Rome]" in spans and "city" in spans and "0.91  Rome = city" in spans
    asked = "question: Where?\ncontext: Ann lives in Rome."
    read = shown(asked, answer("read", "Rome", spans=spans_of("read", asked, "Rome"))).plain
    assert "Ann lives in [Rome]." in read
    assert "no answer in the text" in shown(asked, answer("read", "")).plain
    rated = shown("fine", answer("score", "4"), (1, 5)).plain
    assert "4  1 ###############..... 5" in rated
    assert "two\nlines" in shown("x", answer("generate", "two\nlines")).plain


KINDS: dict[str, TaskSpec] = {
    "classify": TaskSpec(name="t", instruction="i", kind="classify", labels=("a", "b")),
    "multi_label": TaskSpec(name="t", instruction="i", kind="classify", labels=("a", "b"), multi_label=True),
    "extract": TaskSpec(name="t", instruction="i", kind="extract", labels=("city", "person")),
    "read": TaskSpec(name="t", instruction="i", kind="extract"),
    "generate": TaskSpec(name="t", instruction="i", kind="generate"),
    "score": TaskSpec(name="t", instruction="i", kind="score", scale=(1, 5)),
}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        *(("classify", "a"), ("multi_label", "b, a"), ("multi_label", ""), ("extract", "Rome = city; Ann = person")),
        *(("extract", ""), ("read", "Rome"), ("generate", "anything"), ("score", "2.5")),
    ],
)
def test_what_a_person_types_is_an_answer_and_is_shown_again(kind: str, said: str) -> None:
    output = from_words(KINDS[kind], "Ann of Rome", said)
    again = from_words(KINDS[kind], "Ann of Rome", typed(kind, output))
    assert again == output and in_words(kind, output)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        *(("classify", "c"), ("multi_label", "a, c"), ("extract", "Oslo = city"), ("extract", "Rome = town")),
        *(("read", "Oslo"), ("generate", " "), ("score", "six"), ("score", "6")),
    ],
)
def test_what_is_no_answer_is_refused(kind: str, said: str) -> None:
    with pytest.raises(BadInput, match="is no answer here"):
        from_words(KINDS[kind], "Ann of Rome", said)
