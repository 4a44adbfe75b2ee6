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
from p2m.catalog.needs import Conditions, Shape, Verdict, context_of, judge, of_task, shape_of
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
    be a classifier; ``context`` is how many tokens it reads; ``problem`` is why it can never be loaded here."""

    id: str
    path: Path
    parameters_m: float | None
    model_type: str
    encoder: bool
    sentence_encoder: bool
    license: str
    language: tuple[str, ...]
    problem: str | None = None
    shape: Shape | None = None
    context: int | None = None


@dataclass(frozen=True)
class Ranked:
    """``late``: it can serve, but comes after all that have the memory and the time."""

    model: LocalModel
    kept: bool
    why: str
    late: bool = False


def local_models(extra: Path | None = None, student: str = "all-minilm-l6-v2") -> list[LocalModel]:
    """The pack's ``student``, then the folders under ``$P2M_MODELS`` and ``extra`` (NAME/ or ORG/NAME/)."""
    from p2m import pack

    found = []
    if place := pack.find(student):
        found.append(_of_pack(place, student))
    for place in _places(extra):
        configs = _configs(place)
        known = {m.path for m in found}
        folders = [c.parent for c in configs if c.parent.resolve().is_relative_to(place.resolve())]
        found += [read_model(f, str(f.relative_to(place))) for f in folders if f.resolve() not in known]
    return found


def any_models(extra: Path | None = None) -> bool:
    """Whether there is a model in these folders, beside the pack's."""
    return any(_configs(place) for place in _places(extra))


def _places(extra: Path | None) -> list[Path]:
    named = os.environ.get("P2M_MODELS")
    return [*([Path(named)] if named else []), *([extra] if extra else [])]


def _configs(place: Path) -> list[Path]:
    return sorted([*place.glob("*/config.json"), *place.glob("*/*/config.json")])


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
    shape = shape_of(parameters, config) if parameters else None
    context = context_of(config)
    return LocalModel(
        name, folder.resolve(), parameters, kind, encoder, pooled, license, language, problem, shape, context
    )


def is_encoder(model_type: str, config: Mapping[str, Any]) -> bool:
    """Whether a model of that type and configuration can be a classifier."""
    return model_type in _ENCODERS.split() and not config.get("is_decoder") and not config.get("is_encoder_decoder")


def rank_local(task: TaskSpec, models: list[LocalModel], conditions: Conditions | None = None) -> list[Ranked]:
    """First those that may serve ``task`` under ``conditions``, best first, then those that may not, each with the
    reason.

    Best is: the one the task names, then one that states the task's language, then sentence encoders (they need
    fewest rows), then the larger; one that has not the memory or the time comes after all that have. Where every
    candidate is stated to be of another language, the best of them is kept with a warning, because the run would
    otherwise have no student.
    """
    needs = {m.path: judge(m.shape, m.context, conditions or of_task(task), fetched=False) for m in models}
    judged = [(m, _excluded(task, m) or needs[m.path].problem) for m in models]
    passed = sorted(
        (m for m, reason in judged if reason is None), key=lambda m: _order(task, m, late=needs[m.path].late)
    )
    kept = [m for m in passed if speaks(m.language, task.language) is not False] or passed[:1]
    ranked = [Ranked(m, True, _why(task, m, needs[m.path]), needs[m.path].late) for m in kept]
    for model, reason in judged:
        if model not in kept:
            why = reason or f"its language is {'/'.join(model.language)}, the task's is {task.language}"
            ranked.append(Ranked(model, False, why))
    return ranked


def _order(task: TaskSpec, model: LocalModel, *, late: bool) -> tuple[Any, ...]:
    asked = task.student.base in (model.id, str(model.path))
    return (
        not asked,
        late,
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


def _why(task: TaskSpec, model: LocalModel, found: Verdict) -> str:
    suits = speaks(model.language, task.language)
    reasons = [
        "the task asks for it" if task.student.base in (model.id, str(model.path)) else "",
        "a sentence encoder" if model.sentence_encoder else f"a {model.model_type} model",
        f"{model.parameters_m:.0f}M parameters" if model.parameters_m else "",
        model.license or "licence not stated",
        f"language {'/'.join(model.language[:3])}" if model.language else "language not stated",
        f"but nothing here is made for {task.language}: expect less" if suits is False else "",
        *found.notes,
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
