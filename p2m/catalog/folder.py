"""A catalogue that is a folder: datasets/ORG/NAME/ with a README.md card and plain data files, as on the Hub."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from p2m.catalog import layout, readers, safety
from p2m.catalog.base import Card, Embed, Hit
from p2m.catalog.cards import dataset_card, front_matter
from p2m.catalog.index.card import IndexCard
from p2m.catalog.index.seen import Seen
from p2m.catalog.index.sources import card_from_readme
from p2m.catalog.profile import profile
from p2m.catalog.rank import Document, rank
from p2m.errors import BadInput, P2MError
from p2m.files import file_digest
from p2m.task.spec import Kind


class FolderCatalog:
    """The datasets under ``path``, which is the ``datasets`` folder or holds it. A ``p2m.catalog.base.Catalog``.
    Without ``embed`` a search goes by words alone. A search ranks all that is in the folder, so ``seen`` only keeps
    the cards; what it has from elsewhere is not in the folder and cannot be opened here.

    Raises ``BadInput`` where there is no such folder or no dataset in it.
    """

    def __init__(
        self,
        path: Path,
        embed: Embed | None = None,
        settings: safety.Settings | None = None,
        seen: Seen | None = None,
    ) -> None:
        self.embed, self.seen = embed, seen
        self.root = path / "datasets" if (path / "datasets").is_dir() else path
        self.settings = settings or safety.Settings()
        self._unreadable: dict[str, str] = {}
        self._documents: dict[tuple[str, str], Document] = {}
        if not self.root.is_dir():
            raise BadInput("no such folder", where=str(path), fix="Give --catalog a folder of datasets/ORG/NAME/")
        if not self.ids():
            raise BadInput("no datasets there", where=str(path), fix="A dataset is ORG/NAME/ with a README.md card")

    @property
    def models(self) -> Path | None:
        """models/ beside the datasets."""
        folder = (self.root.parent if self.root.name == "datasets" else self.root) / "models"
        return folder if folder.is_dir() else None

    def ids(self) -> list[str]:
        """Every ORG/NAME there is, readable or not."""
        orgs = [o for o in sorted(self.root.iterdir()) if o.is_dir() and o.name != "models"]
        return [f"{o.name}/{d.name}" for o in orgs for d in sorted(o.iterdir()) if d.is_dir()]

    def search(
        self,
        queries: Sequence[str],
        *,
        kind: Kind,
        language: str,
        limit: int,
        labels: Sequence[str] = (),
    ) -> list[Hit]:
        documents, self._unreadable = [], {}
        read_before = set(self._documents)
        for dataset in self.ids():
            try:
                documents.append(self._document(dataset))
            except P2MError as error:
                self._unreadable[dataset] = str(error)
        if self.seen:
            self.seen.keep([self._listed(dataset) for dataset, _ in self._documents.keys() - read_before])
        return rank(documents, queries, kind=kind, language=language, labels=labels, embed=self.embed)[:limit]

    def unreadable(self) -> dict[str, str]:
        return dict(self._unreadable)

    def card(self, dataset: str) -> Card:
        folder = self._folder(dataset)
        safety.check_no_script(dataset, (f.name for f in folder.iterdir()))
        readme = folder / "README.md"
        if not readme.exists():
            raise BadInput(f"{dataset} has no README.md card", where=str(folder))
        card = dataset_card(dataset, safety.check_file(dataset, folder, readme))
        safety.check_license(card, self.settings)
        return card

    def splits(self, dataset: str) -> dict[str, int]:
        files = self._files(dataset)
        return {s: sum(readers.count(f, self.settings) for f in fs) for s, fs in files.items()}

    def rows(self, dataset: str, split: str, limit: int | None = None) -> Iterator[dict[str, Any]]:
        names = self.card(dataset).class_names
        files = self._files(dataset)
        if split not in files:
            raise BadInput(f"{dataset} has no split {split!r}", fix=f"There are: {', '.join(files)}")
        every = (row for file in files[split] for row in readers.read(file, self.settings))
        return (layout.named(row, names) for row in islice(every, limit))

    def revision(self, dataset: str) -> str:
        files = self._files(dataset)
        readme = self._folder(dataset) / "README.md"
        hashes = [file_digest(f) for f in (readme, *(f for fs in files.values() for f in fs))]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()[:12]

    def _document(self, dataset: str) -> Document:
        """What search knows of a dataset; read again only when a file's size or time changed."""
        files = [f for fs in self._files(dataset).values() for f in fs]
        readme = self._folder(dataset) / "README.md"
        state = repr([(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in (readme, *files)])
        if (dataset, state) not in self._documents:
            self._documents[dataset, state] = Document.of(self.card(dataset), profile(self, dataset))
        return self._documents[dataset, state]

    def _listed(self, dataset: str) -> IndexCard:
        meta, body = front_matter(self._folder(dataset) / "README.md")
        return card_from_readme("dataset", dataset, meta, body, str(self.root.resolve()))

    def _folder(self, dataset: str) -> Path:
        safety.check_id(dataset)
        folder = self.root / dataset
        if not folder.is_dir():
            raise BadInput(f"there is no dataset {dataset}", where=str(self.root))
        if not folder.resolve().is_relative_to(self.root.resolve()):
            raise safety.Refused("symlink", f"{dataset} is a link that leaves the catalogue")
        return folder

    def _files(self, dataset: str) -> dict[str, list[Path]]:
        """Split -> checked data files. Raises ``Refused``, or ``BadInput`` where there are none."""
        folder, card = self._folder(dataset), self.card(dataset)
        named = layout.split_files(dataset, card, _names(dataset, folder))
        found = {split: [folder / name for name in names] for split, names in named.items()}
        checked = {s: [safety.check_data_file(dataset, folder, f) for f in fs] for s, fs in found.items()}
        total = sum(f.stat().st_size for fs in checked.values() for f in fs)
        safety.check_size(dataset, max(total, card.declared_bytes), self.settings)
        return checked


def _names(dataset: str, folder: Path) -> list[str]:
    """The paths of all that is no folder under ``folder``. Links to folders are not followed. Raises ``Refused`` for
    one that leaves it."""
    found: list[str] = []
    for place, folders, names in os.walk(folder):
        for name in folders:
            at = Path(place) / name
            if at.is_symlink() and not at.resolve().is_relative_to(folder.resolve()):
                raise safety.Refused("symlink", f"{dataset}: {name} is a link that leaves the dataset's folder")
        found += [(Path(place) / name).relative_to(folder).as_posix() for name in names]
        if len(found) > safety.MOST_FILES:
            break  # split_files says so
    return sorted(found)
