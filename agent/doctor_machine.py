"""Python, packages, processor, memory and disk, as ``p2m doctor`` finds them: from metadata, nothing heavy imported."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Collection
from importlib import metadata
from pathlib import Path

from agent.finding import Finding
from agent.runs import runs_dir
from p2m import paths
from p2m.machine import memory_free
from p2m.pack import PACK, find

PACKAGES = ("torch", "transformers", "datasets", "huggingface_hub", "openai", "xllamacpp", "textual", "jsonschema")
OLDEST_PYTHON = (3, 11)
# The largest embedded model with its context, and the student in training beside it.
MEMORY_BYTES = 3_000_000_000
# Students, their checkpoints and the report of a run or two.
RUN_BYTES = 1_000_000_000
HOME_BYTES = 200_000_000


def machine(needed_models: Collection[str]) -> list[Finding]:
    """Everything but models: ``needed_models`` are the pack's names for which the disk must have room."""
    to_fetch = sum(m.size for m in PACK if m.name in needed_models and find(m.name) is None)
    return [
        _python(),
        *map(_package, PACKAGES),
        _cpu(),
        _memory(),
        _disk("disk, models", paths.home(), HOME_BYTES + to_fetch, "P2M_HOME"),
        _disk("disk, runs", runs_dir(), RUN_BYTES, "P2M_RUNS"),
    ]


def _python() -> Finding:
    wanted = ".".join(map(str, OLDEST_PYTHON))
    text = f"{platform.python_version()} ({sys.executable})"
    return Finding("python", sys.version_info >= OLDEST_PYTHON, True, text, f"install Python {wanted} or later")


def _package(name: str) -> Finding:
    wanted = _requirement(name)
    fix = f"pip install -U '{name}{wanted or ''}'"
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, False, True, "not installed", fix)
    if wanted is not None and not wanted.contains(version, prereleases=True):
        return Finding(name, False, True, f"{version}, but p2m needs {wanted}", fix)
    return Finding(name, True, True, f"{version}{_torch_build() if name == 'torch' else ''}")


def _requirement(name: str):  # type: ignore[no-untyped-def]
    """The versions that the installed p2m asks for, as a ``SpecifierSet``; None where p2m runs from its source."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    try:
        lines = metadata.requires("p2m") or []
    except metadata.PackageNotFoundError:
        return None
    asked = [
        r for r in map(Requirement, lines) if canonicalize_name(r.name) == canonicalize_name(name) and not r.marker
    ]
    return asked[0].specifier if asked else None


def _torch_build() -> str:
    """What torch was built for, as its ``version.py`` says: reading it takes no import."""
    try:
        text = Path(str(metadata.distribution("torch").locate_file("torch/version.py"))).read_text(encoding="utf-8")
    except OSError:
        return ""
    found = {name: value for name, value in re.findall(r"^(cuda|hip)\b[^=]*=\s*'([^']+)'", text, re.MULTILINE)}
    built = ", ".join(f"{name.upper()} {value}" for name, value in found.items())
    return f" ({built} build)" if built else " (CPU build)"


def _cpu() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    text = f"{cores} cores, {platform.machine()}"
    try:
        flags = set(
            re.findall(r"^(?:flags|Features)\s*:(.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[0].split()
        )
    except (OSError, IndexError):
        return Finding("cpu", True, False, text)
    fast = [
        word
        for flag, word in (("avx512_bf16", "AVX512-BF16"), ("amx_bf16", "AMX-BF16"), ("bf16", "bf16"))
        if flag in flags
    ]
    return Finding("cpu", True, False, f"{text}, {' and '.join(fast) or 'no bf16: training in float32'}")


def _memory() -> Finding:
    free = memory_free()
    if free is None:
        return Finding("memory", True, False, "this system does not say how much is free")
    fix = f"close something: the embedded models and a training want {MEMORY_BYTES / 1e9:.0f} GB"
    return Finding("memory", free >= MEMORY_BYTES, False, f"{free / 1e9:.1f} GB free", fix)


def _disk(name: str, folder: Path, wanted: int, variable: str) -> Finding:
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free
    text = f"{free / 1e9:.1f} GB free at {folder}"
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Finding(name, False, True, f"{there} cannot be written to", f"set {variable} to a folder that can")
    fix = f"free some space (it wants {wanted / 1e9:.1f} GB) or set {variable} to another disk"
    return Finding(name, free >= wanted, True, text, fix)
