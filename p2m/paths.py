"""Where p2m keeps what outlives a run: the embedded pack and the LLM cache."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """``$P2M_HOME``, else ``~/.cache/p2m``. Not created here."""
    return Path(os.environ.get("P2M_HOME") or Path.home() / ".cache" / "p2m")


def pack_dir() -> Path:
    """The embedded pack: one file or folder a model."""
    return home() / "pack"


def llm_cache() -> Path:
    """The SQLite file of answered LLM calls."""
    return home() / "llm-cache.sqlite"


def catalog_index() -> Path:
    """The SQLite file of every dataset and model card ever seen."""
    return home() / "catalog.sqlite"


def prompts_dir() -> Path:
    """The folder of prompt templates, as installed beside this package."""
    return Path(__file__).resolve().parent.parent / "prompts"
