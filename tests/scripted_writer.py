"""A teacher of the plural task (``tests.tiny_writer``), a function of the request, for ``tests.fake_llm``."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from tests.tiny_writer import ANIMALS, rows


def plural_of(text: str) -> str:
    """The true answer."""
    return next((f"many {plural}" for animal, plural in ANIMALS.items() if animal in text.split()), "many sheep")


def answer(body: dict[str, Any]) -> str:
    """The text of a chat completion for this request body. Of every animal but the ox it is sure: asked for a second
    opinion on that, it says something else."""
    prompt = body["messages"][-1]["content"]
    seed = int(hashlib.sha256((json.dumps(body["messages"]) + str(body.get("seed"))).encode()).hexdigest()[:8], 16)
    if found := re.search(r"Write (\d+) new inputs for the task", prompt):
        return json.dumps({"inputs": [row.input for row in rows(60, seed)[55 - int(found[1]) : 55]]})
    if "different subjects" in prompt:
        return json.dumps({"subjects": list(ANIMALS)})
    if body.get("temperature") and "ox" in prompt.split():
        return "many cows"
    return plural_of(prompt)
