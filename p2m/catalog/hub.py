"""The Hub as a catalogue: found by its listings and what was seen of it before, checked before a byte of data is read,
looked at by its first rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from p2m.catalog import hub_search, layout, readers, safety
from p2m.catalog.base import Card, Embed, Hit
from p2m.catalog.bounds import kept
from p2m.catalog.cards import CARD_BYTES, SUMMARY_CHARS, card_of, dataset_card
from p2m.catalog.hub_models import HubModels
from p2m.catalog.hubclient import HubClient, HubError, RepoInfo
from p2m.catalog.hubfile import HubFile
from p2m.catalog.index.card import IndexCard
from p2m.catalog.index.hub import listed_card, source_of
from p2m.catalog.index.search import Found
from p2m.catalog.index.seen import Seen
from p2m.catalog.profile import profile
from p2m.catalog.rank import CATEGORIES, Document, fuse, rank
from p2m.errors import BadInput, P2MError
from p2m.task.spec import Kind

PEEKED = 8
"""Datasets whose first rows a search looks at."""
TRIED = 12
"""Datasets that it tries to open for that: some are refused or broken."""
REMEMBERED = 30
"""Datasets that the local catalogue adds to those that the Hub's listings give."""
PEEK_ROWS = 2000
WHOLE_BYTES = 8_000_000
"""Up to this size a file is downloaded, once, to the cache; a larger one is streamed."""
SPOTS = 4
"""Where a streamed file of JSON lines is looked into: a file sorted by label shows one label at its beginning."""


@dataclass(frozen=True)
class _Opened:
    """A dataset that passed every check, at the commit it was first seen at."""

    info: RepoInfo
    card: Card
    splits: dict[str, list[HubFile]]


class HubCatalog:
    """A ``p2m.catalog.base.Catalog`` over one Hub. Nothing is asked of it before the first search.

    A dataset is pinned to the commit at which this catalogue first saw it. What its listings say is kept in ``seen``,
    whose cards of this Hub are searched too. Beside what the protocol says, every method raises ``HubError`` where the
    Hub fails.
    """

    def __init__(
        self,
        client: HubClient,
        embed: Embed | None = None,
        settings: safety.Settings | None = None,
        seen: Seen | None = None,
    ) -> None:
        self.client, self.embed, self.seen = client, embed, seen
        self.settings = settings or safety.Settings()
        self.base_models = HubModels(client, embed, self.settings, seen)
        self._opened: dict[str, _Opened] = {}
        self._documents: dict[str, Document] = {}
        self._unreadable: dict[str, str] = {}

    @property
    def models(self) -> Path | None:
        """None: base models of the Hub are ``base_models``."""
        return None

    def search(
        self,
        queries: Sequence[str],
        *,
        kind: Kind,
        language: str,
        limit: int,
        labels: Sequence[str] = (),
    ) -> list[Hit]:
        """What the listings and the local catalogue give is ranked by its cards; the best ``PEEKED`` are checked and
        looked into, and ranked again."""
        self._unreadable = {}
        listed = hub_search.candidates(self.client, queries, kind=kind, language=language)
        remembered = self._remembered(listed, queries, kind, language)
        cards = {name: _card(found.card) for name, found in remembered.items()}
        cards |= {info.id: card_of(info.id, info.meta, info.description) for info in listed}
        asked: dict[str, Any] = {"kind": kind, "language": language, "labels": labels, "embed": self.embed}
        likely = [hit.id for hit in rank([Document.unopened(card) for card in cards.values()], queries, **asked)]
        # A listing tells little: what it gives no words for is looked into last, in the order of the listings.
        order = list(dict.fromkeys([*fuse([likely, list(remembered)]), *(info.id for info in listed)]))
        documents: list[Document] = []
        for dataset in order[:TRIED]:
            if len(documents) == PEEKED:
                break
            try:
                _check_stated_license(cards[dataset], self.settings)
                documents.append(self._document(dataset))
            except P2MError as error:
                self._unreadable[dataset] = str(error)
        only_here = {name: found.seen for name, found in remembered.items() if name not in {i.id for i in listed}}
        hits = rank(documents, queries, **asked)[:limit]
        return [replace(h, why=f"{h.why}; known since {only_here[h.id]}") if h.id in only_here else h for h in hits]

    def _remembered(
        self, listed: Sequence[RepoInfo], queries: Sequence[str], kind: Kind, language: str
    ) -> dict[str, Found]:
        """What the local catalogue has of this Hub, best first, after what was listed now is in it too."""
        if self.seen is None:
            return {}
        here = source_of(self.client.endpoint)
        self.seen.keep([listed_card("dataset", info, here) for info in listed])
        problem = self.seen.problem
        tasks = CATEGORIES[kind]
        found = self.seen.find(queries, source=here, kind="dataset", language=language, tasks=tasks, limit=REMEMBERED)
        if problem := problem or self.seen.problem:
            self._unreadable["the local catalogue"] = problem
        return {f.card.id: f for f in found}

    def unreadable(self) -> dict[str, str]:
        return dict(self._unreadable)

    def card(self, dataset: str) -> Card:
        return self._open(dataset).card

    def splits(self, dataset: str) -> dict[str, int]:
        """Rows a split: as the card declares them, else counted, else (files too large for that) estimated from the
        length of the first rows."""
        opened = self._open(dataset)
        declared = opened.card.declared_rows
        return {s: declared.get(s) or sum(map(self._count, files)) for s, files in opened.splits.items()}

    def rows(self, dataset: str, split: str, limit: int | None = None) -> Iterator[dict[str, Any]]:
        opened = self._open(dataset)
        if split not in opened.splits:
            raise BadInput(f"{dataset} has no split {split!r}", fix=f"There are: {', '.join(opened.splits)}")
        every = (row for file in opened.splits[split] for row in readers.read(self._source(file), self.settings))
        return (layout.named(row, opened.card.class_names) for row in islice(every, limit))

    def revision(self, dataset: str) -> str:
        return self._open(dataset).info.sha[:12]

    def _open(self, dataset: str) -> _Opened:
        """Every check, in the order in which the least has been asked for when one of them fails."""
        safety.check_id(dataset)
        if dataset in self._opened:
            return self._opened[dataset]
        info = self.client.dataset(dataset)
        safety.check_no_script(dataset, info.files)
        safety.check_gated(dataset, info.gated, self.settings)
        if "README.md" not in info.files:
            raise BadInput(f"{dataset} has no README.md card", where=self.client.endpoint)
        if (info.files["README.md"] or 0) > CARD_BYTES:
            raise BadInput(f"the card is larger than {CARD_BYTES // 1000} kB", where=dataset)
        card = dataset_card(dataset, self.client.file("dataset", dataset, info.sha, "README.md", CARD_BYTES))
        safety.check_license(card, self.settings)
        found = layout.split_files(dataset, card, list(info.files))
        sizes = {name: info.files[name] for names in found.values() for name in names}
        if unknown := [name for name, size in sizes.items() if size is None]:
            raise safety.Refused("size", f"{dataset}: the Hub does not say how large {unknown[0]} is")
        total = sum(size or 0 for size in sizes.values())
        safety.check_size(dataset, max(total, card.declared_bytes), self.settings)
        splits = {
            split: [HubFile(self.client, "dataset", dataset, info.sha, n, sizes[n] or 0) for n in names]
            for split, names in found.items()
        }
        self._opened[dataset] = _Opened(info, card, splits)
        return self._opened[dataset]

    def _document(self, dataset: str) -> Document:
        if dataset not in self._documents:
            opened = self._open(dataset)
            split = "train" if "train" in opened.splits else next(iter(opened.splits))
            sample = [layout.named(row, opened.card.class_names) for row in self._peek(opened.splits[split][0])]
            seen = Document.of(opened.card, profile(self, dataset, sample))
            values = {**seen.values, **{c: n for c, n in opened.card.class_names.items() if c in seen.columns}}
            self._documents[dataset] = Document(seen.card, seen.rows, seen.columns, values)
        return self._documents[dataset]

    def _peek(self, file: HubFile) -> list[dict[str, Any]]:
        """Rows to judge a file by: all of a small one, else the first of it, and of JSON lines some from further on."""
        if file.size <= WHOLE_BYTES:
            return self._first(self._source(file), 10 * PEEK_ROWS)
        rows = self._first(file, PEEK_ROWS)
        if safety.format_of(file.name) != ".jsonl" or file.name.lower().endswith(safety.PACKED):
            return rows
        for spot in range(1, SPOTS):
            rows += self._from_middle(file, file.size * spot // SPOTS)
        return rows

    def _from_middle(self, file: HubFile, start: int) -> list[dict[str, Any]]:
        with HubFile(file.client, file.kind, file.repo, file.sha, file.path, file.size, start).open() as handle:
            start += len(handle.readline(self.settings.max_row_bytes))
        whole = HubFile(file.client, file.kind, file.repo, file.sha, file.path, file.size, start)
        return self._first(whole, PEEK_ROWS // SPOTS)

    def _first(self, file: readers.File, most: int) -> list[dict[str, Any]]:
        return list(kept(islice(readers.read(file, self.settings), most), str(file)))

    def _source(self, file: HubFile) -> readers.File:
        if file.size > WHOLE_BYTES:
            return file
        return _Named(self.client.file("dataset", file.repo, file.sha, file.path, file.size), file)

    def _count(self, file: HubFile) -> int:
        if file.size <= WHOLE_BYTES or safety.format_of(file.name) == ".parquet":
            return readers.count(self._source(file), self.settings)
        first = list(islice(readers.read(file, self.settings), PEEK_ROWS))
        mean = sum(len(str(row)) for row in first) / max(len(first), 1)
        return int(file.size / max(mean, 1.0)) // 100 * 100 if len(first) == PEEK_ROWS else len(first)


def _card(known: IndexCard) -> Card:
    """What the local catalogue keeps of a dataset, as a card of it."""
    title = known.title or known.id.rpartition("/")[2]
    stated = known.tasks, known.languages, known.license
    return Card(known.id, title, known.body[:SUMMARY_CHARS], known.body, *stated)


def _check_stated_license(card: Card, settings: safety.Settings) -> None:
    """Refuse by what a listing says, before the dataset is asked for. A listing that says nothing at all may only have
    left it out."""
    if card.license or card.task_categories or card.language:
        safety.check_license(card, settings)


@dataclass(frozen=True)
class _Named:
    """A downloaded file under its name on the Hub, for messages."""

    local: Path
    file: HubFile

    @property
    def name(self) -> str:
        return self.file.name

    def __str__(self) -> str:
        return str(self.file)

    def open(self) -> Any:
        return self.local.open("rb")


__all__ = ["HubCatalog", "HubError"]
