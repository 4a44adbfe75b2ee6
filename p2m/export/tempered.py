"""A classifier folder whose probabilities are calibrated for everyone who loads it: the temperature in its weights."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2m.files import disk_full
from p2m.train.runtime import load_model, prepare_torch

if TYPE_CHECKING:
    import torch

WEIGHTS = "model.safetensors"


def divide_logits(folder: Path, temperature: float) -> bool:
    """Divide the last layer's weights and bias by ``temperature``, and so every logit: the answers stay the same.

    The file is replaced, not changed: it may be a second name of another's bytes. False, and nothing done, where the
    layer cannot be told or the logits do not come out divided. Raises ``BadInput`` for a folder that does not load.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file

    prepare_torch()
    model = load_model(folder, "AutoModelForSequenceClassification").eval()
    file, name = folder / WEIGHTS, _last_layer(model)
    if name is None or not file.is_file():
        return False
    weights = load_file(file)
    scaled = [key for key in (f"{name}.weight", f"{name}.bias") if key in weights]
    before = _logits(model)
    with torch.no_grad():
        for key in scaled:
            model.get_parameter(key).div_(temperature)
    if not scaled or not torch.allclose(_logits(model) * temperature, before, rtol=1e-3, atol=1e-4):
        return False
    for key in scaled:
        weights[key] = weights[key] / temperature
    aside = folder / f".{WEIGHTS}"
    try:
        save_file(weights, aside, metadata={"format": "pt"})
    except SafetensorError as error:
        # It wraps the system's error in one of its own and keeps only the words.
        if os.strerror(errno.ENOSPC) in str(error):
            raise disk_full(file) from error
        raise
    aside.replace(file)
    return True


def _last_layer(model: Any) -> str | None:
    """The name of the last linear layer with as many outputs as there are labels."""
    import torch

    wide = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module.out_features == model.config.num_labels
    ]
    return wide[-1] if wide else None


def _logits(model: Any) -> torch.Tensor:
    import torch

    ids = torch.arange(8).remainder(model.config.vocab_size)[None]
    with torch.inference_mode():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
