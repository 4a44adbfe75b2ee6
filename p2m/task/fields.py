"""The keys of a task: each read from text, each fault named with its place."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from p2m.data import names
from p2m.data.columns import as_text
from p2m.data.table import split_key
from p2m.data.textfile import missing
from p2m.errors import BadInput
from p2m.task.draft import Fields, Place, Shown
from p2m.task.infer import LABEL_CHARS
from p2m.task.spec import Kind, Limits, Metric, StudentLimits
from p2m.task.styles import answer_of, parts_of

Finder = Callable[..., Place]

METRICS: dict[Kind, tuple[Metric, ...]] = {
    "classify": ("accuracy", "macro_f1", "micro_f1", "mcc"),
    "generate": ("chrf", "exact_match", "rouge_l", "squad_f1", "squad_em"),
    "extract": ("exact_match", "squad_f1", "squad_em", "span_f1", "chrf"),
    "score": ("spearman",),
}
METRIC_NAMES: dict[str, Metric] = {
    "accuracy": "accuracy",
    "acc": "accuracy",
    "macro f1": "macro_f1",
    "f1": "macro_f1",
    "f1 macro": "macro_f1",
    "exact match": "exact_match",
    "em": "exact_match",
    "chrf": "chrf",
    "chrf++": "chrf",
    "micro f1": "micro_f1",
    "f1 micro": "micro_f1",
    "mcc": "mcc",
    "matthews": "mcc",
    "rouge l": "rouge_l",
    "rougel": "rouge_l",
    "squad f1": "squad_f1",
    "token f1": "squad_f1",
    "squad em": "squad_em",
    "span f1": "span_f1",
    "entity f1": "span_f1",
    "spearman": "spearman",
}
KIND_NAMES: dict[str, Kind] = {
    "classify": "classify",
    "classification": "classify",
    "generate": "generate",
    "generation": "generate",
    "extract": "extract",
    "extraction": "extract",
    "score": "score",
    "scoring": "score",
    "rate": "score",
    "rating": "score",
    "regression": "score",
}
TARGET = re.compile(
    r"^(?:(?P<metric>[A-Za-z][\w +-]*?)\s*(?:>=|≥|>|=|:)\s*)?(?P<number>\d+(?:\.\d+)?|\.\d+)\s*(?P<percent>%?)$"
)
TEXT_KEYS = ("name", "language", "input_column", "output_column", "instruction")
KEYS = (
    *TEXT_KEYS, "kind", "labels", "multi_label", "scale", "metric", "target", "examples", "validation", "train",
    "budget", "student",
)  # fmt: skip


def read_fields(raw: Mapping[str, Any], place: Finder, folder: Path) -> Fields:
    """The keys in ``raw``, whose scalars are text as written; ``place("budget", "minutes")`` says where a key stands.

    ``folder`` is what paths are relative to. Raises ``BadInput`` with the place: unknown key, unreadable value.
    """
    _known_keys(raw, KEYS, place)
    given = {key: value for key, value in raw.items() if value not in (None, "", [], {})}
    for key in TEXT_KEYS:
        if key in given and (isinstance(given[key], list | dict)):
            raise place(key).bad(f"{key} must be text", f"Write {key}: some text.")
    metric = read_metric(given["metric"], place("metric")) if "metric" in given else None
    target, target_metric = read_target(given["target"], place("target")) if "target" in given else (None, None)
    if metric and target_metric and metric != target_metric:
        raise place("target").bad(f"the target is on {target_metric}, but metric is {metric}", "Make them agree.")
    kind = read_kind(given["kind"], place("kind")) if "kind" in given else None
    return Fields(
        name=_name(given["name"], place("name")) if "name" in given else None,
        kind=kind,
        labels=read_labels(given["labels"], place("labels"), spans=given.get("kind")) if "labels" in given else (),
        multi_label=_yes(given["multi_label"], place("multi_label")) if "multi_label" in given else False,
        scale=_scale(given["scale"], place("scale")) if "scale" in given else None,
        metric=metric or target_metric,
        target=target,
        language=_text(given, "language"),
        validation=_path(given["validation"], place("validation"), folder) if "validation" in given else None,
        train=_path(given["train"], place("train"), folder) if "train" in given else None,
        input_column=_text(given, "input_column"),
        output_column=_text(given, "output_column"),
        instruction=_text(given, "instruction"),
        examples=read_examples(given["examples"], place, sets=kind in (None, "classify"))
        if "examples" in given
        else (),
        budget=read_budget(given["budget"], place) if "budget" in given else Limits(),
        student=_student(given["student"], place, folder) if "student" in given else StudentLimits(),
        places={key: place(key) for key in given},
    )


def read_kind(value: Any, place: Place) -> Kind:
    """A kind by its verb or noun."""
    kind = KIND_NAMES.get(names.plain(as_text(value)))
    if kind is None:
        raise place.bad(f"unknown kind {as_text(value)!r}", f"Kinds: {', '.join(get_args(Kind))}.")
    return kind


def read_metric(value: Any, place: Place) -> Metric:
    """A metric by one of its usual names."""
    metric = METRIC_NAMES.get(names.plain(as_text(value)))
    if metric is None:
        raise place.bad(f"unknown metric {as_text(value)!r}", f"Metrics: {', '.join(get_args(Metric))}.")
    return metric


def read_target(value: Any, place: Place) -> tuple[float, Metric | None]:
    """``0.85``, ``85%`` or ``accuracy>=0.85``: the fraction of 1, and the metric where it is named."""
    text = as_text(value)
    match = TARGET.match(text)
    fix = "Write 0.85, 85% or accuracy>=0.85."
    if not match:
        raise place.bad(f"cannot read the target {text!r}", fix)
    metric = read_metric(match["metric"], place) if match["metric"] else None
    target = float(match["number"]) / (100 if match["percent"] else 1)
    if not 0 < target <= 1:
        raise place.bad(f"the target {text} is not between 0 and 1", fix)
    return target, metric


def read_labels(value: Any, place: Place, spans: Any = None) -> tuple[str, ...]:
    """Two or more different labels, from a list or ``a, b, c``; one is enough where ``spans`` is the kind extract."""
    fix = "Write labels: [first, second]."
    items = re.split(r"\s*,\s*", value.strip()) if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(as_text(item) for item in items):
        raise place.bad("labels must be a list of names, none empty", fix)
    labels = [as_text(item) for item in items]
    for i, label in enumerate(labels):
        same = next((other for other in labels[:i] if names.plain(other) == names.plain(label)), None)
        if same is not None:
            twice = f"{label!r} twice" if same == label else f"{same!r} and {label!r}, which read the same"
            raise place.bad(f"labels has {twice}", "Keep one.")
    if len(labels) < 2 and KIND_NAMES.get(names.plain(as_text(spans))) != "extract":
        raise place.bad(f"there is one label, {labels[0]!r}: nothing to tell apart", fix)
    return tuple(labels)


def _yes(value: Any, place: Place) -> bool:
    said = {"true": True, "yes": True, "false": False, "no": False}.get(as_text(value).casefold())
    if said is None:
        raise place.bad(f"{as_text(value)!r} is neither true nor false", "Write multi_label: true.")
    return said


def _scale(value: Any, place: Place) -> tuple[float, float]:
    """``[1, 5]``, ``1 to 5`` or ``1-5``."""
    items = (
        value if isinstance(value, list) else re.findall(r"-?\d+(?:\.\d+)?", re.sub(r"(?<=\d)-", " ", as_text(value)))
    )
    try:
        low, high = (float(as_text(item)) for item in items)
    except ValueError:
        raise place.bad("scale must be its lowest and its highest rating", "Write scale: [1, 5].") from None
    if not math.isfinite(low) or not math.isfinite(high) or low >= high:
        raise place.bad(f"the scale {low:g} to {high:g} is empty", "Write scale: [1, 5].")
    return low, high


def read_examples(value: Any, place: Finder, *, sets: bool = False) -> tuple[Shown, ...]:
    """A list of {input, output}, {text, label} or [input, output].

    ``sets``: an output that is a list is a set of labels (each output is one where any is a list of none or several),
    in the spelling of ``p2m.outputs``; else it is a list of right answers, of which the first counts.
    """
    fix = (
        "Write each as {input: some text, output: its answer}; the answer of spans as [{text: Rome, label: city}], "
        "of several labels as [first, second]."
    )
    if not isinstance(value, list):
        raise place("examples").bad("examples must be a list", fix)
    found: list[tuple[str, Any, Place]] = []
    for i, item in enumerate(value):
        at = place("examples", i)
        if isinstance(item, dict) and len(item) == 1:  # "- some text: label" is a mapping to YAML
            item = list(next(iter(item.items())))
        parts = parts_of(item)
        if parts is None:
            raise at.bad(f"example {i + 1} is no input with an output", fix)
        found.append((*parts, at))
    lists = [answer for _, answer, _ in found if isinstance(answer, list | dict)]
    sets = sets and all(map(_are_labels, lists)) and any(len(answer) != 1 for answer in lists)
    shown = []
    for i, (source, answer, at) in enumerate(found, 1):
        if sets:
            answer = json.dumps(answer if isinstance(answer, list) else [as_text(answer)], ensure_ascii=False)
        try:
            output = answer_of(source, answer)
        except ValueError as error:
            raise at.bad(f"example {i}: {error}", fix) from None
        if not source or not output:
            raise at.bad(f"example {i} has an empty {'output' if source else 'input'}", fix)
        shown.append(Shown(source, output, at))
    return tuple(shown)


def _are_labels(answer: Any) -> bool:
    return isinstance(answer, list) and all(isinstance(v, str) and 0 < len(v) <= LABEL_CHARS for v in answer)


def read_budget(value: Any, place: Finder) -> Limits:
    """Limits by name, each a number; absent is no limit."""
    return Limits(**_numbers(value, "budget", tuple(Limits.model_fields), ("minutes", "usd"), place))


def _student(value: Any, place: Finder, folder: Path) -> StudentLimits:
    keys = tuple(StudentLimits.model_fields)
    if not isinstance(value, dict):
        raise place("student").bad("student must be a mapping", f"Keys: {', '.join(keys)}.")
    _known_keys(value, keys, place, "student")
    size = {k: v for k, v in value.items() if k == "max_parameters_m"}
    numbers = _numbers(size, "student", keys, ("max_parameters_m",), place)
    licenses = value.get("licenses")
    if isinstance(licenses, str):
        licenses = [part for part in re.split(r"[,\s]+", licenses) if part]
    if isinstance(licenses, dict) or (licenses and not all(isinstance(item, str) and item for item in licenses)):
        raise place("student", "licenses").bad("licenses must be a list of SPDX ids", "Write [apache-2.0, mit].")
    base = value.get("base") or None
    if isinstance(base, list | dict):
        raise place("student", "base").bad("base must be a model folder or the name of a pack model")
    if base and (folder / base).exists():
        base = str((folder / base).resolve())
    return StudentLimits(licenses=tuple(item.lower() for item in licenses) if licenses else None, base=base, **numbers)


def _numbers(value: Any, parent: str, keys: Sequence[str], fractional: Sequence[str], place: Finder) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise place(parent).bad(
            f"{parent} must name its limits", f"Write {parent}: {{{keys[0]}: 30}}; keys: {', '.join(keys)}."
        )
    _known_keys(value, keys, place, parent)
    numbers: dict[str, Any] = {}
    for key, written in value.items():
        if written in (None, ""):
            continue
        text = as_text(written).replace("_", "")
        whole = key not in fractional
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if (
            not math.isfinite(number)
            or number < 0
            or (number == 0 and key not in ("examples", "usd"))
            or (whole and number != int(number))
        ):
            kind = "a whole number" if whole else "a number"
            least = "of 0 or more" if key in ("examples", "usd") else "above 0"
            raise place(parent, key).bad(
                f"{key} must be {kind} {least}, not {as_text(written) or 'a list'!r}", f"Write {key}: 30."
            )
        numbers[key] = int(number) if whole else number
    return numbers


def _known_keys(raw: Mapping[str, Any], known: Sequence[str], place: Finder, *parents: str) -> None:
    for key in raw:
        if key not in known:
            near = difflib.get_close_matches(str(key).lower().replace("-", "_"), known, n=1, cutoff=0.5)
            inside = f" in {'.'.join(parents)}" if parents else ""
            fix = f"Did you mean {near[0]}?" if near else f"Keys: {', '.join(known)}."
            raise place(*parents, key).bad(f"unknown key {str(key)!r}{inside}", fix)


def _text(given: Mapping[str, Any], key: str) -> str | None:
    return as_text(given.get(key)) or None


def _name(value: Any, place: Place) -> str:
    name = as_text(value)
    if len(name) > 80 or re.search(r"[\x00-\x1f/\\]", name) or name.strip(".") == "":
        raise place.bad(f"{name[:80]!r} is no name", "Use up to 80 characters, no slash, one line.")
    return name


def _path(value: Any, place: Place, folder: Path) -> str:
    text = as_text(value)
    if not text:
        raise place.bad("name one file")
    path = str((folder / Path(text).expanduser()).absolute())
    file, key = split_key(path)
    if file.is_dir():
        raise BadInput(f"{file} is a folder, not a file", where=place.where, line=place.line, fix="Name a file in it.")
    if not file.is_file():
        raise missing(file, where=place.where, line=place.line)
    return f"{file.resolve()}#{key}" if key else str(file.resolve())
