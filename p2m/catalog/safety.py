"""What is checked before a byte of a dataset is read. Each refusal names its rule."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from p2m.catalog.base import Card
from p2m.errors import P2MError

READABLE = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt")
PACKED = ".gz"
UNPACKS_TO = 4
"""A compressed file may unpack to this many times ``Settings.max_bytes``."""
MOST_FILES, MOST_PATTERNS, MOST_PATTERN_CHARS = 20_000, 500, 500
_URL = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*:")
_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Settings:
    """What a catalogue may hand out. ``licenses`` None is any named licence; sizes are in bytes.

    ``allow_gated`` lets in what its owner gives to those who asked; the person's own token then goes to the Hub.
    """

    licenses: tuple[str, ...] | None = None
    allow_unknown_license: bool = False
    max_bytes: int = 500_000_000
    max_row_bytes: int = 1_000_000
    allow_gated: bool = False

    @property
    def max_unpacked_bytes(self) -> int:
        return UNPACKS_TO * self.max_bytes


class Refused(P2MError):
    """A dataset or model breaks a safety rule. ``rule`` is one of: id, script, gated, license, data_files, extension,
    symlink, size, unpacked, shape, host, pages, pickle, remote_code."""

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
    check_license_id(card.id, card.license, settings)


def check_license_id(name: str, license: str, settings: Settings) -> None:
    """``check_license`` of a dataset or model ``name`` whose licences are joined by ``/``."""
    stated = set(license.split("/"))
    if stated & {"", "other", "unknown"}:
        if not settings.allow_unknown_license:
            said = f"the licence {license!r}" if license else "no licence"
            raise Refused("license", f"{name} states {said}; allow unknown licences (--any-licence) to use it")
    elif settings.licenses is not None and not stated <= set(settings.licenses):
        raise Refused("license", f"{name} is {license}; allowed are {', '.join(settings.licenses)}")


def check_gated(name: str, gated: object, settings: Settings) -> None:
    """Refuse what its owner gives only to those who asked, unless the settings say that the person has."""
    if gated and not settings.allow_gated:
        raise Refused("gated", f"{name} is gated: accept its terms on the Hub, then --allow-gated")


def check_model_files(name: str, files: Iterable[str], config: Mapping[str, object]) -> None:
    """Refuse a model whose weights are pickles (loading one runs code), or that needs its own code to be run."""
    if not any(f.endswith(".safetensors") and "/" not in f for f in files):
        raise Refused("pickle", f"{name} has no safetensors file; other weights can run code when they are loaded")
    if config.get("auto_map"):
        raise Refused("remote_code", f"{name} needs its own code to be run (auto_map)")


def check_listing(dataset: str, files: int, declared: Mapping[str, Sequence[str]]) -> None:
    """Refuse a repository of so many files, or a card that declares so many, that looking through them has no end."""
    patterns = sum(len(names) for names in declared.values())
    if files > MOST_FILES:
        raise Refused("data_files", f"{dataset} has {files:,} files; {MOST_FILES:,} are looked through")
    if patterns > MOST_PATTERNS:
        raise Refused("data_files", f"{dataset} declares {patterns:,} data files; {MOST_PATTERNS:,} are looked for")


def check_pattern(dataset: str, pattern: str) -> None:
    """Refuse a declared data file that is absolute, a URL, climbs out of the repository, or is no plain data."""
    if len(pattern) > MOST_PATTERN_CHARS:
        raise Refused("data_files", f"{dataset} declares a name of {len(pattern):,} characters, {pattern[:60]!r}…")
    path = PurePosixPath(pattern.replace("\\", "/"))
    if (
        _URL.match(pattern)
        or "::" in pattern
        or "://" in pattern
        or path.is_absolute()
        or ".." in path.parts
        or pattern.startswith("~")
    ):
        raise Refused("data_files", f"{dataset} declares {pattern[:120]!r}; only files inside its folder are read")
    if not (is_readable(path.name) or _GLOB.search(path.name)):
        raise Refused("extension", f"{dataset} declares {pattern[:120]!r}; read are {', '.join(READABLE)}")


def is_readable(name: str) -> bool:
    """Whether a file of that name is plain data, compressed by gzip or not. An archive (.zip, .tar) is not."""
    return format_of(name) in READABLE


def format_of(name: str) -> str:
    """The suffix that says how a file is read: ``.jsonl`` of ``a.jsonl`` and of ``a.jsonl.gz``."""
    bare = name.lower()
    path = PurePosixPath(bare.removesuffix(PACKED))
    return "" if bare.endswith(PACKED) and path.suffix == ".parquet" else path.suffix


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
    if not is_readable(file.name):
        raise Refused("extension", f"{dataset}: {file.name} is not one of {', '.join(READABLE)}")
    return real


def check_size(dataset: str, total: int, settings: Settings) -> None:
    """Refuse data beyond the limit. ``total`` is of the files, or what the card declares where that is more."""
    if total > settings.max_bytes:
        limit = f"{settings.max_bytes / 1e6:,.0f} MB (--max-dataset-mb)"
        raise Refused("size", f"{dataset} holds {total / 1e6:,.0f} MB; the limit is {limit}")
