"""Extraction of labelled spans: which parts of the text are a person, a song, a date."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from p2m.errors import BadInput
from p2m.kinds.base import CardWords, Errors, Highlights, faults_report
from p2m.kinds.formed import NEW_HEAD_HEAD_RATE, NEW_HEAD_RATE, TEXTS, Formed, shown
from p2m.outputs import format_spans, parse_spans
from p2m.rows import Row
from p2m.task.spec import Metric, TaskSpec

if TYPE_CHECKING:
    from pathlib import Path

    from p2m.evaluate.metrics import LabelScore
    from p2m.train.recipe import Method, Progress, Recipe, TrainResult

NAMED_LABELS = 3
_SNIPPET = """from transformers import pipeline

extract = pipeline("token-classification", model="{model}", aggregation_strategy="first")
for span in extract("some text"):
    print(span["entity_group"], span["start"], span["end"])"""


class Extract(Formed):
    name = "extract"
    methods = ("full",)
    baseline_names = "a dictionary of the training spans"
    counted = "spans"
    # A row teaches many spans, and many words that are in none.
    enough_rows = 80

    def read(
        self, task: TaskSpec, path: str, *, input_column: str | None = None, output_column: str | None = None
    ) -> list[Row]:
        """Each row's spans stand in its text and have a label of the task's."""
        rows = super().read(task, path, input_column=input_column, output_column=output_column)
        made = []
        for row in rows:
            try:
                spans = parse_spans(row.output, row.input)
                if unknown := [s.label for s in spans if s.label not in task.labels]:
                    raise ValueError(f"{unknown[0]!r} is not one of the labels: {', '.join(task.labels)}")
            except ValueError as error:
                fix = "Correct the file, or the labels of the task"
                raise BadInput(str(error), where=path, line=row.meta.get("line"), fix=fix) from None
            made.append(replace(row, output=format_spans(spans)))
        return made

    def strata(self, rows: Sequence[Row]) -> list[str] | None:
        """The rarest label of a row's spans, none where it has none: rare labels come into both splits."""
        counts = self.counts(rows)
        return [min((s.label for s in parse_spans(r.output)), key=lambda k: (counts[k], k), default="") for r in rows]

    def valid(self, task: TaskSpec, row: Row) -> bool:
        try:
            return {s.label for s in parse_spans(row.output, row.input)} <= set(task.labels)
        except ValueError:
            return False

    def lacking(self, task: TaskSpec, rows: Sequence[Row]) -> str | None:
        return None if self.counts(rows) else "no row has a span: generate or import some first"

    def counts(self, rows: Sequence[Row]) -> dict[str, int]:
        """Spans a label."""
        return dict(Counter(s.label for row in rows for s in parse_spans(row.output)))

    def spoken(self, output: str) -> str:
        return "; ".join(f"{s.text} ({s.label})" for s in parse_spans(output)) or "nothing"

    def baselines(self, task: TaskSpec, train: Sequence[Row], texts: Sequence[str]) -> list[tuple[str, list[str]]]:
        from p2m.evaluate.kind_baselines import span_dictionary

        return span_dictionary(train, texts)

    def learning_rate(self, method: Method) -> float | None:
        return NEW_HEAD_RATE

    def train(
        self,
        recipe: Recipe,
        rows: Sequence[Row],
        validation: Sequence[Row],
        folder: Path,
        tell: Callable[[Progress], None],
    ) -> TrainResult:
        from pathlib import Path

        from p2m.train.tagger import Tagger, train_tagger

        # A tag set is learnt from scratch: more passes than a head that was fitted needs.
        recipe = replace(recipe, head_learning_rate=NEW_HEAD_HEAD_RATE, patience=5)
        if recipe.epochs is None:
            recipe = replace(recipe, epochs=3 * recipe.epochs_for(len(rows)))
        student = Tagger(Path(recipe.base), recipe.labels, recipe.seed)
        result = train_tagger(recipe, student, rows, validation, tell)
        student.save(folder)
        return result

    def estimate_of(
        self, metric: Metric, task: TaskSpec, rows: Sequence[Row], predictions: Sequence[str | None]
    ) -> Any:
        # A text has one set of spans: no other is right too.
        return super().estimate_of(metric, task, [replace(r, meta={}) for r in rows], predictions)

    def _per_label(self, task: TaskSpec, rows: Sequence[Row], predictions: Sequence[str]) -> list[LabelScore]:
        from p2m.evaluate.metrics import LabelScore

        gold = [(i, *s.place) for i, r in enumerate(rows) for s in parse_spans(r.output)]
        said = [(i, *s.place) for i, p in enumerate(predictions) for s in parse_spans(p)]
        hits = Counter(p[3] for p in set(gold) & set(said))
        asked, given = Counter(p[3] for p in gold), Counter(p[3] for p in said)
        return [
            LabelScore(
                label,
                hits[label] / max(1, given[label]),
                hits[label] / max(1, asked[label]),
                2 * hits[label] / max(1, asked[label] + given[label]),
                asked[label],
            )
            for label in task.labels
        ]

    def highlights(self, task: TaskSpec, rows: Sequence[Row], predictions: Sequence[str]) -> Highlights:
        by_label = [s for s in self._per_label(task, rows, predictions) if s.support]
        weakest = sorted(by_label, key=lambda s: s.f1)[:NAMED_LABELS]
        sentence = "Lowest F1: " + ", ".join(f"{s.label} {s.f1:.2f}" for s in weakest) + "."
        return Highlights(sentence, {s.label: round(s.recall, 4) for s in by_label})

    def details(self, task: TaskSpec, rows: Sequence[Row], predictions: Sequence[str]) -> dict[str, Any]:
        return {"per_class": [asdict(s) for s in self._per_label(task, rows, predictions)]}

    def errors(self, task: TaskSpec, rows: Sequence[Row], predictions: Sequence[str]) -> Errors:
        """Each gold span is right, has other bounds or another label, or is missed; what else was found is spurious."""
        from p2m.evaluate.errors import Fault

        texts: dict[str, list[str]] = {}
        right = 0
        for row, prediction in zip(rows, predictions, strict=True):
            gold, said = parse_spans(row.output), parse_spans(prediction)
            right += len({g.place for g in gold} & {s.place for s in said})
            left = [s for s in said if s.place not in {g.place for g in gold}]
            for g in (g for g in gold if g.place not in {s.place for s in said}):
                near = next((s for s in left if s.start < g.end and g.start < s.end), None)
                if near is None:
                    name = f"{g.label} missed"
                elif near.label == g.label:
                    name = f"{g.label} with other bounds"
                else:
                    name = f"{g.label} taken for {near.label}"
                if near is not None:
                    left.remove(near)
                texts.setdefault(name, []).append(f"{shown(g.text)} in: {shown(row.input)}")
            for s in left:
                texts.setdefault(f"{s.label} where there is none", []).append(f"{shown(s.text)} in: {shown(row.input)}")
        total = sum(self.counts(rows).values())
        ranked = sorted(texts.items(), key=lambda item: (-len(item[1]), item[0]))[:6]
        faults = [Fault(name, len(t), tuple(t[:TEXTS])) for name, t in ranked]
        report = faults_report(f"{right} of {total} spans are found exactly", faults)
        table = ["| label | precision | recall | F1 | n |", "| --- | --: | --: | --: | --: |"]
        for each in self._per_label(task, rows, predictions):
            table.append(
                f"| {each.label} | {each.precision:.2f} | {each.recall:.2f} | {each.f1:.2f} | {each.support} |"
            )
        return Errors(report.text, "\n".join([*table, "", report.display]), report.analysis)

    def card(self, labels: Sequence[str]) -> CardWords:
        return CardWords(
            pipeline="token-classification",
            what="A span extractor (token classification)",
            snippet=_SNIPPET,
            methods={"full": "the encoder and a new head were trained"},
            limits=(
                "Its spans do not overlap. A text longer than its window needs `stride` in the pipeline; "
                "`p2m predict` reads all of it.",
            ),
        )
