"""The card of an exported folder: the delivered model's, what the export changed, and how to use this format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from p2m.errors import BadInput
from p2m.evaluate.intervals import Estimate
from p2m.export.nodes import RUNTIME
from p2m.export.parity import Parity
from p2m.files import write_atomic

_LIBRARY = {"onnx": "onnx", "onnx-int8": "onnx", "gguf": "llama.cpp", "gguf-q8": "llama.cpp"}
_GGUF = "greedy answers. p2m.json and the Modelfile put the prompt together as the delivered chat template does."
_WAYS = {
    "hf": "The delivered folder as it is, loaded again with transformers and compared.",
    "onnx": "ONNX Runtime, float32. Attention and GELU are fused nodes of ONNX Runtime (`com.microsoft`); "
    "a layer that pools is written as the mean that it computes.",
    "onnx-int8": f"ONNX Runtime ({RUNTIME} or newer), int8: matrix products with weights of 7 bits and a scale for "
    "each column, activations of 8 bits with a scale found as they come, GELU of BERT-like encoders approximated; "
    "pooling and head in float32. Rows of a batch are padded on the right and share that scale, so an answer may "
    "depend a little on which texts are answered together.",
    "gguf": f"llama.cpp, weights in float16; {_GGUF}",
    "gguf-q8": f"llama.cpp, weights in int8 (Q8_0); {_GGUF}",
}
_RUN = """```python
import os
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # onnxruntime 1.29 and newer report what they load to Microsoft otherwise
import json, numpy as np, onnxruntime
from tokenizers import Tokenizer

settings = json.load(open("p2m.json"))
tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.enable_truncation(settings["longest"])
ids = np.array([tokenizer.encode("some text").ids])
session = onnxruntime.InferenceSession("model.onnx")
logits, = session.run(["logits"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
"""
_DECODED = {
    "classify": 'print(settings["labels"][logits[0].argmax()])',
    "multi_label": """probs = 1 / (1 + np.exp(-logits[0]))
print([l for l, p, t in zip(settings["labels"], probs, settings["thresholds"]) if p > t])""",
    "score": "print(float(logits[0, 0]))",
}
_PACKAGED = "`p2m package` makes a folder with a ready `predict.py` of it."
_WINDOWS = {
    "extract": "The graph gives a tag's logits for each token (`tags` in p2m.json); long texts are read in windows.",
    "read": "The graph gives each token's logits as start and as end of the answer; long contexts are read in windows.",
}
_OLLAMA = """```
ollama create my-model -f Modelfile && ollama run my-model 'some text'
```

Or any other program that runs llama.cpp: `prompt` in p2m.json is what stands before and after the input."""


def _use(wanted: str, kind: str) -> str:
    if wanted.startswith("gguf"):
        return _OLLAMA
    if kind in _DECODED:
        return f"{_RUN}{_DECODED[kind]}\n```\n\n{_PACKAGED}"
    return f"{_WINDOWS[kind]} {_PACKAGED}"


def write_export_card(
    delivered: Path, target: Path, wanted: str, kind: str, parity: Parity, sizes: tuple[float, float]
) -> None:
    """Write ``target`` from the card ``delivered``; ``sizes`` are megabytes of weights, before and after.

    Raises ``BadInput`` for a card that p2m did not write.
    """
    import yaml

    parts = delivered.read_text(encoding="utf-8").split("---\n", 2) if delivered.is_file() else []
    if len(parts) != 3 or parts[0]:
        raise BadInput("this is no card of a delivered model", where=str(delivered))
    header: dict[str, Any] = yaml.safe_load(parts[1])
    header["library_name"] = _LIBRARY.get(wanted, header.get("library_name"))
    body, heading, use = parts[2].partition("## Use\n")
    if wanted != "hf":
        use = f"\n{_use(wanted, kind)}\n"
    front = yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
    text = f"---\n{front}---\n{body}{_section(wanted, parity, sizes)}\n\n{heading or '## Use'}{use}"
    write_atomic(target, text)


def heading_of(card: Path) -> str:
    """What a card calls its model."""
    lines = card.read_text(encoding="utf-8").splitlines()
    return next((line[2:] for line in lines if line.startswith("# ")), "Model")


def _section(wanted: str, p: Parity, sizes: tuple[float, float]) -> str:
    b, a = p.before, p.after
    return "\n\n".join(
        [
            "## This export",
            _WAYS[wanted],
            f"Compared with the delivered model on the {p.n} validation rows. (The estimate above is the delivered "
            "model's, on the sealed test rows, which were not opened again.)",
            "| | delivered | this export |\n| --- | --: | --: |\n"
            f"| {b.metric} | {_interval(b)} | {_interval(a)} |\n"
            f"| rows | {b.n} | {a.n} |\n"
            f"| weights | {sizes[0]:.1f} MB | {sizes[1]:.1f} MB |",
            ("Ratings within a hundredth of the scale" if p.rated else "Equal answers")
            + f": {p.equal} of {p.n} ({p.equal / p.n:.1%})"
            + (f"; {p.difference}." if p.difference else "."),
        ]
    )


def _interval(e: Estimate) -> str:
    return f"{e.value:.3f} ({e.low:.3f} to {e.high:.3f})"
