"""Students to start from that lie on this machine: what each is, and whether it may serve a task."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from p2m import kinds
from p2m.catalog.cards import front_matter, languages, license_of
from p2m.errors import BadInput
from p2m.task.spec import TaskSpec

# The pack pins the files of one model each, whose cards (Apache-2.0, English) are not among them.
_PACK_GENERATOR = ("llama", 134.5)
# Architectures by their ``model_type`` in config.json, as transformers names them.
_ENCODERS = """
albert bert camembert deberta deberta-v2 distilbert electra ernie flaubert mobilebert modernbert mpnet roberta
roberta-prelayernorm xlm-roberta xlm-roberta-xl
"""


@dataclass(frozen=True)
class LocalModel:
    """A model folder. ``parameters_m`` in millions, None where no safetensors file says; ``encoder`` says that it can
    be a classifier; ``problem`` is why it can never be loaded here."""

    id: str
    path: Path
    parameters_m: float | None
    model_type: str
    encoder: bool
    sentence_encoder: bool
    license: str
    language: tuple[str, ...]
    problem: str | None = None


@dataclass(frozen=True)
class Ranked:
    model: LocalModel
    kept: bool
    why: str


def local_models(extra: Path | None = None, student: str = "all-minilm-l6-v2") -> list[LocalModel]:
    """The pack's ``student``, then the folders under ``$P2M_MODELS`` and ``extra`` (NAME/ or ORG/NAME/)."""
    from p2m import pack

    found = []
    if place := pack.find(student):
        found.append(_of_pack(place, student))
    places = [Path(os.environ["P2M_MODELS"])] if os.environ.get("P2M_MODELS") else []
    for place in [*places, *([extra] if extra else [])]:
        configs = sorted([*place.glob("*/config.json"), *place.glob("*/*/config.json")])
        known = {m.path for m in found}
        folders = [c.parent for c in configs if c.parent.resolve().is_relative_to(place.resolve())]
        found += [read_model(f, str(f.relative_to(place))) for f in folders if f.resolve() not in known]
    return found


def _of_pack(place: Path, name: str) -> LocalModel:
    if place.is_dir():
        return read_model(place, name, license="apache-2.0", language=("en",))
    kind, size = _PACK_GENERATOR  # a .gguf file: it becomes a folder when it is trained from
    return LocalModel(name, place.resolve(), size, kind, False, False, "apache-2.0", ("en",))


def read_model(folder: Path, name: str, *, license: str = "", language: tuple[str, ...] = ()) -> LocalModel:
    """Describe a model folder from its config.json, card and safetensors headers; nothing in it is run or unpickled."""
    problem, config, parameters = None, {}, None
    try:
        config = read_json(folder / "config.json")
        problem = _unsafe(folder, config)
        parameters = None if problem else _parameters(folder)
        meta = front_matter(folder / "README.md")[0] if (folder / "README.md").is_file() else {}
        license, language = license or license_of(meta), language or languages(meta)
    except BadInput as error:
        problem = problem or str(error)
    kind = str(config.get("model_type") or "unknown")
    pooled = (folder / "modules.json").is_file()
    encoder = is_encoder(kind, config)
    return LocalModel(name, folder.resolve(), parameters, kind, encoder, pooled, license, language, problem)


def is_encoder(model_type: str, config: Mapping[str, Any]) -> bool:
    """Whether a model of that type and configuration can be a classifier."""
    return model_type in _ENCODERS.split() and not config.get("is_decoder") and not config.get("is_encoder_decoder")


def rank_local(task: TaskSpec, models: list[LocalModel]) -> list[Ranked]:
    """First those that may serve ``task``, best first, then those that may not, each with the reason.

    Best is: the one the task names, then one that states the task's language, then sentence encoders (they need
    fewest rows), then the larger. Where every candidate is stated to be of another language, the best of them is
    kept with a warning, because the run would otherwise have no student.
    """
    judged = [(m, _excluded(task, m)) for m in models]
    passed = [m for m, reason in judged if reason is None]
    speaking = [m for m in passed if speaks(m.language, task.language) is not False]
    kept = speaking or sorted(passed, key=lambda m: _order(task, m))[:1]
    ranked = [Ranked(m, True, _why(task, m)) for m in sorted(kept, key=lambda m: _order(task, m))]
    for model, reason in judged:
        if model not in kept:
            why = reason or f"its language is {'/'.join(model.language)}, the task's is {task.language}"
            ranked.append(Ranked(model, False, why))
    return ranked


def _order(task: TaskSpec, model: LocalModel) -> tuple[Any, ...]:
    asked = task.student.base in (model.id, str(model.path))
    return (
        not asked,
        not speaks(model.language, task.language),
        not model.sentence_encoder,
        -(model.parameters_m or 0),
        model.id,
    )


def _excluded(task: TaskSpec, model: LocalModel) -> str | None:
    limits = task.student
    if model.problem:
        return model.problem
    if not serves(task, model):
        return f"a {model.model_type} model cannot {task.kind}"
    if limits.max_parameters_m is not None and (model.parameters_m or 0) > limits.max_parameters_m:
        return f"{model.parameters_m:.0f}M parameters; the limit is {limits.max_parameters_m:g}M"
    if limits.licenses is not None and model.license not in limits.licenses:
        return f"its licence is {model.license or 'not stated'}; allowed are {', '.join(limits.licenses)}"
    return None


class _Described(Protocol):
    @property
    def encoder(self) -> bool: ...
    @property
    def model_type(self) -> str: ...


def serves(task: TaskSpec, model: _Described) -> bool:
    """Whether a model of this architecture can become a student of ``task``."""
    if kinds.of(task).base_role == "encoder":
        return model.encoder
    return not model.encoder and model.model_type != "unknown"


def speaks(stated_languages: Iterable[str], language: str) -> bool | None:
    """None where a model does not say."""
    stated = {code.split("-")[0] for code in stated_languages}
    if not stated:
        return None
    return language.lower().split("-")[0] in stated or bool(stated & {"multilingual", "mul"})


def _why(task: TaskSpec, model: LocalModel) -> str:
    suits = speaks(model.language, task.language)
    reasons = [
        "the task asks for it" if task.student.base in (model.id, str(model.path)) else "",
        "a sentence encoder" if model.sentence_encoder else f"a {model.model_type} model",
        f"{model.parameters_m:.0f}M parameters" if model.parameters_m else "",
        model.license or "licence not stated",
        f"language {'/'.join(model.language[:3])}" if model.language else "language not stated",
        f"but nothing here is made for {task.language}: expect less" if suits is False else "",
    ]
    return ", ".join(r for r in reasons if r)


def _unsafe(folder: Path, config: dict[str, Any]) -> str | None:
    tokenizer = folder / "tokenizer_config.json"
    if config.get("auto_map") or (tokenizer.is_file() and read_json(tokenizer).get("auto_map")):
        return "it needs its own code to be run (auto_map)"
    if not list(folder.glob("*.safetensors")):
        return "it has no safetensors file"
    return None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises ``BadInput`` for anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"not readable: {error}", where=str(path)) from error
    if not isinstance(value, dict):
        raise BadInput("not an object", where=str(path))
    return value


def _parameters(folder: Path) -> float:
    """Millions of parameters, from the headers of the safetensors files."""
    from math import prod

    from safetensors import SafetensorError, safe_open

    total = 0
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="np") as tensors:
                total += sum(prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise BadInput(f"not a safetensors file: {error}", where=str(file)) from error
    return total / 1e6
