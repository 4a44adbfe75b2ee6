"""Answers as text: what is written reads back, what is no answer is refused in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2m.outputs import Span, format_labels, format_number, format_spans, parse_labels, parse_number, parse_spans

LABELS = ["billing", "a, b", 'the "other"', "[]"]


@given(st.sets(st.sampled_from(LABELS)))
def test_a_label_set_reads_back_in_the_tasks_order(chosen: set[str]) -> None:
    text = format_labels(chosen, LABELS)
    if text != "[]":  # the empty set is written like the odd label: what is a label is one
        assert parse_labels(text, LABELS) == tuple(label for label in LABELS if label in chosen)


def test_one_label_is_a_set_of_one() -> None:
    assert parse_labels("billing") == ("billing",)
    assert parse_labels("[]") == ()
    assert parse_labels("[]", LABELS) == ("[]",)
    assert parse_labels("[1, 2]") == ("[1, 2]",)
    assert parse_labels("[billing") == ("[billing",)
    with pytest.raises(ValueError, match="'x' is not one of the labels"):
        format_labels(["x"], LABELS)


@given(st.sets(st.tuples(st.integers(0, 20), st.integers(1, 9), st.sampled_from("ab")), max_size=5))
def test_spans_read_back_sorted(places: set[tuple[int, int, str]]) -> None:
    source = "Zoë flew from São Tomé to Rome"
    spans = [Span(s, s + n, label, source[s : s + n]) for s, n, label in places]
    text = format_spans(reversed(spans))
    assert parse_spans(text, source) == tuple(sorted(spans))
    assert format_spans(parse_spans(text)) == text


def test_a_span_is_written_as_documented() -> None:
    assert format_spans([Span(3, 7, "city", "Rome")]) == '[{"text": "Rome", "label": "city", "start": 3, "end": 7}]'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Rome", "a JSON array such as"),
        ('{"text": "Rome"}', "a JSON array such as"),
        ('[{"text": "Rome", "label": "city"}]', "text, label, start and end"),
        ('["Rome"]', "text, label, start and end"),
        ('[{"text": "Rome", "label": "", "start": 3, "end": 7}]', "the label not empty"),
        ('[{"text": "Rome", "label": "city", "start": 7, "end": 3}]', "0 <= start < end"),
        ('[{"text": "Rome", "label": "city", "start": 3.0, "end": 7}]', "whole numbers"),
        ('[{"text": "Rome", "label": "city", "start": 0, "end": 4}]', "are 'to R', not 'Rome'"),
    ],
)
def test_what_is_no_span_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_spans(text, "to Rome")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_back(value: float) -> None:
    assert parse_number(format_number(value)) == value


def test_numbers_have_one_spelling() -> None:
    assert (format_number(4), format_number(-0.0), format_number(3.50)) == ("4.0", "0.0", "3.5")
    assert parse_number(" 1e2 ") == 100
    for text in ("nan", "inf", "four", ""):
        with pytest.raises(ValueError, match="no finite number"):
            parse_number(text)
    with pytest.raises(ValueError, match="no finite number"):
        format_number(float("inf"))
