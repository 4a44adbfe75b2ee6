"""Which datasets of the Hub may answer a search, by what its listings say of them.

The Hub's ``search`` is a substring match over ids, so a query in words finds nothing: its telling words are asked for
one by one; the popular of the task's kind and language, and what a full-text search gives (where there is one), are
added.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from p2m.catalog.hubclient import HubClient, HubError, RepoInfo
from p2m.catalog.labels import normalise, words
from p2m.catalog.rank import CATEGORIES
from p2m.errors import P2MError
from p2m.task.spec import Kind

TERMS = 10
LISTED = 25
BY_TEXT = 5
FULL_TEXT_QUERIES = 3
# They are in the ids of hundreds of datasets and tell nothing about what is in them.
_VAGUE = """
answer classification classify classifier data dataset detect detection detecting document english example find identify
instruction label model nlp output input say sentence set short task their they type user whether which
"""


def candidates(client: HubClient, queries: Sequence[str], *, kind: Kind, language: str) -> list[RepoInfo]:
    """The datasets that any listing gives, as the listings tell of them, those that most of them give first. Raises
    ``HubError``."""
    asked, found, times = terms(queries), dict[str, RepoInfo](), Counter[str]()
    category, tongue = f"task_categories:{CATEGORIES[kind][0]}", f"language:{language.lower().split('-')[0]}"

    def add(listed: Sequence[RepoInfo]) -> None:
        for info in listed:
            found.setdefault(info.id, info)
            times[info.id] += 1

    listings: list[dict[str, Any]] = [{"search": term, "limit": LISTED} for term in asked]
    # The popular namesakes of other kinds must not push out the one of the task's.
    listings += [{"search": term, "tags": (category, tongue), "limit": LISTED} for term in asked[:3]]
    listings.append({"tags": (category, tongue), "limit": 2 * LISTED})
    for listing in listings:
        try:
            add(client.datasets(**listing))
        except HubError:
            if not found:
                raise
            break  # over the rate limit, or gone: what is found so far is worth a look
    for query in queries[:FULL_TEXT_QUERIES]:
        for dataset in client.full_text(query, BY_TEXT):
            times[dataset] += 1
            if dataset not in found:
                try:
                    add([client.dataset(dataset)])
                except P2MError:  # it has gone since it was indexed
                    continue
    return sorted(found.values(), key=lambda info: -times[info.id])


def terms(queries: Sequence[str]) -> list[str]:
    """What to look for in ids: short queries as a name would spell them, then each query's telling words in turn, the
    longer first."""
    whole = [normalise(q).replace(" ", joint) for q in queries if 2 <= len(normalise(q).split()) <= 3 for joint in "-_"]
    telling = [sorted(words(q) - set(_VAGUE.split()), key=lambda w: (-len(w), w)) for q in queries]
    turns = [w[turn] for turn in range(4) for w in telling if turn < len(w) and len(w[turn]) > 2]
    mixed = [t for pair in zip(turns, [*whole, *[""] * len(turns)], strict=False) for t in pair if t]
    return list(dict.fromkeys(mixed))[:TERMS]
