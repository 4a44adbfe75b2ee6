"""Answers matched to labels, and the examples shown to a teacher, at their edges."""

from __future__ import annotations

import pytest

from p2m.generate.label import SHOT_CHARACTERS, match_label, shots
from p2m.task.spec import Example


@pytest.mark.parametrize(
    ("answer", "labels", "expected"),
    [
        ("C++", ("C", "C++"), "C++"),
        ('"C"', ("C", "C++"), "C"),
        (":)", (":)", ":("), ":)"),
        ("", (":)", ":("), None),
        ("Label: card_arrival.", ("card_arrival", "card"), "card_arrival"),
        ("good or bad", ("good", "bad"), None),
        ("SCHLECHT", ("gut", "schlecht"), "schlecht"),
    ],
)
def test_an_answer_is_matched_to_a_label(answer: str, labels: tuple[str, ...], expected: str | None) -> None:
    assert match_label(answer, labels) == expected


def test_long_examples_do_not_fill_a_small_context() -> None:
    long = [Example(input=f"{i} " + "word " * 500, output=("good", "bad")[i % 2]) for i in range(40)]
    shown = shots(long)
    assert sum(len(e.input) for e in shown) <= SHOT_CHARACTERS
    assert {e.output for e in shown} == {"good", "bad"}
    assert len(shots([Example(input="short", output="good")] * 40)) == 32
