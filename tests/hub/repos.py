"""The repositories of the loopback hub: folders on disk, and what the Hub knows beside the files."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

Kind = Literal["datasets", "models"]
LFS_SUFFIXES = (".safetensors", ".parquet", ".bin", ".gz")


@dataclass
class About:
    """What no file says. ``sizes`` declares sizes of files that are not there, or other sizes for those that are."""

    gated: Literal[False, "auto", "manual"] = False
    private: bool = False
    downloads: int = 0
    likes: int = 0
    sizes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Repo:
    kind: Kind
    id: str
    folder: Path
    about: About

    def files(self) -> dict[str, Path]:
        """Path in the repository -> file, in order."""
        found = {}
        for place, _, names in os.walk(self.folder):
            for name in names:
                file = Path(place) / name
                found[file.relative_to(self.folder).as_posix()] = file
        return dict(sorted(found.items()))

    def sha(self) -> str:
        """Changes with the content, as a commit's does."""
        return hashlib.sha1("".join(f"{p}:{blob(f)}" for p, f in self.files().items()).encode()).hexdigest()

    def card(self) -> dict[str, Any]:
        readme = self.folder / "README.md"
        text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
        try:
            meta = yaml.safe_load(text[3:].partition("\n---")[0]) if text.startswith("---") else {}
        except yaml.YAMLError:
            meta = {}
        return json.loads(json.dumps(meta, default=str)) if isinstance(meta, dict) else {}

    def description(self) -> str:
        """The beginning of the card's text, on one line, as the Hub's listings give it."""
        readme = self.folder / "README.md"
        text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
        return " ".join(text.partition("\n---")[2].split())[:300]

    def tags(self) -> list[str]:
        """As the Hub makes them: ``language:en`` for a dataset, ``en`` for a model."""
        card, tags = self.card(), []
        for key in ("task_categories", "language", "size_categories"):
            bare = self.kind == "models" and key == "language"
            tags += [str(v) if bare else f"{key}:{v}" for v in _list(card.get(key))]
        tags += [f"license:{v}" for v in _list(card.get("license"))] + _list(card.get("tags"))
        return [*tags, *[str(card[k]) for k in ("pipeline_tag", "library_name") if card.get(k)]]

    def siblings(self, blobs: bool) -> list[dict[str, Any]]:
        files = self.files()
        listed = []
        for path in [*files, *(p for p in self.about.sizes if p not in files)]:
            entry: dict[str, Any] = {"rfilename": path}
            if blobs:
                entry |= {"size": self.size(path), "blobId": blob(files[path]) if path in files else "0" * 40}
                if path.endswith(LFS_SUFFIXES) and path in files:
                    entry["lfs"] = {"sha256": sha256(files[path]), "size": entry["size"], "pointerSize": 130}
            listed.append(entry)
        return listed

    def size(self, path: str) -> int:
        return self.about.sizes.get(path) or self.files()[path].stat().st_size

    def info(self, *, blobs: bool = False) -> dict[str, Any]:
        """What ``/api/{kind}/{id}`` answers; a listing shows a part of it."""
        card, about = self.card(), self.about
        info: dict[str, Any] = {
            "_id": hashlib.sha1(self.id.encode()).hexdigest()[:24],
            "id": self.id,
            "author": self.id.partition("/")[0],
            "sha": self.sha(),
            "lastModified": "2026-01-02T03:04:05.000Z",
            "createdAt": "2025-01-02T03:04:05.000Z",
            "private": about.private,
            "gated": about.gated,
            "disabled": False,
            "downloads": about.downloads,
            "likes": about.likes,
            "tags": self.tags(),
            "cardData": card,
            "siblings": self.siblings(blobs),
        }
        if self.kind == "datasets":
            return info | {"description": self.description()}
        config = self.folder / "config.json"
        raw = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
        info |= {"modelId": self.id, "pipeline_tag": card.get("pipeline_tag"), "config": {
            k: raw[k] for k in ("model_type", "architectures", "auto_map") if k in raw
        }}  # fmt: skip
        info["library_name"] = card.get("library_name", "transformers")
        counted = [_parameters(f) for p, f in self.files().items() if p.endswith(".safetensors") and "/" not in p]
        return info | ({"safetensors": {"parameters": {"F32": sum(counted)}, "total": sum(counted)}} if counted else {})


class Tree:
    """All repositories under a folder; it is read anew for each request."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._about: dict[tuple[str, str], About] = {}

    def about(self, kind: Kind, repo_id: str) -> About:
        return self._about.setdefault((kind, repo_id), About())

    def repo(self, kind: Kind, repo_id: str) -> Repo | None:
        folder = self.root / kind / repo_id
        inside = repo_id.count("/") == 1 and ".." not in repo_id
        return Repo(kind, repo_id, folder, self.about(kind, repo_id)) if inside and folder.is_dir() else None

    def repos(self, kind: Kind) -> list[Repo]:
        places = sorted((self.root / kind).glob("*/*")) if (self.root / kind).is_dir() else []
        ids = [f"{p.parent.name}/{p.name}" for p in places if p.is_dir()]
        return [Repo(kind, i, self.root / kind / i, self.about(kind, i)) for i in ids]


_BLOBS: dict[tuple[str, int, int], tuple[str, str]] = {}


def blob(file: Path) -> str:
    """The git object id of a file's content."""
    return _hashes(file)[0]


def sha256(file: Path) -> str:
    return _hashes(file)[1]


def _hashes(file: Path) -> tuple[str, str]:
    state = file.stat()
    key = (str(file), state.st_size, state.st_mtime_ns)
    if key not in _BLOBS:
        data = file.read_bytes()
        git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        _BLOBS[key] = git, hashlib.sha256(data).hexdigest()
    return _BLOBS[key]


def _parameters(file: Path) -> int:
    from math import prod

    with file.open("rb") as handle:
        header = json.loads(handle.read(struct.unpack("<Q", handle.read(8))[0]))
    return sum(prod(t["shape"]) for name, t in header.items() if name != "__metadata__")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []
