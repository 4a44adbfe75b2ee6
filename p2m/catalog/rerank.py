"""What an LLM thinks of the datasets that code found: their order, never which of them there are.

One call over all of them, listwise (Sun et al. 2023, "Is ChatGPT Good at Search?"). An answer that cannot be used
leaves the order as it was.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from p2m.catalog.untrusted import clean, fence
from p2m.generate.label import shots
from p2m.llm.failures import RequestRefused
from p2m.prompts import render
from p2m.task.spec import TaskSpec

if TYPE_CHECKING:
    from p2m.llm.client import ChatModel

MOST = 8
"""Candidates a call: what a small model's context holds, and more than a run looks at."""
EXAMPLES_SHOWN = 4
SAID_CHARS = 300
REASON_CHARS = 100
TOKENS_EACH = 70
"""An id and a reason as JSON."""


@dataclass(frozen=True)
class Candidate:
    """``said`` is what its card and rows say, not yet cleaned."""

    id: str
    said: str


@dataclass(frozen=True)
class Order:
    """``ids`` are all that were asked about, best first; ``reasons`` the model's for those that it named, cleaned.
    Where ``problem`` is not empty the ids are in the order in which they came."""

    ids: tuple[str, ...]
    reasons: dict[str, str] = field(default_factory=dict)
    problem: str = ""


async def rerank(task: TaskSpec, candidates: Sequence[Candidate], model: ChatModel) -> Order:
    """The first ``MOST`` of ``candidates`` in the order that ``model`` gives; the rest stay behind them.

    Raises ``ProviderError`` and ``BudgetExceeded`` as ``ChatModel.chat`` does.
    """
    asked, rest = candidates[:MOST], candidates[MOST:]
    ids = [c.id for c in asked]
    prompt = render(
        "rerank_datasets",
        instruction=task.instruction,
        labels=task.labels,
        examples=shots(task.examples)[:EXAMPLES_SHOWN],
        datasets=fence(f"{clean(c.id, 100)}: {clean(c.said, SAID_CHARS)}" for c in asked),
    )
    try:
        reply = await model.chat(
            [{"role": "user", "content": prompt.text}],
            max_tokens=60 + TOKENS_EACH * len(asked),
            schema=_schema(ids),
            prompt=prompt.hash,
        )
    except RequestRefused as error:
        return Order(tuple(c.id for c in candidates), problem=f"it refused to answer: {clean(error)}")
    named, problem = check(reply.text, ids)
    order = [*named, *(i for i in ids if i not in named), *(c.id for c in rest)]
    return Order(tuple(order), named, problem)


def check(answer: str, ids: Sequence[str]) -> tuple[dict[str, str], str]:
    """Id -> reason, in the answer's order, and what is wrong with an answer that names none of ``ids``. What it says
    of other ids, or a second time, is ignored."""
    try:
        said: Any = json.loads(answer)
    except ValueError:
        return {}, "the answer is not JSON"
    entries = said.get("order") if isinstance(said, dict) else None
    named: dict[str, str] = {}
    for entry in entries if isinstance(entries, list) else ():
        name = entry.get("id") if isinstance(entry, dict) else None
        if isinstance(name, str) and name in ids:
            named.setdefault(name, clean(entry.get("reason") or "", REASON_CHARS))
    return named, "" if named else "the answer names none of the datasets"


def _schema(ids: Sequence[str]) -> dict[str, Any]:
    entry = {
        "type": "object",
        "properties": {"id": {"enum": list(ids)}, "reason": {"type": "string", "maxLength": REASON_CHARS}},
        "required": ["id", "reason"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"order": {"type": "array", "items": entry, "minItems": len(ids), "maxItems": len(ids)}},
        "required": ["order"],
        "additionalProperties": False,
    }
