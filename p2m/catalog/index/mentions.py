"""How often the other cards name a card: on any subject, what others build on and compare with is what most want.

A card's text that says "we extend SNLI" is evidence of use, like a citation (Brin and Page 1998, "The anatomy of a
large-scale hypertextual web search engine", for pages). Here it is only counted, once a card.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

_TOKEN = re.compile(r"\w+|[^\w\s]")
MIN_CHARS = 3


def count_mentions(cards: Iterable[tuple[int, str, str]]) -> Counter[int]:
    """Key -> number of other cards whose text has its id. ``cards`` are ``(key, id, text)``.

    A Hub id counts as ``org/name``, and by its bare name as any other id does: written just so, and not a plain
    lower-case word ("emotion"), which would be found everywhere. Where several cards share a name, all count.
    """
    every = list(cards)
    owners = _owners(every)
    lengths: defaultdict[str, set[int]] = defaultdict(set)  # of the names that begin with a token
    for name in owners:
        lengths[name[0]].add(len(name))
    longest_first = {token: sorted(found, reverse=True) for token, found in lengths.items()}
    found: Counter[int] = Counter()
    for key, _, text in every:
        tokens = _TOKEN.findall(text)
        mentioned: set[int] = set()
        for at, token in enumerate(tokens):
            for length in longest_first.get(token, ()):  # "PASCAL VOC 2007" is no mention of "PASCAL VOC"
                if keys := owners.get(tuple(tokens[at : at + length])):
                    mentioned |= keys
                    break
        found.update(mentioned - {key})
    return found


def _owners(cards: list[tuple[int, str, str]]) -> dict[tuple[str, ...], set[int]]:
    """The tokens of a name -> the keys of the cards that have it."""
    owners: defaultdict[tuple[str, ...], set[int]] = defaultdict(set)
    for key, card_id, _ in cards:
        bare = card_id.rpartition("/")[2]
        if bare != card_id:
            owners[tuple(_TOKEN.findall(card_id))].add(key)
        if len(bare) >= MIN_CHARS and not (bare.islower() and bare.isalpha()):
            owners[tuple(_TOKEN.findall(bare))].add(key)
    owners.pop((), None)
    return owners
