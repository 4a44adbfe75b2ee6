"""What the kinds share whose answers have a form: a set of labels, spans, a part of the text, a number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from p2m.kinds.base import Advice, TaskKind, _never
from p2m.rows import Row
from p2m.task.spec import Example, TaskSpec

if TYPE_CHECKING:
    from p2m.evaluate.errors import Fault
    from p2m.generate.write import Written
    from p2m.kinds.base import Errors
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

    async def write(
        self,
        task: TaskSpec,
        teacher: ChatModel,
        *,
        n: int,
        labels: Sequence[str] = (),
        brief: str = "",
        examples: Sequence[Example] | None = None,
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
        stop: Callable[[], bool] = _never,
    ) -> Written:
        """The teacher writes inputs, then answers each without the others around it."""
        from p2m.generate.free import write_inputs

        def half(start: int) -> Callable[[int, int], None] | None:
            return (lambda done, of: progress((start * of + done) // 2, of)) if progress else None

        written = await write_inputs(
            task, teacher, n=n, brief=brief, examples=examples, seed=seed, progress=half(0), stop=stop
        )
        texts = [row.input for row in written.rows]
        answers = await self.answer(texts, task, teacher, examples=examples, progress=half(1), stop=stop)
        rows = [replace(row, output=said) for row, said in zip(written.rows, answers, strict=True) if said is not None]
        unusable = {**written.unusable, "no_answer": len(texts) - len(rows)}
        return replace(written, rows=rows, unusable={reason: n for reason, n in unusable.items() if n})

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
        """Without texts that have two answers; which of them is right is not ours to say."""
        from p2m.data.near import normalise

        answers: dict[str, set[str]] = {}
        for row in rows:
            answers.setdefault(normalise(row.input), set()).add(row.output)
        certain = [row for row in rows if len(answers[normalise(row.input)]) == 1]
        return certain, {"contradiction": len(rows) - len(certain)}

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


def faults_report(words: str, faults: Sequence[Fault], brief: str = "") -> Errors:
    """What ``errors`` gives where the answers are no single labels."""
    from dataclasses import asdict

    from p2m.kinds.base import Errors

    common = ", ".join(f"{fault.name} x{fault.count}" for fault in faults if fault.count)
    words = f"{words}: {common}" if common else words
    text = f"{words}." + (f" Next: generate_batch with a brief such as: {brief}." if brief else "")
    lines = []
    for fault in faults:
        lines += [f"**{fault.name}** ({fault.count})", *(f"- {text}" for text in fault.texts), ""]
    analysis = {"words": words, "brief": brief, "faults": [asdict(f) for f in faults], "weak": [], "confusions": []}
    return Errors(text, "\n".join(lines).strip(), analysis)
