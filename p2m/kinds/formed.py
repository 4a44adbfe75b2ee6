"""What the kinds share whose answers have a form: a set of labels, spans, a part of the text, a number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from p2m.kinds.base import Advice, TaskKind, _never, certain
from p2m.rows import Row
from p2m.task.spec import Example, TaskSpec

if TYPE_CHECKING:
    from p2m.llm.client import ChatModel
    from p2m.train.recipe import Method

FIRST_BATCH = 160
# The sentence encoder's rates for a fitted head are too timid for a head that starts at random.
NEW_HEAD_RATE, NEW_HEAD_HEAD_RATE = 2e-4, 2e-3
TEXTS, TEXT_LENGTH = 3, 120


class Formed(TaskKind):
    """An encoder with a head of its own; the teacher writes inputs and answers each in the form."""

    base_role = "encoder"
    default_base = "all-minilm-l6-v2"
    enough_rows = 200
    quick: Method | None = None

    async def answer(
        self,
        texts: Sequence[str],
        task: TaskSpec,
        teacher: ChatModel,
        *,
        examples: Sequence[Example] | None = None,
        again: bool = False,
        progress: Callable[[int, int], None] | None = None,
        stop: Callable[[], bool] = _never,
    ) -> list[str | None]:
        from p2m.generate.answers import answer_in_form

        return await answer_in_form(texts, task, teacher, examples=examples, progress=progress, stop=stop)

    def agrees(self, task: TaskSpec, first: str, second: str | None) -> bool:
        return first == second

    def settle(self, rows: Sequence[Row]) -> tuple[list[Row], dict[str, int]]:
        return certain(rows)

    def advice(self, task: TaskSpec) -> Advice:
        return Advice(
            enough_rows=self.enough_rows,
            first_batch=FIRST_BATCH,
            over="over all that the task can be about",
            quick=self.quick,
            best="full",
            prompt="planner_system_text",
        )


def shown(text: str) -> str:
    """A validation text for a person, on one line."""
    return " ".join(text.split())[:TEXT_LENGTH]
