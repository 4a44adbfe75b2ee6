"""The teacher's answers where they have a form: label sets, spans, parts of the text and numbers, each held to a JSON
schema and checked against the text."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from p2m.errors import BudgetExceeded, ProviderError
from p2m.generate.label import LONGEST_TEXT, shots
from p2m.outputs import format_labels, format_number, format_spans, parse_labels, parse_number, parse_spans, place_parts
from p2m.prompts import render
from p2m.task.spec import Example, TaskSpec

if TYPE_CHECKING:
    from p2m.llm.client import ChatModel

LONGEST_ANSWER = 400


def form_of(task: TaskSpec) -> str:
    """``set``, ``spans``, ``part`` or ``number``."""
    if task.kind == "score":
        return "number"
    if task.kind == "extract":
        return "spans" if task.labels else "part"
    return "set"


def schema_of(task: TaskSpec) -> dict[str, Any]:
    """The JSON schema of an answer: an object with the key ``answer``."""
    labels = {"type": "string", "enum": list(task.labels)}
    span = {
        "type": "object",
        "properties": {"text": {"type": "string"}, "label": labels},
        "required": ["text", "label"],
        "additionalProperties": False,
    }
    number: dict[str, Any] = {"type": "number"}
    if task.scale:
        number |= {"minimum": task.scale[0], "maximum": task.scale[1]}
    forms: dict[str, dict[str, Any]] = {
        "number": number,
        "spans": {"type": "array", "items": span},
        "part": {"type": "string"},
        "set": {"type": "array", "items": labels},
    }
    form = forms[form_of(task)]
    return {"type": "object", "properties": {"answer": form}, "required": ["answer"], "additionalProperties": False}


def said(task: TaskSpec, output: str) -> str:
    """A canonical output as the teacher says it: spans without their places."""
    form = form_of(task)
    value: Any = output
    if form == "number":
        value = parse_number(output)
    elif form == "set":
        value = list(parse_labels(output, frozenset(task.labels)))
    elif form == "spans":
        value = [{"text": s.text, "label": s.label} for s in parse_spans(output)]
    return json.dumps({"answer": value}, ensure_ascii=False)


def read(task: TaskSpec, text: str, reply: str) -> str | None:
    """The canonical output of a reply; None where it is not of the form or not in the text. Spans that do not occur in
    the text are left out; of a text that occurs twice each place is taken once, in order."""
    try:
        value = json.loads(reply)["answer"]
        match form_of(task):
            case "number":
                number = float(value)
                low, high = task.scale or (float("-inf"), float("inf"))
                return format_number(number) if low <= number <= high else None
            case "set":
                return format_labels(value, task.labels)
            case "spans":
                parts = [(item["text"], item["label"]) for item in value]
                return format_spans(place_parts(text, [part for part in parts if part[1] in task.labels]))
            case _:
                return value if isinstance(value, str) and value.strip() and value in text else None
    except (ValueError, TypeError, KeyError):
        return None


async def answer_in_form(
    texts: Sequence[str],
    task: TaskSpec,
    teacher: ChatModel,
    *,
    examples: Sequence[Example] | None = None,
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> list[str | None]:
    """The teacher's answer to each text, few-shot, in canonical spelling; None for no usable one.

    Raises ``ProviderError`` when no call succeeds, ``BudgetExceeded`` when the budget refuses one.
    """
    from p2m.llm.parallel import Stopped, many

    system = render(
        "form_system", instruction=task.instruction, form=form_of(task), labels=task.labels, scale=task.scale
    )
    head: list[dict[str, Any]] = [{"role": "system", "content": system.text}]
    for example in shots(task.examples if examples is None else examples):
        if example.input in {e.input for e in task.examples} and len(example.input) >= 600:
            continue  # cut short: its answer may lie beyond the cut
        head.append({"role": "user", "content": example.input})
        head.append({"role": "assistant", "content": said(task, example.output)})
    done = 0

    def count(_: int, __: object) -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, len(texts))

    options: dict[str, Any] = {
        "max_tokens": LONGEST_ANSWER, "temperature": 0.0, "prompt": system.hash, "schema": schema_of(task)
    }  # fmt: skip
    calls = [partial(teacher.chat, [*head, {"role": "user", "content": t[:LONGEST_TEXT]}], **options) for t in texts]
    replies = await many(calls, limit=teacher.concurrency, on_done=count, stop=stop)
    failures = [r for r in replies if isinstance(r, Exception) and not isinstance(r, Stopped)]
    for failure in failures:
        if isinstance(failure, BudgetExceeded):
            raise failure
    if failures and all(isinstance(r, Exception) for r in replies):
        raise ProviderError(f"the teacher answered nothing: {failures[0]}")
    return [
        None if isinstance(r, Exception) else read(task, text, r.text) for r, text in zip(replies, texts, strict=True)
    ]
