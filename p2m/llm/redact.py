"""Keys never reach a journal, a log or a report."""

from __future__ import annotations

import os
import re

_SECRET_NAMES = re.compile(r"(API_?KEY|TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)
_KNOWN_SHAPES = re.compile(r"\bsk-[A-Za-z0-9_-]{16,}|\bhf_[A-Za-z0-9]{16,}|(?<=Bearer )[A-Za-z0-9._~+/-]{8,}=*")
_SHORTEST = 8


def redact(text: str) -> str:
    """``text`` with the values of secret environment variables, and what looks like a key, as ``[key]``."""
    values = {v for k, v in os.environ.items() if len(v) >= _SHORTEST and _SECRET_NAMES.search(k)}
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, "[key]")
    return _KNOWN_SHAPES.sub("[key]", text)
