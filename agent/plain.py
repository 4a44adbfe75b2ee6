"""Text by models, tools and strangers made fit for a terminal or a page: nothing in it can move a cursor or hide."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

# ECMA-48 control sequences (CSI), strings (OSC, DCS, APC, PM, SOS) and two-character escapes, in 7-bit and C1 form.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]{0,2000}(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)
# Joiners are part of words (Persian, Hindi) and of emoji; the other format characters hide or reorder text.
_JOINERS = "\u200c\u200d"


def plain(text: object) -> str:
    """``text`` without escape sequences, control and invisible characters. Line breaks stay, tabs become spaces."""
    unified = re.sub(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]", "\n", str(text)).expandtabs(4)
    visible = _ESCAPES.sub("", unified)
    return "".join(
        c for c in visible if c == "\n" or c in _JOINERS or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co")
    )


def one_line(text: object, limit: int = 200) -> str:
    """``plain`` text on one line, cut to ``limit`` characters."""
    return cut(" ".join(plain(text).split()), limit)


def cut(text: str, limit: int) -> str:
    """``text``, or its first ``limit - 1`` characters and an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def short_arguments(arguments: dict[str, Any], limit: int = 160) -> str:
    """``n=120 labels=[refund, login] brief="short and angry"``: a call's arguments for one line."""
    return cut(" ".join(f"{one_line(k, 40)}={_short(v)}" for k, v in arguments.items()), limit)


def _short(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(one_line(value, 80), ensure_ascii=False) if " " in value or not value else one_line(value, 80)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list) and all(isinstance(v, str | int | float) for v in value):
        shown = ", ".join(one_line(v, 40) for v in value[:6])
        return f"[{shown}{', …' if len(value) > 6 else ''}]"
    return one_line(json.dumps(value, ensure_ascii=False, default=str), 80)


def duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 min 05 s``, ``1 h 02 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def price(usd: float, unpriced: int, tokens: int) -> str:
    """What LLM calls cost, as said everywhere: an unknown price is never $0; no call at all is the empty string."""
    if unpriced:
        return f"${usd:.4f} + {unpriced} calls unpriced" if usd else "unpriced"
    return f"${usd:.4f}" if usd else ("$0 (local or cached)" if tokens else "")


def console(stream: TextIO, piped_width: int) -> Console:
    """A console that takes text as it is; escape codes only on a terminal without ``NO_COLOR``."""
    from rich.console import Console

    class Piped(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # `p2m log RUN | head` is no error; rich would exit with 1

    is_live = stream.isatty()
    return Piped(
        file=stream,
        width=None if is_live else piped_width,
        color_system="auto" if is_live and not os.environ.get("NO_COLOR") else None,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=True,
    )
