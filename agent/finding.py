"""What ``p2m doctor`` found: one thing, whether it is right, and how to get it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """``needed`` is what p2m cannot work without here; ``fix`` says what to do where ``ok`` is false."""

    name: str
    ok: bool
    needed: bool
    text: str
    fix: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "fix": "" if self.ok else self.fix}
