"""Near-duplicates: what is alike, what only looks alike, and what may never train."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from p2m.data.near import NEAR, HeldOutGuard, deduplicate, normalise
from p2m.rows import Row


def row(text: str, label: str = "a", source: str = "generated") -> Row:
    return Row(text, label, source)


def by_first_word(texts: Sequence[str]) -> np.ndarray:
    """Vectors that are equal where the first word is, and orthogonal where it is not."""
    words = [t.split()[0].lower() for t in texts]
    axes = {w: i for i, w in enumerate(dict.fromkeys(words))}
    out = np.zeros((len(texts), max(len(axes), 1)), dtype=np.float32)
    out[np.arange(len(texts)), [axes[w] for w in words]] = 1
    return out


LONG = "I would like to know when my parcel will finally arrive at the office in Hamburg"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hello, World!", "  hello   world"),
        ("ＦＵＬＬ width", "full width"),
        ("It’s “fine”.", "it's fine"),
        ("今天很好。", "今天很好"),
        ("Which one?", "which one:"),
    ],
)
def test_normalise_makes_equal(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("great :)", "great :("), ("1 + 2", "1 - 2"), ("3.5", "35"), ("!!!", "???"), ("dont", "don't"), ("c++", "c#")],
)
def test_normalise_keeps_what_means_something(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


def test_guard_stops_exact_and_near_whatever_the_label() -> None:
    guard = HeldOutGuard([LONG, "Cancel my order"], None)
    rows = [
        row("cancel MY order!", "other"),
        row(LONG.replace("finally ", ""), "b"),
        row("Where is the nearest shop?"),
        row("Do not cancel the meeting"),
    ]
    admitted = guard.admit(rows)
    assert admitted.kept == rows[2:]
    assert [(r.row, r.reason) for r in admitted.removed] == [
        (rows[0], "held_out_exact"),
        (rows[1], "held_out_near"),
    ]
    assert all(r.match == "" for r in admitted.removed), "a held-out text is never handed out"
    assert admitted.counts == {"held_out_exact": 1, "held_out_near": 1}


def test_guard_stops_similar_only_with_an_encoder_and_the_same_numbers() -> None:
    rows = [row("refund please now"), row("refund of order 17"), row("weather tomorrow")]
    assert HeldOutGuard(["refund my money"], None).admit(rows).kept == rows
    admitted = HeldOutGuard(["refund my money"], by_first_word).admit(rows)
    assert [(r.row.input, r.reason) for r in admitted.removed] == [("refund please now", "held_out_similar")]


def test_guard_of_nothing_admits_everything() -> None:
    rows = [row("a b c")]
    assert HeldOutGuard([], by_first_word).admit(rows).kept == rows
    assert HeldOutGuard(["x"], by_first_word).admit([]).kept == []


def test_long_texts_are_not_compared_by_what_the_encoder_reads_of_them() -> None:
    one, other = ("start " + " ".join(f"{w}{i}" for i in range(300)) for w in ("x", "y"))
    assert HeldOutGuard([one], by_first_word).admit([row(other)]).kept


def test_duplicates_keep_the_first_and_say_what_they_repeat() -> None:
    rows = [row(LONG), row("short one"), row(LONG.upper() + "!"), row(LONG.replace("finally ", "")), row("Short one.")]
    result = deduplicate(rows, None)
    assert result.kept == rows[:2]
    assert [(r.reason, r.match) for r in result.removed] == [
        ("duplicate_exact", LONG),
        ("duplicate_near", LONG),
        ("duplicate_exact", "short one"),
    ]


def test_real_rows_win_over_generated_ones_and_order_stays() -> None:
    made, of_a_dataset, own = (
        row("same text", source="generated"),
        row("Same text", source="dataset:o/n/train"),
        row("same text!", source="user"),
    )
    other = row("another thing")
    assert deduplicate([made, other, of_a_dataset, own], None).kept == [other, own]
    assert deduplicate([made, other, of_a_dataset], None).kept == [other, of_a_dataset]


def test_earlier_rows_are_never_removed_and_lose_only_to_better_sources() -> None:
    made = row("one text here", source="generated")
    own = row("one text here", source="user")
    result = deduplicate([made], None, earlier=[own])
    assert (result.kept, len(result.removed)) == ([], 1)
    result = deduplicate([own], None, earlier=[made])
    assert (result.kept, result.removed) == ([own], []), "a generated row pushes no real one out"


def test_alike_texts_with_two_answers_both_stay() -> None:
    on = row("please turn on the light in the living room for me", "on")
    off = row("please turn off the light in the living room for me", "off")
    assert deduplicate([on, off], None).kept == [on, off]
    assert len(deduplicate([on, row(off.input, "on")], None).kept) == 1
    assert len(deduplicate([row("turn it up", "x"), row("turn it down", "y")], by_first_word).kept) == 2
    assert len(deduplicate([row("turn it up", "x"), row("turn it higher", "x")], by_first_word).kept) == 1
    assert len(deduplicate([on, row(on.input, "off")], None).kept) == 1, "one text cannot have two labels"


def test_other_numbers_are_other_texts_for_the_encoder() -> None:
    rows = [row("add 12 and 30", "x"), row("add 12 and 31", "x"), row("add 30 and 12", "x")]
    assert deduplicate(rows, by_first_word).kept == rows[:2]


def test_every_near_pair_is_found() -> None:
    """At Jaccard 0.8 and more LSH may miss two pairs in a thousand: none of these 200."""
    rng = random.Random(0)
    words = [f"{a}{b}{c}" for a in "bdfgklm" for b in "aeiou" for c in "nrst"]
    held = [" ".join(rng.choices(words, k=25)) for _ in range(200)]
    changed = [t.replace(t.split()[7], "zulu", 1) for t in held]

    def shingles(text: str) -> set[str]:
        return {f" {text} "[i : i + 3] for i in range(len(text))} | {f"#{w}" for w in text.split()}

    pairs = [(shingles(a), shingles(b)) for a, b in zip(held, changed, strict=True)]
    assert all(len(a & b) / len(a | b) >= NEAR for a, b in pairs)
    assert HeldOutGuard(held, None).admit([row(t) for t in changed]).kept == []


def test_ten_thousand_rows_in_seconds_and_always_the_same() -> None:
    rng = random.Random(1)
    words = [f"{a}{b}{c}{d}" for a in "bdfgk" for b in "aeiou" for c in "nrst" for d in "aeiou"]
    texts = [" ".join(rng.choices(words, k=9)) for _ in range(9000)]
    rows = [row(t) for t in texts + [t.title() + "." for t in texts[:1000]]]
    vectors = np.random.default_rng(0).normal(size=(10_000, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    began = time.process_time()
    result = deduplicate(rows, lambda batch: vectors[: len(batch)])
    assert time.process_time() - began < 15
    assert result.counts == {"duplicate_exact": 1000}
    assert deduplicate(rows[8500:9500], None) == deduplicate(rows[8500:9500], None)


def test_real_paraphrases_go_and_other_questions_stay(minilm: Path) -> None:
    from p2m.train.embed import Embedder

    embed = Embedder(minilm).embed
    guard = HeldOutGuard(["Where do I find my card PIN?", "How can I verify my identity?"], embed)
    rows = [
        row("Where is my card PIN?"),
        row("How do I verify my identity?"),
        row("How do I change my card PIN?"),
        row("Why do you need my identity?"),
        row("Which ATMs take the card?"),
    ]
    assert guard.admit(rows).kept == rows[2:]


def test_real_data_loses_few_rows(shared: Path, minilm: Path) -> None:
    from p2m.train.embed import Embedder

    file = shared / "hub/datasets/xliuhw/hwu64/train.jsonl"
    records = [json.loads(line) for line in file.read_text().splitlines()]
    chosen = random.Random(0).sample(records, 600)
    label = next(k for k in chosen[0] if k != "text")
    result = deduplicate([Row(r["text"], r[label], "dataset:x") for r in chosen], Embedder(minilm).embed)
    assert len(result.kept) >= 0.95 * 600
