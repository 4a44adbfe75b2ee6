"""Single-label classification: the answer is one label of a fixed set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from p2m.errors import BadInput
from p2m.kinds.base import Advice, CardWords, Errors, Highlights, TaskKind, _never, certain
from p2m.rows import Row
from p2m.task.spec import Example, TaskSpec

if TYPE_CHECKING:
    from pathlib import Path

    from p2m.generate.write import Written
    from p2m.llm.client import ChatModel
    from p2m.train.recipe import Progress, Recipe, TrainResult

FIRST_BATCH, FIRST_BATCH_PER_LABEL = 160, 30
ENOUGH_REAL_ROWS_PER_LABEL = 25
NAMED_LABELS = 3
WEAK_LABELS = 5
CONFUSIONS = 10
_SNIPPET = """from transformers import pipeline

classify = pipeline("text-classification", model="{model}")
print(classify(["some text"], truncation=True, top_k=None))"""


class Classify(TaskKind):
    name = "classify"
    methods = ("frozen", "full")
    base_role = "encoder"
    default_base = "all-minilm-l6-v2"
    extra_metrics = ("accuracy", "macro_f1")
    answers_are_labels = True
    baseline_names = "majority, TF-IDF and frozen embeddings"
    untrained = "head only"
    written_note = "Labels are as asked for, not checked."

    def check(self, task: TaskSpec) -> None:
        if len(task.labels) < 2:
            raise BadInput(
                f"the task has {len(task.labels)} labels; a classifier needs two or more",
                where=task.name,
                fix="List them (labels: [a, b]) or give examples of each",
            )

    def settle(self, rows: Sequence[Row]) -> tuple[list[Row], dict[str, int]]:
        return certain(rows)

    def valid(self, task: TaskSpec, row: Row) -> bool:
        return row.output in task.labels

    def lacking(self, task: TaskSpec, rows: Sequence[Row]) -> str | None:
        counts = Counter(row.output for row in rows)
        missing = [label for label in task.labels if not counts[label]]
        return f"no row has the label {', '.join(missing[:10])}: generate or import some first" if missing else None

    def counts(self, rows: Sequence[Row]) -> dict[str, int]:
        return dict(Counter(row.output for row in rows))

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
        """The label asked for is the row's output."""
        from p2m.generate.write import write_rows

        wanted = list(labels) or list(task.labels)
        return await write_rows(
            task,
            teacher,
            n=n,
            labels=wanted,
            brief=brief,
            examples=examples,
            seed=seed,
            progress=progress,
            stop=stop,
        )

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
        """The label, asked for without what the row was written for: always a second opinion."""
        from p2m.generate.label import label_texts

        said = await label_texts(texts, task, teacher, examples=examples, progress=progress, stop=stop)
        return [answer.label for answer in said]

    def agrees(self, task: TaskSpec, first: str, second: str | None) -> bool:
        return first == second

    def baselines(self, task: TaskSpec, train: Sequence[Row], texts: Sequence[str]) -> list[tuple[str, list[str]]]:
        from p2m.evaluate.baselines import run_baselines
        from p2m.train.embed import Embedder

        return run_baselines(train, texts, labels=task.labels, embedder=Embedder.default())

    def train(
        self,
        recipe: Recipe,
        rows: Sequence[Row],
        validation: Sequence[Row],
        folder: Path,
        tell: Callable[[Progress], None],
    ) -> TrainResult:
        from pathlib import Path

        from p2m.train.fit import train
        from p2m.train.student import Student

        student = Student(Path(recipe.base), recipe.labels, seed=recipe.seed)
        result = train(recipe, student, rows, validation, tell)
        student.save(folder)
        return result

    def highlights(self, task: TaskSpec, rows: Sequence[Row], predictions: Sequence[str]) -> Highlights:
        from p2m.evaluate.metrics import per_label

        by_label = [s for s in per_label([r.output for r in rows], predictions, task.labels) if s.support]
        weakest = sorted(by_label, key=lambda s: s.recall)[:NAMED_LABELS]
        sentence = "Lowest recall: " + ", ".join(f"{s.label} {s.recall:.2f}" for s in weakest) + "."
        return Highlights(sentence, {s.label: round(s.recall, 4) for s in by_label})

    def details(self, task: TaskSpec, rows: Sequence[Row], predictions: Sequence[str]) -> dict[str, Any]:
        """``confusion``: rows are the true labels, columns the predicted ones, in the task's order."""
        from p2m.evaluate.metrics import per_label

        golds, labels = [r.output for r in rows], list(task.labels)
        counts = Counter(zip(golds, predictions, strict=True))
        matrix = [[counts[gold, said] for said in labels] for gold in labels]
        return {
            "per_class": [asdict(s) for s in per_label(golds, predictions, labels)],
            "confusion": {"labels": labels, "matrix": matrix},
        }

    def errors(self, task: TaskSpec, rows: Sequence[Row], predictions: Sequence[str]) -> Errors:
        from p2m.evaluate.errors import analyse
        from p2m.evaluate.metrics import per_label

        golds = [r.output for r in rows]
        found = analyse(golds, predictions, [r.input for r in rows], task.labels)
        text = f"{found.wrong} of {found.n} validation rows are wrong."
        if found.weak:
            weak = [f"{w.label} (recall {w.recall:.2f} of {w.n})" for w in found.weak[:WEAK_LABELS]]
            text += f" Weak: {', '.join(weak)}."
        if found.confusions:
            pairs = [f"{gold} taken for {predicted or 'nothing'} x{n}" for gold, predicted, n in found.confusions[:3]]
            text += f" Confused: {', '.join(pairs)}."
            text += " Next: generate_batch for the weak labels, with a brief that tells these apart."
        lines = ["| label | precision | recall | n |", "| --- | --: | --: | --: |"]
        for s in per_label(golds, predictions, task.labels):
            lines.append(f"| {s.label} | {s.precision:.2f} | {s.recall:.2f} | {s.support} |")
        for cluster in found.clusters:
            shown = " / ".join(f"“{t}”" for t in cluster.texts)
            lines += [
                "",
                f"**{cluster.gold}** taken for **{cluster.predicted or 'nothing'}** ({cluster.count}): {shown}",
            ]
        analysis = {
            "confusions": [list(c) for c in found.confusions[:CONFUSIONS]],
            "weak": [w.label for w in found.weak[:WEAK_LABELS]],
            "clusters": [asdict(c) for c in found.clusters],
        }
        return Errors(text, "\n".join(lines), analysis)

    def advice(self, task: TaskSpec) -> Advice:
        labels = max(1, len(task.labels))
        return Advice(
            enough_rows=ENOUGH_REAL_ROWS_PER_LABEL * labels,
            first_batch=max(FIRST_BATCH, FIRST_BATCH_PER_LABEL * labels),
            over="over all labels",
            quick="frozen",
            best="full",
        )

    def card(self, labels: Sequence[str]) -> CardWords:
        return CardWords(
            pipeline="text-classification",
            what="A text classifier",
            snippet=_SNIPPET,
            methods={
                "frozen": "a new head on the frozen encoder",
                "full": "the encoder and a new head were trained",
            },
            limits=("It always answers with one of its labels, also for a text that none of them fits.",),
        )
