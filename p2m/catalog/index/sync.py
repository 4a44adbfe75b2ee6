"""Read cards, keep them, embed those that are new. Broken off at any moment, it goes on where it was.

A card that is the same as before is not written again, and an embedding is kept under the hash of its text: so the
second sync of the same cards only reads them. Cards can be found by words as soon as they are read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from p2m.catalog.base import Embed
from p2m.catalog.index.card import IndexCard
from p2m.catalog.index.mentions import count_mentions
from p2m.catalog.index.sources import CardSource
from p2m.catalog.index.store import Change, Store

CARDS_A_COMMIT = 256
EMBEDDED_A_COMMIT = 64
WINDOW = 1024
Stage = Literal["read", "mentions", "embed"]


@dataclass(frozen=True)
class Progress:
    """``done`` of ``total`` cards of a stage; ``total`` is None where nobody knows."""

    stage: Stage
    done: int
    total: int | None


@dataclass
class Report:
    """What a sync did: cards by what became of them, cards embedded, cards without an embedding at the end."""

    changes: dict[Change, int] = field(default_factory=lambda: {"new": 0, "changed": 0, "same": 0})
    embedded: int = 0
    not_embedded: int = 0
    skipped: dict[str, str] = field(default_factory=dict)


def sync(
    store: Store,
    source: CardSource,
    *,
    embed: Embed | None,
    model: str,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Report:
    """Bring ``store`` up to date with ``source``. ``embed`` None leaves the new cards without meaning, to be embedded
    by a later sync; ``model`` names the embedding model: where it is another than before, all cards are embedded again.

    Raises what reading ``source`` raises; what was read before that is kept.
    """
    report = Report()
    store.embed_with(model)
    _read(store, source, model, report, progress)
    report.skipped = dict(source.skipped)
    if report.changes["new"] or report.changes["changed"] or store.fact("mentions_of") != store.count():
        _mentions(store, progress)
    if embed:
        _embed(store, embed, report, progress)
    report.not_embedded = store.count_without_vector()
    return report


def _read(store: Store, source: CardSource, model: str, report: Report, progress: Callable[[Progress], None]) -> None:
    total, waiting, done = source.total(), [], 0

    def keep(cards: list[IndexCard]) -> None:
        for change in store.put(cards, model):
            report.changes[change] += 1

    try:
        for card in source:
            waiting.append(card)
            if len(waiting) >= CARDS_A_COMMIT:
                keep(waiting)
                done += len(waiting)
                waiting = []
                progress(Progress("read", done, total))
    finally:  # also where the source fails or the user has had enough
        keep(waiting)
    progress(Progress("read", done + len(waiting), done + len(waiting)))


def _mentions(store: Store, progress: Callable[[Progress], None]) -> None:
    total = store.count()
    if not total:
        return
    progress(Progress("mentions", 0, total))
    rows = store.db.execute("SELECT rowid, id, title || ' . ' || body FROM cards").fetchall()
    found = count_mentions(rows)
    with store.writing():
        store.db.execute("UPDATE cards SET mentions = 0 WHERE mentions > 0")
        store.db.executemany("UPDATE cards SET mentions = ? WHERE rowid = ?", [(n, key) for key, n in found.items()])
        store.put_fact("mentions_of", total)
    progress(Progress("mentions", total, total))


def _embed(store: Store, embed: Embed, report: Report, progress: Callable[[Progress], None]) -> None:
    wanted = store.keys_without_vector()
    if wanted:
        progress(Progress("embed", 0, len(wanted)))
    for start in range(0, len(wanted), WINDOW):
        texts = [(c.embedded_text(), key) for key, c in store.by_key(wanted[start : start + WINDOW]).items()]
        texts.sort(key=lambda t: len(t[0]))  # texts of like length share a batch
        for at in range(0, len(texts), EMBEDDED_A_COMMIT):
            part = texts[at : at + EMBEDDED_A_COMMIT]
            vectors = embed([text for text, _ in part])
            store.put_vectors(zip([key for _, key in part], vectors, strict=True))
            report.embedded += len(part)
            progress(Progress("embed", report.embedded, len(wanted)))
