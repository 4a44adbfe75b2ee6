"""A device that is not the CPU, with its memory and arithmetic: training on it finds what a GPU would not run.

As on a GPU, an operation on tensors of two devices fails, and so does a tensor that numpy is to read where it lies. It
is a subclass of tensors whose operations run on those within, on the device that torch keeps for backends in Python
(``torch.utils.backend_registration``). For a process of its own: ``python -m tests.other_device KIND ...``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode

NAME = "elsewhere"
# These take tensors from one device to another; a GPU also takes indices from the CPU.
BETWEEN = ("aten::_to_copy", "aten::copy_", "aten::index", "aten::index_put_", "aten::_index_put_impl_")


class Elsewhere(torch.Tensor):
    """A tensor on the device; ``within`` is the one that computes."""

    within: torch.Tensor

    @staticmethod
    def __new__(cls, within: torch.Tensor) -> Elsewhere:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            within.shape,
            strides=within.stride(),
            storage_offset=within.storage_offset(),
            dtype=within.dtype,
            device=torch.device(NAME, 0),
        )
        made.within = within
        return made

    def tolist(self) -> Any:
        return self.within.tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError(f"can't convert {NAME} device type tensor to numpy")

    def __array__(self, *_: Any, **__: Any) -> Any:
        return self.numpy()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Mode(TorchDispatchMode):
    """Makes what is asked for on the device, and moves what is sent there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        here = any(isinstance(leaf, Elsewhere) for leaf in pytree.tree_leaves((args, kwargs)))
        return _run(func, args, kwargs) if here or _named(kwargs.get("device")) else func(*args, **kwargs)


class _Backend(backend_registration._DummyBackendModule):
    def get_rng_state(self, device: Any = 0) -> torch.Tensor:
        return torch.zeros(1)

    def set_rng_state(self, state: torch.Tensor, device: Any = 0) -> None: ...


def _named(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    leaves, spec = pytree.tree_flatten((args, kwargs))
    name, asked = func._schema.name, kwargs.get("device")
    result_there = _named(asked) if asked is not None else any(isinstance(leaf, Elsewhere) for leaf in leaves)
    if name == "aten::copy_":
        result_there = isinstance(args[0], Elsewhere)
    if result_there and name not in BETWEEN:
        strangers = (leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and not isinstance(leaf, Elsewhere))
        if any(stranger.dim() for stranger in strangers):  # a number is taken from anywhere
            raise RuntimeError(f"{name}: tensors on {NAME} and on the CPU")
    own = {id(leaf.within): leaf for leaf in leaves if isinstance(leaf, Elsewhere)}
    unwrapped = [
        leaf.within
        if isinstance(leaf, Elsewhere)
        else torch.device("cpu")
        if isinstance(leaf, torch.device) and _named(leaf)
        else leaf
        for leaf in leaves
    ]
    args, kwargs = pytree.tree_unflatten(unwrapped, spec)
    found = func(*args, **kwargs)
    if not result_there:
        return found.clone() if name == "aten::_to_copy" else found

    def wrap(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or isinstance(value, Elsewhere):
            return value
        return own[id(value)] if id(value) in own else Elsewhere(value)

    return pytree.tree_map(wrap, found)


def move_in() -> None:
    """From now on students train there, as on a GPU without bf16. Call it before what trains is imported."""
    from transformers import PreTrainedModel

    from p2m.train import runtime

    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=...) is made on the CPU and sent
    torch.__future__.set_swap_module_params_on_conversion(True)
    torch.inference_mode = torch.no_grad  # type: ignore[assignment, misc]
    where = runtime.Backend(NAME, False, None, fused=True)
    runtime.backend, runtime.is_cuda = (lambda: where), (lambda: True)  # type: ignore[assignment]
    runtime.memory_available, runtime.autocast = (lambda: 8 << 30), (lambda where="cpu": nullcontext())
    # safetensors reads the memory of a GPU; that of a subclass has no address.
    save = PreTrainedModel.save_pretrained
    PreTrainedModel.save_pretrained = lambda self, *a, **k: save(self.cpu(), *a, **k)  # type: ignore[method-assign]
    _Mode().__enter__()
    try:
        torch.ones(2, device=NAME) + torch.ones(2)
    except RuntimeError:
        return
    raise AssertionError("tensors of two devices were added")


def main(students: list[str]) -> None:
    """Train a tiny student of each kind ("classify", "generate:lora", ...) and have its delivered model answer: a line
    of JSON each."""
    move_in()
    from p2m.evaluate.predict import load_predictor
    from p2m.train import runtime
    from tests.delivered_kinds import delivered_kind, texts_of
    from tests.delivered_run import trained
    from tests.tiny_model import rows

    for student in students:
        kind, _, how = student.partition(":")
        with tempfile.TemporaryDirectory() as name:
            folder, base = Path(name) / "run" / "model", Path(name) / "base"
            if kind == "classify":
                trained(folder, base, method="full" if how == "full" else "frozen")
                texts = [row.input for row in rows(12, 9)]
            else:
                delivered_kind(
                    folder.parent, base, kind, seq2seq=how == "seq2seq", method=how if how == "lora" else "full"
                )
                texts = texts_of(kind)
            answers = [p.output for p in load_predictor(folder).predict(texts)]
        print(json.dumps({"student": student, "device": runtime.device(), "answers": answers}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
