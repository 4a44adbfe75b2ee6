"""The start that all prompts of a batch share, mostly the instruction, is read once for the batch.

Keys and values of a shared start are the same in every row, so they are computed in one row and repeated; gradients add
up through the copies. The loss is the one without it, but for rounding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

IGNORED = -100
"""Labels that teach nothing (``torch.nn.functional.cross_entropy``)."""
# Reading a few tokens apart costs more than it saves.
LEAST_SHARED = 8


def after_shared_start(model: Any, batch: dict[str, torch.Tensor]) -> dict[str, Any] | None:
    """What ``model`` takes to read the rest of each row, its ``past_key_values`` the shared start; None where sharing
    saves nothing or the model keeps something else than keys and values of all tokens.

    ``batch`` is padded on the left: ``input_ids``, ``attention_mask``, ``position_ids`` and ``labels`` (rows, width).
    """
    import torch

    shared = shared_start(batch)
    if shared < LEAST_SHARED or getattr(model, "is_activation_checkpointing", False):
        return None
    rows, width = batch["input_ids"].shape
    first = int(width - batch["attention_mask"][0].sum())
    start = batch["input_ids"][:1, first : first + shared]
    cache = model(input_ids=start, use_cache=True, logits_to_keep=1).past_key_values
    if not _keeps_every_token(cache):
        return None
    cache.batch_repeat_interleave(rows)
    seen = batch["attention_mask"]
    return {
        "input_ids": batch["input_ids"][:, shared:],
        # Without its start a row has as much padding on the left as before.
        "attention_mask": torch.cat([torch.ones_like(seen[:, :shared]), seen[:, : width - shared]], dim=1),
        "position_ids": batch["position_ids"][:, shared:],
        "past_key_values": cache,
    }


def shared_start(batch: dict[str, torch.Tensor]) -> int:
    """How many tokens all prompts of the batch begin with, but for the last of the shortest; 0 for one row."""
    import torch

    ids, seen = batch["input_ids"], batch["attention_mask"]
    if len(ids) < 2:
        return 0
    padding = (seen == 0).sum(1)
    prompts = (batch["labels"] == IGNORED).sum(1) - padding
    most = max(0, int(prompts.min()) - 1)
    starts = ids.gather(1, padding[:, None] + torch.arange(most, device=ids.device))
    return int((starts == starts[:1]).all(0).long().cumprod(0).sum())


def _keeps_every_token(cache: Any) -> bool:
    from transformers.cache_utils import DynamicCache, DynamicLayer

    return isinstance(cache, DynamicCache) and all(type(layer) is DynamicLayer for layer in cache.layers)
