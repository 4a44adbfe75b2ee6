"""What people call the two columns of a labelled table, and the two parts of a few-shot example."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Tiers: a name of an earlier tier wins over any of a later one; two of the same tier are ambiguous.
_INPUT = """
sentence query utterance sms question q tweet review message comment content body email document passage prompt headline
context title subject premise hypothesis claim sentence1 sentence2 question1 question2 text1 text2
post request source statement ticket phrase article abstract transcript dialogue x inputs texts
eingabe frage satz nachricht texto entrada pregunta mensaje texte entrée 入力 输入 文本
"""
_OUTPUT = """
category intent class answer a target sentiment emotion topic response completion translation summary tag type y
labels outputs gold reply result polarity ausgabe antwort klasse kategorie salida respuesta etiqueta categoría
sortie réponse étiquette catégorie 出力 输出 标签
"""
_NUMBERED = {"sentence 1", "sentence 2", "question 1", "question 2", "text 1", "text 2"}
INPUT_NAMES = ({"input"}, {"text"}, _NUMBERED | set(_INPUT.split()))
OUTPUT_NAMES = (
    {"output"},
    {"label"},
    {"label text", "label name", "class label", "expected output", "gold label"} | set(_OUTPUT.split()),
)


def plain(name: str) -> str:
    """A name without case, and with one space for ``_``, ``-`` and any run of spaces."""
    return re.sub(r"[\s_\-]+", " ", name).strip().casefold()


def tier(name: str, tiers: tuple[set[str], ...]) -> int | None:
    """The tier of ``name``, 0 the best; ``None`` for an unknown name."""
    return next((i for i, names in enumerate(tiers) if plain(name) in names), None)


def known_name(name: str) -> bool:
    """Is this what someone would call an input or an output?"""
    return tier(name, INPUT_NAMES) is not None or tier(name, OUTPUT_NAMES) is not None


def best(names: Iterable[str], tiers: tuple[set[str], ...]) -> list[str]:
    """The names of the best tier present: one is an answer, several are ambiguous, none is unknown."""
    ranked = [(rank, name) for name in names if (rank := tier(name, tiers)) is not None]
    top = min((rank for rank, _ in ranked), default=None)
    return [name for rank, name in ranked if rank == top]
