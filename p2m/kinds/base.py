"""What every kind of task answers for itself. The defaults are those of an answer that is free text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from p2m.rows import Row
from p2m.task.spec import Example, Metric, TaskSpec

if TYPE_CHECKING:
    from pathlib import Path

    from p2m.evaluate.errors import Fault
    from p2m.evaluate.intervals import Estimate
    from p2m.generate.write import Written
    from p2m.llm.client import ChatModel
    from p2m.train.recipe import Method, Progress, Recipe, TrainResult

Role = Literal["encoder", "generator"]
"""What a base model must be: ``encoder`` (BERT and its like) or ``generator`` (a decoder, or an encoder with one)."""


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Errors:
    """What a student gets wrong on validation.

    ``text`` is for the planner and holds no validation row; ``display`` (Markdown) for the person; ``analysis`` for the
    workspace. Where answers are labels it has ``weak`` (labels), ``confusions`` and ``clusters``
    (``p2m.evaluate.errors.Cluster`` as dicts); else ``words`` (one sentence), ``faults``
    (``p2m.evaluate.errors.Fault`` as dicts) and, where the next rows can be aimed at something, ``brief``.
    """

    text: str
    display: str
    analysis: dict[str, Any]


@dataclass(frozen=True)
class CardWords:
    """What a model card says that depends on the kind. ``snippet`` is Python that needs only transformers;
    ``{model}`` in it is the folder or repository. ``methods`` says in words what was trained."""

    pipeline: str
    what: str
    snippet: str
    methods: Mapping[str, str]
    limits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Advice:
    """What the rule book and the planner's prompt go by.

    ``enough_rows`` real rows need no written ones beside them; ``first_batch`` rows are written first. ``quick`` is the
    method that shows what rows are worth, None where none is much cheaper than ``best``. ``prompt`` is the planner's
    system prompt, a template.
    """

    enough_rows: int
    first_batch: int
    over: str
    """What a batch is spread over, in words: ``over all labels``."""
    best: Method
    quick: Method | None = None
    prompt: str = "planner_system"


@dataclass(frozen=True)
class Highlights:
    """``sentence`` says what stands out in a score; ``per_label`` is recall a label, where there are labels."""

    sentence: str = ""
    per_label: dict[str, float] = field(default_factory=dict)


def certain(rows: Sequence[Row]) -> tuple[list[Row], dict[str, int]]:
    """``TaskKind.settle`` where a text has one answer. Of two, which is right is not ours to say."""
    from p2m.data.near import normalise

    answers: dict[str, set[str]] = {}
    for row in rows:
        answers.setdefault(normalise(row.input), set()).add(row.output)
    kept = [row for row in rows if len(answers[normalise(row.input)]) == 1]
    return kept, {"contradiction": len(rows) - len(kept)}


def faults_report(words: str, faults: Sequence[Fault], brief: str = "") -> Errors:
    """What ``errors`` gives where the answers are no single labels."""
    common = ", ".join(f"{fault.name} x{fault.count}" for fault in faults if fault.count)
    words = f"{words}: {common}" if common else words
    text = f"{words}." + (f" Next: generate_batch with a brief such as: {brief}." if brief else "")
    lines = []
    for fault in faults:
        lines += [f"**{fault.name}** ({fault.count})", *(f"- {text}" for text in fault.texts), ""]
    analysis = {"words": words, "brief": brief, "faults": [asdict(f) for f in faults], "weak": [], "confusions": []}
    return Errors(text, "\n".join(lines).strip(), analysis)


class TaskKind(ABC):
    """One kind of task: everything that differs between kinds, in one object. It holds no state."""

    name: str
    """Names the kind in recipes, cards and workspaces."""
    methods: tuple[Method, ...]
    """Ways to train a student, cheapest first."""
    base_role: Role
    default_base: str
    """The embedded model to start from."""
    extra_metrics: tuple[Metric, ...] = ()
    """Shown by ``p2m eval`` beside the task's own."""
    answers_are_labels = False
    """Every output is one label of the task: rows can be stratified by it, datasets' labels mapped to it, and the
    teacher asked whether it is right (check_labels, transform_dataset, a dataset's worth)."""
    baseline_names: str
    """The baselines without an LLM, in words."""
    untrained: str = "before training"
    """What epoch 0 of a training is."""
    counted: str = "rows"
    """What is counted for each label: of spans, a row may have many."""
    written_note: str = "The answers are the teacher's, not checked."
    """Said of a freshly written batch."""

    # Task and data

    def check(self, task: TaskSpec) -> None:
        """Raises ``BadInput`` for a task that no student of this kind can be trained for."""
        return None

    def read(
        self, task: TaskSpec, path: str, *, input_column: str | None = None, output_column: str | None = None
    ) -> list[Row]:
        """The rows of a labelled file, outputs in their canonical spelling; columns not given are the task's.

        Raises ``BadInput`` as ``read_labelled`` does.
        """
        from p2m.data.labelled import read_labelled

        return read_labelled(
            path,
            kind=task.kind,
            labels=task.labels if self.answers_are_labels else (),
            input_column=input_column or task.input_column,
            output_column=output_column or task.output_column,
        )

    def settle(self, rows: Sequence[Row]) -> tuple[list[Row], dict[str, int]]:
        """Rows to hold out with one row a text, and how many went, by reason. Here a text's further answers become
        ``meta["also"]`` of its first row: each of them is right."""
        from p2m.data.near import normalise

        first: dict[str, Row] = {}
        also: dict[str, dict[str, None]] = {}
        merged = 0
        for row in rows:
            key = normalise(row.input)
            known = also.setdefault(key, {})
            merged += first.setdefault(key, row) is not row and row.output not in known
            known.update(dict.fromkeys((row.output, *row.meta.get("also", ()))))
        settled = []
        for key, row in first.items():
            others = [answer for answer in also[key] if answer != row.output]
            meta = {**row.meta, "also": others} if others else row.meta
            settled.append(Row(row.input, row.output, row.source, row.probs, meta))
        return settled, {"merged": merged, "duplicate": len(rows) - len(settled) - merged}

    def strata(self, rows: Sequence[Row]) -> list[str] | None:
        """The group of each row that every held-out split is to have its share of; None for a plain draw."""
        return [row.output for row in rows] if self.answers_are_labels else None

    def valid(self, task: TaskSpec, row: Row) -> bool:
        """Whether ``row`` can train a student of ``task``."""
        return bool(row.output.strip())

    def lacking(self, task: TaskSpec, rows: Sequence[Row]) -> str | None:
        """Why ``rows`` are not enough to train on, or None."""
        return None if rows else "there is no row to train on: generate or import some first"

    def counts(self, rows: Sequence[Row]) -> dict[str, int]:
        """Rows a label; empty where the answers are no labels."""
        return {}

    def spoken(self, output: str) -> str:
        """An answer for a person's eyes; its canonical spelling is for code."""
        return output

    # The teacher

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
        """About ``n`` new rows, for ``labels`` only where some are given. Raises as ``p2m.generate.write_rows``.

        Here the teacher writes inputs, then answers each without the others around it."""
        from p2m.generate.free import write_answered

        return await write_answered(
            task,
            teacher,
            self.answer,
            n=n,
            brief=brief,
            examples=examples,
            seed=seed,
            progress=progress,
            stop=stop,
        )

    @abstractmethod
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
        """The teacher's answer to each text, few-shot, in canonical spelling; None for no usable one. ``again`` asks
        for a second opinion on rows that it wrote itself. Raises as ``p2m.generate.label_texts``."""

    @abstractmethod
    def agrees(self, task: TaskSpec, first: str, second: str | None) -> bool:
        """Whether two answers of the teacher to one text are the same for the purpose of holding the row out."""

    # Students and what to compare them with

    @abstractmethod
    def baselines(self, task: TaskSpec, train: Sequence[Row], texts: Sequence[str]) -> list[tuple[str, list[str]]]:
        """Each system's name and its answers to ``texts``, made from ``train``."""

    def recipe(
        self,
        task: TaskSpec,
        *,
        base: str,
        method: Method,
        seed: int,
        epochs: int | None = None,
        seconds: float | None = None,
        learning_rate: float | None = None,
    ) -> Recipe:
        """One training of a student of ``task``; what is None is this kind's default."""
        from p2m.train.recipe import Recipe

        made = Recipe(
            base=base,
            labels=task.labels,
            metric=task.metric,
            method=method,
            seed=seed,
            epochs=epochs,
            seconds=seconds,
            kind=self.name,
            instruction=task.instruction,
        )
        rate = learning_rate if learning_rate is not None else self.learning_rate(method)
        return made if rate is None else replace(made, learning_rate=rate)

    def learning_rate(self, method: Method) -> float | None:
        """The default of ``method``; None is the recipe's own."""
        return None

    @abstractmethod
    def train(
        self,
        recipe: Recipe,
        rows: Sequence[Row],
        validation: Sequence[Row],
        folder: Path,
        tell: Callable[[Progress], None],
    ) -> TrainResult:
        """Train and save to ``folder`` what ``p2m.evaluate.predict.load_predictor`` reads. Runs in the child."""

    # What a student is worth, in numbers and words

    def estimate(self, task: TaskSpec, rows: Sequence[Row], predictions: Sequence[str | None]) -> Estimate:
        """The task's metric with its interval; every answer in ``meta["also"]`` of a row is right too."""
        return self.estimate_of(task.metric, task, rows, predictions)

    def estimate_of(
        self, metric: Metric, task: TaskSpec, rows: Sequence[Row], predictions: Sequence[str | None]
    ) -> Estimate:
        """The same for any metric of this kind."""
        from p2m.evaluate.intervals import interval

        also = [row.meta.get("also", ()) for row in rows]
        return interval(
            metric, [r.output for r in rows], predictions, labels=task.labels, also=also if any(also) else None
        )

    def highlights(self, task: TaskSpec, rows: Sequence[Row], predictions: Sequence[str]) -> Highlights:
        """What stands out on validation, beside the score. No validation row is in it."""
        return Highlights()

    def details(self, task: TaskSpec, rows: Sequence[Row], predictions: Sequence[str]) -> dict[str, Any]:
        """What the report shows of the sealed test beside the score: ``per_class`` and ``confusion``, if anything."""
        return {}

    @abstractmethod
    def errors(self, task: TaskSpec, rows: Sequence[Row], predictions: Sequence[str]) -> Errors:
        """What is wrong on validation, so that the next rows can be aimed at it."""

    @abstractmethod
    def advice(self, task: TaskSpec) -> Advice:
        """What the rule book goes by."""

    @abstractmethod
    def card(self, labels: Sequence[str]) -> CardWords:
        """What a model card says of this kind."""
