"""Columns and labels of a dataset as those of the task."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from p2m.catalog.agreement import agreement
from p2m.catalog.base import Card, Embed
from p2m.catalog.folder import FolderCatalog
from p2m.catalog.importing import Recipe, balanced, map_rows, parse_filter
from p2m.catalog.labels import match_labels, normalise
from p2m.catalog.mapping import Mapping, propose_mapping
from p2m.catalog.profile import Column, Profile
from p2m.errors import BadInput
from p2m.rows import Row
from p2m.task.spec import Example, TaskSpec
from tests.catalog_folder import make


def labels_of(
    labels: Sequence[str], values: Sequence[str], about: str = "", embed: Embed | None = None
) -> dict[str, str]:
    return {value: m.label for value, m in match_labels(labels, values, embed, about).items()}


@pytest.mark.parametrize("value", ["card_arrival", "Card Arrival", "card-arrival", "cardArrival", "CARD_ARRIVAL?"])
def test_spelling_does_not_matter(value: str) -> None:
    assert normalise(value) == "card arrival"
    assert labels_of(["card arrival", "exchange rate"], ["other", value]) == {value: "card arrival"}


@pytest.mark.parametrize(
    ("labels", "values", "expected"),
    [
        (["set alarm", "play music"], ["alarm_set", "music_query"], {"alarm_set": "set alarm"}),
        (["weather", "news"], ["weather_query", "news_query"], {"weather_query": "weather", "news_query": "news"}),
        (["positive", "negative"], ["pos", "neg"], {"pos": "positive", "neg": "negative"}),
        (["lost or stolen card", "x y"], ["lost_card", "z"], {"lost_card": "lost or stolen card"}),
        (["spam", "not spam"], ["spam", "ham"], {"spam": "spam", "ham": "not spam"}),
        (["spam", "not spam"], ["spam", "ham", "smishing"], {"spam": "spam"}),
        (["positive", "negative"], ["positive", "neutral"], {"positive": "positive"}),
        (["human", "number", "entity"], ["HUM", "NUM", "ENTY"], {"HUM": "human", "NUM": "number", "ENTY": "entity"}),
        (["positive", "negative"], ["play_music", "weather_query"], {}),
    ],
)
def test_names_alone(labels: list[str], values: list[str], expected: dict[str, str]) -> None:
    assert labels_of(labels, values) == expected


def test_the_card_explains_a_value() -> None:
    about = "SMS messages tagged as legitimate (ham) or unsolicited (spam)."
    assert labels_of(["legitimate", "unsolicited"], ["ham", "spam"], about) == {
        "ham": "legitimate",
        "spam": "unsolicited",
    }
    about = "Reviews. Labels: 0 = negative, 1 = positive."
    assert labels_of(["positive", "negative"], ["0", "1"], about) == {"0": "negative", "1": "positive"}


def test_one_value_serves_one_label() -> None:
    found = match_labels(["card", "the card"], ["card"])
    assert [(v, m.label, m.how) for v, m in found.items()] == [("card", "card", "exact")]


def test_meaning_matches_other_words_but_not_opposites(minilm: Path) -> None:
    from p2m.train.embed import Embedder

    embed = Embedder(minilm).embed
    found = match_labels(["person", "acronym", "place"], ["human", "abbreviation", "location", "entity"], embed)
    assert {v: m.label for v, m in found.items()} == {"human": "person", "abbreviation": "acronym", "location": "place"}
    assert {m.how for m in found.values()} == {"meaning"}
    assert labels_of(["positive", "negative"], ["positive", "neutral", "mixed"], embed=embed) == {
        "positive": "positive"
    }
    assert labels_of(["not urgent", "urgent"], ["urgent", "later", "soon"], embed=embed) == {"urgent": "urgent"}


TASK = TaskSpec(name="t", instruction="Sort messages.", kind="classify", labels=("spam", "ham"))
CARD = Card("a/one", "One")


def seen(*columns: Column, texts: tuple[str, ...] = ("text",), labels: tuple[str, ...] = ("label",)) -> Profile:
    return Profile("a/one", "train", {"train": 100}, columns, texts, labels, 0.0, 100, (), ("en",), "mit")


def text(name: str) -> Column:
    return Column(name, "text", 100, 0, 60.0)


def label(name: str, **values: int) -> Column:
    return Column(name, "text", len(values), 0, 4.0, values)


def test_the_label_column_is_the_one_whose_values_are_the_tasks() -> None:
    mapping = propose_mapping(
        TASK, seen(text("text"), label("label", a=50, b=50), label("kind", spam=20, ham=80)), CARD
    )
    assert (mapping.input_column, mapping.output_column) == ("text", "kind")
    assert mapping.labels == {"spam": "spam", "ham": "ham"}
    assert (mapping.coverage, mapping.kept, mapping.dropped, mapping.refused) == (1.0, 100, 0, None)


def test_values_without_a_counterpart_are_counted() -> None:
    mapping = propose_mapping(TASK, seen(text("text"), label("label", spam=20, ham=50, other=30)), CARD)
    assert (mapping.kept, mapping.dropped) == (70, 30)


def refusal(mapping: Mapping) -> str:
    assert mapping.refused is not None
    return mapping.refused


def test_too_little_coverage_and_no_text_are_refused_with_the_reason() -> None:
    assert "only 0 of the task's 2" in refusal(
        propose_mapping(TASK, seen(text("text"), label("label", a=9, b=9)), CARD)
    )
    assert "only 1 of the task's 2" in refusal(
        propose_mapping(TASK, seen(text("text"), label("label", spam=9, b=9)), CARD)
    )
    assert "no column that could be a label" in refusal(propose_mapping(TASK, seen(text("text")), CARD))
    tokens = Column("tokens", "list", 0, 0, 0.0)
    assert "no column of plain text" in refusal(propose_mapping(TASK, seen(tokens, texts=()), CARD))


def test_a_generation_task_takes_two_text_columns() -> None:
    task = TaskSpec(name="t", instruction="Write bash.", kind="generate", metric="chrf")
    mapping = propose_mapping(task, seen(text("nl"), text("bash"), texts=("nl", "bash"), labels=()), CARD)
    assert (mapping.input_column, mapping.output_column, mapping.labels) == ("nl", "bash", {})
    mapping = propose_mapping(
        task, seen(text("answer"), text("question"), texts=("question", "answer"), labels=()), CARD
    )
    assert (mapping.input_column, mapping.output_column) == ("question", "answer")
    assert "no second column" in refusal(propose_mapping(task, seen(text("nl"), texts=("nl",), labels=()), CARD))


def test_rows_are_mapped_filtered_and_checked(tmp_path: Path) -> None:
    rows = [
        {"text": " Buy now ", "label": "SPAM", "lang": "en"},
        {"text": "Kauf jetzt", "label": "SPAM", "lang": "de"},
        {"text": "   ", "label": "HAM", "lang": "en"},
        {"text": "x" * 2001, "label": "HAM", "lang": "en"},
        {"text": "who knows", "label": "?", "lang": "en"},
        {"text": "see you", "label": "HAM", "lang": "en"},
        {"text": None, "label": "HAM", "lang": "en"},
    ]
    make(tmp_path, "a/one", rows=rows)
    recipe = Recipe("text", "label", {"SPAM": "spam", "HAM": "ham"}, parse_filter("lang=en"))
    mapped = map_rows(FolderCatalog(tmp_path), "a/one", "train", recipe)
    assert [(r.input, r.output, r.source) for r in mapped.rows] == [
        ("Buy now", "spam", "dataset:a/one/train"),
        ("see you", "ham", "dataset:a/one/train"),
    ]
    meta = mapped.rows[1].meta
    assert meta == {"dataset": "a/one", "revision": meta["revision"], "split": "train", "row": 5, "done": ["mapped"]}
    assert meta["revision"] == FolderCatalog(tmp_path).revision("a/one")
    assert mapped.removed == {"filtered": 1, "empty": 2, "too_long": 1, "other_label": 1}
    with pytest.raises(BadInput, match="no column nope"):
        map_rows(FolderCatalog(tmp_path), "a/one", "train", Recipe("nope", "label"))
    with pytest.raises(BadInput, match="no split 'test'"):
        map_rows(FolderCatalog(tmp_path), "a/one", "test", recipe)


@pytest.mark.parametrize("wrong", ["lang", "=en", "lang==en", "a!=b", "len(x) > 3", "a>=3"])
def test_a_filter_is_a_column_and_a_value(wrong: str) -> None:
    with pytest.raises(BadInput, match="is not a filter"):
        parse_filter(wrong)


def test_a_sample_is_even_over_labels_and_the_same_for_the_same_seed() -> None:
    rows = [Row(f"r{i}", "rare" if i < 10 else "common") for i in range(200)]
    sample = balanced(rows, 60, random.Random(1), by_label=True)
    assert sum(r.output == "rare" for r in sample) == 10
    assert len(sample) == 60
    assert sample == balanced(rows, 60, random.Random(1), by_label=True)
    assert sample != balanced(rows, 60, random.Random(2), by_label=True)
    even = balanced(rows, 12, random.Random(1), by_label=True)
    assert sum(r.output == "rare" for r in even) == 6
    natural = balanced(rows, 60, random.Random(1), by_label=False)
    assert sum(r.output == "rare" for r in natural) < 10
    assert balanced(rows, 500, random.Random(1), by_label=True) == rows


def test_nearest_rows_tell_swapped_labels(minilm: Path) -> None:
    from p2m.train.embed import Embedder

    embed = Embedder(minilm).embed
    weather = ["will it rain today", "how cold is it outside", "is it sunny in Rome", "weather forecast for Monday"]
    music = ["play some jazz", "put on the Beatles", "I want to hear a rock song", "start my dance playlist"]
    examples = [Example(input=t, output="weather") for t in ("will it snow", "how hot is it", "rain tomorrow?")]
    examples += [Example(input=t, output="music") for t in ("play a song by Queen", "hear some blues", "put on pop")]
    right = [Row(t, "weather") for t in weather] + [Row(t, "music") for t in music]
    swapped = [Row(r.input, "music" if r.output == "weather" else "weather") for r in right]
    assert not agreement(examples, right, embed).suspect
    assert agreement(examples, swapped, embed).suspect
    assert agreement(examples, [Row("x", "unknown")], embed).n == 0
