"""What is checked before a byte of a dataset is read. Each refusal names its rule."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from p2m.catalog.base import Card
from p2m.errors import P2MError

READABLE = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt")
_URL = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*:")
_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Settings:
    """What a catalogue may hand out. ``licenses`` None is any named licence; sizes are in bytes."""

    licenses: tuple[str, ...] | None = None
    allow_unknown_license: bool = False
    max_bytes: int = 500_000_000
    max_row_bytes: int = 1_000_000


class Refused(P2MError):
    """A dataset breaks a safety rule. ``rule`` is one of: id, script, license, data_files, extension, symlink, size."""

    def __init__(self, rule: str, message: str) -> None:
        self.rule = rule
        super().__init__(f"refused ({rule} rule): {message}")


def check_id(dataset: str) -> None:
    """Refuse an id that is not ORG/NAME."""
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", dataset, re.ASCII):
        raise Refused("id", f"{dataset[:80]!r} is not a dataset id; ids look like org/name")


def check_no_script(dataset: str, files: Iterable[str]) -> None:
    """Refuse a repository with a loading script: code that a loader would run."""
    script = f"{dataset.rpartition('/')[2]}.py"
    if script in set(files):
        raise Refused("script", f"{dataset} has a loading script, {script}; only plain data files are read")


def check_license(card: Card, settings: Settings) -> None:
    """Refuse a licence that the settings do not allow, or none at all."""
    stated = set(card.license.split("/"))
    if stated & {"", "other", "unknown"}:
        if not settings.allow_unknown_license:
            said = f"the licence {card.license!r}" if card.license else "no licence"
            raise Refused("license", f"{card.id} states {said}; allow unknown licences to use it")
    elif settings.licenses is not None and not stated <= set(settings.licenses):
        raise Refused("license", f"{card.id} is {card.license}; allowed are {', '.join(settings.licenses)}")


def check_pattern(dataset: str, pattern: str) -> None:
    """Refuse a declared data file that is absolute, a URL, climbs out of the repository, or is no plain data."""
    path = PurePosixPath(pattern.replace("\\", "/"))
    if _URL.match(pattern) or path.is_absolute() or ".." in path.parts or pattern.startswith("~"):
        raise Refused("data_files", f"{dataset} declares {pattern[:120]!r}; only files inside its folder are read")
    if not (path.suffix.lower() in READABLE or _GLOB.search(path.name)):
        raise Refused("extension", f"{dataset} declares {pattern[:120]!r}; read are {', '.join(READABLE)}")


def check_file(dataset: str, root: Path, file: Path) -> Path:
    """The real path of a data file or card. Refuses one that is a link out of ``root`` or not a regular file."""
    real = file.resolve()
    if not real.is_relative_to(root.resolve()):
        raise Refused("symlink", f"{dataset}: {file.name} is a link that leaves the dataset's folder")
    if not real.is_file():
        raise Refused("data_files", f"{dataset}: {file.name} is not a regular file")
    return real


def check_data_file(dataset: str, root: Path, file: Path) -> Path:
    """``check_file``, and the extension of what the link, if any, points to."""
    real = check_file(dataset, root, file)
    if file.suffix.lower() not in READABLE:
        raise Refused("extension", f"{dataset}: {file.name} is not one of {', '.join(READABLE)}")
    return real


def check_size(dataset: str, total: int, settings: Settings) -> None:
    """Refuse data beyond the limit."""
    if total > settings.max_bytes:
        raise Refused("size", f"{dataset} holds {total / 1e6:.0f} MB; the limit is {settings.max_bytes / 1e6:.0f} MB")
