"""Rows of a dataset as rows of the task: mapped, filtered, checked, sampled."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from p2m.catalog.base import Catalog
from p2m.catalog.bounds import kept
from p2m.catalog.template import Template, parse_template
from p2m.data.labelled import map_label
from p2m.data.structured import shape_of
from p2m.errors import BadInput
from p2m.outputs import format_spans, parse_spans
from p2m.rows import Row

MAX_INPUT_CHARS = 2000
MAX_ROWS_READ = 200_000
MAX_BYTES_READ = 1_000_000_000


@dataclass(frozen=True)
class Recipe:
    """How to read a split. ``labels`` maps the dataset's values to the task's labels; empty keeps the output as it is.
    ``where`` keeps the rows whose column has that value, compared as text. ``template`` makes the input of several
    columns ("{premise} / {hypothesis}"); ``input_column`` is then the first of them."""

    input_column: str
    output_column: str
    labels: dict[str, str] = field(default_factory=dict)
    where: tuple[str, str] | None = None
    template: str | None = None
    structured: bool = False
    """The record is read by ``p2m.data.structured``; ``spans`` are then the labels whose spans are kept."""
    spans: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mapped:
    """``removed`` counts the rows left out, by reason: filtered, other_label, empty, too_long."""

    rows: list[Row]
    removed: dict[str, int]


def parse_filter(text: str) -> tuple[str, str]:
    """``column=value`` as a pair. Raises ``BadInput`` for anything else."""
    column, mark, value = text.partition("=")
    if not (mark and column.strip()) or column.strip()[-1] in "!<>" or value.startswith("="):
        raise BadInput(f"{text[:80]!r} is not a filter", where="filter", fix="A filter is column=value")
    return column.strip(), value.strip().strip("'\"")


def map_rows(catalog: Catalog, dataset: str, split: str, recipe: Recipe) -> Mapped:
    """The rows of a split as the task's, in their order: at most ``MAX_ROWS_READ``, and ``MAX_BYTES_READ`` of them, are
    read. ``Row.meta`` says where each is from: dataset, revision, split, row (from 0), and what was done to it.

    Raises ``BadInput`` where a column of the recipe is not in the data, and what the catalogue raises.
    """
    rows: list[Row] = []
    removed: Counter[str] = Counter()
    template: Template | None = None
    revision = catalog.revision(dataset)
    needed = {recipe.input_column, recipe.output_column} | ({recipe.where[0]} if recipe.where else set())
    for number, record in enumerate(kept(catalog.rows(dataset, split, MAX_ROWS_READ), dataset, MAX_BYTES_READ)):
        if number == 0 and (missing := needed - record.keys()):
            raise BadInput(
                f"{dataset} has no column {', '.join(sorted(missing))} in {split}",
                fix=f"There are: {', '.join(map(str, record))}",
            )
        if number == 0 and recipe.template is not None:
            template = parse_template(recipe.template, record)
        more: dict[str, Any] = {}
        if recipe.structured:
            reason, text, answer, more = _structured(record, recipe)
        else:
            reason, text, answer = _one(record, recipe, template)
        if reason:
            removed[reason] += 1
            continue
        meta = {**more, "dataset": dataset, "revision": revision, "split": split, "row": number, "done": ["mapped"]}
        rows.append(Row(text, answer, f"dataset:{dataset}/{split}", meta=meta))
    return Mapped(rows, dict(removed))


def _structured(record: dict[str, Any], recipe: Recipe) -> tuple[str, str, str, dict[str, Any]]:
    """As ``_one``, with the answer's place and further right answers."""
    if recipe.where and str(record.get(recipe.where[0])).strip() != recipe.where[1]:
        return "filtered", "", "", {}
    shape = shape_of(tuple(record), record)
    try:
        plain = shape.read(record) if shape else {}
    except ValueError:
        plain = {}
    if not plain:
        return "empty", "", "", {}
    text, answer = plain["input"], plain["output"]
    if recipe.spans:
        spans = [(s, map_label(s.label, recipe.spans)) for s in parse_spans(answer)]
        answer = format_spans(replace(s, label=label) for s, label in spans if label)
    if len(text) > MAX_INPUT_CHARS:
        return "too_long", "", "", {}
    return "", text, answer, {key: plain[key] for key in ("start", "also") if key in plain}


def _one(record: dict[str, object], recipe: Recipe, template: Template | None) -> tuple[str, str, str]:
    """The reason to leave a record out, or nothing; its input; its output."""
    if recipe.where and str(record.get(recipe.where[0])).strip() != recipe.where[1]:
        return "filtered", "", ""
    text = template.fill(record) if template else record.get(recipe.input_column)
    answer = record.get(recipe.output_column)
    value = "" if answer is None else str(answer)
    if recipe.labels:
        if value not in recipe.labels:
            return "other_label", "", ""
        value = recipe.labels[value]
    if not isinstance(text, str) or not text.strip() or not value.strip() or isinstance(answer, list | dict):
        return "empty", "", ""
    if len(text) > MAX_INPUT_CHARS or len(value) > MAX_INPUT_CHARS:
        return "too_long", "", ""
    return "", text.strip(), value.strip()


def balanced(rows: Sequence[Row], n: int, rng: random.Random, *, by_label: bool) -> list[Row]:
    """``n`` of ``rows`` in their order. ``by_label`` takes as evenly of each label as there are rows: one of each in
    turn until ``n`` is reached."""
    if len(rows) <= n:
        return list(rows)
    shuffled = rng.sample(range(len(rows)), len(rows))
    if not by_label:
        return [rows[i] for i in sorted(shuffled[:n])]
    turn: Counter[str] = Counter()
    places = []
    for i in shuffled:
        turn[rows[i].output] += 1
        places.append((turn[rows[i].output], i))
    # The sort is stable: among the rows of one turn the shuffled order decides.
    chosen = [i for _, i in sorted(places, key=lambda p: p[0])[:n]]
    return [rows[i] for i in sorted(chosen)]
