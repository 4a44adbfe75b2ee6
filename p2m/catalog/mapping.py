"""How a dataset's columns and labels become the task's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from p2m.catalog.base import Card, Embed
from p2m.catalog.labels import Match, match_labels
from p2m.catalog.profile import Column, Profile
from p2m.data import names
from p2m.data.labelled import map_label
from p2m.data.structured import Shape, fullest, shape_of
from p2m.outputs import parse_spans
from p2m.task.spec import TaskSpec

MIN_COVERAGE = 0.5


@dataclass(frozen=True)
class Mapping:
    """A proposal. ``labels`` maps the dataset's values to the task's labels (empty for a text output).

    ``coverage`` in [0, 1] is the share of the task's labels that have a counterpart; ``confidence`` in [0, 1] the
    mean similarity of the matched names times the coverage; ``kept`` and ``dropped`` count the profile's rows with and
    without a counterpart. ``refused`` says why the proposal should not be imported as it is.
    """

    input_column: str | None
    output_column: str | None
    labels: dict[str, str] = field(default_factory=dict)
    coverage: float = 0.0
    confidence: float = 0.0
    kept: int = 0
    dropped: int = 0
    reasons: tuple[str, ...] = ()
    refused: str | None = None
    structured: bool = False
    """The columns are tokens and tags, a text and spans, or a question and its answers (``p2m.data.structured``)."""
    template: str | None = None
    """The input where it takes several columns (``p2m.catalog.template``); ``input_column`` is the first of them."""


PAIRS = (
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("text1", "text2"),
    ("sentence a", "sentence b"),
    ("claim", "evidence"),
)
"""Columns of which neither makes sense alone, as they are named in public datasets."""
QUESTIONS = (("context", "question"), ("passage", "question"))
"""For tasks whose output is text: what a question is about belongs to it."""
RATINGS = ("rating", "score", "stars", "similarity", "grade", "relevance")
_KEY = re.compile(r"^([^:\n]{1,40}):\s", re.MULTILINE)


def pair_template(task: TaskSpec, columns: Sequence[str]) -> str:
    """``Premise: {premise}`` and so on, a line each; with the words of the task's examples where these have as many
    keyed lines ("Text: … / Claim: …")."""
    keys = [tuple(_KEY.findall(e.input)) for e in task.examples]
    same = set(keys)
    heads = [name.replace("_", " ").capitalize() for name in columns]
    if len(same) == 1 and len(keys[0]) == len(columns):
        heads = list(keys[0])
        plain = {names.plain(c): c for c in columns}
        if all(names.plain(h) in plain for h in heads):
            columns = [plain[names.plain(h)] for h in heads]
    escaped = (h.replace("{", "{{").replace("}", "}}") for h in heads)
    return "\n".join(f"{head}: {{{column}}}" for head, column in zip(escaped, columns, strict=True))


def _pair(profile: Profile, texts: Sequence[str], pairs: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    """The first of ``pairs`` that is there. One of the two may repeat itself (a context with many questions)."""
    usable = [c.name for c in profile.columns if c.type == "text" and not set(c.name) & set("{}")]
    spelt = {names.plain(name).replace(" ", ""): name for name in usable}
    for first, second in pairs:
        found = spelt.get(first.replace(" ", "")), spelt.get(second.replace(" ", ""))
        if found[0] and found[1] and set(found) & set(texts):
            return found[0], found[1]
    return None


def propose_mapping(
    task: TaskSpec,
    profile: Profile,
    card: Card,
    embed: Embed | None = None,
    *,
    input_column: str | None = None,
    output_column: str | None = None,
) -> Mapping:
    """Columns by name and content unless given; labels by ``match_labels``, with the card's body as its glosses."""
    if task.kind == "extract" and input_column is None and output_column is None and (found := _shaped(task, profile)):
        return found
    texts = tuple(name for name in profile.text_columns if name != output_column)
    source = input_column or next(iter(texts), None)
    if source is None:
        return Mapping(None, None, refused="no column of plain text")
    template = None
    reasons = [f"input is {source}" + ("" if input_column else ", by its name and length")]
    if input_column is None and (pair := _pair(profile, texts, PAIRS if task.kind == "classify" else QUESTIONS)):
        source, template = pair[0], pair_template(task, pair)
        reasons = [f"input is {pair[0]} and {pair[1]} together, by their names"]
    if others := [name for name in texts if name != source]:
        reasons.append(f"other text columns: {', '.join(others[:3])}")
    outputs = [c for c in profile.columns if c.name != source and (output_column is None or c.name == output_column)]
    if task.kind == "classify":
        usable = [c for c in outputs if c.values and not (template and f"{{{c.name}}}" in template)]
        return replace(_for_classes(task, source, usable, reasons, card, embed), template=template)
    free = [c for c in outputs if not (template and f"{{{c.name}}}" in template)]
    return replace(_for_text(task, profile, source, free, reasons), template=template)


def _shaped(task: TaskSpec, profile: Profile) -> Mapping | None:
    """A mapping where the rows hold spans or questions, by their columns and first rows; None for plain text."""
    names_of = [c.name for c in profile.columns]
    shape = shape_of(names_of, fullest(profile.sample)) if profile.sample else None
    if shape is None:
        return None
    source, output = shape.columns[0], shape.columns[-1]
    reasons = (f"its rows hold {shape.what}: {', '.join(shape.columns)}",)
    if (shape.what == "questions") == bool(task.labels):
        wanted = "labelled spans" if task.labels else "an answer from a text"
        return Mapping(source, output, reasons=reasons, refused=f"it holds {shape.what}, the task wants {wanted}")
    coverage = 1.0
    if task.labels:
        seen = {s.label for row in profile.sample for s in parse_spans(_output(shape, row))}
        known = {label for label in seen if map_label(label, task.labels) is not None}
        coverage = len(known) / len(seen) if seen else 0.0
        if seen and not known:
            there = ", ".join(sorted(seen)[:6])
            return Mapping(source, output, reasons=reasons, refused=f"none of its spans' labels is the task's: {there}")
    kept = profile.rows_read
    return Mapping(source, output, {}, round(coverage, 3), round(coverage, 3), kept, 0, reasons, structured=True)


def _output(shape: Shape, record: dict[str, Any]) -> str:
    try:
        return str(shape.read(record)["output"])
    except ValueError:
        return "[]"


def _for_text(task: TaskSpec, profile: Profile, source: str, outputs: list[Column], reasons: list[str]) -> Mapping:
    """The output is another column of text; the order in the file decides where the names do not."""
    usable = [c for c in outputs if c.type in ("text", "integer", "number", "boolean")]
    if not usable:
        return Mapping(
            source, None, reasons=tuple(reasons), refused=f"no second column to be the output beside {source}"
        )
    if task.kind == "score":
        usable = [c for c in usable if c.type in ("integer", "number")]
        if not usable:
            return Mapping(source, None, reasons=tuple(reasons), refused="no column of numbers to be the rating")
    named = [c for c in usable if names.tier(c.name, names.OUTPUT_NAMES) is not None]
    if task.kind == "score":
        named = [c for c in usable if names.plain(c.name) in RATINGS] or named
    free = [c for c in usable if c.name in profile.text_columns]
    output = (named or free or usable)[0 if named else -1]
    reasons.append(f"output is {output.name}, by its {'name' if named else 'place'}")
    kept = profile.rows_read - output.missing
    return Mapping(source, output.name, {}, 1.0, 0.8 if named else 0.5, kept, output.missing, tuple(reasons))


def _for_classes(
    task: TaskSpec, source: str, outputs: list[Column], reasons: list[str], card: Card, embed: Embed | None
) -> Mapping:
    """The column whose values match the task's labels best."""
    found: list[tuple[float, Column, dict[str, Match]]] = []
    for candidate in outputs:
        match = match_labels(task.labels, tuple(candidate.values), embed, card.body)
        found.append((sum(m.similarity for m in match.values()), candidate, match))
    if not found:
        return Mapping(source, None, reasons=tuple(reasons), refused="no column that could be a label")
    quality, column, matches = max(found, key=lambda f: f[0])
    kept = sum(n for value, n in column.values.items() if value in matches)
    coverage = len(matches) / len(task.labels) if task.labels else 0.0
    missing = [label for label in task.labels if label not in {m.label for m in matches.values()}]
    how = Counter("exact name" if m.how == "exact" else m.how for m in matches.values())
    counted = f" ({', '.join(f'{n} by {by}' for by, n in how.items())})" if how else ""
    reasons.append(f"label is {column.name} with {len(column.values)} values")
    reasons.append(f"{len(matches)} of {len(task.labels)} labels matched{counted}")
    if missing:
        reasons.append(f"not in it: {', '.join(missing[:6])}")
    refused = None
    if coverage < MIN_COVERAGE or len(matches) < 2:
        refused = f"only {len(matches)} of the task's {len(task.labels)} labels have a counterpart in it"
    return Mapping(
        source,
        column.name,
        {value: m.label for value, m in matches.items()},
        round(coverage, 3),
        round(quality / len(task.labels), 3) if task.labels else 0.0,
        kept,
        sum(column.values.values()) - kept,
        tuple(reasons),
        refused,
    )
