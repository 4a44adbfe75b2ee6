"""A teacher and a planner as a deterministic function of the request, for ``tests.fake_llm``.

The task is real enough to learn: questions asking for a person, a place or a number. The teacher writes from pools of
parts and labels by the question word; what it is told to get wrong, it gets wrong.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from typing import Any

LABELS = ("person", "place", "number")
_PARTS = {
    "person": (["Who", "Which person", "What leader", "Whose team"], ["wrote", "painted", "founded", "led", "won"]),
    "place": (
        ["Where", "In which city", "In what country", "Which town is it where"],
        ["stands", "lies", "flows", "ended"],
    ),
    "number": (["How many", "How much", "What count of", "How often"], ["cost", "counted", "weighed", "remained in"]),
}
_THINGS = [
    "harbour",
    "novel",
    "bridge",
    "garden",
    "orchestra",
    "mill",
    "museum",
    "railway",
    "comet",
    "island",
    "statue",
    "forest",
    "market",
    "glacier",
]
_TAILS = [
    "in spring",
    "before the war",
    "last year",
    "by the river",
    "near the border",
    "on Sunday",
    "in 1907",
    "at night",
]


def write(label: str, n: int, seed: str) -> list[str]:
    """``n`` questions whose answer is a ``label``."""
    rng = random.Random(seed)
    starts, verbs = _PARTS[label]
    pick = rng.choice
    return [
        f"{pick(starts)} {pick(verbs)} the {pick(_THINGS)} and the {pick(_THINGS)} {pick(_TAILS)}?" for _ in range(n)
    ]


def label_of(text: str) -> str:
    """The true label of what ``write`` wrote."""
    for label, (starts, _) in _PARTS.items():
        if any(text.startswith(s) for s in starts):
            return label
    return "person"


def held_out(n_per_label: int, seed: str = "held out") -> list[tuple[str, str]]:
    """Rows of a labelled file."""
    return [(text, label) for label in LABELS for text in dict.fromkeys(write(label, n_per_label, f"{seed} {label}"))]


def answer(body: dict[str, Any]) -> str:
    """The text of a chat completion for this request body."""
    prompt = body["messages"][-1]["content"]
    seed = hashlib.sha256(json.dumps(body["messages"]).encode() + str(body.get("seed")).encode()).hexdigest()
    if found := re.search(r'Write (\d+) new inputs whose correct label is "(\w+)"', prompt):
        return json.dumps({"inputs": write(found[2], int(found[1]), seed)})
    if "different subjects" in prompt:
        return json.dumps({"subjects": _THINGS + _TAILS})
    if "Suggested next call:" in prompt:  # a planner that takes the advice
        tool, arguments = re.findall(r"Suggested next call: (\w+) (\{.*\})", prompt)[-1]
        action = {"why": "I take the rule book's advice.", "tool": tool, "arguments": json.loads(arguments)}
        return json.dumps(action)
    return label_of(prompt)
