"""A delivered encoder as an ONNX graph: ``input_ids`` and ``attention_mask`` of shape (rows, tokens) to ``logits``.

Logits are of shape (rows, outputs) where a text has one answer, (rows, tokens, tags) of a token classifier and (rows,
tokens, 2), start and end, of a question answerer, which may also want ``token_type_ids``. Rows and tokens are free. The
layer that ``Student.save`` adds for its pooling is written as what it computes, a mean and two layer norms: the same
answers, with a seventh of MiniLM's work taken away. ONNX Runtime's optimiser then makes one node of what its kernels do
in one go: attention, and GELU with its bias; for int8 p2m.export.nodes exchanges them. Rows are padded on the right.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2m.errors import BadInput, P2MError
from p2m.export.nodes import sigmoid_gelu, standard_attention
from p2m.train.runtime import load_config, load_model, prepare_torch
from p2m.train.student import LOUD, mean_layer_of

if TYPE_CHECKING:
    import torch

OPSET = 18
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
CLASSES = {
    "SequenceClassification": "AutoModelForSequenceClassification",
    "TokenClassification": "AutoModelForTokenClassification",
    "QuestionAnswering": "AutoModelForQuestionAnswering",
}
# As good as minus infinity in a softmax, and what ONNX Runtime's attention adds.
_MASKED = -10000.0
# Their layers are laid out as BERT's, which is what the optimiser looks for.
_SPELLED = ("bert", "roberta", "xlm-roberta", "camembert")
_LIKE_BERT = ("bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra")


def export_graph(folder: Path, file: Path, *, for_int8: bool = False) -> None:
    """Write the encoder in ``folder`` as ``file``, in float32. ``for_int8`` takes the nodes that are faster once they
    are quantised (``p2m.export.nodes``), and an approximation of GELU that is little beside rounding: its tanh form
    where answers are places, which rounding costs more, else the sigmoid's.

    Raises ``BadInput`` for a folder that does not load, ``P2MError`` for an architecture that torch cannot export.
    """
    import torch

    prepare_torch()
    architecture = next(iter(load_config(folder).architectures or ()), "")
    auto_class = next((name for end, name in CLASSES.items() if architecture.endswith(f"For{end}")), None)
    if auto_class is None:
        raise BadInput(f"a model of architecture {architecture} has no ONNX graph here", where=str(folder))
    model = load_model(folder, auto_class, attn_implementation="eager").eval()
    ids, mask = torch.ones((2, 9), dtype=torch.long), torch.ones((2, 9), dtype=torch.long)
    mask[1, 5:] = 0
    typed = auto_class == CLASSES["QuestionAnswering"] and (getattr(model.config, "type_vocab_size", 0) or 0) > 1
    inputs = INPUTS[: 3 if typed else 2]
    if not typed:
        _fold_types(model)
    one_answer = auto_class == CLASSES["SequenceClassification"]
    rows_and_tokens = {0: "rows", 1: "tokens"}
    raw = file.with_suffix(".raw.onnx")
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            # The newer exporter's graphs are not those that the optimiser knows.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                _module(model),
                (ids, mask, torch.zeros_like(ids))[: len(inputs)],
                str(raw),
                input_names=list(inputs),
                output_names=["logits"],
                dynamic_axes={
                    **dict.fromkeys(inputs, rows_and_tokens),
                    "logits": {0: "rows"} if one_answer else rows_and_tokens,
                },
                opset_version=OPSET,
                dynamo=False,
            )
    except Exception as error:  # torch has many, and the user can mend none
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise P2MError(f"torch cannot export a {model.config.model_type} model as ONNX: {reason}") from error
    _optimise(raw, file, model.config, for_int8, one_answer)
    raw.unlink()


def _module(model: Any) -> torch.nn.Module:
    """``model`` as a function of two tensors."""
    import torch

    spelled = model.config.model_type in _SPELLED

    def mask_of(seen: torch.Tensor) -> torch.Tensor:
        """The mask that attention adds, spelled as transformers' own were: the optimiser knows it so."""
        rows, tokens = seen.shape
        unseen = 1.0 - seen.unsqueeze(1).unsqueeze(2).expand(rows, 1, tokens, tokens).float()
        return unseen.masked_fill(unseen.bool(), _MASKED)

    class Plain(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(
            self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
        ) -> torch.Tensor:
            mask = mask_of(attention_mask) if spelled else attention_mask
            types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
            found = self.model(input_ids=input_ids, attention_mask=mask, **types)
            if hasattr(found, "start_logits"):
                return torch.stack([found.start_logits, found.end_logits], dim=-1)
            return found.logits

    class MeanPooled(torch.nn.Module):
        """The encoder without its last layer, then what that computes for the first token."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model
            last = mean_layer_of(model)
            self.norms = torch.nn.ModuleList([last.attention.output.LayerNorm, last.output.LayerNorm])
            model.base_model.encoder.layer = model.base_model.encoder.layer[:-1]

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            mask = mask_of(attention_mask)
            hidden = self.model.base_model(input_ids, attention_mask=mask).last_hidden_state
            weight = attention_mask.unsqueeze(-1).float()
            state = hidden[:, 0] + LOUD * (hidden * weight).sum(1) / weight.sum(1)
            for norm in self.norms:
                state = norm(state)
            first = state.unsqueeze(1)
            pooler = getattr(self.model.base_model, "pooler", None)
            return self.model.classifier(first if pooler is None else pooler(first))

    return MeanPooled() if hasattr(model, "classifier") and mean_layer_of(model) is not None else Plain()


def _fold_types(model: Any) -> None:
    """Where all tokens are of one type, its vector is added to the positions' once instead of at every call."""
    import torch

    class Nothing(torch.nn.Module):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return torch.zeros(())

    embeddings: Any = getattr(model.base_model, "embeddings", None)
    types, positions = (getattr(embeddings, f"{name}_embeddings", None) for name in ("token_type", "position"))
    if isinstance(types, torch.nn.Embedding) and isinstance(positions, torch.nn.Embedding):
        positions.weight.data += types.weight.data[0]
        embeddings.token_type_embeddings = Nothing()


def _optimise(raw: Path, file: Path, config: Any, for_int8: bool, one_answer: bool) -> None:
    import onnx
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model

    if config.model_type in _LIKE_BERT:
        options = FusionOptions("bert")
        # A fused embedding wants its mask as a count of tokens, and its own sums in int32: nothing is gained.
        options.enable_embed_layer_norm = False
        # ONNX Runtime's node for both adds and normalises one number at a time.
        options.enable_skip_layer_norm = options.enable_bias_skip_layer_norm = False
        options.enable_gelu_approximation = for_int8 and not one_answer
        heads = getattr(config, "num_attention_heads", None) or config.n_heads
        size = getattr(config, "hidden_size", None) or config.dim
        fused = optimize_model(
            str(raw), "bert", num_heads=heads, hidden_size=size, optimization_options=options, opt_level=1
        )
        if for_int8:
            standard_attention(fused)
            if one_answer:
                sigmoid_gelu(fused)
            fused.prune_graph()
            fused.topological_sort()
        fused.save_model_to_file(str(file))
    else:
        onnx.save(onnx.load(str(raw)), str(file))
    onnx.checker.check_model(str(file))
