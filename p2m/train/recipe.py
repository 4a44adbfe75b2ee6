"""What one training is asked to do, and what came of it: the only things that cross the process boundary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from p2m.task.spec import Metric

Method = Literal["frozen", "lora", "full"]
"""``frozen``: a head on the encoder's features. ``lora``: low-rank additions to a generator's weights, merged when it
is saved. ``full``: every weight but the word embeddings."""

FEW, FEW_A_LABEL = 500, 40


@dataclass(frozen=True)
class Recipe:
    """One training of a student of ``kind`` (``p2m.kinds``). ``base`` is a model folder; ``epochs`` None is chosen by
    the number of rows; after ``seconds`` it ends with the best so far. ``pass_tokens`` bounds the padded tokens of one
    forward and backward pass, None by the free memory: a larger batch goes in parts.

    The defaults were measured with MiniLM on 40 and 300 rows of Banking77 (ten intents) and 300 film-review sentences,
    clean and with a fifth of the labels wrong.
    """

    base: str
    labels: tuple[str, ...]
    metric: Metric
    method: Method
    seed: int
    epochs: int | None = None
    seconds: float | None = None
    learning_rate: float = 5e-5
    head_learning_rate: float = 5e-4
    batch_tokens: int = 4096
    weight_decay: float = 0.01
    warmup: float = 0.1
    patience: int = 3
    pass_tokens: int | None = None
    kind: str = "classify"
    instruction: str = ""

    def epochs_for(self, rows: int) -> int:
        """Epochs at most: few rows, in all or a label, need more passes; early stopping ends it sooner."""
        if self.epochs is not None:
            return self.epochs
        if rows <= FEW:
            return 10
        # Banking77 with 20 rows a label still gained at the sixth epoch (accuracy 0.8965 against 0.8895, n=2,000).
        return 12 if self.kind == "classify" and rows < FEW_A_LABEL * len(self.labels) else 6 if rows <= 2000 else 4

    def batch_for(self, rows: int) -> int:
        """Rows of a batch at most: few rows need the steps, many are a quarter cheaper each at twice the batch."""
        return 16 if rows <= FEW else 32


@dataclass(frozen=True)
class Progress:
    """A moment of a training. ``validation`` is the metric after the last epoch; ``eta`` in seconds."""

    step: int
    steps: int
    epoch: int
    epochs: int
    loss: float
    validation: float | None
    examples_per_second: float
    eta: float


@dataclass(frozen=True)
class Epoch:
    """``loss`` is the mean training loss (None before the first), the others are on validation; ``seconds`` since the
    training began, validation counted."""

    epoch: int
    loss: float | None
    validation: float
    validation_loss: float
    seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class TrainResult:
    """``epochs`` ends at early stopping; the weights of ``best_epoch`` were kept (0: the head alone).

    ``truncated`` counts training texts cut at ``max_length`` tokens, ``cut_answers`` rows left out because their answer
    is too long to learn whole; ``examples_per_second`` and ``tokens_per_second`` (padding left out; 0 where it is not
    counted) are without validation. ``spared`` says in words what was done as memory was short.
    """

    epochs: tuple[Epoch, ...]
    best_epoch: int
    rows: int
    truncated: int
    max_length: int
    weighted: bool
    out_of_time: bool
    parameters_m: float
    examples_per_second: float
    seconds: float
    cut_answers: int = 0
    tokens_per_second: float = 0.0
    spared: str | None = None


def stalled(history: Sequence[Epoch], patience: int) -> bool:
    """Whether neither the metric nor the loss on validation was at its best in any of the last ``patience`` epochs.

    A metric on few rows moves by chance from epoch to epoch; the loss, which moves less, may still fall."""
    best = max(range(len(history)), key=lambda i: (history[i].validation, -history[i].validation_loss))
    lowest = min(range(len(history)), key=lambda i: history[i].validation_loss)
    return len(history) - 1 - max(best, lowest) >= patience


def better(new: Epoch, old: Epoch | None) -> bool:
    """Whether ``new`` is the better on validation: by the metric, then by the loss."""
    return old is None or (new.validation, -new.validation_loss) > (old.validation, -old.validation_loss)
