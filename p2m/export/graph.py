"""A delivered classifier as an ONNX graph: ``input_ids`` and ``attention_mask`` of shape (rows, tokens) to ``logits``.

Rows and tokens are free. The layer that ``Student.save`` adds for its pooling is written as what it computes, a mean
and two layer norms: the same answers, with a seventh of MiniLM's work taken away. ONNX Runtime's optimiser then makes
one node of what its kernels do in one go: attention, and GELU with its bias.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2m.errors import P2MError
from p2m.train.runtime import load_model, prepare_torch
from p2m.train.student import LOUD, mean_layer_of

if TYPE_CHECKING:
    import torch

OPSET = 18
INPUTS = ("input_ids", "attention_mask")
# As good as minus infinity in a softmax, and what ONNX Runtime's attention adds.
_MASKED = -10000.0
# Their layers are laid out as BERT's, which is what the optimiser looks for.
_LIKE_BERT = ("bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra")


def export_graph(folder: Path, file: Path, *, quick_gelu: bool = False) -> None:
    """Write the classifier in ``folder`` as ``file``, in float32. ``quick_gelu`` takes GELU's tanh form, which
    differs in the fourth digit: nothing beside rounding to int8.

    Raises ``BadInput`` for a folder that does not load, ``P2MError`` for an architecture that torch cannot export.
    """
    import torch

    prepare_torch()
    model = load_model(folder, "AutoModelForSequenceClassification", attn_implementation="eager").eval()
    ids, mask = torch.ones((2, 9), dtype=torch.long), torch.ones((2, 9), dtype=torch.long)
    mask[1, 5:] = 0
    rows_and_tokens = {0: "rows", 1: "tokens"}
    raw = file.with_suffix(".raw.onnx")
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            # The newer exporter's graphs are not those that the optimiser knows.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                _module(model),
                (ids, mask),
                str(raw),
                input_names=list(INPUTS),
                output_names=["logits"],
                dynamic_axes={**dict.fromkeys(INPUTS, rows_and_tokens), "logits": {0: "rows"}},
                opset_version=OPSET,
                dynamo=False,
            )
    except Exception as error:  # torch has many, and the user can mend none
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise P2MError(f"torch cannot export a {model.config.model_type} model as ONNX: {reason}") from error
    _optimise(raw, file, model.config, quick_gelu)
    raw.unlink()


def _module(model: Any) -> torch.nn.Module:
    """``model`` as a function of two tensors."""
    import torch

    class Plain(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return self.model(input_ids=input_ids, attention_mask=attention_mask).logits

    class MeanPooled(Plain):
        """The encoder without its last layer, then what that computes for the first token."""

        def __init__(self) -> None:
            super().__init__()
            last = mean_layer_of(model)
            self.norms = torch.nn.ModuleList([last.attention.output.LayerNorm, last.output.LayerNorm])
            model.base_model.encoder.layer = model.base_model.encoder.layer[:-1]

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            # Spelled as transformers' own masks were: the optimiser knows it so.
            rows, tokens = input_ids.shape
            seen = attention_mask.unsqueeze(1).unsqueeze(2).expand(rows, 1, tokens, tokens)
            unseen = 1.0 - seen.float()
            mask = unseen.masked_fill(unseen.bool(), _MASKED)
            hidden = self.model.base_model(input_ids, attention_mask=mask).last_hidden_state
            weight = attention_mask.unsqueeze(-1).float()
            state = hidden[:, 0] + LOUD * (hidden * weight).sum(1) / weight.sum(1)
            for norm in self.norms:
                state = norm(state)
            first = state.unsqueeze(1)
            pooler = getattr(self.model.base_model, "pooler", None)
            return self.model.classifier(first if pooler is None else pooler(first))

    return MeanPooled() if mean_layer_of(model) is not None else Plain()


def _optimise(raw: Path, file: Path, config: Any, quick_gelu: bool) -> None:
    import onnx
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model

    if config.model_type in _LIKE_BERT:
        options = FusionOptions("bert")
        # A fused embedding wants its mask as a count of tokens, and its own sums in int32: nothing is gained.
        options.enable_embed_layer_norm = False
        # ONNX Runtime's node for both adds and normalises one number at a time.
        options.enable_skip_layer_norm = options.enable_bias_skip_layer_norm = False
        options.enable_gelu_approximation = quick_gelu
        heads = getattr(config, "num_attention_heads", None) or config.n_heads
        size = getattr(config, "hidden_size", None) or config.dim
        fused = optimize_model(
            str(raw), "bert", num_heads=heads, hidden_size=size, optimization_options=options, opt_level=1
        )
        fused.save_model_to_file(str(file))
    else:
        onnx.save(onnx.load(str(raw)), str(file))
    onnx.checker.check_model(str(file))
