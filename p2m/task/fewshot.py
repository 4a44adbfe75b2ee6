"""A prompt with examples in it -> the instruction alone, and the examples."""

from __future__ import annotations

import re
from itertools import pairwise

from p2m.data.jsonrows import line_numbers
from p2m.task import styles
from p2m.task.draft import Place, Shown

EXAMPLE_WORD = (
    r"examples?|samples?|demonstrations?|for instance|e\.g\.|few-shot|beispiele?|ejemplos?|exemples?|esempi|例"
)
LEAD_IN = re.compile(rf"^(?=.*(?:\b(?:{EXAMPLE_WORD})|例))[^\n]{{0,160}}[:：]?$", re.I)
# A prompt written for an LLM often ends by asking for the next answer; the task is what stands before.
ASKS_FOR_NEXT = re.compile(r"^[^\n]{0,120}[:：]$")
SLOT = re.compile(r"[\s*]*[\w ]{0,30}\**[:：=]?\**\s*(?:\{[^{}]*\}|<[^<>]*>|\[[^\[\]]*\]|\"\"|“”)\s*")


def split(text: str, where: str, first_line: int = 1) -> tuple[str, tuple[Shown, ...]]:
    """The instruction without the examples and the line that leads to them; the examples with their lines.

    A text wholly inside a code fence or triple quotes is read without them. Everything else of the instruction is
    kept as it is written.
    """
    text, first_line = _unwrapped(text, first_line)
    spans = styles.find(text)
    if not spans:
        return text.strip(), ()
    lines = line_numbers(text, [s.start + _leading(text, s.start) for s in spans])
    shown = tuple(Shown(s.input, s.output, Place(where, first_line + n - 1)) for s, n in zip(spans, lines, strict=True))
    before = _without_lead_in(_open_fence_removed(text[: spans[0].start]))
    after = _after(text[spans[-1].end :])
    between = [text[a.end : b.start] for a, b in pairwise(spans)]
    kept = [part.strip() for part in between if part.strip() and not styles.SEPARATOR.match(part)]
    return "\n\n".join(part for part in (before, *kept, after) if part), shown


def _unwrapped(text: str, first_line: int) -> tuple[str, int]:
    """Without the fence or triple quotes around the whole; the line moves with it."""
    for wrapper in (r"```[\w-]*[ \t]*\n(.*)\n[ \t]*```", r'"""(.*)"""', r"'''(.*)'''"):
        if match := re.fullmatch(rf"\s*{wrapper}\s*", text, re.S):
            inner = match[1]
            if wrapper[0] == "`" and "\n```" in inner:
                continue  # two fences, not one around everything
            return _unwrapped(inner, first_line + text.count("\n", 0, match.start(1)))
    return text, first_line


def _leading(text: str, start: int) -> int:
    rest = text[start:]
    return len(rest) - len(rest.lstrip())


def _open_fence_removed(text: str) -> str:
    return re.sub(r"\n?[ \t]*```[\w-]*[ \t]*\s*\Z", "", text) if text.count("```") % 2 else text


def _without_lead_in(text: str) -> str:
    text = text.rstrip()
    while text:
        head, _, last = text.rpartition("\n")
        line = re.sub(r"^[#>*\s\-_=]+|[*\s_\-=]+$", "", last)
        if not line or (LEAD_IN.match(line) and len(line.split()) <= 25 and _is_lead_in(line, last)):
            text = head.rstrip()
            continue
        sentence = re.search(r"(?<=[.!?。])\s+(?P<lead>[^.!?。]+[:：])$", last)
        if sentence and LEAD_IN.match(sentence["lead"]):
            return text[: len(text) - len(last) + sentence.start()].rstrip()
        break
    return text.strip()


def _is_lead_in(line: str, raw: str) -> bool:
    """It leads to the examples if it ends in a colon, is a heading, or says nothing else."""
    one_sentence = not re.search(r"[.!?。]\s+\S", line)
    return one_sentence and (
        line.endswith((":", "：")) or raw.lstrip().startswith(("#", "**")) or len(line.split()) <= 5
    )


def _after(text: str) -> str:
    text = re.sub(r"\A\s*```[ \t]*(?=\n|\Z)", "", text).strip()
    text = re.sub(r"\A(?:[-=*_]{3,}|\"{3}|'{3})\s*", "", text)
    lines = text.split("\n")
    while lines and (not lines[-1].strip() or SLOT.fullmatch(lines[-1]) or ASKS_FOR_NEXT.match(lines[-1].strip())):
        lines.pop()
    return "\n".join(lines).strip()
