"""Predictions of a delivered folder, as anyone who loads it with plain transformers gets them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from p2m.errors import BadInput
from p2m.files import write_atomic
from p2m.outputs import format_number
from p2m.train.batching import token_batches
from p2m.train.runtime import load_model, load_tokenizer, prepare_torch

if TYPE_CHECKING:
    import torch

# Padded tokens of a batch: its activations nearly stay in the cache (benchmarks/inference.py compares four sizes).
BATCH_TOKENS = 1024
# Texts that are tokenised and sorted by length at once: enough for even batches, few enough to hold any file.
WINDOW = 2048


@dataclass(frozen=True)
class Prediction:
    """An answer in its canonical spelling (``p2m.outputs``); of a classifier the most probable label, with every
    label's probability (sum 1). ``truncated``: the text's end was not read."""

    output: str
    probs: dict[str, float] | None = None
    truncated: bool = False

    @property
    def label(self) -> str:
        """The answer of a classifier."""
        return self.output


class AnyPredictor(Protocol):
    """A delivered folder as a function from texts to answers."""

    @property
    def truncated(self) -> int:
        """Texts so far that were longer than the model reads."""

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """One prediction a text, in order."""

    def stream(self, texts: Iterable[str]) -> Iterator[Prediction]:
        """The same for any number of texts."""


def load_predictor(folder: Path) -> AnyPredictor:
    """What predicts with the model in ``folder``, by its architecture. Raises ``BadInput`` for a folder that does not
    load or whose architecture nothing here reads."""
    from p2m.train.runtime import load_config

    config = load_config(Path(folder))
    architecture = next(iter(config.architectures or ()), "")
    if architecture.endswith("ForSequenceClassification"):
        problems = {"multi_label_classification": LabelSetPredictor, "regression": ScorePredictor}
        return problems.get(config.problem_type or "", Predictor)(folder)
    if architecture.endswith("ForTokenClassification"):
        from p2m.evaluate.spanpredict import TagPredictor

        return TagPredictor(folder)
    if architecture.endswith("ForQuestionAnswering"):
        from p2m.evaluate.spanpredict import AnswerPredictor

        return AnswerPredictor(folder)
    if architecture.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")):
        from p2m.evaluate.generator import Generator

        return Generator(folder)
    raise BadInput(f"a model of architecture {architecture or 'unknown'} cannot be used here", where=str(folder))


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """Write predictions as JSONL, atomically."""
    lines = [json.dumps(asdict(p), ensure_ascii=False) + "\n" for p in predictions]
    write_atomic(path, "".join(lines))


def read_predictions(path: Path) -> list[Prediction]:
    """The predictions that ``write_predictions`` wrote."""
    with path.open(encoding="utf-8") as handle:
        return [Prediction(**json.loads(line)) for line in handle]


def read_outputs(path: Path) -> list[str]:
    """Their answers alone."""
    return [p.output for p in read_predictions(path)]


class Predictor:
    """A classifier's folder as a function from texts to labels, in float32: bf16 would flip a near tie now and then.

    It reads ``longest`` tokens; ``truncated`` counts the texts so far that were longer. Raises ``BadInput`` for a
    folder that does not load or is no single-label classifier.
    """

    def __init__(self, folder: Path) -> None:
        prepare_torch()
        self._model = load_model(Path(folder), "AutoModelForSequenceClassification").eval()
        self._tokenizer = load_tokenizer(Path(folder))
        config = self._model.config
        self.longest = min(self._tokenizer.model_max_length, getattr(config, "max_position_embeddings", None) or 512)
        self.pad_id = int(self._tokenizer.pad_token_id or 0)
        self.labels = tuple(str(config.id2label[i]) for i in range(config.num_labels))
        self.check(config, folder)
        self.truncated = 0

    def check(self, config: Any, folder: Path) -> None:
        """Raises ``BadInput`` for a model that answers otherwise."""
        if len(self.labels) < 2 or config.problem_type not in (None, "single_label_classification"):
            raise BadInput("this model does not choose one of several labels", where=str(folder))

    def answers(self, logits: torch.Tensor) -> list[Prediction]:
        """What float64 logits of shape (rows, outputs) say of each row."""
        import torch

        probs = torch.softmax(logits, dim=-1)
        return [
            Prediction(self.labels[k], dict(zip(self.labels, row, strict=True)))
            for k, row in zip(probs.argmax(1).tolist(), probs.tolist(), strict=True)
        ]

    def predict(self, texts: Sequence[str], batch_tokens: int = BATCH_TOKENS) -> list[Prediction]:
        """One prediction a text, in order. ``batch_tokens`` bounds a padded batch."""
        return list(self.stream(texts, batch_tokens))

    def stream(self, texts: Iterable[str], batch_tokens: int = BATCH_TOKENS) -> Iterator[Prediction]:
        """The same for any number of texts, 2,048 of them in memory at a time."""
        remaining = iter(texts)
        while window := list(islice(remaining, WINDOW)):
            yield from self._window(window, batch_tokens)

    def _window(self, texts: list[str], batch_tokens: int) -> list[Prediction]:
        import torch

        whole = self._tokenizer(texts, truncation=True, max_length=self.longest, return_overflowing_tokens=False)
        ids = whole["input_ids"]
        cut = [len(e.overflowing) > 0 for e in whole.encodings]
        self.truncated += sum(cut)
        found: list[Prediction | None] = [None] * len(texts)
        with torch.inference_mode():
            for batch in token_batches([len(i) for i in ids], batch_tokens, even=True):
                padded = self._tokenizer.pad({"input_ids": [ids[i] for i in batch]}, return_tensors="pt")
                for i, answer in zip(batch, self.answers(self._model(**padded).logits.double()), strict=True):
                    found[i] = replace(answer, truncated=cut[i])
        return [p for p in found if p is not None]


class LabelSetPredictor(Predictor):
    """A multi-label classifier: the labels whose probability is above their threshold in the configuration
    (``thresholds``, by default 0.5). The probabilities of one text do not sum to 1."""

    def check(self, config: Any, folder: Path) -> None:
        if config.problem_type != "multi_label_classification":
            raise BadInput("this model does not choose a set of labels", where=str(folder))
        self._thresholds = list(getattr(config, "thresholds", None) or [0.5] * len(self.labels))
        if len(self._thresholds) != len(self.labels):
            raise BadInput(
                f"{len(self._thresholds)} thresholds for {len(self.labels)} labels", where=str(folder / "config.json")
            )

    def answers(self, logits: torch.Tensor) -> list[Prediction]:
        import torch

        from p2m.train.multilabel import decide

        probs = torch.sigmoid(logits)
        said = decide(probs.numpy(), self._thresholds, self.labels)
        return [
            Prediction(text, dict(zip(self.labels, row, strict=True)))
            for text, row in zip(said, probs.tolist(), strict=True)
        ]


class ScorePredictor(Predictor):
    """A regressor with one output: the rating itself."""

    def check(self, config: Any, folder: Path) -> None:
        if config.num_labels != 1:
            raise BadInput("this model does not say one number", where=str(folder))

    def answers(self, logits: torch.Tensor) -> list[Prediction]:
        # The weights are float32: more digits than these would only be noise.
        return [Prediction(format_number(float(f"{value:.6g}"))) for value in logits[:, 0].tolist()]
