"""The student: an encoder, a pooling, a head; saved as a plain Hugging Face sequence classifier.

Sentence encoders are trained with mean pooling, but transformers' BERT and RoBERTa classifiers read the first token
only, which costs them most of what they know where examples are few (ten intents of Banking77, 40 rows: 60 against 83
right of 100). So mean pooling is trained here, and saved as one more encoder layer whose attention is uniform: queries
and keys are zero, values and output are the identity times ``LOUD``, the feed-forward part is zero. The first token
of that layer's output is the layer-normalised mean, for any code that loads the folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2m.errors import BadInput
from p2m.train.runtime import SAFE_LOADING, load_config, load_to_train, load_tokenizer, prepare_torch

if TYPE_CHECKING:
    import numpy as np
    import torch

HEAD_DROPOUT = 0.1
# The layer adds the first token's own state to the mean (a residual connection); this much louder, the mean drowns it.
LOUD = 1000.0
# Reading further costs quadratically; what a classifier needs is said by then.
LONGEST = 512


@dataclass(frozen=True)
class _Names:
    """Where an architecture's classifier keeps its parts."""

    encoder: str
    dense: str
    out: str


_ROBERTA = _Names("roberta", "classifier.dense", "classifier.out_proj")
# Post-norm encoders with absolute positions and a tanh head: for them the added layer is the mean, exactly.
_MEAN_POOLED = {
    "bert": _Names("bert", "bert.pooler.dense", "classifier"),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
}


class Student:
    """A classifier in training, its new head drawn from ``seed``; ``module`` holds every weight.

    ``problem`` is transformers' ``problem_type``, and ``extra_config`` is saved in its configuration.

    ``pooled`` says that it reads the mean of the last hidden states: ``features`` and ``set_head`` are for
    such students. Where the architecture cannot express that, its own classifier is trained as it is. It reads
    ``longest`` tokens. Raises ``BadInput`` for a folder that does not load.
    """

    def __init__(
        self, base: Path, labels: Sequence[str], problem: str = "single_label_classification", seed: int = 0
    ) -> None:
        import torch

        prepare_torch()
        torch.manual_seed(seed)
        self.base, self.labels, self._problem = Path(base), tuple(labels), problem
        self.extra_config: dict[str, Any] = {}
        self.tokenizer = load_tokenizer(self.base)
        config = load_config(self.base)
        self.pooled = config.model_type in _MEAN_POOLED and not pools_first_token(self.base)
        self.module: Any
        if self.pooled:
            self.module = _mean_pooled(load_to_train(self.base, "AutoModel", add_pooling_layer=False), len(self.labels))
        else:
            self.module = load_to_train(self.base, "AutoModelForSequenceClassification", **self._label_config())
        self.longest = positions(config, self.tokenizer)

    @property
    def encoder(self) -> Any:
        """The pretrained part."""
        return self.module["encoder"] if self.pooled else self.module.base_model

    def logits(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Logits of a padded batch, of shape (rows, labels)."""
        if not self.pooled:
            return self.module(**batch).logits
        return self.module["out"](self.module["dropout"](self.features(batch)))

    def features(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """The mean of the last hidden states over the tokens, nearly of unit length: float32 of shape (rows, size).

        It is layer-normalised, divided by the square root of its size, and through the tanh that the saved model has
        between its pooling and its classifier, which hardly changes numbers this small.
        """
        import torch

        assert self.pooled
        hidden = self.module["encoder"](**batch).last_hidden_state.float()
        mask = batch["attention_mask"].unsqueeze(-1).float()
        mean = (hidden * mask).sum(1) / mask.sum(1)
        return torch.tanh(torch.nn.functional.layer_norm(mean, mean.shape[-1:]) / mean.shape[-1] ** 0.5)

    @property
    def output_layer(self) -> Any:
        """The last linear layer. Raises ``BadInput`` where the architecture has none that can be told."""
        import torch

        if self.pooled:
            return self.module["out"]
        wide = [
            m for m in self.module.modules() if isinstance(m, torch.nn.Linear) and m.out_features == len(self.labels)
        ]
        if not wide:
            raise BadInput("the model's last layer cannot be told", where=str(self.base), fix="Use another base model")
        return wide[-1]

    def set_head(self, weights: np.ndarray, bias: np.ndarray) -> None:
        """Make the head this linear classifier over ``features``: (labels, size) and (labels,)."""
        import torch

        with torch.no_grad():
            self.module["out"].weight.copy_(torch.as_tensor(weights))
            self.module["out"].bias.copy_(torch.as_tensor(bias))

    def encode_texts(self, texts: Sequence[str], max_length: int | None = None) -> list[list[int]]:
        """Token ids of each text, cut to ``max_length``, by default to ``longest``."""
        return self.tokenizer(list(texts), truncation=True, max_length=max_length or self.longest)["input_ids"]

    def pad(self, ids: Sequence[list[int]]) -> dict[str, torch.Tensor]:
        """A padded batch with its attention mask."""
        return dict(self.tokenizer.pad({"input_ids": list(ids)}, return_tensors="pt"))

    def save(self, folder: Path) -> None:
        """Write weights (safetensors, float32), config and tokenizer, for ``AutoModelForSequenceClassification``."""
        model = self._exported() if self.pooled else self.module
        for name, value in self.extra_config.items():
            setattr(model.config, name, value)
        model.save_pretrained(folder)
        save_tokenizer(self.base, folder, self.longest)

    def _exported(self) -> Any:
        import torch
        from transformers import AutoModelForSequenceClassification

        encoder = self.module["encoder"]
        names, config = _MEAN_POOLED[encoder.config.model_type], load_config(self.base, **self._label_config())
        config.num_hidden_layers += 1
        config.architectures = None
        with torch.random.fork_rng():
            model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
        weights = model.state_dict()
        layer = f"{names.encoder}.encoder.layer.{config.num_hidden_layers - 1}."
        shapes = {name.removeprefix(layer): w for name, w in weights.items() if name.startswith(layer)}
        filled = {layer + name: w for name, w in _mean_layer(shapes).items()}
        identity = torch.eye(config.hidden_size)
        filled |= {f"{names.encoder}.{name}": w for name, w in encoder.state_dict().items()}
        filled[f"{names.dense}.weight"] = identity / config.hidden_size**0.5
        filled[f"{names.dense}.bias"] = torch.zeros(config.hidden_size)
        filled |= {f"{names.out}.{name}": w for name, w in self.module["out"].state_dict().items()}
        model.load_state_dict(filled, strict=True)
        return model

    def _label_config(self) -> dict[str, Any]:
        return {
            "num_labels": len(self.labels),
            "id2label": dict(enumerate(self.labels)),
            "label2id": {label: i for i, label in enumerate(self.labels)},
            "problem_type": self._problem,
        }


def mean_layer_of(model: Any) -> Any:
    """The last encoder layer of a loaded classifier where it is the mean that ``Student.save`` adds, else None."""
    import torch

    if model.config.model_type not in _MEAN_POOLED:
        return None
    last = model.base_model.encoder.layer[-1]
    weights = last.state_dict()
    ours = _mean_layer(weights)
    return last if all(torch.equal(w, ours[name]) for name, w in weights.items()) else None


def _mean_layer(like: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of the added layer, in the names and shapes of an encoder layer's."""
    import torch

    filled = {name: torch.zeros_like(w) for name, w in like.items()}
    identity = torch.eye(len(filled["output.LayerNorm.weight"]))
    filled["attention.self.value.weight"] = identity
    filled["attention.output.dense.weight"] = identity * LOUD
    filled["attention.output.LayerNorm.weight"] = torch.ones(len(identity))
    filled["output.LayerNorm.weight"] = torch.ones(len(identity))
    return filled


def save_tokenizer(base: Path, folder: Path, longest: int) -> None:
    """The tokenizer of ``base`` as it was published, but for the length that it says the model reads."""
    tokenizer = load_tokenizer(base)  # one in use remembers how the last batch was cut and padded
    tokenizer.model_max_length = longest
    for ours in (*SAFE_LOADING, "is_local"):
        tokenizer.init_kwargs.pop(ours, None)
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.save_pretrained(folder)


def pools_first_token(folder: Path) -> bool:
    """Whether a sentence-transformers folder says that its sentence vector is the first token's state."""
    import json

    file = folder / "1_Pooling" / "config.json"
    if not file.is_file():
        return False
    try:
        return bool(json.loads(file.read_text(encoding="utf-8")).get("pooling_mode_cls_token"))
    except (ValueError, AttributeError) as error:
        raise BadInput("this is not a pooling configuration", where=str(file)) from error


def positions(config: Any, tokenizer: Any) -> int:
    """Tokens that the model has positions for, special ones included, at most ``LONGEST``."""
    positions = getattr(config, "max_position_embeddings", None) or LONGEST
    # RoBERTa counts positions from the padding id on: two of its 514 are never used.
    offset = config.pad_token_id + 1 if config.model_type in ("roberta", "xlm-roberta", "camembert") else 0
    return min(LONGEST, positions - offset, tokenizer.model_max_length)


def _mean_pooled(encoder: Any, labels: int) -> torch.nn.Module:
    import torch

    out = torch.nn.Linear(encoder.config.hidden_size, labels)
    return torch.nn.ModuleDict({"encoder": encoder, "dropout": torch.nn.Dropout(HEAD_DROPOUT), "out": out})
