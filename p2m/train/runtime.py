"""How torch and transformers run here: threads, precision, quiet offline loading."""

from __future__ import annotations

import importlib.util
import os
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2m.errors import BadInput
from p2m.machine import memory_free

if TYPE_CHECKING:
    import torch


def _others_run() -> bool:
    """Whether other programs keep a core busy at this moment (Linux: the fourth field of /proc/loadavg, less us)."""
    try:
        seen = []
        for _ in range(3):
            seen.append(int(Path("/proc/loadavg").read_text().split()[3].split("/")[0]))
            time.sleep(0.01)
    except (OSError, ValueError, IndexError):
        return False
    return min(seen) > 1


# OpenMP's threads spin for each other. On a quiet machine that makes a training 1.4 times as fast; where another
# program has one of two cores, each step waits for a time slice instead, and short spins are 1.7 times as fast.
# libgomp reads it when torch loads.
if _others_run():
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# Given to every from_pretrained: safetensors only, nothing executed, nothing fetched.
SAFE_LOADING: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


@cache
def has_fast_bf16() -> bool:
    """Whether bf16 matrix products run in hardware here (AVX512-BF16 or AMX)."""
    import torch

    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@dataclass(frozen=True)
class Backend:
    """How students train: where, whether matrix products run in bf16, transformers' attention (None: its own choice,
    sdpa where the model has it), and whether the optimiser's step is fused."""

    device: str
    bf16: bool
    attention: str | None
    fused: bool


def choose_backend(*, cuda: bool, capability: tuple[int, int] = (0, 0), flash: bool = False, cpu_bf16: bool) -> Backend:
    """By what there is: a GPU and its compute capability, the package flash-attn, bf16 in the CPU.

    bf16 and flash attention want Ampere (8.0) or newer; older GPUs emulate bf16, which is slower than float32."""
    if not cuda:
        return Backend("cpu", cpu_bf16, None, fused=True)
    modern = capability >= (8, 0)
    return Backend("cuda", modern, "flash_attention_2" if flash and modern else None, fused=True)


@cache
def backend() -> Backend:
    """How students train here."""
    import torch

    if not is_cuda():
        return choose_backend(cuda=False, cpu_bf16=has_fast_bf16())
    return choose_backend(
        cuda=True,
        capability=torch.cuda.get_device_capability(),
        flash=importlib.util.find_spec("flash_attn") is not None,
        cpu_bf16=has_fast_bf16(),
    )


def autocast(where: str = "cpu") -> Any:
    """A context in which matrix products run in bf16, where that is faster; otherwise one that does nothing."""
    import torch

    if where == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16, enabled=backend().bf16)
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=has_fast_bf16())


@cache
def is_cuda() -> bool:
    """Whether students train on a GPU here. Delivered encoders answer on the CPU, as they will at their users'."""
    import torch

    return torch.cuda.is_available()


def be_deterministic() -> None:
    """Equal runs end in equal weights, on a CPU; on a GPU that would need kernels that not every layer has."""
    import torch

    if not is_cuda():
        torch.use_deterministic_algorithms(True)
        # Meant to show who reads memory that nobody wrote: every new tensor would be written twice.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def device() -> str:
    """Where students train, and generators answer."""
    return backend().device


def beside(module: torch.nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of ``batch`` on the device that ``module`` is on."""
    where = device_of(module)
    return {name: values.to(where) for name, values in batch.items()}


def device_of(module: torch.nn.Module) -> torch.device:
    """Where the weights of ``module`` are."""
    return next(module.parameters()).device


def memory_available() -> int:
    """Bytes that a training may take now: of the GPU, else of the machine; plenty where nobody tells."""
    import torch

    if is_cuda():
        return int(torch.cuda.mem_get_info()[0])
    free = memory_free()
    return 1 << 62 if free is None else free


@cache
def cores() -> int:
    """CPU cores this process may use: the affinity mask, and ``OMP_NUM_THREADS`` where it is set lower."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(allowed, int(wanted)) if wanted.isdigit() and int(wanted) else allowed


def prepare_torch() -> None:
    """One thread a core, no progress bars and no advice printed over ours."""
    import torch
    import transformers

    torch.set_num_threads(cores())
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def load_tokenizer(folder: Path) -> Any:
    """The fast tokenizer of a model folder. Raises ``BadInput`` where the folder has none."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder), use_fast=True, **SAFE_LOADING)
    except (OSError, ValueError) as error:
        raise BadInput(f"this folder has no tokenizer that loads: {_first_line(error)}", where=str(folder)) from error


def load_config(folder: Path, **overrides: Any) -> Any:
    """The configuration of a model folder. Raises ``BadInput`` where it has none."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(str(folder), **SAFE_LOADING, **overrides)
    except (OSError, ValueError) as error:
        raise BadInput(
            f"this folder has no configuration that loads: {_first_line(error)}", where=str(folder)
        ) from error


def load_model(folder: Path, auto_class: str, **kwargs: Any) -> Any:
    """A float32 model of a folder through ``transformers.<auto_class>``. Raises ``BadInput`` where none loads."""
    import torch
    import transformers

    factory = getattr(transformers, auto_class)
    try:
        return factory.from_pretrained(str(folder), dtype=torch.float32, use_safetensors=True, **SAFE_LOADING, **kwargs)
    except (OSError, ValueError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise BadInput(f"this folder has no model that loads: {_first_line(error)}", where=str(folder)) from error


def load_to_train(folder: Path, auto_class: str, **kwargs: Any) -> Any:
    """``load_model`` with the attention of ``backend()``, or its own where the architecture has not that one."""
    if wanted := backend().attention:
        try:
            return load_model(folder, auto_class, attn_implementation=wanted, **kwargs)
        except (BadInput, ImportError):
            pass
    return load_model(folder, auto_class, **kwargs)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is how Python or torch says that an allocation failed."""
    return isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error) or "CUDA out of memory" in str(error)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
