"""A mapping that a teacher proposes where names and meaning leave it open; code checks it against the rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from p2m.catalog.agreement import Agreement
from p2m.catalog.mapping import MIN_COVERAGE, Mapping, pair_template
from p2m.catalog.profile import Column, Profile
from p2m.catalog.untrusted import clean, fence
from p2m.generate.label import shots
from p2m.llm.failures import RequestRefused
from p2m.prompts import render
from p2m.task.spec import TaskSpec

if TYPE_CHECKING:
    from p2m.llm.client import ChatModel

SURE = 0.6
MOST_VALUES = 60
MOST_COLUMNS = 12
ROWS_SHOWN = 3


@dataclass(frozen=True)
class Proposal:
    """A mapping that may be used, or the ``reason`` why the teacher's answer is not."""

    mapping: Mapping | None
    reason: str = ""


def is_unsure(mapping: Mapping) -> bool:
    """Whether the automatic mapping leaves room for a teacher's."""
    return mapping.refused is not None or mapping.confidence < SURE


async def propose(task: TaskSpec, profile: Profile, teacher: ChatModel) -> Proposal:
    """Ask once, for a classification task, and check that columns, values and labels exist and cover enough.

    Raises ``ProviderError`` and ``BudgetExceeded`` as ``ChatModel.chat`` does.
    """
    labelled = [c for c in profile.columns if 2 <= len(c.values) <= MOST_VALUES][:MOST_COLUMNS]
    texts = [name for name in profile.text_columns[:MOST_COLUMNS] if not set(name) & set("{}")]
    if not texts or not labelled:
        return Proposal(None, "it has no text column, or no column with few enough values")
    prompt = render(
        "map_columns",
        instruction=task.instruction,
        labels=task.labels,
        examples=shots(task.examples)[:8],
        dataset=_described(profile, texts, labelled),
    )
    try:
        reply = await teacher.chat(
            [{"role": "user", "content": prompt.text}],
            max_tokens=150 + 24 * max(len(c.values) for c in labelled),
            schema=_schema(task, texts, labelled),
            prompt=prompt.hash,
        )
    except RequestRefused as error:
        return Proposal(None, f"the teacher did not answer: {clean(error)}")
    try:
        answer = json.loads(reply.text)
    except ValueError:
        return Proposal(None, "the answer is not JSON")
    return check(answer, task, profile)


def check(answer: Any, task: TaskSpec, profile: Profile) -> Proposal:
    """The teacher's answer as a mapping, or why it cannot be one: only what is in the rows and the task passes."""
    if not isinstance(answer, dict):
        return Proposal(None, "the answer is not an object")
    inputs, name, pairs = (answer.get(k) for k in ("input_columns", "label_column", "label_map"))
    if not isinstance(inputs, list) or not inputs or not isinstance(name, str) or not isinstance(pairs, list):
        return Proposal(None, "the answer lacks columns or a label map")
    absent = [str(c) for c in inputs if c not in profile.text_columns]
    column = profile.column(name)
    if absent or len(set(inputs)) < len(inputs) or name in inputs:
        return Proposal(None, f"{', '.join(clean(a, 40) for a in absent) or 'a column named twice'} is no text column")
    if column is None or not column.values:
        return Proposal(None, f"there is no label column {clean(name, 40)}")
    found: dict[str, str] = {}
    for pair in pairs:
        value, label = (pair.get("value"), pair.get("label")) if isinstance(pair, dict) else (None, None)
        if not isinstance(value, str) or value not in column.values or label not in task.labels:
            return Proposal(None, f"{clean(value, 40)} -> {clean(label, 40)}: no value of it, or no label of the task")
        if found.setdefault(value, label) != label:
            return Proposal(None, f"{clean(value, 40)} is given two labels")
    covered = len(set(found.values())) / len(task.labels)
    if len(set(found.values())) < 2 or covered < MIN_COVERAGE:
        return Proposal(None, f"only {len(set(found.values()))} of the task's {len(task.labels)} labels are mapped to")
    kept = sum(n for value, n in column.values.items() if value in found)
    columns = " and ".join(inputs)
    reasons = (f"input is {columns}, by the teacher", f"label is {name}, {len(found)} values mapped by the teacher")
    return Proposal(
        Mapping(
            input_column=inputs[0],
            output_column=name,
            labels=found,
            coverage=round(covered, 3),
            confidence=SURE,
            kept=kept,
            dropped=sum(column.values.values()) - kept,
            reasons=reasons,
            template=pair_template(task, inputs) if len(inputs) > 1 else None,
        )
    )


def not_worse(proposed: Agreement, automatic: Agreement | None) -> str:
    """Why the proposal loses on the task's own examples; empty where it does not."""
    if proposed.suspect:
        return f"the nearest rows give the label of only {proposed.agree} of {proposed.n} of the task's examples"
    if automatic and automatic.n and proposed.n and proposed.agree / proposed.n < automatic.agree / automatic.n:
        return (
            f"the nearest rows give {proposed.agree} of {proposed.n} of the task's examples their label, "
            f"{automatic.agree} of {automatic.n} with the automatic mapping"
        )
    return ""


def _described(profile: Profile, texts: Sequence[str], labelled: Sequence[Column]) -> str:
    lines = [f"text column {clean(name, 60)}" for name in texts]
    for column in labelled:
        lines.append(f"column {clean(column.name, 60)}: {', '.join(clean(v, 60) for v in column.values)}")
    names = [*texts, *(c.name for c in labelled)]
    for row in profile.sample[:ROWS_SHOWN]:
        lines.append("row: " + "; ".join(f"{clean(k, 40)}={clean(row.get(k), 200)}" for k in dict.fromkeys(names)))
    return fence(lines)


def _schema(task: TaskSpec, texts: Sequence[str], labelled: Sequence[Column]) -> dict[str, Any]:
    values = list(dict.fromkeys(v for c in labelled for v in c.values))
    pair = {
        "type": "object",
        "properties": {"value": {"enum": values}, "label": {"enum": list(task.labels)}},
        "required": ["value", "label"],
        "additionalProperties": False,
    }
    properties = {
        "input_columns": {"type": "array", "items": {"enum": list(texts)}, "minItems": 1, "maxItems": 4},
        "label_column": {"enum": [c.name for c in labelled]},
        "label_map": {"type": "array", "items": pair, "maxItems": MOST_VALUES},
    }
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
