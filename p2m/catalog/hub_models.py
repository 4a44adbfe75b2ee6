"""Base models of the Hub for a task: what rules one out, then which of the rest fits best. And getting one.

Fit comes before fame: language, kind, licence and size are rules, and downloads are a tenth of the evidence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from p2m.catalog import safety
from p2m.catalog.base import Embed
from p2m.catalog.cards import front_matter, languages, license_of
from p2m.catalog.hubclient import HubClient, RepoInfo
from p2m.catalog.index.hub import listed_card, source_of
from p2m.catalog.index.seen import Seen
from p2m.catalog.labels import unit, words
from p2m.catalog.models import is_encoder, read_json, read_model, serves, speaks
from p2m.catalog.needs import Conditions, Shape, Verdict, context_of, judge, of_task, shape_of
from p2m.catalog.purpose import PIPELINES, languages_asked, languages_named, suits_purpose, translates_backwards
from p2m.errors import BadInput
from p2m.task.spec import TaskSpec

LISTED = 30
CLOSER_LOOK = 6
CONFIG_BYTES = 1_000_000
DEFAULT_MAX_PARAMETERS_M = 300.0
"""Where the task sets no limit: what two CPU cores fine-tune on a few hundred rows within minutes."""
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
    shape: Shape | None = None
    about: str = ""
    similarity: float = 0.0


@dataclass(frozen=True)
class RankedHub:
    """``score`` in [0, 1] is of the kept ones; a ``late`` one can serve, but comes after all that have the memory and
    the time."""

    model: HubModel
    kept: bool
    why: str
    score: float = 0.0
    late: bool = False


class BaseModels(Protocol):
    """Where base models are found and fetched."""

    def rank(self, task: TaskSpec, conditions: Conditions | None = None) -> list[RankedHub]: ...

    def fetch(self, model: str, revision: str) -> Path: ...


@runtime_checkable
class OffersModels(Protocol):
    """A catalogue that has base models elsewhere than in a folder."""

    @property
    def base_models(self) -> BaseModels: ...


class HubModels:
    """The models of one Hub."""

    def __init__(
        self, client: HubClient, embed: Embed | None, settings: safety.Settings, seen: Seen | None = None
    ) -> None:
        self.client, self.embed, self.settings, self.seen = client, embed, settings, seen

    def rank(self, task: TaskSpec, conditions: Conditions | None = None) -> list[RankedHub]:
        """Candidates from the listings of the task's language, as ``rank_candidates`` orders them. Raises
        ``HubError``."""
        found = self._listed(task)
        if self.seen:
            self.seen.keep([listed_card("model", info, source_of(self.client.endpoint)) for info in found])
        listed = [described(info) for info in found]
        return rank_candidates(task, listed, self.settings, self.embed, look=self._look, conditions=conditions)

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
        for pipeline in PIPELINES[task.kind]:
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
        about = model.about
        try:
            readme = self.client.file("model", model.id, model.revision, "README.md")
            about = f"{about} {front_matter(readme)[1][:2000]}"
        except (BadInput, safety.Refused):
            pass
        shape = shape_of(model.parameters_m, config) if model.parameters_m else None
        own_code = model.own_code or bool(config.get("auto_map"))
        return replace(model, context=context_of(config), shape=shape, about=about, own_code=own_code)


def rank_candidates(
    task: TaskSpec,
    models: Sequence[HubModel],
    settings: safety.Settings,
    embed: Embed | None,
    *,
    look: Callable[[HubModel], HubModel] = lambda model: model,
    closer: int = CLOSER_LOOK,
    conditions: Conditions | None = None,
) -> list[RankedHub]:
    """Rules first; then a closer ``look`` at the ``closer`` best of those that pass, by the words of their listing;
    then the rules again and the evidence. First the kept ones, best first, then the others with the rule."""
    judged = [(m, excluded(task, m, settings, conditions)) for m in models]
    passed = with_similarity(task, [m for m, why in judged if why is None], None)
    passed.sort(key=lambda m: (m.id != task.student.base, -_score(task, m), m.id))
    dropped = [RankedHub(m, False, why) for m, why in judged if why is not None]
    kept = []
    for model in with_similarity(task, [look(m) for m in passed[:closer]], embed):
        if why := excluded(task, model, settings, conditions):
            dropped.append(RankedHub(model, False, why))
        else:
            needs = _needs(task, model, conditions)
            score = round(_score(task, model), 3)
            kept.append(RankedHub(model, True, _why(task, model, needs), score, needs.late))
    return [*sorted(kept, key=lambda r: (r.model.id != task.student.base, r.late, -r.score, r.model.id)), *dropped]


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


def excluded(
    task: TaskSpec, model: HubModel, settings: safety.Settings, conditions: Conditions | None = None
) -> str | None:
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
    if not asked and not suits_purpose(task, model.purpose):
        return f"it is made for {model.purpose}, not to be trained further"
    if not asked and (foreign := _foreign(task, model)):
        return foreign
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
    return _needs(task, model, conditions).problem


def _needs(task: TaskSpec, model: HubModel, conditions: Conditions | None) -> Verdict:
    return judge(model.shape, model.context, conditions or of_task(task), fetched=True)


def _foreign(task: TaskSpec, model: HubModel) -> str:
    """Why a model does not know the languages of the task; empty where it does. A writer that states none and names
    none is taken for English: of those that write code, hardly one states a language."""
    asked = languages_asked(task)
    stated = model.language or languages_named(model.id) or (("en",) if task.kind == "generate" else ())
    missing = [code for code in asked if not speaks(stated, code)]
    if not missing:
        return ""
    return f"its language is {'/'.join(stated[:4]) or 'not stated'}, the task's is {' and '.join(asked)}"


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
        0.40 * _devotion(task, model)
        + 0.25 * model.similarity
        + 0.20 * model.sentence_encoder
        + 0.10 * min(math.log10(1 + model.downloads) / 7, 1.0)
        + 0.05 * (1 - min((model.parameters_m or most) / most, 1.0))
        - 0.15 * translates_backwards(task, model.id)
    )


def _devotion(task: TaskSpec, model: HubModel) -> float:
    """A vocabulary shared with many languages has few pieces for each."""
    stated = {code.split("-")[0] for code in model.language}
    if stated == set(languages_asked(task)):
        return 1.0
    return 0.7 if 0 < len(stated) <= 5 and not stated & {"multilingual", "mul"} else 0.5


def _why(task: TaskSpec, model: HubModel, needs: Verdict) -> str:
    reasons = [
        "the task asks for it" if task.student.base == model.id else "",
        "a sentence encoder" if model.sentence_encoder else f"a {model.model_type} model",
        f"{model.parameters_m:.0f}M parameters" if model.parameters_m and model.parameters_m >= 1 else "",
        model.license,
        f"language {'/'.join(model.language[:3]) or 'not stated'}{' and more' if len(model.language) > 3 else ''}",
        f"similarity {model.similarity:.2f}",
        f"{model.downloads:,} downloads",
        "translates the other way" if translates_backwards(task, model.id) else "",
        *needs.notes,
    ]
    return ", ".join(r for r in reasons if r)


def entry(ranked: RankedHub) -> dict[str, Any]:
    """As the workspace keeps it; ``path`` is empty until it is fetched."""
    model = ranked.model
    size = None if model.parameters_m is None else round(model.parameters_m, 1)
    said = {"id": model.id, "path": "", "revision": model.revision, "parameters_m": size}
    return {**said, "kept": ranked.kept, "late": ranked.late}
