"""Dataset and model cards: a Markdown file with YAML front matter."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from p2m.catalog.base import Card
from p2m.errors import BadInput

CARD_BYTES = 512_000
SUMMARY_CHARS = 300
_LANGUAGE = re.compile(r"[a-z]{2,3}([-_][a-z0-9]{1,8})*|multilingual")
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,40}")


def front_matter(path: Path) -> tuple[dict[str, Any], str]:
    """The YAML mapping at the top of a card, and the Markdown under it.

    Raises ``BadInput`` where the file is unreadable, too large, or its YAML is broken.
    """
    try:
        if path.stat().st_size > CARD_BYTES:
            raise BadInput(f"the card is larger than {CARD_BYTES // 1000} kB", where=str(path))
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"the card is not readable: {error}", where=str(path)) from error
    return split_front_matter(text, str(path))


def split_front_matter(text: str, where: str) -> tuple[dict[str, Any], str]:
    """The YAML mapping at the top of a card's text, and the Markdown under it. Raises ``BadInput`` as above."""
    import yaml

    if not text.startswith("---"):
        return {}, text
    head, mark, body = text[3:].partition("\n---")
    if not mark:
        raise BadInput("the card's front matter has no closing '---'", where=where)
    try:
        meta = yaml.load(head, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # the C one is ten times faster
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadInput(f"the card's YAML is broken: {getattr(error, 'problem', error)}", where=where) from error
    if not isinstance(meta, dict | None):
        raise BadInput("the card's front matter is not a mapping", where=where)
    return meta or {}, body.lstrip("-").strip()


def strings(value: Any) -> tuple[str, ...]:
    """A YAML field that may be absent, one value or a list. What is nested deeper is ignored: a few lines of nested
    YAML aliases would otherwise print as gigabytes."""
    return tuple(str(v) for v in (value if isinstance(value, list) else [value]) if isinstance(v, str | int | float))


def languages(meta: dict[str, Any]) -> tuple[str, ...]:
    """The language codes of a card, in lower case; what is no code is ignored."""
    stated = [
        "no" if code == "False" else code.lower() for code in strings(meta.get("language"))
    ]  # YAML reads no as False
    return tuple(code for code in stated if _LANGUAGE.fullmatch(code))


def license_of(meta: dict[str, Any]) -> str:
    """The licence of a card, in lower case, several joined by ``/``; empty where none is stated, ``other`` where it
    is no licence id."""
    stated = [name.lower() for name in strings(meta.get("license"))]
    return "/".join(name if _LICENSE.fullmatch(name) else "other" for name in stated)


def dataset_card(dataset: str, path: Path) -> Card:
    """Read a dataset's README. Raises ``BadInput`` as ``front_matter`` does."""
    return card_of(dataset, *front_matter(path))


def card_of(dataset: str, meta: dict[str, Any], body: str) -> Card:
    """A card from its front matter and the Markdown under it."""
    prose = [line.strip() for line in body.splitlines() if line.strip() and not line.startswith(("#", "|", "!["))]
    config = _default_config(meta.get("configs"))
    info = _dataset_info(meta.get("dataset_info"), str(config.get("config_name", "default")))
    return Card(
        id=dataset,
        title=" ".join(strings(meta.get("pretty_name"))) or dataset.rpartition("/")[2],
        summary=" ".join(prose)[:SUMMARY_CHARS],
        body=body[:4000],
        task_categories=strings(meta.get("task_categories")),
        language=languages(meta),
        license=license_of(meta),
        data_files=_data_files(config.get("data_files")),
        class_names=_class_names(info),
        declared_rows=_declared_rows(info),
        declared_bytes=max(_whole(info.get("dataset_size")), _whole(info.get("download_size"))),
    )


def _default_config(configs: Any) -> dict[str, Any]:
    """The configuration marked default, else the one of that name, else the first."""
    found = [c for c in configs if isinstance(c, dict)] if isinstance(configs, list) else []
    for test in (lambda c: c.get("default") is True, lambda c: c.get("config_name") == "default", lambda c: True):
        for config in found:
            if test(config):
                return config
    return {}


def _data_files(declared: Any) -> dict[str, tuple[str, ...]]:
    """Split -> patterns, from any of the forms that the Hub's cards use."""
    if isinstance(declared, dict):
        return {split: strings(patterns) for split, patterns in declared.items() if isinstance(split, str)}
    entries = declared if isinstance(declared, list) else [declared] if declared else []
    files: dict[str, tuple[str, ...]] = {}
    for entry in entries:
        split, patterns = (entry.get("split"), entry.get("path")) if isinstance(entry, dict) else ("train", entry)
        name = split if isinstance(split, str) else "train"
        files[name] = files.get(name, ()) + strings(patterns)
    return files


def _dataset_info(info: Any, config: str) -> dict[str, Any]:
    """The ``dataset_info`` of a configuration: the card has one, or a list of them."""
    if isinstance(info, list):
        named = [i for i in info if isinstance(i, dict)]
        info = next((i for i in named if i.get("config_name") == config), named[0] if named else None)
    return info if isinstance(info, dict) else {}


def _declared_rows(info: dict[str, Any]) -> dict[str, int]:
    splits = info.get("splits")
    named = [s for s in splits if isinstance(s, dict)] if isinstance(splits, list) else []
    return {s["name"]: _whole(s.get("num_examples")) for s in named if isinstance(s.get("name"), str)}


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _class_names(info: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Column -> names, from ``features[].dtype.class_label.names``, also of a ``sequence`` (a list, or a map of '0',
    '1'…)."""
    features = info.get("features")
    names: dict[str, tuple[str, ...]] = {}
    for feature in features if isinstance(features, list) else ():
        dtype = feature.get("dtype") if isinstance(feature, dict) else None
        label = dtype.get("class_label") if isinstance(dtype, dict) else None
        each = feature.get("sequence", feature.get("list")) if isinstance(feature, dict) else None
        if label is None and isinstance(each, dict):  # a list of them: the tags of tokens
            label = each.get("class_label") or (each.get("dtype") or {}).get("class_label")
        found = label.get("names") if isinstance(label, dict) else None
        if isinstance(found, dict):
            ordered = sorted(found.items(), key=lambda kv: int(kv[0]) if str(kv[0]).isdigit() else 0)
            found = [v for _, v in ordered]
        name = feature.get("name") if isinstance(feature, dict) else None
        if isinstance(found, list) and isinstance(name, str):
            names[name] = strings(found)
    return names
