"""Which model embeds the local catalogue: the pack's, or a larger one that the person names; the catalogue keeps it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2m.catalog.base import Embed
from p2m.catalog.embedding import bulk_embed, default_embed
from p2m.catalog.models import read_model
from p2m.errors import BadInput
from p2m.files import digest
from p2m.train.embed import DEFAULT_BASE, MAX_TOKENS, Embedder, Pooling

if TYPE_CHECKING:
    import numpy as np

MOST_BYTES = 5_000_000_000
_ENDS = 65_536


@dataclass(frozen=True)
class CardEmbedding:
    """``model`` is what the catalogue keeps: the pack's name, or ``FOLDER@FINGERPRINT``. ``queries`` and ``cards``
    embed texts of either sort, None where the model is not here; ``problem`` then says why, in a line."""

    model: str
    queries: Embed | None
    cards: Embed | None
    problem: str = ""


def named(name: str | None, remembered: str | None) -> CardEmbedding:
    """The model that ``name`` says (a member of the pack, a folder, a name under ``$P2M_MODELS``, a model of the Hub);
    None is the one that the catalogue ``remembered``, else the pack's.

    Raises ``BadInput`` where there is no such model, ``Refused`` and ``HubError`` for what the Hub has.
    """
    if name is None:
        return known(remembered)
    return _pack() if name == DEFAULT_BASE else _opened(_folder(name))


def known(remembered: str | None) -> CardEmbedding:
    """The model that a catalogue was embedded with."""
    if remembered in (None, DEFAULT_BASE):
        return _pack()
    place = Path(remembered.rpartition("@")[0])
    if not (place / "config.json").is_file():
        return CardEmbedding(remembered, None, None, f"it was embedded by {place}, which is not there any more")
    found = _opened(place)
    if found.model != remembered:
        return CardEmbedding(remembered, None, None, f"it was embedded by {place}, which has changed since")
    return found


def _pack() -> CardEmbedding:
    return CardEmbedding(DEFAULT_BASE, default_embed(), bulk_embed())


def _folder(name: str) -> Path:
    shelf = os.environ.get("P2M_MODELS")
    for place in [Path(name).expanduser(), *([Path(shelf) / name] if shelf else [])]:
        if place.is_dir():
            return place.resolve()
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name, re.ASCII):
        fix = f"Give {DEFAULT_BASE}, a folder with safetensors, or a model of the Hub (org/name)"
        raise BadInput(f"there is no embedding model {name[:80]!r}", where="--embedding", fix=fix)
    from p2m.catalog.hub_models import HubModels
    from p2m.catalog.hubclient import HubClient
    from p2m.catalog.safety import Settings

    client = HubClient()
    return HubModels(client, None, Settings(max_bytes=MOST_BYTES)).fetch(name, client.model(name).sha)


def _opened(folder: Path) -> CardEmbedding:
    try:
        model = read_model(folder, folder.name)
    except OSError as error:
        raise BadInput(f"not readable as a model: {error}", where=str(folder)) from error
    if model.problem or not model.encoder:
        problem = model.problem or f"a {model.model_type} model is no encoder of sentences"
        raise BadInput(problem, where=str(folder), fix="Give a folder with config.json, tokenizer and safetensors")
    about = _json(folder / "config_sentence_transformers.json").get("prompts")
    prompts: dict[str, Any] = about if isinstance(about, dict) else {}
    embedder = Embedder(folder, pooling=_pooling(folder), max_tokens=_max_tokens(folder, model.context))
    queries = _with(embedder.embed, prompts.get("query"))
    cards = _with(embedder.encode, prompts.get("document") or prompts.get("passage"))
    return CardEmbedding(f"{folder}@{fingerprint(folder)}", queries, cards)


def _with(embed: Callable[[Sequence[str]], np.ndarray], prompt: Any) -> Embed:
    """Some models were trained with a few words before every text, another few before queries."""
    if not isinstance(prompt, str) or not prompt:
        return embed
    return lambda texts: embed([prompt + text for text in texts])


def _pooling(folder: Path) -> Pooling:
    """As sentence-transformers keeps it beside a model; the mean where nothing is said."""
    return "cls" if _json(folder / "1_Pooling" / "config.json").get("pooling_mode_cls_token") is True else "mean"


def _max_tokens(folder: Path, context: int | None) -> int:
    stated = _json(folder / "sentence_bert_config.json").get("max_seq_length")
    return min(stated if isinstance(stated, int) and stated > 0 else MAX_TOKENS, context or MAX_TOKENS, 512)


def _json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def fingerprint(folder: Path) -> str:
    """It changes with the configuration and the weights, of which the size, the first and the last bytes are read."""
    parts: list[Any] = [_json(folder / "config.json"), _json(folder / "1_Pooling" / "config.json")]
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as handle:
            first, size = handle.read(_ENDS), file.stat().st_size
            handle.seek(max(0, size - _ENDS))
            parts.append([file.name, size, first.hex(), handle.read().hex()])
    return digest(parts, 12)
