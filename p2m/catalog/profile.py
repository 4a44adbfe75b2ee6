"""What the rows of a dataset look like: columns, their types, which are text and which are labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from p2m.catalog.base import Catalog
from p2m.catalog.bounds import MOST_COLUMNS, kept
from p2m.catalog.labels import normalise
from p2m.catalog.safety import Refused
from p2m.data import names

ROWS_READ = 50_000  # a split sorted by label shows all its labels only at its end
MAX_LABELS = 300
MAX_LEVELS = 11  # of a rating written as a decimal number: 0.0, 0.1, … 1.0
FIRST_ROWS = 5
SIZED_ROWS = 1000


@dataclass(frozen=True)
class Column:
    """One column. ``type`` is text, integer, number, boolean, list, object or empty; ``values`` counts the distinct
    values of a column that can be a label, most frequent first, and is empty for others; ``mean_chars`` is of text."""

    name: str
    type: str
    distinct: int
    missing: int
    mean_chars: float
    values: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Profile:
    """A dataset at a glance. Counts are over ``rows_read`` rows of ``split``; ``splits`` counts the rows of each split.

    ``text_columns`` and ``label_columns`` are names, best first; ``duplicate_share`` in [0, 1] is of the first of them;
    ``sample`` holds the first rows; ``mean_row_bytes`` is of a row's values as UTF-8 text.
    """

    id: str
    split: str
    splits: dict[str, int]
    columns: tuple[Column, ...]
    text_columns: tuple[str, ...]
    label_columns: tuple[str, ...]
    duplicate_share: float
    rows_read: int
    sample: tuple[dict[str, Any], ...]
    language: tuple[str, ...]
    license: str
    mean_row_bytes: float = 0.0

    def column(self, name: str) -> Column | None:
        return next((c for c in self.columns if c.name == name), None)


def profile(catalog: Catalog, dataset: str, sample: Sequence[dict[str, Any]] | None = None) -> Profile:
    """Read up to ``ROWS_READ`` rows of the training split (of the first one, where there is none) and describe them;
    or ``sample``, where these rows of it have been read already.

    Raises what the catalogue raises for a dataset it refuses or cannot read.
    """
    card, splits = catalog.card(dataset), catalog.splits(dataset)
    split = "train" if "train" in splits else next(iter(splits))
    rows = list(kept(catalog.rows(dataset, split, ROWS_READ), dataset) if sample is None else sample)
    named = dict.fromkeys(k for r in rows for k in r)
    if len(named) > MOST_COLUMNS:
        raise Refused("shape", f"{dataset} has {len(named):,} columns over its rows; {MOST_COLUMNS:,} are read")
    columns = tuple(_column(name, [r.get(name) for r in rows]) for name in named)
    texts = _text_columns(columns, len(rows))
    first = texts[0] if texts else None
    return Profile(
        id=dataset,
        split=split,
        splits=splits,
        columns=columns,
        text_columns=texts,
        label_columns=_label_columns(columns, first),
        duplicate_share=duplicate_share(r.get(first) for r in rows) if first else 0.0,
        rows_read=len(rows),
        sample=tuple(rows[:FIRST_ROWS]),
        language=card.language,
        license=card.license,
        mean_row_bytes=_mean_bytes(rows[:SIZED_ROWS]),
    )


def _mean_bytes(rows: list[dict[str, Any]]) -> float:
    sizes = [sum(len(str(v).encode(errors="replace")) for v in row.values() if v is not None) for row in rows]
    return sum(sizes) / len(sizes) if sizes else 0.0


def duplicate_share(texts: Iterable[Any]) -> float:
    """The share of texts that repeat an earlier one but for case and punctuation."""
    seen = [normalise(str(t)) for t in texts]
    return 1 - len(set(seen)) / len(seen) if seen else 0.0


def _column(name: str, values: list[Any]) -> Column:
    present = [v for v in values if v is not None and v != ""]
    kind = _type(present)
    if kind in ("list", "object", "empty"):
        return Column(name, kind, 0, len(values) - len(present), 0.0)
    counts = Counter(str(v) for v in present)
    mean = sum(map(len, map(str, present))) / len(present)
    can_be_label = (
        (kind != "number" or len(counts) <= MAX_LEVELS)
        and len(counts) <= MAX_LABELS
        and len(counts) <= max(2, len(present) // 2)
    )
    shown = dict(counts.most_common()) if can_be_label else {}
    return Column(name, kind, len(counts), len(values) - len(present), mean, shown)


def _type(values: list[Any]) -> str:
    kinds = {type(v) for v in values}
    if not kinds:
        return "empty"
    if kinds <= {bool}:
        return "boolean"
    if kinds <= {int, bool}:
        return "integer"
    if kinds <= {int, float, bool}:
        return "number"
    if kinds <= {list}:
        return "list"
    return "object" if dict in kinds or list in kinds else "text"


def _by_name(name: str, tiers: tuple[set[str], ...]) -> int:
    """Where a column's name stands among ``tiers``, 0 the best; one of its words alone ("label_text") counts less."""
    known = [names.tier(part, tiers) for part in (name, *normalise(name).split())]
    whole, *parts = [len(tiers) if tier is None else tier for tier in known]
    return min([whole * 2, *(2 * part + 1 for part in parts)])


def _text_columns(columns: tuple[Column, ...], rows: int) -> tuple[str, ...]:
    """Text columns whose values are mostly different, best name first, then the longer one."""
    free = [c for c in columns if c.type == "text" and c.distinct > rows // 4 and not _is_id(c)]
    return tuple(c.name for c in sorted(free, key=lambda c: (_by_name(c.name, names.INPUT_NAMES), -c.mean_chars)))


def _is_id(column: Column) -> bool:
    return (
        normalise(column.name) in ("id", "idx", "index", "uuid", "guid", "url") or normalise(column.name)[-3:] == " id"
    )


def _label_columns(columns: tuple[Column, ...], text: str | None) -> tuple[str, ...]:
    usable = [c for c in columns if c.name != text and len(c.values) >= 2 and not _is_id(c)]
    return tuple(c.name for c in sorted(usable, key=lambda c: (_by_name(c.name, names.OUTPUT_NAMES), len(c.values))))
