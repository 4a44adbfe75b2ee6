"""A causal language model of the Llama architecture as GGUF, tokenizer included, for llama.cpp."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from p2m.errors import BadInput
from p2m.export.formats import require_extra
from p2m.files import clear_disk_errors
from p2m.train.runtime import load_config, load_model, load_tokenizer, prepare_torch

if TYPE_CHECKING:
    import numpy as np

# How a byte-level tokenizer splits text before its merges, and what llama.cpp calls that way.
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPLITS = {_LLAMA3: "llama-bpe", _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}"): "qwen2"}


def write_gguf(folder: Path, file: Path, kind: Literal["f16", "q8_0"] = "f16", *, end: int | None = None) -> None:
    """Write the transformers folder ``folder`` as ``file``; norms stay in float32. ``end`` is the token that ends an
    answer where prompts bring all their other special tokens themselves, as a chat template's do.

    Raises ``BadInput`` for another architecture, for a tokenizer that is not byte-level BPE or splits text in a way
    that llama.cpp has no name for, and where the ``gguf`` package is missing.
    """
    require_extra("gguf", "gguf")
    import gguf

    prepare_torch()
    config = load_config(folder)
    if config.model_type != "llama":
        raise BadInput(
            f"GGUF is written for Llama models; this is {config.model_type}", where=str(folder), fix="Use --hf"
        )
    pre = _split_name(folder)
    model = load_model(folder, "AutoModelForCausalLM")
    file_type = gguf.LlamaFileType.MOSTLY_Q8_0 if kind == "q8_0" else gguf.LlamaFileType.MOSTLY_F16
    with clear_disk_errors(file.parent):
        writer = gguf.GGUFWriter(str(file), "llama")
        writer.add_file_type(file_type)
        _add_sizes(writer, config)
        _add_tokenizer(writer, folder, config.vocab_size, pre, end)
        for name, values in _tensors(model, config):
            _add_tensor(writer, name, values, kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def refusal(folder: Path) -> str | None:
    """Why a delivered folder cannot be written as GGUF; None where it can."""
    config = load_config(folder)
    if config.model_type != "llama":
        return f"GGUF is written for Llama models; this is {config.model_type}"
    try:
        _split_name(folder)
    except BadInput as error:
        return str(error)
    return None


def _add_sizes(writer: Any, config: Any) -> None:
    heads, size = config.num_attention_heads, config.hidden_size
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type", "default") != "default":
        raise BadInput(f"rotary positions of the kind {rope['rope_type']} are not written", where="config.json")
    writer.add_name(Path(config.name_or_path).name or "model")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_rope_dimension_count(getattr(config, "head_dim", None) or size // heads)
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(float(rope.get("rope_theta") or config.rope_theta))
    writer.add_vocab_size(config.vocab_size)


def _add_tokenizer(writer: Any, folder: Path, size: int, pre: str, end: int | None) -> None:
    from gguf import SpecialVocab, TokenType

    tokenizer = load_tokenizer(folder)
    added = tokenizer.added_tokens_decoder
    by_id = {i: token for token, i in tokenizer.get_vocab().items()}
    tokens, types = [], []
    for i in range(size):
        # Rows of the embedding that no token has: rounded up, as many models are.
        tokens.append(by_id.get(i, f"[PAD{i}]"))
        if i not in by_id:
            types.append(TokenType.UNUSED)
        elif i in added:
            types.append(TokenType.CONTROL if added[i].special else TokenType.USER_DEFINED)
        else:
            types.append(TokenType.NORMAL)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    special = SpecialVocab(folder, load_merges=True, n_vocab=size)
    special.add_special_token.setdefault("bos", False)
    if end is not None:
        special.special_token_ids["eos"] = end
        special.add_special_token |= {"bos": False, "eos": False}
    special.add_to_gguf(writer, quiet=True)


def _split_name(folder: Path) -> str:
    try:
        described = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput("this folder has no tokenizer.json that reads", where=str(folder)) from error
    before = described.get("pre_tokenizer") or {}
    parts = before.get("pretokenizers", [before])
    kinds = [part.get("type") for part in parts]
    if described["model"].get("type") == "BPE" and kinds[-1:] == ["ByteLevel"]:
        if kinds == ["ByteLevel"]:
            return "gpt-2"
        if kinds == ["Digits", "ByteLevel"] and parts[0].get("individual_digits"):
            return "smollm"
        if kinds == ["Split", "ByteLevel"] and (name := _SPLITS.get(parts[0]["pattern"].get("Regex", ""))):
            return name
    said = ", ".join(map(str, kinds))
    raise BadInput(f"llama.cpp has no name for how this tokenizer splits text ({said})", where=str(folder))


def _tensors(model: Any, config: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Every weight under llama.cpp's name."""
    import gguf

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    tied = config.tie_word_embeddings
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight" and tied:
            continue
        values = weight.float().numpy()
        if name.endswith(("q_proj.weight", "q_proj.bias")):
            values = _interleaved(values, config.num_attention_heads)
        elif name.endswith(("k_proj.weight", "k_proj.bias")):
            values = _interleaved(values, config.num_key_value_heads)
        written = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if written is None:
            raise BadInput(f"llama.cpp has no place for the weight {name}", where="GGUF")
        yield written, values


def _interleaved(values: np.ndarray, heads: int) -> np.ndarray:
    """transformers rotates the two halves of a head, llama.cpp neighbours: rows in llama.cpp's order."""
    half = values.shape[0] // heads // 2
    return values.reshape(heads, 2, half, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def _add_tensor(writer: Any, name: str, values: np.ndarray, kind: str) -> None:
    import gguf
    import numpy as np

    if values.ndim == 1:  # norms and biases
        writer.add_tensor(name, values.astype(np.float32))
    elif kind == "q8_0" and values.shape[-1] % 32 == 0:  # its blocks are 32 long
        q8 = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(values, q8), raw_dtype=q8)
    else:
        writer.add_tensor(name, values.astype(np.float16))
