"""The styles in which people write few-shot examples, each as spans of the text.

Every finder returns spans in order of appearance, not overlapping; it finds nothing rather than something doubtful.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from p2m.data import names
from p2m.data.jsonrows import element_offsets
from p2m.data.spans import spans_in
from p2m.outputs import format_spans

# A value may be closed by any mark of the family that opened it: people mix “ and ".
DOUBLE, SINGLE = '"“”„‟«»「」', "'‘’‚`"
QUOTE = f"\"\"\"|'''|[{DOUBLE}]|[{SINGLE}]"
INPUTS = "|".join(sorted(set().union(*names.INPUT_NAMES), key=len, reverse=True))
OUTPUTS = "|".join(sorted(set().union(*names.OUTPUT_NAMES), key=len, reverse=True))
LEAD = r"^[ \t]*(?:[-*•>]\s+|\(?\d+[.)]\s+)?"
# What may stand between two examples, or a blank line after the last: "---", "###", "2.", "Example 3:".
SEPARATOR = re.compile(
    r"(?:\s|^[-=#*_~]{2,}$|^[-*•]$|^\(?\d+[.):]?$|^(?:\W{0,4})example\W*\d*\W*$|^,$)+\Z", re.I | re.M
)
PLACEHOLDER = re.compile(r"^(?:\.\.\.|…|\{[^{}]*\}|<[^<>]*>|\[[^\[\]]*\]|\$\w+)$")
ALTERNATIVES = re.compile(r"\bor\b|\bone of\b|\beither\b", re.I)
FORMAT_WORD = re.compile(
    r"^(?:(?:the|an?|your|its|some)\s+)?(?:[\w-]+\s+){0,3}(?:text|string|sentence|review|message|question|document|email|tweet|"
    r"ticket|input|output|label|category|class|sentiment|intent|topic|answer|translation|summary)$",
    re.I,
)


@dataclass(frozen=True)
class Span:
    """An example and the characters ``[start, end)`` that hold it."""

    start: int
    end: int
    input: str
    output: str


def find(text: str) -> list[Span]:
    """The examples of the first style that has any. What describes the format, or is a slot to fill, is none."""
    for style in STYLES:
        spans = [s for s in style(text) if not _is_slot(s)]
        if spans and _describes(spans):
            spans = spans[1:]
        if spans:
            return spans
    return []


def assignments(text: str) -> list[Span]:
    """``input="…" output="…"``: several lines long, closed by the last fitting quotation mark, not by the first."""
    opening = re.compile(rf"{LEAD}(?:example\s*\d*\W+)?(?:{INPUTS})[ \t]*=[ \t]*(?P<q>{QUOTE})?", re.I | re.M)
    starts = list(opening.finditer(text))
    spans = []
    for i, start in enumerate(starts):
        limit = starts[i + 1].start() if i + 1 < len(starts) else len(text)
        closing = rf"[{_family(start['q'])}]{{{len(start['q'])}}}" if start["q"] else ""
        middle = re.compile(rf"{closing}[ \t]*[,;]?(?P<gap>\s*)(?:{OUTPUTS})[ \t]*=[ \t]*(?P<q>{QUOTE})?", re.I)
        found = list(middle.finditer(text, start.end(), limit))
        if not found:
            continue
        cut = next((m for m in found if "\n" in m["gap"]), found[0])
        last = i + 1 == len(starts)
        end, value = _assigned(text, cut.end(), limit, cut["q"] or "", last)
        source = text[start.end() : cut.start()]
        spans.append(Span(start.start(), end, _plain(source, start["q"] or ""), _plain(value, cut["q"] or "")))
    return spans


def _assigned(text: str, start: int, limit: int, quote: str, last: bool) -> tuple[int, str]:
    """Where the output that begins at ``start`` ends, and its text."""
    if not quote:
        end = text.find("\n", start, limit)
        end = limit if end < 0 else end
        return end, text[start:end]
    region = text[start:limit]
    mark = rf"[{_family(quote)}]{{{len(quote)}}}"
    if not last:
        tail = SEPARATOR.search(region)
        body = region[: tail.start()] if tail else region
        if close := re.search(rf"{mark}[,;)]?\Z", body):
            return start + close.end(), body[: close.start()]
    ends = list(re.finditer(rf"{mark}[,;)]?[ \t]*(?=\n|\Z)", region))
    if not ends:
        return limit, region
    blank = next((m for m in ends if re.match(r"\n[ \t]*(\n|\Z)|\n?\Z|\n[ \t]*```", region[m.end() :])), ends[-1])
    return start + blank.end(), region[: blank.start()]


def _family(quote: str) -> str:
    return DOUBLE if quote[0] in DOUBLE else SINGLE


def _plain(value: str, quote: str) -> str:
    """The value, its quotation marks unescaped where every one inside is escaped."""
    if quote and re.search(rf"\\{quote[0]}", value) and not re.search(rf"(?<!\\){quote[0]}", value):
        value = value.replace(f"\\{quote[0]}", quote[0])
    return value.strip()


def json_values(text: str) -> list[Span]:
    """Objects or ``[input, output]`` pairs, one a line or in an array, wherever a line begins with one."""
    spans: list[Span] = []
    at = 0
    for match in re.finditer(r"^[ \t]*(?=[\[{])", text, re.M):
        start = match.end()
        if start < at:
            continue
        try:
            value, end = json.JSONDecoder().raw_decode(text, start)
        except (json.JSONDecodeError, RecursionError):
            continue
        offsets = element_offsets(text, start) if isinstance(value, list) else []
        pairs = [pair_of(v) for v in value] if offsets else [pair_of(value)]
        if not all(pairs) or not pairs:
            continue
        at = end + 1 if text[end : end + 1] == "," else end
        ends = [*offsets[1:], at] if offsets else [at]
        for begin, stop, pair in zip(offsets or [start], ends, pairs, strict=True):
            if pair:
                spans.append(Span(start if begin == next(iter(offsets), start) else begin, stop, *pair))
    return spans


def pair_of(value: Any) -> tuple[str, str] | None:
    """The input and output of ``{"text": …, "label": …}``, ``{"anything": …, "else": …}`` or ``[input, output]``; spans
    in their canonical spelling, of a list of right answers the first."""
    parts = parts_of(value)
    try:
        return (parts[0], answer_of(*parts)) if parts else None
    except ValueError:
        return None


def parts_of(value: Any) -> tuple[str, Any] | None:
    """The same with the output as it was written."""
    if isinstance(value, list) and len(value) == 2:
        source, answer = value
    else:
        if not isinstance(value, dict) or len(value) < 2:
            return None
        inputs, outputs = names.best(value, names.INPUT_NAMES), names.best(value, names.OUTPUT_NAMES)
        if len(value) == 2 and (len(inputs) == 1) != (len(outputs) == 1):
            known = (inputs or outputs)[0]
            other = next(k for k in value if k != known)
            inputs, outputs = (inputs, [other]) if inputs else ([other], outputs)
        if len(inputs) != 1 or len(outputs) != 1:
            return None
        source, answer = value[inputs[0]], value[outputs[0]]
    return None if isinstance(source, list | dict) else (_text(source), answer)


def answer_of(source: str, answer: Any) -> str:
    """An output as text. Raises ``ValueError`` for what is neither text nor texts nor spans of ``source``."""
    if isinstance(answer, list) and answer and all(isinstance(v, str) for v in answer):
        return _text(answer[0])
    if isinstance(answer, list | dict):
        return format_spans(spans_in(source, answer))
    return _text(answer)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def colon_lines(text: str) -> list[Span]:
    """``Input: … Output: …``, ``Q: A:``, ``Text: Label:``; or any two keys that take turns at least twice."""
    key = re.compile(
        rf"{LEAD}(?:\*\*|__)?(?P<key>[^\W\d_][\w \-]{{0,30}}?)[ \t]*\d*(?:\*\*|__)?[ \t]*[:：](?:\*\*|__)?", re.M
    )
    lines = [(m.start(), m.end(), names.plain(m["key"])) for m in key.finditer(text)]
    inline = re.compile(rf"[\s,;|>→](?:\*\*)?(?:{OUTPUTS.title()})(?:\*\*)?[ \t]*[:：](?:\*\*)?")
    inputs, outputs = _keys([name for *_, name in lines])
    starts: list[tuple[int, int, int, int]] = []  # example, input value, output key, output value
    begin: tuple[int, int, bool] | None = None
    for i, (start, end, name) in enumerate(lines):
        if name in inputs and begin is None:
            begin = (start, end, True)
            stop = lines[i + 1][0] if i + 1 < len(lines) else len(text)
            if (same := inline.search(text, end, min(stop, _line_end(text, end)))) and not _next_is(lines, i, outputs):
                starts.append((start, end, same.start(), same.end()))
                begin = None
        elif name in outputs and begin is not None:
            starts.append((begin[0], begin[1] if begin[2] else begin[0], start, end))
            begin = None
        elif begin is not None and name not in outputs:
            begin = (begin[0], begin[1], False)  # "Question: … Context: …" is one input: it keeps its keys
    if starts and not text[starts[-1][3] :].strip():
        starts.pop()  # "Input: {text} Output:" ends a prompt that waits for its answer
    spans = []
    for i, (start, value, answer_key, answer) in enumerate(starts):
        limit = starts[i + 1][0] if i + 1 < len(starts) else len(text)
        region = text[answer:limit]
        tail = SEPARATOR.search(region)
        region = region[: tail.start()] if tail else region
        if i + 1 == len(starts):
            region = re.split(r"\n[ \t]*(?:\n|```|-{3,}|#{2,})", region.rstrip(), maxsplit=1)[0]
        source = _unquoted(re.sub(r"(?:\s*(?:\||->|=>|→|,|;))?\s*\Z", "", text[value:answer_key]))
        spans.append(Span(start, answer + len(region), source, _unquoted(region)))
    return spans


def _keys(found: list[str]) -> tuple[set[str], set[str]]:
    """The keys that open an example and those that close it: the known ones, else two that take turns."""
    inputs = {k for k in found if names.tier(k, names.INPUT_NAMES) is not None}
    outputs = {k for k in found if names.tier(k, names.OUTPUT_NAMES) is not None}
    if outputs and not inputs:  # "Tweet text: … Sentiment: …": an unknown key before a known one, again and again
        before = Counter(a for a, b in pairwise(found) if b in outputs and a not in outputs)
        inputs = {k for k, n in before.items() if n >= 2}
    if not (inputs and outputs):
        turns = Counter(pairwise(found))
        pairs = [(a, b) for (a, b), n in turns.items() if n >= 2 and a != b]
        if pairs:
            return {pairs[0][0]}, {pairs[0][1]}
    return inputs, outputs


def _next_is(lines: list[tuple[int, int, str]], i: int, outputs: set[str]) -> bool:
    return i + 1 < len(lines) and lines[i + 1][2] in outputs


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _unquoted(value: str) -> str:
    value = value.strip()
    for family in (DOUBLE, SINGLE):
        if len(value) > 1 and value[0] in family and value[-1] in family and not set(value[1:-1]) & set(family):
            return value[1:-1].strip()
    return value


def table(text: str) -> list[Span]:
    """A Markdown table of two columns. One whose columns are a label and its meaning is no table of examples."""
    row = re.compile(r"^[ \t]*\|?(?P<a>(?:\\\||[^|\n])+)\|(?P<b>(?:\\\||[^|\n])+)\|?[ \t]*$", re.M)
    rows = [m for m in row.finditer(text)]
    rule = next((i for i, m in enumerate(rows) if i and re.fullmatch(r"[\s:|\-]*-{2,}[\s:|\-]*", m[0])), None)
    if rule is None:
        return []
    head = [_cell(rows[rule - 1]["a"]), _cell(rows[rule - 1]["b"])]
    swapped = names.tier(head[0], names.OUTPUT_NAMES) is not None
    if swapped and names.tier(head[1], names.INPUT_NAMES) is None:
        return []
    spans: list[Span] = []
    end = rows[rule].end()
    for m in rows[rule + 1 :]:
        if text[end : m.start()].strip("\n ") or text.count("\n", end, m.start()) > 1:
            break
        pair = (_cell(m["b"]), _cell(m["a"])) if swapped else (_cell(m["a"]), _cell(m["b"]))
        spans.append(Span(m.start() if spans else rows[rule - 1].start(), m.end(), *pair))
        end = m.end()
    return spans


def _cell(text: str) -> str:
    return _unquoted(text.replace("\\|", "|"))


def arrows(text: str) -> list[Span]:
    """``text -> label`` on lines of their own (also ``=>``, ``→`` or a tab); at least two."""
    line = re.compile(rf"{LEAD}(?P<a>\S.*?)[ \t]*(?:->|=>|→|⇒|⟶|\t)[ \t]*(?P<b>(?:(?!->|=>|→|⇒|\t).)+?)[ \t]*$", re.M)
    spans = [Span(m.start(), m.end(), _unquoted(m["a"]), _unquoted(m["b"])) for m in line.finditer(text)]
    return spans if len(spans) >= 2 else []


STYLES: tuple[Callable[[str], list[Span]], ...] = (assignments, json_values, colon_lines, table, arrows)


def _is_slot(span: Span) -> bool:
    """``Input: {text} Output:`` at the end of a prompt, or a format shown with placeholders."""
    if not span.input or not span.output or PLACEHOLDER.match(span.input):
        return True
    return bool(PLACEHOLDER.match(span.output)) and not _is_json_array(span.output)


def _is_json_array(text: str) -> bool:
    """``["a", "b"]`` and ``[]`` are sets of labels, ``[label]`` is a slot."""
    try:
        return isinstance(json.loads(text), list)
    except ValueError:
        return False


def _describes(spans: list[Span]) -> bool:
    """Is the first one no example but a description: "Input: a review. Output: positive or negative"?"""
    first, others = spans[0], spans[1:]
    if ALTERNATIVES.search(first.output):
        return not others or any(names.plain(s.output) in names.plain(first.output) for s in others)
    return bool(FORMAT_WORD.match(first.input) and FORMAT_WORD.match(first.output))
