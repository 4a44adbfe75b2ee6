"""Generation: the answer is text written anew, by a decoder or an encoder-decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from p2m.kinds.base import Advice, CardWords, Errors, Highlights, TaskKind, _never, faults_report
from p2m.rows import Row
from p2m.task.spec import Example, TaskSpec

if TYPE_CHECKING:
    from pathlib import Path

    from p2m.llm.client import ChatModel
    from p2m.train.recipe import Method, Progress, Recipe, TrainResult

FIRST_BATCH = 160
# What a generator learns from rows goes on growing where a classifier's head has long had enough.
ENOUGH_REAL_ROWS = 300
# Two answers of a teacher that share less than this (chrF++ of the sentence) do not say the same.
SAME_ANSWER = 0.6
NAMED_FAULTS = 3
_SNIPPET = """from transformers import AutoTokenizer, pipeline

write = pipeline("text-generation", model="{model}")
said = write([{"role": "user", "content": "some text"}], return_full_text=False)
print(said[0]["generated_text"])"""
_RATES: dict[Method, float] = {"lora": 1e-3, "full": 1e-4}


class Generate(TaskKind):
    name = "generate"
    methods = ("lora", "full")
    base_role = "generator"
    default_base = "smollm2-135m"
    extra_metrics = ("chrf", "exact_match")
    baseline_names = "copy of the input and the nearest row's answer"

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
        from p2m.generate.free import answer_texts

        return await answer_texts(texts, task, teacher, examples=examples, again=again, progress=progress, stop=stop)

    def agrees(self, task: TaskSpec, first: str, second: str | None) -> bool:
        """Equal where the metric wants that, else at least 0.6 chrF++: the same said in other words."""
        from p2m.evaluate.metrics import row_scores
        from p2m.evaluate.text_errors import sentence_chrf

        if second is None:
            return False
        if row_scores("exact_match", [first], [second])[0]:
            return True
        return task.metric != "exact_match" and sentence_chrf([first], [second])[0] >= SAME_ANSWER

    def baselines(self, task: TaskSpec, train: Sequence[Row], texts: Sequence[str]) -> list[tuple[str, list[str]]]:
        from p2m.evaluate.text_baselines import run_text_baselines
        from p2m.train.embed import Embedder

        return run_text_baselines(train, texts, Embedder.default())

    def learning_rate(self, method: Method) -> float | None:
        return _RATES[method]

    def train(
        self,
        recipe: Recipe,
        rows: Sequence[Row],
        validation: Sequence[Row],
        folder: Path,
        tell: Callable[[Progress], None],
    ) -> TrainResult:
        from pathlib import Path

        from p2m.train.write_fit import train
        from p2m.train.writer import Writer

        writer = Writer(Path(recipe.base), recipe.instruction)
        result, longest_answer = train(recipe, writer, rows, validation, tell)
        writer.save(folder, longest_answer)
        return result

    def highlights(self, task: TaskSpec, rows: Sequence[Row], predictions: Sequence[str]) -> Highlights:
        from p2m.evaluate.text_errors import analyse_texts

        found = analyse_texts(rows, predictions)
        common = [f"{fault.name} {fault.count}" for fault in found.faults[:NAMED_FAULTS]]
        sentence = f"{found.exact} of {found.n} word for word"
        return Highlights(sentence + (f"; commonest faults: {', '.join(common)}." if common else "."))

    def errors(self, task: TaskSpec, rows: Sequence[Row], predictions: Sequence[str]) -> Errors:
        from p2m.evaluate.text_errors import analyse_texts

        found = analyse_texts(rows, predictions)
        words = f"{found.wrong} of {found.n} answers are clearly wrong, {found.exact} are right word for word"
        return faults_report(words, found.faults, found.brief)

    def advice(self, task: TaskSpec) -> Advice:
        return Advice(
            enough_rows=ENOUGH_REAL_ROWS,
            first_batch=FIRST_BATCH,
            over="over all that the task can be about",
            best="full",
            prompt="planner_system_text",
        )

    def card(self, labels: Sequence[str]) -> CardWords:
        return CardWords(
            pipeline="text-generation",
            what="A text generator",
            snippet=_SNIPPET,
            methods={
                "lora": "low-rank additions to its weights were trained and merged into them",
                "full": "all weights but the word embeddings were trained",
            },
            limits=(
                "It answers every input, also one that is no input of this task, and may state what is not so.",
                "Its chat template puts the instruction in by itself: give it the input alone.",
            ),
        )
