"""What a shipped model answers, by the task's kind. A new kind is one ``Adapter`` more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from p2m.errors import BadInput
from p2m.evaluate.predict import Prediction


class Answering(Protocol):
    """A loaded model: texts in, for each one JSON object of the adapter's ``answer`` out."""

    def answer(self, texts: Sequence[str]) -> list[dict[str, Any]]: ...


class LabelAnswer(BaseModel):
    """A classifier's answer to one text."""

    model_config = ConfigDict(extra="forbid")
    label: str = Field(description="the most probable label")
    probabilities: dict[str, float] = Field(description="of every label; their sum is 1")
    truncated: bool = Field(description="whether the text was longer than the model reads: its end was cut")


class _Classifier:
    def __init__(self, folder: Path) -> None:
        from p2m.export.formats import open_predictor

        self._classifier = open_predictor(folder)

    def answer(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        return [label_answer(p) for p in self._classifier.predict(texts)]


def label_answer(prediction: Prediction) -> dict[str, Any]:
    """A prediction as a ``LabelAnswer``."""
    return {"label": prediction.label, "probabilities": prediction.probs, "truncated": prediction.truncated}


@dataclass(frozen=True)
class Adapter:
    """One kind: its ``answer`` as a schema, how a folder of it is opened, the ``formats`` it can be exported to.

    ``counted`` is the field of an answer whose few values are counted in the server's metrics, if there is one.
    """

    answer: type[BaseModel]
    open: Callable[[Path], Answering]
    formats: tuple[str, ...]
    counted: str | None = None


ADAPTERS = {"classify": Adapter(LabelAnswer, _Classifier, ("hf", "onnx", "onnx-int8"), counted="label")}


def adapter_of(kind: str) -> Adapter:
    """Raises ``BadInput`` for a kind that cannot be shipped."""
    if kind not in ADAPTERS:
        raise BadInput(f"a model for {kind} cannot be exported or served yet; only {', '.join(ADAPTERS)} can")
    return ADAPTERS[kind]


def check_format(kind: str, wanted: str) -> None:
    """Raises ``BadInput`` that says why a model of this kind has no such format."""
    formats = adapter_of(kind).formats
    if wanted not in formats:
        gguf = wanted.startswith("gguf")
        why = "GGUF is llama.cpp's format for models that write text" if gguf else f"{wanted} is not for this kind"
        options = ", ".join(dict.fromkeys(f"--{name.partition('-')[0]}" for name in formats))
        raise BadInput(f"a model for {kind} cannot be exported so: {why}", fix=f"Use one of {options}")
