"""How a dataset's files are laid out: which belong to which split, and what a ClassLabel's integers are called."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

from p2m.catalog import safety
from p2m.catalog.base import Card
from p2m.errors import BadInput

_SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "development"),
    "test": ("test", "testing", "eval", "evaluation"),
}
# Written by ``datasets`` and the Hub beside the data.
_ABOUT = {"dataset_infos.json", "dataset_info.json", "state.json", "config.json", "croissant.json"}


def split_files(dataset: str, card: Card, names: Sequence[str]) -> dict[str, list[str]]:
    """Split -> data files among ``names``, the paths of a repository: as the card declares them, else guessed.

    Only names of the list are ever answered: a declared URL or path can lead nowhere else. Raises ``Refused`` for a
    pattern or file that breaks a rule, ``BadInput`` where there are none.
    """
    safety.check_listing(dataset, len(names), card.data_files)
    if outside := [n for n in names if n.startswith("/") or ".." in PurePosixPath(n).parts]:
        raise safety.Refused("data_files", f"{dataset} lists {outside[0][:120]!r}, a path out of the repository")
    found = {}
    for split, patterns in card.data_files.items():
        for pattern in patterns:
            safety.check_pattern(dataset, pattern)
        found[split] = sorted({name for pattern in patterns for name in names if _matches(pattern, name)})
        if not found[split]:
            raise BadInput(f"{dataset}: split {split} has no file {' or '.join(patterns)[:120]}")
    found = found or guess([n for n in names if n.count("/") == 0 or n.startswith("data/")])
    if not found:
        raise BadInput(f"{dataset} has no data file; read are {', '.join(safety.READABLE)}")
    for name in (n for listed in found.values() for n in listed):
        if not safety.is_readable(name):
            raise safety.Refused("extension", f"{dataset}: {name} is not one of {', '.join(safety.READABLE)}")
    return found


def guess(names: Sequence[str]) -> dict[str, list[str]]:
    """Splits by the words of file names; a file without such a word is train."""
    found: dict[str, list[str]] = {}
    for name in names:
        if not safety.is_readable(name) or safety.format_of(name) == ".txt" or PurePosixPath(name).name in _ABOUT:
            continue
        words = set(re.split(r"[^a-z]+", PurePosixPath(name.lower()).name.partition(".")[0]))
        split = next((s for s, known in _SPLIT_WORDS.items() if words & set(known)), "train")
        found.setdefault(split, []).append(name)
    return {s: found[s] for s in _SPLIT_WORDS if s in found}


def named(row: dict[str, Any], names: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """The row with ClassLabel integers replaced by their names; -1, the convention for 'no label', becomes None."""
    for column, classes in names.items():
        value = row.get(column)
        if isinstance(value, str) and value.lstrip("-").isdigit() and value not in classes:
            value = int(value)  # a CSV has only strings
        if isinstance(value, list) and all(type(v) is int and 0 <= v < len(classes) for v in value):
            row[column] = [classes[v] for v in value]
        elif isinstance(value, int) and not isinstance(value, bool):
            row[column] = classes[value] if 0 <= value < len(classes) else None
    return row


def _matches(pattern: str, name: str) -> bool:
    """A glob as ``datasets`` reads it: ``*`` stays in its folder, ``**`` is any number of folders. It takes no more
    steps than pattern and name have parts together, whatever a stranger wrote."""
    parts, places = pattern.removeprefix("./").split("/"), name.split("/")
    here = {0}  # how many of the name's parts what was read of the pattern may have matched
    for part in parts[:-1]:
        if part == "**":
            here = set(range(min(here), len(places) + 1)) if here else here
        else:
            here = {i + 1 for i in here if i < len(places) and _part(part).fullmatch(places[i])}
    last = parts[-1]
    if last == "**":
        return bool(here) and min(here) < len(places)
    return len(places) - 1 in here and _part(last).fullmatch(places[-1]) is not None


@lru_cache(maxsize=1000)
def _part(glob: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(re.sub(r"\*+", "*", glob)))
