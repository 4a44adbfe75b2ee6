"""What a shipped model answers, by the kind of its task (``p2m.kinds``). A new kind is one ``Adapter`` more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from p2m.errors import BadInput
from p2m.evaluate.predict import Prediction
from p2m.outputs import parse_labels, parse_number, parse_spans


class Answering(Protocol):
    """A loaded model: texts in, for each one JSON object of the adapter's ``answer`` out."""

    def answer(self, texts: Sequence[str]) -> list[dict[str, Any]]: ...


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LabelAnswer(_Answer):
    """A classifier's answer to one text."""

    label: str = Field(description="the most probable label")
    probabilities: dict[str, float] = Field(description="of every label; their sum is 1")
    truncated: bool = Field(description="whether the text was longer than the model reads: its end was cut")


class LabelsAnswer(_Answer):
    """The answer of a model that chooses any number of labels."""

    labels: list[str] = Field(description="the labels whose probability is above their threshold")
    probabilities: dict[str, float] = Field(description="of every label by itself; their sum is not 1")
    truncated: bool = Field(description="whether the text was longer than the model reads: its end was cut")


class ScoreAnswer(_Answer):
    """A rating."""

    score: float = Field(description="the rating, on the task's scale")
    truncated: bool = Field(description="whether the text was longer than the model reads: its end was cut")


class SpanPart(_Answer):
    """A labelled part of the text."""

    text: str
    label: str
    start: int = Field(description="its first character, counted from 0 in Unicode characters")
    end: int = Field(description="the character after its last")


class SpansAnswer(_Answer):
    """Labelled parts of a text, in order."""

    spans: list[SpanPart]


class ReadAnswer(_Answer):
    """An answer that stands in the text."""

    answer: str = Field(description="part of the context; empty where the model finds no answer")


class TextAnswer(_Answer):
    """A written answer."""

    answer: str


def _label(p: Prediction) -> dict[str, Any]:
    return {"label": p.output, "probabilities": p.probs or {}, "truncated": p.truncated}


def _labels(p: Prediction) -> dict[str, Any]:
    return {"labels": list(parse_labels(p.output)), "probabilities": p.probs or {}, "truncated": p.truncated}


def _score(p: Prediction) -> dict[str, Any]:
    return {"score": parse_number(p.output), "truncated": p.truncated}


def _spans(p: Prediction) -> dict[str, Any]:
    parts = parse_spans(p.output)
    return {"spans": [{"text": s.text, "label": s.label, "start": s.start, "end": s.end} for s in parts]}


def _text(p: Prediction) -> dict[str, Any]:
    return {"answer": p.output}


class Opened:
    """The model in ``folder`` whose predictions ``told`` makes JSON objects."""

    def __init__(self, folder: Path, told: Callable[[Prediction], dict[str, Any]]) -> None:
        from p2m.export.formats import open_predictor

        self._model, self._told = open_predictor(folder), told

    def answer(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        return [self._told(p) for p in self._model.predict(texts)]


@dataclass(frozen=True)
class Adapter:
    """One kind: its ``answer`` as a schema, how a prediction is ``told`` in it, the ``formats`` it can be exported to.

    ``counted`` is the field of an answer whose few values are counted in the server's metrics, if there is one.
    ``asks`` says that a text may come as a question and its context.
    """

    answer: type[BaseModel]
    told: Callable[[Prediction], dict[str, Any]]
    formats: tuple[str, ...]
    counted: str | None = None
    asks: bool = False

    def open(self, folder: Path) -> Answering:
        """Raises ``BadInput`` for a folder that does not load."""
        return Opened(folder, self.told)


_ENCODER = ("hf", "onnx", "onnx-int8")
ADAPTERS = {
    "classify": Adapter(LabelAnswer, _label, _ENCODER, counted="label"),
    "multi_label": Adapter(LabelsAnswer, _labels, _ENCODER),
    "score": Adapter(ScoreAnswer, _score, _ENCODER),
    "extract": Adapter(SpansAnswer, _spans, _ENCODER),
    "read": Adapter(ReadAnswer, _text, _ENCODER, asks=True),
    "generate": Adapter(TextAnswer, _text, ("hf", "gguf", "gguf-q8")),
}


def adapter_of(kind: str) -> Adapter:
    """Raises ``BadInput`` for a kind that cannot be shipped."""
    if kind not in ADAPTERS:
        raise BadInput(f"a model for {kind} cannot be exported or served yet; only {', '.join(ADAPTERS)} can")
    return ADAPTERS[kind]


def check_format(kind: str, wanted: str) -> None:
    """Raises ``BadInput`` that says why a model of this kind has no such format."""
    formats = adapter_of(kind).formats
    if wanted not in formats:
        why = (
            "GGUF is llama.cpp's format for models that write text"
            if wanted.startswith("gguf")
            else "the ONNX export is for models that read; one that writes text runs in llama.cpp or transformers"
        )
        options = ", ".join(dict.fromkeys(f"--{name.partition('-')[0]}" for name in formats))
        raise BadInput(f"a model of kind {kind} cannot be exported as {wanted}: {why}", fix=f"Use one of {options}")
