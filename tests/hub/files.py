"""The tree and the bytes of a repository."""

from __future__ import annotations

import re
from typing import Any

from tests.hub.repos import LFS_SUFFIXES, Repo, blob, sha256


def tree(repo: Repo, under: str, recursive: bool) -> list[dict[str, Any]] | None:
    """The entries under a folder; None where there is no such folder."""
    prefix = f"{under.strip('/')}/" if under.strip("/") else ""
    entries: dict[str, dict[str, Any]] = {}
    for path, file in repo.files().items():
        if not path.startswith(prefix):
            continue
        parts = path[len(prefix) :].split("/")
        for depth in range(1, len(parts)):
            folder = prefix + "/".join(parts[:depth])
            if recursive or depth == 1:
                entries[folder] = {"type": "directory", "path": folder, "oid": "0" * 40, "size": 0}
        if recursive or len(parts) == 1:
            entry: dict[str, Any] = {"type": "file", "path": path, "oid": blob(file), "size": repo.size(path)}
            if path.endswith(LFS_SUFFIXES):
                entry["lfs"] = {"oid": sha256(file), "size": entry["size"], "pointerSize": 130}
            entries[path] = entry
    return list(entries.values()) if entries or not prefix else None


def span(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte of a ``Range`` header (RFC 9110, 14.1.2); None where it asks for all. Raises ``ValueError``
    where nothing of it can be given."""
    if not header:
        return None
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header)
    if not match or match[1] == match[2] == "":
        return None
    first = int(match[1]) if match[1] else max(0, size - int(match[2]))
    last = min(int(match[2]), size - 1) if match[1] and match[2] else size - 1
    if first > last:
        raise ValueError(header)
    return first, last


def etag(repo: Repo, path: str) -> str:
    file = repo.files()[path]
    return f'"{sha256(file) if path.endswith(LFS_SUFFIXES) else blob(file)}"'
