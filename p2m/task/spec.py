"""What a user asks for: the task, its limits and its target."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["classify", "generate", "extract", "score"]
Metric = Literal[
    "accuracy", "macro_f1", "micro_f1", "mcc",
    "exact_match", "chrf", "rouge_l", "squad_em", "squad_f1",
    "span_f1",
    "spearman",
]  # fmt: skip
DEFAULT_METRIC: dict[str, Metric] = {
    "classify": "accuracy",
    "generate": "chrf",
    "extract": "exact_match",
    "score": "spearman",
}


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Example(Frozen):
    """A demonstration: shown to the teacher, trained on, never held out."""

    input: str
    output: str


class Limits(Frozen):
    """The budget. ``None`` is no limit. The loop refuses a call that would pass one."""

    minutes: float | None = Field(default=None, gt=0)
    examples: int | None = Field(default=None, ge=0)
    usd: float | None = Field(default=None, ge=0)
    tokens: int | None = Field(default=None, gt=0)
    llm_calls: int | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, gt=0)


class StudentLimits(Frozen):
    """What the delivered model may be. Sizes in millions of parameters; licences are SPDX ids in lower case."""

    max_parameters_m: float | None = Field(default=None, gt=0)
    licenses: tuple[str, ...] | None = None
    base: str | None = Field(default=None, description="a model folder or pack name to start from")


class TaskSpec(Frozen):
    """A task, complete: everything the loop needs and nothing it finds out on the way."""

    name: str
    instruction: str
    kind: Kind
    labels: tuple[str, ...] = ()
    """Of a classifier, or of the spans to extract; an extraction without labels is one answer from the text."""
    multi_label: bool = Field(default=False, description="a text has any number of the labels")
    scale: tuple[float, float] | None = Field(default=None, description="the lowest and the highest rating")
    examples: tuple[Example, ...] = ()
    metric: Metric = "accuracy"
    target: float | None = Field(default=None, ge=0, le=1, description="on the metric, as a fraction of 1")
    language: str = "en"
    validation: str | None = Field(default=None, description="absolute path of the user's held-out labelled file")
    train: str | None = Field(default=None, description="absolute path of the user's labelled training file")
    input_column: str | None = None
    output_column: str | None = None
    budget: Limits = Limits()
    student: StudentLimits = StudentLimits()
    notes: tuple[str, ...] = Field(default=(), description="what was inferred, said to the user in these words")

    @property
    def kind_is_inferred(self) -> bool:
        """Whether the kind is what p2m read in the words or examples, not what the user gave."""
        return any(note.startswith("kind:") for note in self.notes)
