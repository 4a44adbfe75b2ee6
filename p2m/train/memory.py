"""Train a batch in the memory there is: one that does not fit goes in parts, whose gradients add up to its own.

How many tokens fit is reckoned from the free memory before the first batch, and halved whenever an allocation fails.
Where one row alone is too much, activations are recomputed in the backward pass (a third more work).
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from p2m.train.batching import token_batches
from p2m.train.runtime import has_fast_bf16, is_cuda, is_out_of_memory, memory_available

if TYPE_CHECKING:
    import torch

# Bytes that a token leaves for the backward pass in each layer, for each unit of hidden size, in 16 bits (Korthikanti
# et al. 2022, "Reducing Activation Recomputation in Large Transformer Models", without the attention's scores).
ACTIVATION_BYTES = 34
# A logit, its log-probability and its gradient in float32.
LOGIT_BYTES = 12
SHARE = 0.5


class Lesson(Protocol):
    """The items of a training: ``lengths`` in tokens, the loss of a batch of them (a scalar with a gradient), and what
    that loss divides by: the loss of a batch is the mean of its parts' by their ``weight``."""

    @property
    def lengths(self) -> Sequence[int]: ...

    def loss(self, batch: list[int]) -> torch.Tensor: ...

    def weight(self, batch: list[int]) -> float: ...


def tokens_that_fit(config: Any, *, words: float = 0.0) -> int:
    """Padded tokens of one forward and backward pass that half of the free memory holds, by a model's ``config``.

    ``words`` is the size of the vocabulary, times the share of tokens that are predicted."""
    layers, hidden = (
        getattr(config, name, None) or default for name, default in (("num_hidden_layers", 12), ("hidden_size", 768))
    )
    wide = 1 if has_fast_bf16() or is_cuda() else 2
    return int(SHARE * memory_available() / (layers * hidden * ACTIVATION_BYTES * wide + words * LOGIT_BYTES))


@dataclass
class Passes:
    """Backward passes over batches of ``lesson``, each of at most ``most`` padded tokens.

    ``model`` is what can recompute its activations (``gradient_checkpointing_enable``).
    """

    lesson: Lesson
    model: Any
    trained: Sequence[Any]
    most: int
    lowered: bool = False
    recomputes: bool = False

    def __post_init__(self) -> None:
        self._lengths = list(self.lesson.lengths)
        if max(self._lengths, default=0) > self.most:
            self._recompute()

    @property
    def spared(self) -> str | None:
        """What was done as memory was short, in words; None for nothing."""
        said = [f"batches went in parts of at most {self.most} tokens"] if self.lowered else []
        said += ["activations were computed twice"] if self.recomputes else []
        return " and ".join(said) or None

    def backward(self, batch: list[int]) -> float:
        """Leave the gradient of the batch's loss in ``trained``, whose gradients are None before; the loss.

        Raises what torch raises where not even one row fits.
        """
        while True:
            try:
                return self._backward(batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or not self._spare(batch):
                    raise
            # Here the error and the tensors that it held on to are gone.
            for parameter in self.trained:
                parameter.grad = None
            gc.collect()
            if is_cuda():
                import torch

                torch.cuda.empty_cache()

    def _backward(self, batch: list[int]) -> float:
        parts = self._parts(batch)
        if len(parts) == 1:
            loss = self.lesson.loss(batch)
            loss.backward()  # type: ignore[no-untyped-call]
            return float(loss.detach())
        self.lowered = True
        whole, total = self.lesson.weight(batch), 0.0
        for part in parts:
            share = self.lesson.weight(part) / whole
            if share > 0:
                loss = self.lesson.loss(part) * share
                loss.backward()  # type: ignore[no-untyped-call]
                total += float(loss.detach())
        return total

    def _parts(self, batch: list[int]) -> list[list[int]]:
        lengths = [self._lengths[i] for i in batch]
        if max(lengths) * len(batch) <= self.most:
            return [batch]
        return [[batch[i] for i in part] for part in token_batches(lengths, self.most)]

    def _spare(self, batch: list[int]) -> bool:
        """Ask for less memory the next time; False where nothing is left to spare."""
        parts = self._parts(batch)
        if max(map(len, parts)) > 1:
            widest = max(len(part) * max(self._lengths[i] for i in part) for part in parts)
            self.most = max(1, widest // 2)
            return True
        return self._recompute()

    def _recompute(self) -> bool:
        if self.recomputes or not getattr(self.model, "supports_gradient_checkpointing", False):
            return False
        self.model.gradient_checkpointing_enable({"use_reentrant": False})
        self.recomputes = True
        return True
