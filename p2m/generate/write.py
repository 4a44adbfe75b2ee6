"""The teacher as a writer: new inputs for a wanted label, varied by subject and style, aimed by a brief."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from p2m.errors import BudgetExceeded, ProviderError
from p2m.generate.label import shots
from p2m.llm.failures import RequestRefused
from p2m.prompts import Prompt, render
from p2m.rows import Row
from p2m.task.spec import Example, TaskSpec

if TYPE_CHECKING:
    from p2m.llm.client import ChatModel
    from p2m.llm.reply import Reply

PER_CALL = 5
SUBJECTS = 24
LONGEST_INPUT = 2000
# Diversity by stated attributes: Yu et al. 2023, "Large Language Model as Attributed Training Data Generator".
STYLES = (
    "short and blunt",
    "long, with details",
    "casual, with a typo or two",
    "formal",
    "indirect: no single word gives the label away",
    "plain and ordinary",
    "with names or numbers",
    "emotional",
    "like something overheard, mid-conversation",
    "close to the border with another label, yet clearly this one",
)


@dataclass(frozen=True)
class Written:
    """What came back. ``asked`` inputs were asked for; ``unusable`` counts answers thrown away, by reason."""

    rows: list[Row]
    asked: int
    unusable: dict[str, int]


async def find_subjects(task: TaskSpec, teacher: ChatModel, seed: int) -> list[str]:
    """What inputs of this task can be about, from one call; empty where the teacher gives nothing usable."""
    rng = random.Random(seed)
    shown = [e.input[:300] for e in rng.sample(task.examples, min(8, len(task.examples)))]
    prompt = render("write_subjects", instruction=task.instruction, inputs=shown, n=SUBJECTS)
    schema = _list_schema("subjects", SUBJECTS, {"maxLength": 60})
    try:
        reply = await teacher.chat(
            [{"role": "user", "content": prompt.text}],
            max_tokens=SUBJECTS * 16,
            temperature=0.7,
            seed=seed,
            schema=schema,
            prompt=prompt.hash,
        )
    except RequestRefused:
        return []  # this one request only: the rows are less varied, no more
    found = [s for s in _read_list(reply, "subjects") or [] if len(s) <= 80]
    return list(dict.fromkeys(found))


async def write_rows(
    task: TaskSpec,
    teacher: ChatModel,
    *,
    n: int,
    labels: Sequence[str],
    brief: str = "",
    examples: Sequence[Example] | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Written:
    """Ask for ``n`` new inputs, as many for each of ``labels``; the label asked for is the row's ``output``.

    ``examples`` (default: the task's) are shown; ``stop`` is looked at before each call. What came back is kept when
    some calls fail. Raises ``ProviderError`` when all of them do, ``BudgetExceeded`` when the budget refuses the first.
    """
    from p2m.llm.parallel import Stopped, many

    shown = task.examples if examples is None else examples
    subjects = await find_subjects(task, teacher, seed)
    # The same for every call, and first: a local server then reads the examples once, not once a call.
    head = render(
        "write_system",
        instruction=task.instruction,
        labels=task.labels,
        examples=shots(shown),
    )
    # With many labels and few rows, fewer a call: else the last labels would get none.
    each = max(1, min(PER_CALL, n // len(labels)))
    calls, wanted = [], []
    for i in range(-(-n // each)):
        label = labels[i % len(labels)]
        rng = random.Random(f"{seed} {i} {label} {brief}")
        calls.append(partial(_ask, teacher, head, label, each, brief, tokens_an_input(shown), subjects, rng))
        wanted.append(label)

    done = 0

    def count(_: int, __: object) -> None:
        nonlocal done
        done += 1
        if progress:
            progress(min(n, done * each), n)

    replies = await many(calls, limit=teacher.concurrency, on_done=count, stop=stop)
    answered = [r for r in replies if not isinstance(r, Exception)]
    failures = [r for r in replies if isinstance(r, Exception) and not isinstance(r, Stopped)]
    if failures and not answered:
        first = failures[0]
        raise first if isinstance(first, BudgetExceeded) else ProviderError(f"the teacher wrote nothing: {first}")
    rows: list[Row] = []
    unusable: Counter[str] = Counter()
    if failures:
        unusable["call_failed"] = len(failures) * each
    for label, reply in zip(wanted, replies, strict=True):
        if isinstance(reply, Exception):
            continue
        texts, problems = read_inputs(reply, each)
        unusable.update(problems)
        rows += [Row(text, label, "generated", meta={"brief": brief} if brief else {}) for text in texts]
    return Written(rows[:n], len(calls) * each, dict(unusable))


async def _ask(
    teacher: ChatModel,
    head: Prompt,
    label: str,
    n: int,
    brief: str,
    tokens_an_input: int,
    subjects: Sequence[str],
    rng: random.Random,
) -> Reply:
    prompt = render(
        "write_inputs",
        label=label,
        n=n,
        subjects=rng.sample(subjects, min(3, len(subjects))),
        style=rng.choice(STYLES),
        brief=brief,
    )
    return await ask_for_inputs(teacher, head, prompt, n, tokens_an_input, rng)


async def ask_for_inputs(
    teacher: ChatModel, head: Prompt, prompt: Prompt, n: int, tokens_an_input: int, rng: random.Random
) -> Reply:
    """One call for ``n`` inputs. ``head`` is the system's words, the same for every call."""
    return await teacher.chat(
        [{"role": "system", "content": head.text}, {"role": "user", "content": prompt.text}],
        max_tokens=n * tokens_an_input,
        temperature=0.9,
        seed=rng.randrange(2**31),
        schema=_list_schema("inputs", n, {}),
        prompt=head.hash + prompt.hash,
    )


def read_inputs(reply: Reply, n: int) -> tuple[list[str], Counter[str]]:
    """The usable inputs of a reply, and how many of ``n`` are not, by reason."""
    texts = _read_list(reply, "inputs")
    if texts is None:
        return [], Counter(not_json=n)
    problems = [_problem(text) for text in texts[:n]]
    usable = [text for text, problem in zip(texts, problems, strict=False) if problem is None]
    return usable, Counter(problem for problem in problems if problem)


def tokens_an_input(examples: Sequence[Example]) -> int:
    """Room for an input three times the longest example."""
    longest = max((len(e.input) for e in examples), default=120)
    return min(400, max(60, longest))


def _list_schema(key: str, n: int, item: dict[str, Any]) -> dict[str, Any]:
    items = {"type": "array", "items": {"type": "string", **item}, "minItems": n, "maxItems": n}
    return {"type": "object", "properties": {key: items}, "required": [key], "additionalProperties": False}


def _read_list(reply: Reply, key: str) -> list[str] | None:
    """The strings of a list answer; None where it is not one. A list that the token limit cut keeps its whole items."""
    text = reply.text.strip()
    try:
        value = json.loads(text)
    except ValueError:
        value = _cut_list(text)
    items = value.get(key) if isinstance(value, dict) else value
    if not isinstance(items, list):
        return None
    return [" ".join(s.split()) if "\n" not in s else s.strip() for s in items if isinstance(s, str) and s.strip()]


def _cut_list(text: str) -> list[str] | None:
    start = text.find("[")
    end = text.rfind('",')
    if start < 0 or end < start:
        return None
    try:
        value = json.loads(text[start : end + 1] + "]")
    except ValueError:
        return None
    return value if isinstance(value, list) else None


def _problem(text: str) -> str | None:
    """Why a written input cannot be a row."""
    if len(text) > LONGEST_INPUT:
        return "too_long"
    if not any(c.isalnum() for c in text):
        return "empty"
    return None
