"""A causal model as GGUF: llama.cpp writes what transformers writes."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
import pytest

from p2m.errors import BadInput
from p2m.export.gguf import write_gguf
from tests.conftest import pack_member
from tests.tiny_llama import make_llama
from tests.tiny_model import make_encoder

gguf = pytest.importorskip("gguf", reason="needs gguf: pip install -e '.[gguf]'")

PROMPTS = ("The capital of France is", "Once upon a time there was a", "def add(a, b):\n    return")
TOKENS = 24


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("llama"), PROMPTS)


def by_transformers(folder: Path) -> list[tuple[list[int], str]]:
    """The prompt's tokens and the greedy text after it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    written = []
    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
        out = model.generate(ids, max_new_tokens=TOKENS, do_sample=False, pad_token_id=0)
        written.append((ids[0].tolist(), tokenizer.decode(out[0][ids.shape[1] :], skip_special_tokens=True)))
    return written


def by_llama_cpp(file: Path) -> list[tuple[list[int], str]]:
    """The same of llama.cpp."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.n_parallel, params.n_ctx, params.verbosity = 1, 128, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.cache_ram_mib = 0
    params.warmup = params.ui = False
    server = xllamacpp.Server(params)
    written = []
    with httpx2.Client(base_url=str(server.listening_address), trust_env=False, timeout=120) as client:
        for prompt in PROMPTS:
            ids = client.post("/tokenize", json={"content": prompt}).json()["tokens"]
            asked = {"prompt": prompt, "n_predict": TOKENS, "temperature": 0.0, "cache_prompt": False}
            written.append((ids, client.post("/completion", json=asked).json()["content"]))
    return written


def test_a_llama_in_float16_writes_the_same(tiny: Path, tmp_path: Path) -> None:
    write_gguf(tiny, tmp_path / "model.gguf")
    expected, found = by_transformers(tiny), by_llama_cpp(tmp_path / "model.gguf")
    assert [ids for ids, _ in found] == [ids for ids, _ in expected], "the tokenizer went along"
    assert [text for _, text in found] == [text for _, text in expected]


def test_int8_is_half_the_size_and_close_to_it(tiny: Path, tmp_path: Path) -> None:
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM

    for kind in ("f16", "q8_0"):
        write_gguf(tiny, tmp_path / f"{kind}.gguf", kind)  # type: ignore[arg-type]
    weights = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).state_dict()
    tensors = {t.name: t for t in gguf.GGUFReader(tmp_path / "q8_0.gguf").tensors}
    down = gguf.quants.dequantize(tensors["blk.0.ffn_down.weight"].data, tensors["blk.0.ffn_down.weight"].tensor_type)
    assert np.abs(down - weights["model.layers.0.mlp.down_proj.weight"].numpy()).max() < 0.01
    sizes = {
        kind: sum(t.n_bytes for t in gguf.GGUFReader(tmp_path / f"{kind}.gguf").tensors) for kind in ("f16", "q8_0")
    }
    assert 0.5 < sizes["q8_0"] / sizes["f16"] < 0.56


def test_what_llama_cpp_has_no_place_for_is_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="this is bert"):
        write_gguf(make_encoder(tmp_path / "bert"), tmp_path / "x.gguf")
    other = tmp_path / "other"
    other.mkdir()
    for file in tiny.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    described = json.loads((other / "tokenizer.json").read_text())
    described["pre_tokenizer"] = {"type": "Whitespace"}
    (other / "tokenizer.json").write_text(json.dumps(described))
    with pytest.raises(BadInput, match="Whitespace"):
        write_gguf(other, tmp_path / "x.gguf")
    assert not (tmp_path / "x.gguf").exists()


@pytest.mark.slow
def test_smollm2_goes_there_and_back(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = pack_member("smollm2-135m")
    loaded = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(loaded.state_dict())
    folder = tmp_path / "smollm2"
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(folder)
    write_gguf(folder, tmp_path / "f16.gguf")
    expected, found = by_transformers(folder), by_llama_cpp(tmp_path / "f16.gguf")
    assert [ids for ids, _ in found] == [ids for ids, _ in expected]
    assert [text for _, text in found] == [text for _, text in expected]
    write_gguf(folder, tmp_path / "q8.gguf", "q8_0")
    assert all(text for _, text in by_llama_cpp(tmp_path / "q8.gguf"))
