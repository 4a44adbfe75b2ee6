"""What a catalogue of datasets answers, whether it is a folder or the Hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from p2m.task.spec import Kind

Fit = Literal["yes", "maybe", "no"]
Embed = Callable[[Sequence[str]], "np.ndarray"]
"""``(texts) -> float32 array of shape (n, d)``, one row a text."""


@dataclass(frozen=True)
class Card:
    """What a dataset says about itself. All of it is text by strangers: show it through ``p2m.catalog.untrusted``.

    ``data_files`` are the patterns a split is declared with, in the card's order; empty where the card declares none.
    ``class_names`` are the names behind the integers of a ClassLabel column. ``declared_rows`` (a split) and
    ``declared_bytes`` are what the card claims, 0 where it claims nothing.
    """

    id: str
    title: str
    summary: str = ""
    body: str = ""
    task_categories: tuple[str, ...] = ()
    language: tuple[str, ...] = ()
    license: str = ""
    data_files: dict[str, tuple[str, ...]] = field(default_factory=dict)
    class_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    declared_rows: dict[str, int] = field(default_factory=dict)
    declared_bytes: int = 0


@dataclass(frozen=True)
class Hit:
    """A dataset that a search found.

    ``score`` in [0, 1] is absolute (comparable between searches): label coverage and topical match. ``fit`` is ``yes``,
    ``no``, or ``maybe`` where the subject fits but the labels have other names. ``labels_matched`` counts the task's
    labels that have a counterpart in the dataset. ``rows`` is over all splits.
    """

    id: str
    title: str
    summary: str
    task_categories: tuple[str, ...]
    language: tuple[str, ...]
    license: str
    rows: int
    score: float
    why: str
    labels_matched: int = 0
    fit: Fit = "no"


class Catalog(Protocol):
    """Where datasets are found and read. Every method but ``search`` raises ``p2m.catalog.safety.Refused`` for a
    dataset that breaks a safety rule, and ``BadInput`` for an id, split or file that is not there or not readable."""

    @property
    def models(self) -> Path | None:
        """A folder of models that comes with the catalogue, ORG/NAME/, where there is one on this machine."""
        ...

    def search(
        self,
        queries: Sequence[str],
        *,
        kind: Kind,
        language: str,
        limit: int,
        labels: Sequence[str] = (),
    ) -> list[Hit]:
        """The best matches over all ``queries`` together, those that fit first. No bad dataset makes it fail."""
        ...

    def unreadable(self) -> dict[str, str]:
        """The datasets that the last search could not read or had to refuse, each with the reason."""
        ...

    def card(self, dataset: str) -> Card: ...

    def splits(self, dataset: str) -> dict[str, int]:
        """Rows a split."""
        ...

    def rows(self, dataset: str, split: str, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """The first ``limit`` rows of a split, in order, read as they are asked for."""
        ...

    def revision(self, dataset: str) -> str:
        """A short hash that changes when the data does."""
        ...
