"""``p2m.json`` of an exported folder: what whoever runs it has to know beside weights and tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from p2m.errors import BadInput
from p2m.train import reader, tagger
from p2m.train.runtime import load_config, load_tokenizer
from p2m.train.student import positions

SETTINGS = "p2m.json"


def encoder_settings(folder: Path, kind: str) -> dict[str, Any]:
    """Of a delivered encoder: how it reads a text and what its outputs mean (``p2m/export/standalone.py``).

    Raises ``BadInput`` for a folder that does not load.
    """
    config, tokenizer = load_config(folder), load_tokenizer(folder)
    names = [str(config.id2label[i]) for i in range(config.num_labels)]
    longest = min(tokenizer.model_max_length, getattr(config, "max_position_embeddings", None) or 512)
    said: dict[str, Any] = {"labels": names, "longest": longest, "pad_id": int(tokenizer.pad_token_id or 0)}
    if kind == "multi_label":
        said["thresholds"] = list(getattr(config, "thresholds", None) or [0.5] * len(names))
    elif kind == "extract":
        labels = dict.fromkeys(name.partition("-")[2] for name in names if name != tagger.OUTSIDE)
        window = min(tagger.WINDOW, positions(config, tokenizer))
        said |= {"labels": list(labels), "tags": names}
        said |= {"longest": window, "stride": min(tagger.STRIDE, window // 4)}
    elif kind == "read":
        window = min(reader.WINDOW, positions(config, tokenizer))
        said |= {"labels": [], "longest": window, "stride": min(reader.STRIDE, window // 4)}
        said |= {"longest_question": reader.LONGEST_QUESTION, "longest_answer": reader.LONGEST_ANSWER}
        said["question"] = str(getattr(config, "question", "") or "")
        said["unanswerable"] = bool(getattr(config, "unanswerable", False))
    return said


def read_settings(folder: Path) -> dict[str, Any]:
    """Raises ``BadInput`` where this is no exported folder."""
    try:
        said = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        str(said["made_from"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"no {SETTINGS} that says what this folder is", where=str(folder)) from error
    return said
