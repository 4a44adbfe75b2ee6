"""A ``.gguf`` model as a plain Hugging Face folder: what a student is trained from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from p2m import paths
from p2m.errors import BadInput
from p2m.files import file_digest, new_folder
from p2m.train.runtime import SAFE_LOADING, prepare_torch


def base_folder(path: Path) -> Path:
    """``path`` itself where it is a folder; of a ``.gguf`` file its weights (float32), configuration and tokenizer in a
    folder of ``$P2M_HOME``, made once for each content of the file.

    Raises ``BadInput`` for a file that transformers cannot read.
    """
    if path.suffix != ".gguf":
        return path
    folder = paths.home() / "bases" / f"{path.stem}-{file_digest(path)[:12]}"
    if not (folder / "config.json").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with new_folder(folder) as aside:
            _convert_apart(path, aside)
    return folder


def _convert_apart(path: Path, folder: Path) -> None:
    """In a process of its own: transformers draws progress bars over ours, and twice the model is in memory."""
    command = [sys.executable, "-m", "p2m.train.gguf", str(path), str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise BadInput(f"this GGUF file cannot be trained from: {last}", where=str(path))


def _convert(path: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    prepare_torch()
    where = {"gguf_file": path.name, **SAFE_LOADING}
    tokenizer = AutoTokenizer.from_pretrained(str(path.parent), **where)
    read = AutoModelForCausalLM.from_pretrained(str(path.parent), dtype=torch.float32, **where)
    # Read from GGUF it counts as quantized, which cannot be saved: its weights go into a model that is not.
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(folder)
    for ours in ("gguf_file", *SAFE_LOADING):
        tokenizer.init_kwargs.pop(ours, None)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    _convert(Path(sys.argv[1]), Path(sys.argv[2]))
