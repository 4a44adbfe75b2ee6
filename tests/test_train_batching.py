"""Token-budget batches."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2m.train.batching import token_batches


@given(st.lists(st.integers(1, 300), max_size=200), st.integers(1, 500), st.one_of(st.none(), st.integers(1, 40)))
def test_every_row_is_in_one_batch_within_the_budget(lengths: list[int], tokens: int, rows: int | None) -> None:
    for rng, even in ((None, False), (random.Random(1), False), (None, True)):
        batches = token_batches(lengths, tokens, rows=rows, rng=rng, even=even)
        assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
        for batch in batches:
            assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= tokens
            assert rows is None or len(batch) <= rows


def test_little_is_padding() -> None:
    rng = random.Random(0)
    lengths = [rng.randint(5, 100) for _ in range(1000)]
    padded = sum(max(lengths[i] for i in b) * len(b) for b in token_batches(lengths, 1024))
    assert padded < 1.05 * sum(lengths)


def test_even_batches_pad_less_and_are_not_many_more() -> None:
    rng = random.Random(0)
    lengths = [rng.randint(5, 60) for _ in range(3000)]
    plain, even = (token_batches(lengths, 1024, even=even) for even in (False, True))

    def padding(batches: list[list[int]]) -> int:
        return sum(max(lengths[i] for i in b) * len(b) for b in batches) - sum(lengths)

    assert 4 * padding(even) < padding(plain) and len(even) < 2 * len(plain)
    assert token_batches([3, 3, 2, 2], 100, even=True) == [[0, 1, 2, 3]], "a short batch is not split"


@pytest.mark.parametrize("rng", [None, 3])
def test_the_longest_come_first_only_without_a_random_order(rng: int | None) -> None:
    lengths = list(range(1, 101))
    batches = token_batches(lengths, 200, rng=None if rng is None else random.Random(rng))
    widest = [max(lengths[i] for i in b) for b in batches]
    assert (widest == sorted(widest, reverse=True)) == (rng is None)


def test_equal_lengths_are_dealt_anew_each_time() -> None:
    rng = random.Random(0)
    first, second = (token_batches([7] * 64, 7 * 8, rng=rng) for _ in range(2))
    assert {frozenset(b) for b in first} != {frozenset(b) for b in second}
    assert token_batches([7] * 64, 56, rng=random.Random(5)) == token_batches([7] * 64, 56, rng=random.Random(5))
