"""Multi-label classification: any number of a fixed set of labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from p2m.errors import BadInput
from p2m.kinds.base import CardWords, Errors, Highlights, faults_report
from p2m.kinds.formed import TEXTS, Formed, shown
from p2m.outputs import parse_labels
from p2m.rows import Row
from p2m.task.spec import TaskSpec

if TYPE_CHECKING:
    from pathlib import Path

    from p2m.evaluate.metrics import LabelScore
    from p2m.train.recipe import Progress, Recipe, TrainResult

NAMED_LABELS = 3
MOST_FAULTS = 6
_SNIPPET = """from transformers import pipeline

classify = pipeline("text-classification", model="{model}", function_to_apply="sigmoid")
config = classify.model.config
above = dict(zip(config.id2label.values(), config.thresholds))
said = classify(["some text"], truncation=True, top_k=None)[0]
print([p["label"] for p in said if p["score"] > above[p["label"]]])"""


class MultiLabel(Formed):
    name = "multi_label"
    methods = ("frozen", "full")
    quick = "frozen"
    extra_metrics = ("micro_f1", "macro_f1", "accuracy")
    baseline_names = "most frequent set, TF-IDF and frozen embeddings"
    untrained = "head only"

    def check(self, task: TaskSpec) -> None:
        if len(task.labels) < 2:
            raise BadInput(
                f"the task has {len(task.labels)} labels; a classifier needs two or more",
                where=task.name,
                fix="List them (labels: [a, b]) or give examples of each",
            )

    def read(
        self, task: TaskSpec, path: str, *, input_column: str | None = None, output_column: str | None = None
    ) -> list[Row]:
        from p2m.data.labelled import read_labelled

        return read_labelled(
            path,
            kind=task.kind,
            labels=task.labels,
            multi_label=True,
            input_column=input_column or task.input_column,
            output_column=output_column or task.output_column,
        )

    def strata(self, rows: Sequence[Row]) -> list[str] | None:
        """The rarest label of each row, none where it has none: rare labels come into both splits."""
        counts = self.counts(rows)
        return [min(parse_labels(r.output), key=lambda k: (counts[k], k), default="") for r in rows]

    def valid(self, task: TaskSpec, row: Row) -> bool:
        known = frozenset(task.labels)
        return set(parse_labels(row.output, known)) <= known

    def lacking(self, task: TaskSpec, rows: Sequence[Row]) -> str | None:
        counts = self.counts(rows)
        missing = [label for label in task.labels if not counts.get(label)]
        if len(missing) == len(task.labels):
            return "no row has a label: generate or import some first"
        return None

    def counts(self, rows: Sequence[Row]) -> dict[str, int]:
        return dict(Counter(label for row in rows for label in parse_labels(row.output)))

    def baselines(self, task: TaskSpec, train: Sequence[Row], texts: Sequence[str]) -> list[tuple[str, list[str]]]:
        from p2m.evaluate.kind_baselines import label_sets
        from p2m.train.embed import Embedder

        return label_sets(train, texts, task.labels, Embedder.default())

    def train(
        self,
        recipe: Recipe,
        rows: Sequence[Row],
        validation: Sequence[Row],
        folder: Path,
        tell: Callable[[Progress], None],
    ) -> TrainResult:
        from pathlib import Path

        from p2m.train.multilabel import train_label_sets
        from p2m.train.student import Student

        student = Student(Path(recipe.base), recipe.labels, "multi_label_classification", recipe.seed)
        result = train_label_sets(recipe, student, rows, validation, tell)
        student.save(folder)
        return result

    def _per_label(self, task: TaskSpec, rows: Sequence[Row], predictions: Sequence[str]) -> list[LabelScore]:
        from p2m.evaluate.metrics import LabelScore

        known = frozenset(task.labels)
        gold = [set(parse_labels(r.output, known)) for r in rows]
        said = [set(parse_labels(p, known)) for p in predictions]
        found = []
        for label in task.labels:
            right = sum(label in g and label in s for g, s in zip(gold, said, strict=True))
            n, given = sum(label in g for g in gold), sum(label in s for s in said)
            f1 = 2 * right / (n + given) if n + given else 0.0
            found.append(LabelScore(label, right / given if given else 0.0, right / n if n else 0.0, f1, n))
        return found

    def highlights(self, task: TaskSpec, rows: Sequence[Row], predictions: Sequence[str]) -> Highlights:
        by_label = [s for s in self._per_label(task, rows, predictions) if s.support]
        weakest = sorted(by_label, key=lambda s: s.f1)[:NAMED_LABELS]
        sentence = "Lowest F1: " + ", ".join(f"{s.label} {s.f1:.2f}" for s in weakest) + "."
        return Highlights(sentence, {s.label: round(s.recall, 4) for s in by_label})

    def details(self, task: TaskSpec, rows: Sequence[Row], predictions: Sequence[str]) -> dict[str, Any]:
        return {"per_class": [asdict(s) for s in self._per_label(task, rows, predictions)]}

    def errors(self, task: TaskSpec, rows: Sequence[Row], predictions: Sequence[str]) -> Errors:
        from p2m.evaluate.errors import Fault

        known, wrong = frozenset(task.labels), 0
        texts: dict[str, list[str]] = {}
        for row, said in zip(rows, predictions, strict=True):
            gold, found = set(parse_labels(row.output, known)), set(parse_labels(said, known))
            wrong += gold != found
            for label in gold - found:
                texts.setdefault(f"{label} missed", []).append(row.input)
            for label in found - gold:
                texts.setdefault(f"{label} given wrongly", []).append(row.input)
        ranked = sorted(texts.items(), key=lambda item: (-len(item[1]), item[0]))[:MOST_FAULTS]
        faults = [Fault(name, len(t), tuple(shown(x) for x in sorted(t, key=len)[:TEXTS])) for name, t in ranked]
        report = faults_report(f"{wrong} of {len(rows)} label sets are not exactly right", faults)
        scores = self._per_label(task, rows, predictions)
        table = ["| label | precision | recall | F1 | n |", "| --- | --: | --: | --: | --: |"]
        table += [f"| {s.label} | {s.precision:.2f} | {s.recall:.2f} | {s.f1:.2f} | {s.support} |" for s in scores]
        return Errors(report.text, "\n".join([*table, "", report.display]), report.analysis)

    def card(self, labels: Sequence[str]) -> CardWords:
        return CardWords(
            pipeline="text-classification",
            what="A multi-label text classifier",
            snippet=_SNIPPET,
            methods={
                "frozen": "a new head on the frozen encoder",
                "full": "the encoder and a new head were trained",
            },
            limits=(
                "It gives a label where its probability is above the label's threshold in `config.json`; these were "
                "chosen on the validation rows.",
            ),
        )
