"""The rows of the two public task formats, Instruction Induction and Super-NaturalInstructions, in one shape.

Sources: Honovich et al. 2022, "Instruction Induction" (github.com/orhonovich/instruction-induction, whose loader
builds the inputs of cause_and_effect and common_concept); Wang et al. 2022, "Super-NaturalInstructions".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from p2m.files import digest

# Further right answers of a row, under the names the tasks give them. The row's own answer stays the first.
ALSO = ("possible_translations", "other_rhymes", "all_common_concepts")


def unify(document: dict[str, Any], records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records of ``document`` with ``input``, ``output`` and, where there are several right answers, ``also``.

    Records of any other document come back as they are.
    """
    if "annotations" in document and "task" in document:
        shape = SHAPES.get(str(document["task"]), dict)
        return [_with_also(shape(record)) for record in records]
    return records


def is_induction(document: Any) -> bool:
    """Is this parsed JSON an Instruction Induction task?"""
    return isinstance(document, dict) and "annotations" in document and "induce" in document


def is_superni(document: Any) -> bool:
    """Is this parsed JSON a Super-NaturalInstructions task?"""
    return isinstance(document, dict) and "Definition" in document


def unusable(document: Any, record: dict[str, Any]) -> bool:
    """Is this a row without an input? The public collections have a few; they are not the user's to repair."""
    known = is_induction(document) or is_superni(document)
    return known and isinstance(record.get("input"), str) and not record["input"].strip()


def _cause_and_effect(record: dict[str, Any]) -> dict[str, Any]:
    # Which sentence comes first must be neither constant (position would give the answer away) nor random.
    cause, effect = record["cause"], record["effect"]
    first, second = (cause, effect) if int(digest([cause, effect], 2), 16) % 2 else (effect, cause)
    return {"input": f"Sentence 1: {first} Sentence 2: {second}", "output": cause}


def _common_concept(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "input": ", ".join(record["items"]), "output": record["concept"]}


SHAPES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "cause_and_effect": _cause_and_effect,
    "common_concept": _common_concept,
}


def _with_also(record: dict[str, Any]) -> dict[str, Any]:
    own = (record.get("output"), record.get("input"))
    also = [answer for key in ALSO for answer in record.get(key, ()) if answer not in own]
    return {**record, "also": also} if also else record
