"""Rating: the answer is a number on a scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from p2m.errors import BadInput
from p2m.kinds.base import CardWords, Errors, Highlights, faults_report
from p2m.kinds.formed import TEXTS, Formed, shown
from p2m.outputs import format_number, parse_number
from p2m.rows import Row
from p2m.task.spec import TaskSpec

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from p2m.train.recipe import Progress, Recipe, TrainResult

# Two ratings of a teacher this far apart, as a share of the scale, do not say the same.
SAME_SHARE = 0.15
_SNIPPET = """from transformers import pipeline

rate = pipeline("text-classification", model="{model}", function_to_apply="none")
print(rate(["some text"], truncation=True)[0]["score"])"""


class Score(Formed):
    name = "score"
    methods = ("frozen", "full")
    quick = "frozen"
    baseline_names = "the mean, TF-IDF and frozen embeddings with ridge regression"
    untrained = "head only"

    def read(
        self, task: TaskSpec, path: str, *, input_column: str | None = None, output_column: str | None = None
    ) -> list[Row]:
        """Each row's output is a number on the task's scale."""
        rows = super().read(task, path, input_column=input_column, output_column=output_column)
        made = []
        for row in rows:
            try:
                value = parse_number(row.output)
                if task.scale and not task.scale[0] <= value <= task.scale[1]:
                    raise ValueError(f"{value:g} is not on the scale {task.scale[0]:g} to {task.scale[1]:g}")
            except ValueError as error:
                raise BadInput(str(error), where=path, line=row.meta.get("line"), fix="Correct the file") from None
            made.append(replace(row, output=format_number(value)))
        return made

    def settle(self, rows: Sequence[Row]) -> tuple[list[Row], dict[str, int]]:
        """Ratings of one text are averaged: people differ, and none of them is wrong."""
        from p2m.data.near import normalise

        first: dict[str, Row] = {}
        values: dict[str, list[float]] = {}
        for row in rows:
            first.setdefault(normalise(row.input), row)
            values.setdefault(normalise(row.input), []).append(parse_number(row.output))
        settled = [
            replace(row, output=format_number(sum(v) / len(v)))
            for row, v in zip(first.values(), values.values(), strict=True)
        ]
        return settled, {"averaged": len(rows) - len(settled)}

    def strata(self, rows: Sequence[Row]) -> list[str] | None:
        """The fifth of the ratings that a row's is in."""
        import numpy as np

        if not rows:
            return []
        values = np.array([parse_number(row.output) for row in rows])
        edges = np.unique(np.quantile(values, [0.2, 0.4, 0.6, 0.8]))
        return [str(int(k)) for k in np.searchsorted(edges, values)]

    def valid(self, task: TaskSpec, row: Row) -> bool:
        try:
            parse_number(row.output)
        except ValueError:
            return False
        return True

    def lacking(self, task: TaskSpec, rows: Sequence[Row]) -> str | None:
        if len({row.output for row in rows}) < 2:
            return "all rows have the same rating: generate or import others first"
        return None

    def agrees(self, task: TaskSpec, first: str, second: str | None) -> bool:
        if second is None:
            return False
        low, high = task.scale or (0.0, max(1.0, abs(parse_number(first))))
        return abs(parse_number(first) - parse_number(second)) <= SAME_SHARE * (high - low)

    def baselines(self, task: TaskSpec, train: Sequence[Row], texts: Sequence[str]) -> list[tuple[str, list[str]]]:
        from p2m.evaluate.kind_baselines import ratings
        from p2m.train.embed import Embedder

        return ratings(train, texts, Embedder.default())

    def train(
        self,
        recipe: Recipe,
        rows: Sequence[Row],
        validation: Sequence[Row],
        folder: Path,
        tell: Callable[[Progress], None],
    ) -> TrainResult:
        from pathlib import Path

        from p2m.train.scorer import NAME, train_scorer
        from p2m.train.student import Student

        student = Student(Path(recipe.base), (NAME,), "regression", recipe.seed)
        result = train_scorer(recipe, student, rows, validation, tell)
        student.save(folder)
        return result

    def _distances(self, rows: Sequence[Row], predictions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        import numpy as np

        return np.array([parse_number(r.output) for r in rows]), np.array([parse_number(p) for p in predictions])

    def highlights(self, task: TaskSpec, rows: Sequence[Row], predictions: Sequence[str]) -> Highlights:
        found = self.details(task, rows, predictions)
        return Highlights(f"Mean absolute error {found['mae']:.3f}, Pearson {found['pearson']:.3f}.")

    def details(self, task: TaskSpec, rows: Sequence[Row], predictions: Sequence[str]) -> dict[str, Any]:
        """``mae`` in the rating's own unit, and ``pearson``."""
        import numpy as np

        gold, said = self._distances(rows, predictions)
        varied = len(gold) > 1 and gold.std() > 0 and said.std() > 0
        pearson = float(np.corrcoef(gold, said)[0, 1]) if varied else 0.0
        return {"mae": round(float(np.abs(gold - said).mean()), 4), "pearson": round(pearson, 4)}

    def errors(self, task: TaskSpec, rows: Sequence[Row], predictions: Sequence[str]) -> Errors:
        """The largest residuals, too high and too low."""
        from p2m.evaluate.errors import Fault

        gold, said = self._distances(rows, predictions)
        off = said - gold
        found = self.details(task, rows, predictions)
        faults = []
        for name, order in (("rated too high", off), ("rated too low", -off)):
            far = [i for i in (-order).argsort() if order[i] > found["mae"]]
            texts = tuple(f"{said[i]:.2f} for {gold[i]:.2f}: {shown(rows[i].input)}" for i in far[:TEXTS])
            faults.append(Fault(name, len(far), texts))
        words = f"mean absolute error {found['mae']:.3f}, Pearson {found['pearson']:.3f}; further off than that"
        return faults_report(words, [f for f in faults if f.count])

    def card(self, labels: Sequence[str]) -> CardWords:
        return CardWords(
            pipeline="text-classification",
            what="A text rater (regression)",
            snippet=_SNIPPET,
            methods={
                "frozen": "a ridge regression on the frozen encoder",
                "full": "the encoder and a new head were trained",
            },
            limits=("It rates every text, also one that is no input of this task, and may leave the scale a little.",),
        )
