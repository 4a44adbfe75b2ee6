"""Base models of the Hub for a task: what rules one out, then which of the rest fits best. And getting one.

Fit comes before fame: language, kind, licence and size are rules, and downloads are a tenth of the evidence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from p2m.catalog import safety
from p2m.catalog.base import Embed
from p2m.catalog.cards import front_matter, languages, license_of
from p2m.catalog.hubclient import HubClient, RepoInfo
from p2m.catalog.labels import unit, words
from p2m.catalog.models import is_encoder, read_json, read_model, serves, speaks
from p2m.errors import BadInput
from p2m.task.spec import TaskSpec

# A classifier that somebody has fine-tuned is no base: it may have been trained on the rows that are held out here.
PIPELINES = ("sentence-similarity", "fill-mask", "feature-extraction")
LISTED = 30
CLOSER_LOOK = 6
CONFIG_BYTES = 1_000_000
DEFAULT_MAX_PARAMETERS_M = 300.0
"""Where the task sets no limit: what two CPU cores fine-tune on a few hundred rows within minutes."""
CHARS_PER_TOKEN = 4
LONGEST_NEEDED = 512
_WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")
_BESIDE = re.compile(
    r"config\.json|README\.md|tokenizer(_config)?\.json|special_tokens_map\.json|added_tokens\.json|vocab\.(txt|json)"
    r"|merges\.txt|spiece\.model|sentencepiece\.bpe\.model|tokenizer\.model|modules\.json|1_Pooling/config\.json"
)


@dataclass(frozen=True)
class HubModel:
    """A model as its listing describes it, at the commit ``revision``. ``parameters_m`` in millions, ``context`` in
    tokens; None where the Hub does not say. ``similarity`` in [0, 1] is of its card to the task."""

    id: str
    revision: str
    parameters_m: float | None
    model_type: str
    encoder: bool
    sentence_encoder: bool
    license: str
    language: tuple[str, ...]
    downloads: int
    gated: bool = False
    safe: bool = True
    own_code: bool = False
    purpose: str = ""
    context: int | None = None
    about: str = ""
    similarity: float = 0.0


@dataclass(frozen=True)
class RankedHub:
    """``score`` in [0, 1] is of the kept ones."""

    model: HubModel
    kept: bool
    why: str
    score: float = 0.0


class BaseModels(Protocol):
    """Where base models are found and fetched."""

    def rank(self, task: TaskSpec) -> list[RankedHub]: ...

    def fetch(self, model: str, revision: str) -> Path: ...


@runtime_checkable
class OffersModels(Protocol):
    """A catalogue that has base models elsewhere than in a folder."""

    @property
    def base_models(self) -> BaseModels: ...


class HubModels:
    """The models of one Hub."""

    def __init__(self, client: HubClient, embed: Embed | None, settings: safety.Settings) -> None:
        self.client, self.embed, self.settings = client, embed, settings

    def rank(self, task: TaskSpec) -> list[RankedHub]:
        """Candidates from the listings of the task's language, judged by rules, a closer look at the best, then
        evidence. First the kept ones, best first. Raises ``HubError``."""
        listed = [described(info) for info in self._listed(task)]
        judged = [(m, excluded(task, m, self.settings)) for m in listed]
        passed = sorted((m for m, why in judged if why is None), key=lambda m: -_score(task, m))
        closer = [self._look(m) for m in passed[:CLOSER_LOOK]]
        closer = with_similarity(task, closer, self.embed)
        dropped = [RankedHub(m, False, why) for m, why in judged if why is not None]
        kept = []
        for model in closer:
            if why := excluded(task, model, self.settings):
                dropped.append(RankedHub(model, False, why))
            else:
                kept.append(RankedHub(model, True, _why(task, model), round(_score(task, model), 3)))
        asked = task.student.base
        return [*sorted(kept, key=lambda r: (r.model.id != asked, -r.score, r.model.id)), *dropped]

    def fetch(self, model: str, revision: str) -> Path:
        """A folder with the safetensors, configuration and tokenizer of ``model`` at a commit; nothing else of it is
        downloaded. Raises ``Refused`` where a rule speaks against it, ``HubError`` where the Hub fails."""
        info = self.client.model(model, revision)
        safety.check_gated(model, info.gated, self.settings)
        safety.check_model_files(model, info.files, info.config)
        names = [n for n in info.files if _WEIGHTS.fullmatch(n) or _BESIDE.fullmatch(n)]
        if not any(_WEIGHTS.fullmatch(n) for n in names):
            raise safety.Refused("pickle", f"{model} has no model.safetensors")
        if "model.safetensors" in names:  # some keep the same weights a second time, in parts
            names = [n for n in names if not re.match(r"model-|model\.safetensors\.", n)]
        safety.check_size(model, sum(info.files[n] or 0 for n in names), self.settings)
        folder = self.client.snapshot(model, info.sha, names)
        if problem := read_model(folder, model).problem:
            raise safety.Refused("remote_code" if "auto_map" in problem else "pickle", f"{model}: {problem}")
        return folder

    def _listed(self, task: TaskSpec) -> list[RepoInfo]:
        tongue = task.language.lower().split("-")[0]
        found: dict[str, RepoInfo] = {}
        for pipeline in PIPELINES:
            for tags in [[tongue]] + ([["multilingual"]] if tongue != "en" else []):
                for info in self.client.models(pipeline=pipeline, tags=tags, limit=LISTED):
                    found.setdefault(info.id, info)
        for word in sorted(words(task.name), key=lambda w: (-len(w), w))[:3]:
            for info in self.client.models(search=word, tags=[tongue], limit=10):
                found.setdefault(info.id, info)
        if (base := task.student.base) and re.fullmatch(r"[\w.-]+/[\w.-]+", base) and not Path(base).exists():
            found[base] = self.client.model(base)
        return list(found.values())

    def _look(self, model: HubModel) -> HubModel:
        """The same with what its config.json and card say."""
        try:
            config = read_json(self.client.file("model", model.id, model.revision, "config.json"))
        except (BadInput, safety.Refused):
            return replace(model, safe=False)
        positions = config.get("max_position_embeddings")
        about = model.about
        try:
            readme = self.client.file("model", model.id, model.revision, "README.md")
            about = f"{about} {front_matter(readme)[1][:2000]}"
        except (BadInput, safety.Refused):
            pass
        context = positions if isinstance(positions, int) else None
        return replace(model, context=context, about=about, own_code=model.own_code or bool(config.get("auto_map")))


def described(info: RepoInfo) -> HubModel:
    """What a listing says of a model."""
    kind = str(info.config.get("model_type") or "unknown")
    tags = {"language": [t for t in info.tags if re.fullmatch(r"[a-z]{2,3}|multilingual", t)]}
    return HubModel(
        id=info.id,
        revision=info.sha,
        parameters_m=info.parameters / 1e6 if info.parameters else None,
        model_type=kind,
        encoder=is_encoder(kind, info.config),
        sentence_encoder=info.pipeline_tag == "sentence-similarity" or "modules.json" in info.files,
        license=license_of(info.meta) or next((t[8:] for t in info.tags if t.startswith("license:")), ""),
        language=languages(info.meta) or languages(tags),
        downloads=info.downloads,
        gated=info.gated,
        safe=any(f.endswith(".safetensors") and "/" not in f for f in info.files),
        own_code=bool(info.config.get("auto_map")),
        purpose=info.pipeline_tag,
        about=f"{info.id} {' '.join(info.tags[:20])}",
    )


def excluded(task: TaskSpec, model: HubModel, settings: safety.Settings) -> str | None:
    """The first rule that speaks against a model, or None."""
    limits = task.student
    asked = limits.base == model.id
    most = limits.max_parameters_m or DEFAULT_MAX_PARAMETERS_M
    if not model.safe:
        return "pickle rule: it has no safetensors file"
    if model.own_code:
        return "remote_code rule: it needs its own code to be run (auto_map)"
    if model.gated and not settings.allow_gated:
        return "gated rule: its owner gives it to those who asked"
    if not serves(task, model):
        return f"a {model.model_type} model cannot {task.kind}"
    if not asked and model.purpose and model.purpose not in PIPELINES:
        return f"it is made for {model.purpose}, not to be trained further"
    if not asked and not speaks(model.language, task.language):
        return f"its language is {'/'.join(model.language[:4]) or 'not stated'}, the task's is {task.language}"
    if limits.licenses is not None and model.license not in limits.licenses:
        return f"its licence is {model.license or 'not stated'}; allowed are {', '.join(limits.licenses)}"
    try:
        safety.check_license_id(model.id, model.license, settings)
    except safety.Refused as refused:
        return str(refused)
    if model.parameters_m is None:
        return "the Hub does not say how many parameters it has"
    if model.parameters_m > most:
        return f"{model.parameters_m:.0f}M parameters; the limit is {most:g}M"
    if model.context is not None and model.context < needed_tokens(task):
        return f"it reads {model.context} tokens; the task's examples need {needed_tokens(task)}"
    return None


def needed_tokens(task: TaskSpec) -> int:
    """Tokens of the task's longest example, roughly; no more than a classifier here ever reads."""
    return min(LONGEST_NEEDED, max((len(e.input) for e in task.examples), default=0) // CHARS_PER_TOKEN)


def with_similarity(task: TaskSpec, models: Sequence[HubModel], embed: Embed | None) -> list[HubModel]:
    """The models with ``similarity``: cosine of embeddings, else the share of the task's words in the card."""
    wanted = f"{task.name.replace('-', ' ')}. {task.instruction} {', '.join(task.labels[:12])}"[:600]
    if not models:
        return []
    if embed is None:
        own = words(wanted)
        return [replace(m, similarity=len(own & words(m.about)) / max(len(own), 1)) for m in models]
    vectors = unit(embed([wanted, *(m.about[:600] for m in models)]))
    return [replace(m, similarity=max(0.0, float(v @ vectors[0]))) for m, v in zip(models, vectors[1:], strict=True)]


def _score(task: TaskSpec, model: HubModel) -> float:
    most = task.student.max_parameters_m or DEFAULT_MAX_PARAMETERS_M
    return (
        0.40 * _devotion(model, task.language)
        + 0.25 * model.similarity
        + 0.20 * model.sentence_encoder
        + 0.10 * min(math.log10(1 + model.downloads) / 7, 1.0)
        + 0.05 * (1 - min((model.parameters_m or most) / most, 1.0))
    )


def _devotion(model: HubModel, language: str) -> float:
    """A vocabulary shared with many languages has few pieces for each."""
    stated = {code.split("-")[0] for code in model.language}
    if stated == {language.lower().split("-")[0]}:
        return 1.0
    return 0.7 if 0 < len(stated) <= 5 and not stated & {"multilingual", "mul"} else 0.5


def _why(task: TaskSpec, model: HubModel) -> str:
    reasons = [
        "the task asks for it" if task.student.base == model.id else "",
        "a sentence encoder" if model.sentence_encoder else f"a {model.model_type} model",
        f"{model.parameters_m:.0f}M parameters" if model.parameters_m and model.parameters_m >= 1 else "",
        model.license,
        f"language {'/'.join(model.language[:3])}{' and more' if len(model.language) > 3 else ''}",
        f"similarity {model.similarity:.2f}",
        f"{model.downloads:,} downloads",
    ]
    return ", ".join(r for r in reasons if r)


def entry(ranked: RankedHub) -> dict[str, Any]:
    """As the workspace keeps it; ``path`` is empty until it is fetched."""
    model = ranked.model
    size = None if model.parameters_m is None else round(model.parameters_m, 1)
    return {"id": model.id, "path": "", "revision": model.revision, "parameters_m": size, "kept": ranked.kept}
