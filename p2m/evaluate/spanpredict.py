"""Predictions of delivered folders whose answers stand in the text: labelled spans, and answers to questions.

Long texts are read in windows, so nothing is cut but questions beyond 64 tokens: ``truncated`` counts those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2m.evaluate.predict import BATCH_TOKENS, WINDOW, Prediction
from p2m.train import reader, tagger
from p2m.train.batching import token_batches
from p2m.train.runtime import load_model, load_tokenizer, prepare_torch
from p2m.train.student import positions

if TYPE_CHECKING:
    import numpy as np


class _SpanPredictor:
    """What both share: loading, windows of texts, float32 logits of padded batches."""

    auto_class: str

    def __init__(self, folder: Path) -> None:
        self.truncated = 0
        prepare_torch()
        self._model = load_model(Path(folder), self.auto_class).eval()
        self._tokenizer = load_tokenizer(Path(folder))
        self._longest = positions(self._model.config, self._tokenizer)

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """One prediction a text, in order."""
        return list(self.stream(texts))

    def stream(self, texts: Iterable[str]) -> Iterator[Prediction]:
        """The same for any number of texts, 2,048 of them in memory at a time."""
        remaining = iter(texts)
        while some := list(islice(remaining, WINDOW)):
            yield from self._answers(some)

    def _answers(self, texts: list[str]) -> list[Prediction]:
        raise NotImplementedError

    def _logits(self, features: dict[str, list[Any]]) -> list[np.ndarray]:
        import torch

        lengths = [len(i) for i in features["input_ids"]]
        out: list[Any] = [None] * len(lengths)
        with torch.inference_mode():
            for batch in token_batches(lengths, BATCH_TOKENS, even=True):
                padded = self._tokenizer.pad(
                    {name: [values[i] for i in batch] for name, values in features.items()}, return_tensors="pt"
                )
                for i, row in zip(batch, self._forward(padded).double().numpy(), strict=True):
                    out[i] = row
        return out

    def _forward(self, padded: Any) -> Any:
        raise NotImplementedError


class TagPredictor(_SpanPredictor):
    """A token classifier: the canonical spans of each text (``p2m.outputs``)."""

    auto_class = "AutoModelForTokenClassification"

    def _answers(self, texts: list[str]) -> list[Prediction]:
        names = self._model.config.id2label
        made = tagger.windows(self._tokenizer, texts, min(tagger.WINDOW, self._longest))
        found = self._logits({"input_ids": [w.ids for w in made]})
        chosen = [[names[int(f[token].argmax())] for token, *_ in w.words] for f, w in zip(found, made, strict=True)]
        return [Prediction(spans) for spans in tagger.read_windows(made, chosen, texts)]

    def _forward(self, padded: Any) -> Any:
        return self._model(**padded).logits


class AnswerPredictor(_SpanPredictor):
    """An extractive question answerer: a part of each text, or ``""`` where it may say that there is no answer.

    A text without a question of its own is asked the one in the configuration.
    """

    auto_class = "AutoModelForQuestionAnswering"

    def _answers(self, texts: list[str]) -> list[Prediction]:
        config = self._model.config
        asks = [reader.asked(t, getattr(config, "question", "")) for t in texts]
        made = reader.windows(self._tokenizer, asks, min(reader.WINDOW, self._longest))
        features: dict[str, list[Any]] = {"input_ids": [w.ids for w in made]}
        if getattr(config, "type_vocab_size", 0) > 1:
            features["token_type_ids"] = [w.types for w in made]
        said = reader.answers(made, self._logits(features), asks, bool(getattr(config, "unanswerable", False)))
        cut = {w.row for w in made if w.cut}
        self.truncated += len(cut)
        return [Prediction(text, truncated=i in cut) for i, (text, _) in enumerate(said)]

    def _forward(self, padded: Any) -> Any:
        import torch

        found = self._model(**padded)
        return torch.stack([found.start_logits, found.end_logits], dim=-1)
