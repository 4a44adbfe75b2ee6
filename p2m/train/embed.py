"""Sentence embeddings: mean-pooled, unit length."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from p2m.train.batching import token_batches
from p2m.train.runtime import autocast, load_model, load_tokenizer, prepare_torch

if TYPE_CHECKING:
    import numpy as np

Pooling = Literal["mean", "cls"]
DEFAULT_BASE = "all-minilm-l6-v2"
MAX_TOKENS = 256  # what all-MiniLM-L6-v2 was trained with (its sentence_bert_config.json and card)
BATCH_TOKENS = 4096
FEW_TOKENS = 256
"""Up to so many tokens in all, turning the weights to bf16 takes longer than it saves: half the time of a query."""


class Embedder:
    """An encoder folder as a function from texts to vectors. Loads on first use; remembers what it embedded.

    ``pooling`` is the mean over the tokens or the first token's state ("cls"), as the encoder was trained."""

    def __init__(self, folder: Path, *, pooling: Pooling = "mean", max_tokens: int = MAX_TOKENS) -> None:
        self.folder, self.pooling, self.max_tokens = Path(folder), pooling, max_tokens
        self._loaded: tuple[Any, Any] | None = None
        self._known: dict[str, np.ndarray] = {}

    @classmethod
    def default(cls) -> Embedder:
        """The embedded pack's encoder, the same object every time. Raises ``P2MError`` where it was not pulled."""
        from p2m import pack

        return _shared(pack.require(DEFAULT_BASE))

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Embed ``texts``: float32 of shape (n, hidden size), rows of unit length, in the order given.

        Mean of the last hidden states over the tokens, then L2-normalised (Reimers and Gurevych 2019,
        "Sentence-BERT"). Texts beyond ``max_tokens`` are cut.
        """
        import numpy as np

        new = [t for t in dict.fromkeys(texts) if t not in self._known]
        if new:
            self._known.update(zip(new, self.encode(new), strict=True))
        if not texts:
            return np.zeros((0, self._model_and_tokenizer()[0].config.hidden_size), dtype=np.float32)
        return np.stack([self._known[t] for t in texts])

    def _model_and_tokenizer(self) -> tuple[Any, Any]:
        if self._loaded is None:
            prepare_torch()
            self._loaded = load_model(self.folder, "AutoModel").eval(), load_tokenizer(self.folder)
        return self._loaded

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """As ``embed``, but nothing is remembered: for many texts that come once."""
        import numpy as np
        import torch

        model, tokenizer = self._model_and_tokenizer()
        ids = tokenizer(list(texts), truncation=True, max_length=self.max_tokens)["input_ids"]
        out = np.empty((len(texts), model.config.hidden_size), dtype=np.float32)
        few = sum(map(len, ids)) <= FEW_TOKENS
        with torch.inference_mode(), nullcontext() if few else autocast():
            for batch in token_batches([len(i) for i in ids], BATCH_TOKENS):
                padded = tokenizer.pad({"input_ids": [ids[i] for i in batch]}, return_tensors="pt")
                hidden = model(**padded).last_hidden_state.float()
                mask = padded["attention_mask"].unsqueeze(-1).float()
                pooled = hidden[:, 0] if self.pooling == "cls" else (hidden * mask).sum(1) / mask.sum(1)
                out[batch] = torch.nn.functional.normalize(pooled, dim=-1).numpy()
        return out


@cache
def _shared(folder: Path) -> Embedder:
    return Embedder(folder)
