"""The embedded pack: the models that let p2m work offline. Where they are, or how to get them."""

from __future__ import annotations

from pathlib import Path

from p2m import paths
from p2m.errors import P2MError
from p2m.files import digest
from p2m.pack.manifest import NAMES, PACK, Member, member

__all__ = ["NAMES", "PACK", "Member", "checked", "find", "marker", "member", "require", "stamp"]


def stamp(m: Member) -> str:
    """What a checked copy of ``m`` is marked with: it changes with any of its hashes."""
    return digest(m.files)


def marker(m: Member) -> Path:
    """The file that says that ``m`` was downloaded whole and its SHA-256 checked."""
    return paths.pack_dir() / f".{m.name}.checked"


def checked(m: Member) -> Path | None:
    """Where ``m`` is, if it was pulled whole and checked against the hashes of this version."""
    path = paths.pack_dir() / m.target
    try:
        mark = marker(m).read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return path if mark == stamp(m) and path.exists() else None


def find(name: str) -> Path | None:
    """The ``.gguf`` or the folder of a pulled and checked model, else None. Raises ``BadInput`` for an unknown name."""
    return checked(member(name))


def require(name: str) -> Path:
    """Like ``find``, or ``P2MError`` that says how to get the model."""
    path = find(name)
    if path is None:
        raise P2MError(f"the embedded model {name} is not here; run: p2m pull {name}")
    return path
