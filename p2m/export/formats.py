"""The formats of a shipped model, and how each is opened: one interface, whatever runs it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from p2m.errors import BadInput
from p2m.evaluate.predict import AnyPredictor, Prediction, load_predictor
from p2m.outputs import Span, format_labels, format_number, format_spans

FORMATS = {
    "hf": "transformers, float32: as delivered",
    "onnx": "ONNX Runtime, float32: the same answers, faster",
    "onnx-int8": "ONNX Runtime, int8: the fastest, a quarter of the size",
    "gguf": "llama.cpp, float16",
    "gguf-q8": "llama.cpp, int8",
}


class OnnxPredictor:
    """An exported folder as a function from texts to answers; ``threads`` None is every core.

    Raises ``BadInput`` for a folder that does not load, or where ONNX Runtime is not installed.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        require_extra("onnx", "onnxruntime")
        from p2m.export.standalone import load

        try:
            self._model = load(folder, threads)
        except Exception as error:  # onnxruntime's and tokenizers' own kinds, and those of JSON
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise BadInput(f"this folder has no ONNX model that loads: {reason}", where=str(folder)) from error

    @property
    def labels(self) -> tuple[str, ...]:
        return self._model.labels

    @property
    def truncated(self) -> int:
        """Texts so far that were longer than the model reads."""
        return self._model.truncated

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """One prediction a text, in order."""
        return list(self.stream(texts))

    def stream(self, texts: Iterable[str]) -> Iterator[Prediction]:
        """The same for any number of texts."""
        for found in self._model.stream(texts):
            yield prediction_of(found, self.labels)


def prediction_of(found: Mapping[str, Any], labels: Sequence[str] = ()) -> Prediction:
    """An answer of ``p2m/export/standalone.py`` in its canonical spelling."""
    probs, cut = found.get("probabilities"), found.get("truncated", False)
    if "label" in found:
        return Prediction(found["label"], probs, cut)
    if "labels" in found:
        return Prediction(format_labels(found["labels"], labels), probs, cut)
    if "score" in found:
        return Prediction(format_number(found["score"]), None, cut)
    if "spans" in found:
        return Prediction(format_spans(Span(**span) for span in found["spans"]))
    return Prediction(found["answer"])


def open_predictor(folder: Path) -> AnyPredictor:
    """The model in ``folder``, in whichever format that holds. Raises ``BadInput`` where there is none."""
    if (folder / "model.onnx").is_file():
        return OnnxPredictor(folder)
    if (folder / "model.gguf").is_file():
        from p2m.export.llamacpp import GgufPredictor

        return GgufPredictor(folder)
    return load_predictor(folder)


def require_extra(extra: str, *packages: str) -> None:
    """Raises ``BadInput`` with the command that installs ``extra`` where one of its packages is missing."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise BadInput(f"this needs {', '.join(missing)}", fix=f"Install it: pip install 'p2m[{extra}]'")
