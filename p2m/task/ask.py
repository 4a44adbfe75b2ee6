"""One structured LLM call for a task that code cannot read: its kind, labels and examples. The words stay as given."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from p2m.data.names import plain
from p2m.errors import BadInput
from p2m.prompts import render
from p2m.task.draft import Draft, Shown
from p2m.task.infer import LABEL_CHARS

if TYPE_CHECKING:
    from p2m.llm.client import ChatModel

MAX_TOKENS = 600
LONGEST_TEXT = 6000
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "kind": {"type": "string", "enum": ["classify", "generate", "extract", "score"]},
        "labels": {"type": "array", "items": {"type": "string", "maxLength": LABEL_CHARS}, "maxItems": 200},
        "examples": {
            "type": "array",
            "maxItems": 40,
            "items": {
                "type": "object",
                "properties": {"input": {"type": "string"}, "output": {"type": "string"}},
                "required": ["input", "output"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["kind", "labels", "examples"],
    "additionalProperties": False,
}
FIX = 'Add kind: and labels: to the task, or a few examples, each as input="..." output="...".'


async def ask(draft: Draft, model: ChatModel) -> Draft:
    """The draft with the kind, labels and examples that ``model`` reads in it; what the user gave stays.

    The task text is untrusted: it is passed as data, the answer is held to ``SCHEMA``, examples count only if input and
    output stand in the text word for word. Raises ``BadInput`` that says what to add, for an answer of no use.
    """
    prompt = render("parse_task", text=draft.source[:LONGEST_TEXT])
    messages = [{"role": "user", "content": prompt.text}]
    reply = await model.chat(messages, max_tokens=MAX_TOKENS, schema=SCHEMA, prompt=prompt.hash)
    answer = _checked(reply.text, draft)
    fields = draft.fields
    kind = fields.kind or answer["kind"]
    read = [] if draft.examples else _verbatim(answer["examples"], draft)
    outputs = [shown.output for shown in read]
    labels = fields.labels
    if not labels and kind == "classify":
        labels = _labels([*answer["labels"], *outputs], draft)
    elif not labels and kind == "extract" and not draft.examples and answer["labels"]:
        labels = _labels(answer["labels"], draft, fewest=1)
    listed = f"; labels: {', '.join(labels)}" if labels else ""
    notes = [*draft.notes, f"kind: {kind}{listed} (read by {model.name})"]
    if read:
        notes.append(f"{len(read)} examples found in the text (by {model.name})")
    found = replace(fields, kind=kind, labels=labels)
    return replace(draft, fields=found, examples=(*draft.examples, *read), notes=tuple(notes))


def _checked(text: str, draft: Draft) -> dict[str, Any]:
    from jsonschema import Draft202012Validator

    body = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```")
    try:
        answer = json.loads(body)
    except (json.JSONDecodeError, RecursionError):
        raise _useless(draft, "did not answer with JSON") from None
    error = next(iter(Draft202012Validator(SCHEMA).iter_errors(answer)), None)
    if error is not None:
        raise _useless(draft, f"answered with an unusable {'.'.join(str(p) for p in error.path) or 'object'}")
    return answer


def _labels(proposed: list[str], draft: Draft, fewest: int = 2) -> tuple[str, ...]:
    labels: dict[str, str] = {}
    for label in proposed:
        if plain(label):
            labels.setdefault(plain(label), " ".join(label.split()))
    if len(labels) < fewest:
        raise _useless(draft, "found no two labels in it")
    return tuple(labels.values())


def _verbatim(examples: list[dict[str, str]], draft: Draft) -> list[Shown]:
    text = " ".join(draft.source.split())
    pairs = [(" ".join(e["input"].split()), " ".join(e["output"].split())) for e in examples]
    return [Shown(i, o, draft.place) for i, o in dict.fromkeys(pairs) if i and o and i != o and i in text and o in text]


def _useless(draft: Draft, what: str) -> BadInput:
    return draft.place.bad(f"cannot tell what the task is: the model asked about it {what}", FIX)
