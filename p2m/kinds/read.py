"""Extraction of one answer: the part of a text that answers a question, or the instruction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from p2m.kinds.base import CardWords, Errors, Highlights, faults_report
from p2m.kinds.formed import NEW_HEAD_HEAD_RATE, TEXTS, Formed, shown
from p2m.rows import Row
from p2m.task.spec import TaskSpec

if TYPE_CHECKING:
    from pathlib import Path

    from p2m.train.recipe import Method, Progress, Recipe, TrainResult

_SNIPPET = """import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

model = AutoModelForQuestionAnswering.from_pretrained("{model}").eval()
tokenizer = AutoTokenizer.from_pretrained("{model}")

def answer(question, context):
    # A long context is read in windows that overlap; an answer counts by how far it is above none.
    windows = tokenizer(question, context, return_tensors="pt", truncation="only_second", max_length=384, stride=96,
                        padding=True, return_overflowing_tokens=True, return_offsets_mapping=True)
    places, _ = windows.pop("offset_mapping"), windows.pop("overflow_to_sample_mapping")
    inside = torch.tensor([[part == 1 for part in windows.sequence_ids(i)] for i in range(len(places))])
    with torch.no_grad():
        said = model(**windows)
    start, end = (side.masked_fill(~inside, -1e9) for side in (said.start_logits, said.end_logits))
    short = torch.ones(inside.shape[1], inside.shape[1]).triu().tril(39).bool()
    none = (said.start_logits[:, 0] + said.end_logits[:, 0])[:, None, None]
    above = (start[:, :, None] + end[:, None, :] - none).masked_fill(~short, -4e9)
    if model.config.unanswerable and above.max() <= 0:
        return ""
    window, first, last = torch.unravel_index(above.argmax(), above.shape)
    return context[places[window, first, 0]:places[window, last, 1]]

print(answer("Who wrote it?", "It was written by Ada Lovelace."))"""
RATE = 1e-4


class Read(Formed):
    name = "read"
    methods = ("full",)
    extra_metrics = ("squad_f1", "squad_em")
    baseline_names = "the sentence nearest to the question, and a name in it"
    enough_rows = 300

    def settle(self, rows: Sequence[Row]) -> tuple[list[Row], dict[str, int]]:
        """Every answer that people gave is right."""
        from p2m.kinds.base import TaskKind

        return TaskKind.settle(self, rows)

    def strata(self, rows: Sequence[Row]) -> list[str] | None:
        """Whether the question has an answer."""
        return ["" if row.output else "none" for row in rows]

    def valid(self, task: TaskSpec, row: Row) -> bool:
        from p2m.train.reader import asked, place_of

        try:
            place_of(row, asked(row.input, task.instruction))
        except ValueError:
            return False
        return True

    def baselines(self, task: TaskSpec, train: Sequence[Row], texts: Sequence[str]) -> list[tuple[str, list[str]]]:
        from p2m.evaluate.kind_baselines import passages

        return passages(train, texts, task.instruction)

    def learning_rate(self, method: Method) -> float | None:
        return RATE

    def train(
        self,
        recipe: Recipe,
        rows: Sequence[Row],
        validation: Sequence[Row],
        folder: Path,
        tell: Callable[[Progress], None],
    ) -> TrainResult:
        from pathlib import Path

        from p2m.train.reader import Reader, train_reader

        student = Reader(Path(recipe.base), recipe.instruction, recipe.seed)
        recipe = replace(recipe, head_learning_rate=NEW_HEAD_HEAD_RATE)
        result = train_reader(recipe, student, rows, validation, tell)
        student.save(folder)
        return result

    def highlights(self, task: TaskSpec, rows: Sequence[Row], predictions: Sequence[str]) -> Highlights:
        overlap = self._overlaps(rows, predictions)
        none = sum(v == 0 for v in overlap)
        return Highlights(f"{none} of {len(rows)} answers share no word with the right one.")

    def _overlaps(self, rows: Sequence[Row], predictions: Sequence[str]) -> list[float]:
        from p2m.evaluate.metrics import row_scores

        also = [r.meta.get("also", ()) for r in rows]
        return row_scores("squad_f1", [r.output for r in rows], predictions, also)

    def errors(self, task: TaskSpec, rows: Sequence[Row], predictions: Sequence[str]) -> Errors:
        from p2m.evaluate.errors import Fault

        texts: dict[str, list[str]] = {}
        for row, said, value in zip(rows, predictions, self._overlaps(rows, predictions), strict=True):
            if value == 1:
                continue
            if not row.output:
                name = "answered where there is no answer"
            elif not said:
                name = "no answer where there is one"
            else:
                name = "another place" if value == 0 else "longer" if len(said) > len(row.output) else "shorter"
            texts.setdefault(name, []).append(f"{shown(said)} for {shown(row.output)}: {shown(row.input)}")
        ranked = sorted(texts.items(), key=lambda item: -len(item[1]))
        faults = [Fault(name, len(t), tuple(t[:TEXTS])) for name, t in ranked]
        wrong = sum(f.count for f in faults)
        return faults_report(f"{wrong} of {len(rows)} answers are not exactly right", faults)

    def card(self, labels: Sequence[str]) -> CardWords:
        return CardWords(
            pipeline="question-answering",
            what="An extractive question answerer",
            snippet=_SNIPPET,
            methods={"full": "the encoder and a new head were trained"},
            limits=("Its answer is always a part of the context, at most 40 tokens long.",),
        )
