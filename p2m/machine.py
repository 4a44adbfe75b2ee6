"""What this machine has free for a training: memory, disk, arithmetic. Nothing heavy is imported."""

from __future__ import annotations

import os
import re
import shutil
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PROBE_SIZE = 1024
_PROBES = 3
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Machine:
    """``memory`` and ``disk`` are free bytes, ``flops`` float32 operations a second; None where nobody says.

    Students train on the processor, so the memory is the machine's own: what a GPU has beside it is not counted.
    """

    memory: int | None = None
    disk: int | None = None
    flops: float | None = None


def this_machine(folder: Path) -> Machine:
    """The machine as it is now; ``disk`` is the one that ``folder`` will be written to."""
    return Machine(memory_free(), disk_free(folder), arithmetic())


def memory_free() -> int | None:
    """Bytes; on Linux with what the kernel would give back, which ``sysconf`` does not count, and no more than the
    control group (a container) may still take."""
    found = [free for free in (_system_free(), _group_free()) if free is not None]
    return min(found, default=None)


def disk_free(folder: Path) -> int | None:
    """Bytes free where ``folder`` is, or will be made."""
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    try:
        return shutil.disk_usage(there).free
    except OSError:
        return None


@cache
def arithmetic() -> float:
    """Operations a second of a float32 matrix product, the best of three (20 ms each on two cores of 2023)."""
    import numpy as np

    left = np.ones((_PROBE_SIZE, _PROBE_SIZE), dtype=np.float32)
    times = []
    for _ in range(_PROBES + 1):  # the first one starts the threads
        began = time.perf_counter()
        left @ left
        times.append(time.perf_counter() - began)
    return 2 * _PROBE_SIZE**3 / max(min(times), 1e-9)


def _system_free() -> int | None:
    try:
        return int(re.findall(r"^MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)[0]) * 1024
    except (OSError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _group_free() -> int | None:
    """What version 2 of Linux's control groups leaves; file pages that it can drop do not count as taken."""
    try:
        limit, taken = ((_CGROUP / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        droppable = re.findall(r"^inactive_file (\d+)", (_CGROUP / "memory.stat").read_text(), re.MULTILINE)
        return max(0, int(limit) - int(taken) + int(droppable[0]))
    except (OSError, ValueError, IndexError):  # no group, no limit ("max"), or not that version
        return None
