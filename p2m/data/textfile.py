"""Text files as users have them: found or not, in UTF-8 or not."""

from __future__ import annotations

import codecs
import difflib
from pathlib import Path

from p2m.errors import BadInput

BOMS = (  # UTF-32 before UTF-16: its mark starts with the other's
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
GUESS_BYTES = 200_000


def missing(path: Path, *, where: str = "", line: int | None = None) -> BadInput:
    """The error for a file that is not there; names the files in that folder that are spelled nearly so."""
    folder = path.parent
    if not folder.is_dir():
        return BadInput(f"there is no folder {folder}", where=where or str(path), line=line, fix="Check the path.")
    names = sorted(p.name for p in folder.iterdir())
    by_lower = {name.lower(): name for name in names}
    near = [by_lower[n] for n in difflib.get_close_matches(path.name.lower(), by_lower, n=3, cutoff=0.5)]
    fix = f"Did you mean {' or '.join(near)}?" if near else "Check the path."
    problem = f"there is no file {path}" if where else "there is no such file"
    return BadInput(problem, where=where or str(path), line=line, fix=fix)


def read_bytes(path: Path, *, where: str = "", line: int | None = None) -> bytes:
    """The bytes of a file. ``where`` and ``line`` are the place that names it. Raises ``BadInput``."""
    if path.is_dir():
        raise BadInput("this is a folder, not a file", where=str(path), fix="Name a file in it.")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise missing(path, where=where, line=line) from None
    except OSError as error:
        raise BadInput(f"cannot read the file: {error.strerror}", where=str(path)) from error


def read_text(path: Path, *, where: str = "", line: int | None = None) -> str:
    """The text of a file, decoded as ``decode`` does. Raises ``BadInput``."""
    return decode(read_bytes(path, where=where, line=line), str(path))


def decode(data: bytes, where: str) -> str:
    """UTF-8, or UTF-16/32 with a byte-order mark. Else ``BadInput``: a guessed encoding corrupts silently."""
    encoding = next((name for mark, name in BOMS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        guess = _guess(data) if encoding == "utf-8" else encoding
        raise BadInput(
            f"byte {column} of this line (0x{data[error.start]:02x}) is not valid {encoding.upper()}; "
            f"the file looks like {guess or 'no text at all'}",
            where=where,
            line=line,
            fix=f"Convert it: iconv -f {guess.upper()} -t UTF-8 IN > OUT" if guess else "Give a UTF-8 text file.",
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise BadInput(
            "a NUL character: this is a binary file, or UTF-16 without a byte-order mark",
            where=where,
            line=line,
            fix="If it is text: iconv -f UTF-16LE -t UTF-8 IN > OUT",
        )
    return text


def _guess(data: bytes) -> str:
    from charset_normalizer import from_bytes

    seen = data[:GUESS_BYTES]
    high = bytes(byte for byte in seen if byte >= 0x80)
    # A few lone letters with accents are too little for the statistics, which then name an Asian encoding.
    if len(high) * 10 < len(seen) and all(map(str.isalpha, high.decode("cp1252", "replace"))):
        return "cp1252"
    best = from_bytes(seen).best()
    return best.encoding.replace("_", "-") if best else ""
