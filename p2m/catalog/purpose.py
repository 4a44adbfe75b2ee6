"""What a model was made for, beside what a task asks for: its pipeline on the Hub, and the languages it must know."""

from __future__ import annotations

import re
from itertools import pairwise

from p2m.task.spec import Kind, TaskSpec

# A classifier that somebody has fine-tuned is no base: it may have been trained on the rows that are held out here.
PIPELINES: dict[Kind, tuple[str, ...]] = {
    "classify": ("sentence-similarity", "fill-mask", "feature-extraction"),
    "extract": ("fill-mask", "sentence-similarity", "feature-extraction"),
    "generate": ("text2text-generation", "text-generation"),
}
"""The Hub's names of what is made to be trained further."""
WRITERS = {
    "translation": r"\btranslat",
    "summarization": r"\bsummar|\babstract\b|\bheadline|\btl;?dr\b",
    "question-answering": r"\bquestions?\b.*\banswer|\banswer.*\bquestion",
    "conversational": r"\bdialog|\bconversation|\bchat\b",
}
"""A writer made for one of these serves a task whose instruction asks for it, as the pattern finds it."""

_NAMES = """
arabic ar|bengali bn|bulgarian bg|catalan ca|chinese zh|croatian hr|czech cs|danish da|dutch nl|english en|estonian et|
finnish fi|french fr|german de|greek el|gujarati gu|hebrew he|hindi hi|hungarian hu|icelandic is|indonesian id|
irish ga|italian it|japanese ja|korean ko|latvian lv|lithuanian lt|malay ms|marathi mr|norwegian no|persian fa|
polish pl|portuguese pt|romanian ro|russian ru|serbian sr|slovak sk|slovenian sl|spanish es|swahili sw|swedish sv|
tamil ta|telugu te|thai th|turkish tr|ukrainian uk|urdu ur|vietnamese vi|welsh cy|yoruba yo|zulu zu
"""
NAMES = dict(entry.split() for entry in _NAMES.replace("\n", "").split("|"))
"""English names of languages, and their codes (ISO 639-1)."""
_NAMED = re.compile(rf"(?<![a-z])({'|'.join(NAMES)})(?![a-z])", re.IGNORECASE)

_INTO = re.compile(rf"\b(?:in)?to\s+({'|'.join(NAMES)})\b", re.IGNORECASE)


def suits_purpose(task: TaskSpec, purpose: str) -> bool:
    """Whether a model with that pipeline (empty: not stated) can be a base for ``task``."""
    if not purpose or purpose in PIPELINES[task.kind]:
        return True
    pattern = WRITERS.get(purpose) if task.kind == "generate" else None
    return bool(pattern and re.search(pattern, task.instruction, re.IGNORECASE | re.DOTALL))


def languages_asked(task: TaskSpec) -> tuple[str, ...]:
    """The task's language; for a translation also those that its instruction names."""
    own = task.language.lower().split("-")[0]
    if task.kind != "generate" or not re.search(WRITERS["translation"], task.instruction, re.IGNORECASE):
        return (own,)
    return tuple(dict.fromkeys((own, *languages_named(task.instruction))))


def languages_named(text: str) -> tuple[str, ...]:
    """The codes of the languages that ``text`` names, in English."""
    return tuple(dict.fromkeys(NAMES[name.lower()] for name in _NAMED.findall(text)))


def translates_backwards(task: TaskSpec, model: str) -> bool:
    """Whether the name of a translator ("opus-mt-en-vi") says that it goes from the language that ``task`` wants to the
    one that it has. A task or name that states no direction is never backwards."""
    asked = languages_asked(task)
    into = _INTO.search(task.instruction)
    if len(asked) != 2 or into is None or NAMES[into[1].lower()] not in asked:
        return False
    target = NAMES[into[1].lower()]
    source = asked[0] if asked[1] == target else asked[1]
    said = re.split(r"[^a-z]+", model.lower())
    pairs = set(pairwise(said))
    pairs |= {(a, c) for a, to, c in zip(said, said[1:], said[2:], strict=False) if to == "to"}
    joined = f"{target}2{source}" in model.lower()
    return (joined or (target, source) in pairs) and (source, target) not in pairs
