"""A delivered model in another format: written aside, checked against the delivered one, then put in place."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2m import __version__, kinds
from p2m.errors import P2MError
from p2m.evaluate.predict import Prediction, load_predictor
from p2m.export.exportcard import write_export_card
from p2m.export.formats import open_predictor, require_extra
from p2m.export.kinds import check_format
from p2m.export.nodes import RUNTIME
from p2m.export.parity import Parity, compare
from p2m.export.publish import delivered_files
from p2m.export.settings import SETTINGS, encoder_settings
from p2m.files import replaced_folder, write_atomic
from p2m.rows import Row
from p2m.task.spec import TaskSpec

_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "config.json")
# float32 against float32 must be the same; rounding to 16 bits or less may cost answers, and the card says how many.
_EXACT = ("hf", "onnx")


@dataclass(frozen=True)
class Exported:
    """``megabytes`` is the size of the weights, before and after."""

    folder: Path
    parity: Parity
    megabytes: tuple[float, float]


def export_model(
    model: Path,
    target: Path,
    wanted: str,
    rows: Sequence[Row],
    task: TaskSpec,
    made_from: str,
    say: Callable[[str], None],
) -> Exported:
    """Write ``target`` from the delivered folder ``model`` in the format ``wanted`` (``p2m.export.formats.FORMATS``).

    ``rows`` are validation rows, ``made_from`` names the delivered model, ``say`` is told what is going on. Raises
    ``BadInput`` for a format that this kind has not, a folder that does not load or a package that is missing,
    ``P2MError`` where float32 answers differ: then there is no ``target``.
    """
    kind = kinds.of(task).name
    check_format(kind, wanted)
    if wanted.startswith("onnx"):
        require_extra("onnx", "onnx", "onnxruntime")
    elif wanted.startswith("gguf"):
        require_extra("gguf", "gguf")
    texts = [row.input for row in rows]
    with replaced_folder(target) as aside:
        files = delivered_files(model)
        settings: dict[str, Any] = {"kind": kind, "format": wanted, "made_from": made_from, "p2m": __version__}
        if wanted.startswith("gguf"):
            from p2m.export.ollama import write_llama

            say("writing the GGUF file and a Modelfile for Ollama")
            settings |= write_llama(model, aside, wanted)
        else:
            for name in files if wanted == "hf" else [name for name in _TOKENIZER if name in files]:
                shutil.copy2(files[name], aside / name)
        if wanted.startswith("onnx"):
            settings |= encoder_settings(model, kind)
            say("writing the ONNX graph" + (", then its weights in int8" if wanted == "onnx-int8" else ""))
            _write_onnx(model, aside, wanted)
            if wanted == "onnx-int8":
                settings["onnxruntime"] = RUNTIME
        write_atomic(aside / SETTINGS, json.dumps(settings, ensure_ascii=False, indent=1) + "\n")
        say(f"answering {len(rows)} validation rows with the delivered model")
        expected = load_predictor(model).predict(texts)
        say(f"answering {len(rows)} validation rows with the exported model")
        plain = wanted == "hf" and kind == "classify"
        found = _plain_transformers(aside, texts) if plain else open_predictor(aside).predict(texts)
        parity = compare(rows, expected, found, task)
        if wanted in _EXACT and not parity.is_same:
            raise P2MError(f"the export answers otherwise than the delivered model and was not kept: {parity}")
        sizes = _megabytes(model), _megabytes(aside)
        write_export_card(model / "README.md", aside / "README.md", wanted, kind, parity, sizes)
    return Exported(target, parity, sizes)


def _write_onnx(model: Path, folder: Path, wanted: str) -> None:
    from p2m.export.graph import export_graph
    from p2m.export.quantise import quantise

    if wanted == "onnx":
        export_graph(model, folder / "model.onnx")
        return
    whole = folder / "float32.onnx"
    export_graph(model, whole, for_int8=True)
    quantise(whole, folder / "model.onnx")
    whole.unlink()


def _plain_transformers(folder: Path, texts: Sequence[str]) -> list[Prediction]:
    """The answers of ``transformers.pipeline``, as the card tells its readers to load the folder."""
    from transformers import pipeline

    classify: Any = pipeline("text-classification", model=str(folder), device="cpu")
    answers = classify(list(texts), truncation=True, top_k=None)
    return [Prediction(a[0]["label"], {x["label"]: x["score"] for x in a}) for a in answers]


def _megabytes(folder: Path) -> float:
    weights = [*folder.glob("*.safetensors"), *folder.glob("*.onnx"), *folder.glob("*.gguf")]
    return sum(file.stat().st_size for file in weights) / 1e6
