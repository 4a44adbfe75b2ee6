"""The teacher as a labeller: one constrained answer a text, with label probabilities where the server tells."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from p2m.errors import BudgetExceeded, ProviderError
from p2m.prompts import render
from p2m.task.spec import Example, TaskSpec

if TYPE_CHECKING:
    from p2m.llm.client import ChatModel
    from p2m.llm.reply import Reply, TokenLogprob

# Beyond this many shown examples a small teacher's prompt grows faster than its accuracy.
MOST_SHOTS = 32
LONGEST_TEXT = 4000
# About half of what a local model's slot holds (4,096 tokens): the text and the answer need the rest.
SHOT_CHARACTERS = 6000
LONGEST_SHOT = 600


@dataclass(frozen=True)
class Labelled:
    """``label`` is None where the answer was none of the labels; ``probs`` (sum 1) where the server gives them."""

    label: str | None
    probs: dict[str, float] | None = None

    @property
    def confidence(self) -> float:
        """Probability of ``label``; 1 where the server gives none."""
        return 1.0 if not self.probs or self.label is None else self.probs.get(self.label, 0.0)


async def label_texts(
    texts: Sequence[str],
    task: TaskSpec,
    teacher: ChatModel,
    *,
    examples: Sequence[Example] | None = None,
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> list[Labelled]:
    """The teacher's label for each text, few-shot with ``examples`` (default: the task's demonstrations).

    Raises ``ProviderError`` when no call succeeds, ``BudgetExceeded`` when the budget refuses one; a call that fails
    alone, or is not made because of ``stop``, gives ``Labelled(None)``.
    """
    from p2m.llm.parallel import Stopped, many

    head, prompt = _head(task, task.examples if examples is None else examples)
    done = 0

    def count(_: int, __: object) -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, len(texts))

    options: dict[str, Any] = {"max_tokens": _longest(task.labels), "temperature": 0.0, "prompt": prompt}
    if teacher.is_local:
        options |= {"grammar": _grammar(task.labels), "top_logprobs": 20}
    calls = [
        partial(teacher.chat, [*head, {"role": "user", "content": text[:LONGEST_TEXT]}], **options) for text in texts
    ]
    replies = await many(calls, limit=teacher.concurrency, on_done=count, stop=stop)
    failures = [r for r in replies if isinstance(r, Exception) and not isinstance(r, Stopped)]
    for failure in failures:
        if isinstance(failure, BudgetExceeded):
            raise failure
    if failures and all(isinstance(r, Exception) for r in replies):
        raise ProviderError(f"the teacher labelled nothing: {failures[0]}")
    return [Labelled(None) if isinstance(r, Exception) else _read(r, task.labels) for r in replies]


def _head(task: TaskSpec, examples: Sequence[Example]) -> tuple[list[dict[str, Any]], str]:
    """The messages before the text: the same for every text, so that a server reads them once."""
    system = render("label_system", instruction=task.instruction, labels=task.labels)
    messages: list[dict[str, Any]] = [{"role": "system", "content": system.text}]
    for example in shots(examples):
        messages.append({"role": "user", "content": example.input})
        messages.append({"role": "assistant", "content": example.output})
    return messages, system.hash


def interleaved(examples: Sequence[Example]) -> list[Example]:
    """Labels in turn, so that no label has the last word (models favour what they read last)."""
    queues: dict[str, list[Example]] = {}
    for example in examples:
        queues.setdefault(example.output, []).append(example)
    turns = max((len(q) for q in queues.values()), default=0)
    return [q[i] for i in range(turns) for q in queues.values() if i < len(q)]


def shots(examples: Sequence[Example]) -> list[Example]:
    """The examples that a prompt shows: labels in turn, long inputs cut, no more than a small context holds."""
    shown, characters = [], 0
    for example in interleaved(examples)[:MOST_SHOTS]:
        cut = example.model_copy(update={"input": example.input[:LONGEST_SHOT]})
        characters += len(cut.input) + len(cut.output)
        if characters > SHOT_CHARACTERS:
            break
        shown.append(cut)
    return shown


def _grammar(labels: Sequence[str]) -> str:
    return "root ::= " + " | ".join(json.dumps(label, ensure_ascii=False) for label in labels)


def _longest(labels: Sequence[str]) -> int:
    # A token is seldom shorter than two characters.
    return max(len(label.encode()) for label in labels) // 2 + 8


def _read(reply: Reply, labels: Sequence[str]) -> Labelled:
    label = match_label(reply.text, labels)
    if label is None or not reply.logprobs:
        return Labelled(label)
    return Labelled(label, label_probabilities(reply.logprobs, label, labels))


def match_label(answer: str, labels: Sequence[str]) -> str | None:
    """The label that ``answer`` names: equal but for case, quotes and punctuation, or the only one found in it."""

    def plain(text: str) -> str:
        return re.sub(r"[\W_]+", " ", text).strip().casefold()

    if (exact := answer.strip().strip('"')) in labels:
        return exact
    said = plain(answer)
    # "C" and "C++", or two smileys, are one without their punctuation: those are only found as they are written.
    times = Counter(map(plain, labels))
    by_plain = {plain(label): label for label in labels if plain(label) and times[plain(label)] == 1}
    if said in by_plain:
        return by_plain[said]
    found = [label for key, label in by_plain.items() if re.search(rf"\b{re.escape(key)}\b", said)]
    longest = [f for f in found if not any(f != g and plain(f) in plain(g) for g in found)]
    return longest[0] if len(longest) == 1 else None


def label_probabilities(logprobs: Sequence[TokenLogprob], answer: str, labels: Sequence[str]) -> dict[str, float]:
    """Probability of each label from the alternatives of the answer's tokens.

    Walks the answer's tokens: at each, the likeliest alternatives give mass to the labels that they lead to, until
    only the answer is left. Labels that no alternative leads to get the rest of nothing: 0.
    """
    mass = dict.fromkeys(labels, 0.0)
    written, reach = "", 1.0
    for position in logprobs:
        alive = [label for label in labels if label.startswith(written)]
        if len(alive) <= 1 or not position.token:
            break
        weights: dict[str, float] = {}
        for token, logprob in position.top or ((position.token, position.logprob),):
            token = token if written else token.lstrip()
            if token and any(label.startswith(written + token) for label in alive):
                weights[token] = weights.get(token, 0.0) + math.exp(logprob)
        total = sum(weights.values())
        chosen = position.token if written else position.token.lstrip()
        if total <= 0 or not weights.get(chosen):
            break
        for token, weight in weights.items():
            if token != chosen:
                leads_to = [label for label in alive if label.startswith(written + token)]
                for label in leads_to:
                    # A shared beginning ("card_" of two labels) says nothing about which: split it.
                    if not label.startswith(written + chosen):
                        mass[label] += reach * weight / total / len(leads_to)
        reach *= weights[chosen] / total
        written += chosen
    mass[answer] += reach
    total = sum(mass.values())
    return {label: round(value / total, 6) for label, value in mass.items()}
