"""The teacher for answers that are no labels: it writes inputs, then answers them few-shot at temperature 0."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from p2m.errors import BudgetExceeded, ProviderError
from p2m.generate.label import LONGEST_TEXT, shots
from p2m.generate.write import PER_CALL, Written, ask_for_inputs, find_subjects, read_inputs, tokens_an_input
from p2m.prompts import render
from p2m.rows import Row
from p2m.task.spec import Example, TaskSpec

if TYPE_CHECKING:
    from p2m.llm.client import ChatModel
    from p2m.llm.reply import Reply

# What a style is for a classifier's inputs (p2m.generate.write), without a label to be near or far from.
STYLES = (
    "short and blunt",
    "long, with details",
    "casual, with a typo or two",
    "formal",
    "plain and ordinary",
    "with names or numbers",
    "unusual, yet something people do ask for",
    "two things in one",
)
SECOND_OPINION = 0.7
"""Temperature of a second answer to the same text."""
LONGEST_ANSWER = 400
# Of a portion: few, so that what is stopped loses few inputs, yet as many as a server answers at once.
CALLS = 8
Read = Callable[[str], str | None]
Progress = Callable[[int, int], None] | None
Answer = Callable[..., Awaitable[list[str | None]]]
"""``p2m.kinds.base.Kind.answer``."""


async def write_answered(
    task: TaskSpec,
    teacher: ChatModel,
    answer: Answer,
    *,
    n: int,
    brief: str = "",
    examples: Sequence[Example] | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Written:
    """About ``n`` new rows: inputs, then ``answer`` to each without the others around it.

    In portions, so that what is stopped or fails midway leaves whole rows. Raises as
    ``p2m.generate.write.write_rows`` where the first portion fails.
    """
    shown = task.examples if examples is None else examples
    subjects = await find_subjects(task, teacher, seed)
    each = min(PER_CALL, n)
    calls = _calls_for_inputs(task, teacher, shown, subjects, calls=-(-n // each), each=each, brief=brief, seed=seed)
    rows: list[Row] = []
    unusable: Counter[str] = Counter()
    asked = 0
    while asked < n and not (asked and stop()):
        portion = calls[asked // each :][:CALLS]
        size = min(len(portion) * each, n - asked)
        writing, answering = _halves(progress, asked, size, n)
        try:
            replies = await _all(portion, teacher, "wrote nothing", each, len(portion) * each, writing, stop)
            texts, problems = _inputs_of(replies, each, "not_reached" if stop() else "call_failed")
            texts = texts[:size]
            said = await answer(texts, task, teacher, examples=examples, progress=answering, stop=stop)
        except (ProviderError, BudgetExceeded):
            if not rows:
                raise
            unusable["call_failed"] += size
            asked += size
            break
        new = [
            Row(text, output, "generated", meta={"brief": brief} if brief else {})
            for text, output in zip(texts, said, strict=True)
            if output is not None
        ]
        rows += new
        unusable.update(problems)
        unusable["not_reached" if stop() else "no_answer"] += len(texts) - len(new)
        asked += len(portion) * each
    return Written(rows, asked, {reason: count for reason, count in unusable.items() if count})


def _calls_for_inputs(
    task: TaskSpec,
    teacher: ChatModel,
    shown: Sequence[Example],
    subjects: Sequence[str],
    *,
    calls: int,
    each: int,
    brief: str,
    seed: int,
) -> list[Callable[[], Any]]:
    """Calls not made yet, each for ``each`` new inputs."""
    head = render("write_free_system", instruction=task.instruction, examples=shots(shown))
    made: list[Callable[[], Any]] = []
    for i in range(calls):
        rng = random.Random(f"{seed} {i} {brief}")
        prompt = render(
            "write_free_inputs",
            n=each,
            subjects=rng.sample(subjects, min(3, len(subjects))),
            style=rng.choice(STYLES),
            brief=brief,
        )
        made.append(partial(ask_for_inputs, teacher, head, prompt, each, tokens_an_input(shown), rng))
    return made


def _inputs_of(replies: Sequence[Reply | None], each: int, unmade: str) -> tuple[list[str], Counter[str]]:
    """The usable inputs of ``replies``, and how many are not, by reason: ``unmade`` where there is no reply."""
    texts: list[str] = []
    problems: Counter[str] = Counter({unmade: each * sum(reply is None for reply in replies)})
    for reply in replies:
        if reply is not None:
            found, unusable = read_inputs(reply, each)
            texts += found
            problems.update(unusable)
    return texts, problems


def _halves(progress: Progress, before: int, size: int, n: int) -> tuple[Progress, Progress]:
    """What tells of the inputs, and of the answers, of ``size`` rows of ``n`` that come after ``before``."""

    def half(start: int) -> Progress:
        return (lambda done, of: progress(before + (start + size * done // of) // 2, n)) if progress else None

    return half(0), half(size)


async def answer_texts(
    texts: Sequence[str],
    task: TaskSpec,
    teacher: ChatModel,
    *,
    examples: Sequence[Example] | None = None,
    schema: dict[str, Any] | None = None,
    read: Read = lambda text: text.strip() or None,
    again: bool = False,
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> list[str | None]:
    """The teacher's answer to each text, few-shot with ``examples`` (default: the task's).

    ``schema`` (JSON Schema) constrains the reply and ``read`` makes the answer of it, None for one of no use. ``again``
    asks for a second opinion: at temperature 0.7, the examples in another order. Raises as
    ``p2m.generate.label.label_texts``.
    """
    shown = shots(task.examples if examples is None else examples)
    system = render("answer_system", instruction=task.instruction, schema=schema is not None)
    messages: list[dict[str, Any]] = [{"role": "system", "content": system.text}]
    for example in reversed(shown) if again else shown:
        messages.append({"role": "user", "content": example.input})
        messages.append({"role": "assistant", "content": example.output})
    options: dict[str, Any] = {"max_tokens": longest_answer(shown), "prompt": system.hash, "schema": schema}
    options |= {"temperature": SECOND_OPINION, "seed": 1} if again else {"temperature": 0.0}
    calls = [
        partial(teacher.chat, [*messages, {"role": "user", "content": text[:LONGEST_TEXT]}], **options)
        for text in texts
    ]
    replies = await _all(calls, teacher, "answered nothing", 1, len(texts), progress, stop)
    return [None if reply is None else read(reply.text) for reply in replies]


def longest_answer(examples: Sequence[Example]) -> int:
    """Tokens for an answer up to three times the longest example's; a token is seldom shorter than two characters."""
    longest = max((len(e.output.encode()) for e in examples), default=LONGEST_ANSWER)
    return min(LONGEST_ANSWER, max(24, 3 * longest // 2))


async def _all(
    calls: Sequence[Callable[[], Any]],
    teacher: ChatModel,
    nothing: str,
    each: int,
    n: int,
    progress: Callable[[int, int], None] | None,
    stop: Callable[[], bool],
) -> list[Reply | None]:
    """The replies in order, None for a call that failed alone or was not made."""
    from p2m.llm.parallel import Stopped, many

    done = 0

    def count(_: int, __: object) -> None:
        nonlocal done
        done += each
        if progress:
            progress(min(n, done), n)

    replies = await many(calls, limit=teacher.concurrency, on_done=count, stop=stop)
    failures = [r for r in replies if isinstance(r, Exception) and not isinstance(r, Stopped)]
    refused = next((f for f in failures if isinstance(f, BudgetExceeded)), None)
    answered = [r for r in replies if not isinstance(r, Exception)]
    if refused and not answered:
        raise refused
    if failures and not answered:
        raise ProviderError(f"the teacher {nothing}: {failures[0]}")
    return [None if isinstance(r, Exception) else r for r in replies]
