"""Several columns as one input, and nothing but columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2m.catalog.folder import FolderCatalog
from p2m.catalog.importing import Recipe, map_rows
from p2m.catalog.template import parse_template
from p2m.errors import BadInput
from tests.catalog_folder import make

COLUMNS = ("premise", "hypothesis", "n", "a.b", "label")


def test_columns_are_filled_in_and_values_stand_as_they_are() -> None:
    template = parse_template("Premise: {premise}\nHypothesis: {hypothesis} {{n}} {n}", COLUMNS)
    assert template.columns == ("premise", "hypothesis", "n")
    record = {"premise": " it {rains} ", "hypothesis": "{premise} }}", "n": 3}
    assert template.fill(record) == "Premise: it {rains}\nHypothesis: {premise} }} {n} 3"
    assert parse_template("{a.b}", COLUMNS).fill({"a.b": "x"}) == "x"


@pytest.mark.parametrize("value", [None, "", "  ", ["a"], {"a": 1}])
def test_a_record_without_a_value_has_no_text(value: object) -> None:
    assert parse_template("{premise}", COLUMNS).fill({"premise": value}) is None
    assert parse_template("{premise}", COLUMNS).fill({}) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{premise", "single {"),
        ("premise}", "single }"),
        ("{nope}", "no column 'nope'"),
        ("{premise.__class__}", "no column"),
        ("{premise[0]}", "no column"),
        ("{premise!r}", "no column"),
        ("{premise:>9}", "no column"),
        ("{{{{{premise}", None),
        ("{}", "no column ''"),
        ("plain text", "names no column"),
        ("{premise}" + "x" * 500, "at most 500"),
        ("{__import__('os').system('true')}", "no column"),
    ],
)
def test_only_columns_can_be_named(text: str, problem: str | None) -> None:
    if problem is None:
        assert parse_template(text, COLUMNS).fill({"premise": "p"}) == "{{p"
        return
    with pytest.raises(BadInput, match=problem):
        parse_template(text, COLUMNS)


def test_rows_are_made_of_two_columns(tmp_path: Path) -> None:
    rows = [
        {"premise": "A dog runs.", "hypothesis": "An animal moves.", "label": "yes"},
        {"premise": "A dog runs.", "hypothesis": None, "label": "no"},
        {"premise": "x" * 1500, "hypothesis": "y" * 600, "label": "no"},
    ]
    make(tmp_path, "a/nli", rows=rows)
    recipe = Recipe("premise", "label", template="P: {premise}\nH: {hypothesis}")
    mapped = map_rows(FolderCatalog(tmp_path), "a/nli", "train", recipe)
    assert [r.input for r in mapped.rows] == ["P: A dog runs.\nH: An animal moves."]
    assert mapped.removed == {"empty": 1, "too_long": 1}
