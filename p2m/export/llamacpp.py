"""An exported GGUF folder, run by llama.cpp inside this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from p2m.errors import BadInput
from p2m.evaluate.predict import Prediction


class GgufPredictor:
    """A folder with model.gguf as a function from texts to answers, greedy; ``threads`` None is every core.

    Raises ``BadInput`` for a folder that does not load.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        from p2m.export.standalone_gguf import load

        try:
            self._model = load(folder, threads)
        except Exception as error:  # llama.cpp's own kinds, and those of JSON
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise BadInput(f"this folder has no GGUF model that loads: {reason}", where=str(folder)) from error

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
            yield Prediction(found["answer"])
