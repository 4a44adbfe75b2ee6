"""What an instruction says by itself: its labels, and what kind of task it is."""

from __future__ import annotations

import re

from p2m.data.names import plain
from p2m.task.spec import Kind

GIVEN = (
    r"(?:the\s+|these\s+|following\s+|possible\s+|valid\s+|allowed\s+|\w+\s+)?"
    r"(?:labels?|class(?:es)?|categor(?:y|ies)|options?|intents?|topics?|choices?|types?|kinds?)"
)
SORTS = r"(?:classif\w+|label\w*|tag\w*|categori[sz]\w+|rat(?:e|ed|ing)|sort\w*|rout(?:e|ed|ing)|assign\w*)"
ORDERS = rf"(?:{SORTS}|klassifizier\w*|ordne\w*|clasific\w*|class(?:e|ez|er))"
# An opening announces a list: its items may have several words. The list goes on to the end of the clause.
ANNOUNCED = (
    rf"\b{GIVEN}\s*(?:\b(?:are|is)\b|:|=)\s*:?\s*",
    rf"\bone of(?:\s+(?:the|these))?(?:\s+following)?(?:\s+\w+)?(?:\s+{GIVEN})?\s*:?\s*",
    rf"\binto\s+(?:one of\s+)?{GIVEN}\s*:\s*",
    r"\(\s*(?=[^()\n/]{1,40}(?:/[^()\n/]{1,40})+\))",
    rf"\b{ORDERS}\b[^.\n:]*:\s*",
)
# Or a sentence runs into it: "is positive or negative overall" has labels of one word unless they are quoted.
RUN_INTO = (
    r"\b(?:is|are|be|as|with|output|return|answer|say)\s+either\s+",
    rf"\b{SORTS}\b[^.:\n]{{0,80}}?\b(?:as|into|to)\s+(?:{GIVEN}\s*:?\s*)?",
    r"\bwhether\b[^.:\n]{0,100}?\b(?:is|are|be|expresses|has|sounds|shows|prone to)\s+(?:more\s+)?",
)
QUOTED = r"\"[^\"\n()]{1,60}\"|“[^”\n()]{1,60}”|'[^'\n()]{1,60}'|`[^`\n()]{1,60}`|\*\*[^*\n()]{1,60}\*\*"
CLAUSE = re.compile(rf"(?:{QUOTED}|[^.;:()!?\n]|\.(?=\w))+")
CLAUSE_GOES_ON = re.compile(
    r"\s+(?:if|for|when|where|based|depending|according|in|on|by|and then|overall)\b.*", re.I | re.S
)
OR = r"(?:or|and|oder|und|ou|et)"
NO_LABEL = set(
    re.findall(r"\w+", "not otherwise so etc following the an if it this that these what which how who else")
)
BULLETS = re.compile(
    r"[^\n]*(?:labels?|class|categor|intents?|topics?|one of|options|choices)[^\n]*[:：][ \t]*\n"
    r"(?P<items>(?:[ \t]*\n)?(?:[ \t]*(?:[-*•]|\d+[.)])[ \t]+[^\n]+(?:\n|\Z))+)",
    re.I,
)
CONDITIONAL = re.compile(
    r"[\"“'‘](?P<label>[^\"”'’\n]{1,40})[\"”'’]\s*(?:,\s*)?(?:if|when|for|otherwise)\b|\b(?:otherwise|else)[^.\n]{0,30}?[\"“'‘](?P<other>[^\"”'’\n]{1,40})[\"”'’]",
    re.I,
)
LABEL_WORDS = 4
NAMED = r"(?:intents?|topics?|categor(?:y|ies)|class(?:es)?|sentiments?|emotions?|languages?|types?|kinds?)"
SORTED = re.compile(
    r"^(?:classif\w+|categori[sz]\w+|rout(?:e|ing)|label|assign|"
    r"(?:say|tell|determine|decide|predict|identify|find|detect|recogni[sz]e)\s+"
    rf"(?:whether|which\b|(?:the|an?|each|its)?\s*{NAMED}\b))|\b(?:one )?of \d+ {NAMED}\b",
    re.I,
)
SCALED = re.compile(
    r"\b(?:from|between|of|scale)\s+(?P<low>-?\d+(?:\.\d+)?)\s*(?:to|and|-|–|through)\s*(?P<high>\d+(?:\.\d+)?)(?![\w%])",
    re.I,
)
RATED = re.compile(
    r"\b(?:rat(?:e|es|ing|ings)|scor(?:e|es|ing)|grad(?:e|es|ing)|scale|mark|"
    r"how (?:well|much|good|similar|likely|strong(?:ly)?|\w+))\b",
    re.I,
)
IN_THE_TEXT = re.compile(
    r"\b(?:words?|spans?|parts?|phrases?|pieces?|quot(?:e|es|ing)|cop(?:y|ied|ies))\b[^.\n]{0,40}"
    r"\b(?:texts?|passages?|paragraphs?|contexts?|documents?|articles?)\b|\breading comprehension\b|"
    r"\bextractive\b|\bspan of\b",
    re.I,
)
ENTITIES = re.compile(r"\b(?:named[- ]entit\w+|entit(?:y|ies)|NER|spans|mentions)\b")
LISTED = re.compile(
    r"^(?:extract|find|locate|identify|copy|highlight|spot|tag|mark)\s+(?:all|the|every|any)?\s*(?P<items>[^.:\n]*?)\s+"
    r"(?:names?\s+)?(?:from|in|within|mentioned)\b",
    re.I,
)
OTHERS = re.compile(r"^(?:and\s+)?(?:others?|so on|etc|more|the like)\b", re.I)
EXTRACTS = re.compile(r"^(?:extract|find|locate|identify|copy|pull out|highlight|spot)\b|\bextract(?:ion|ing)?\b", re.I)
WRITES = re.compile(
    r"^(?:translate|summari[sz]e|rewrite|paraphrase|convert|rephrase|simplify|shorten|expand|write|generate|compose|"
    r"turn|normali[sz]e|standardi[sz]e|resolve|answer|complete|correct|fix|create|draft|reply|respond|explain|describe|"
    r"transform|reformulate)\b|^(?:[\w-]+\s+){0,3}(?:translation|summari[sz]ation|normali[sz]ation|paraphrasing|"
    r"rewriting|simplification)\b",
    re.I,
)
CLASSIFIES = re.compile(
    r"\b(?:classif|categor|sentiment|topic|ordne|klassifizier|clasifica|classe|which (?:kind|type|class))|"
    r"\b(?:labels?|intents?|whether|determine if|detect|route|type of|kind of|tag|zuordnen)\b",
    re.I,
)
PREAMBLE = re.compile(
    r"^(?:please|your task is to|the task is to|the goal is to|you (?:will|should|must|have to)|in this task,?|"
    r"given [^,\n]{1,80},|for each [^,\n]{1,60},|we want to|i want to|help me(?: to)?)\s+",
    re.I,
)


def labels_said(instruction: str) -> tuple[str, ...]:
    """The labels that the instruction names, in its order; empty where it names none that can be told.

    Understood: a list of bullets under a line that speaks of labels, a table of labels and meanings, "one of: a, b, c",
    "labels are a and b", "(a/b)", "classify … as a or b", "whether … is a or b", '"a" if …, "b" otherwise'.
    """
    for candidates in (
        _bullets(instruction),
        _label_table(instruction),
        *_lists(instruction),
        _conditional(instruction),
    ):
        labels = tuple(dict.fromkeys(candidates))
        if len(labels) >= 2 and not any(plain(label) in NO_LABEL for label in labels):
            return labels
    return ()


def kind_said(instruction: str) -> Kind | None:
    """What the instruction's own verb says, where it says it plainly and names no labels."""
    text = _order(instruction)
    first = text.split("\n", 1)[0]
    if SORTED.search(first):
        return "classify"
    if scale_said(text) and RATED.search(first):
        return "score"
    if EXTRACTS.search(first) or IN_THE_TEXT.search(first) or ENTITIES.search(first):
        return "extract"
    return "generate" if WRITES.match(text) else None


def scale_said(instruction: str) -> tuple[float, float] | None:
    """The lowest and the highest rating, where the instruction speaks of rating and says them."""
    found = SCALED.search(instruction)
    if not found or not RATED.search(instruction):
        return None
    low, high = float(found["low"]), float(found["high"])
    return (low, high) if low < high <= 100 else None


def span_labels_said(instruction: str) -> tuple[str, ...]:
    """What an extraction tells apart: "entities …: artists, bands and others", "extract persons and places from …".
    None where one answer a text is asked for."""
    text = _order(instruction)
    first = text.split("\n", 1)[0]
    head, colon, rest = first.partition(":")
    if colon and (ENTITIES.search(head) or LISTED.match(head + " in")):
        clause = CLAUSE.match(rest.lstrip())
        items = _items(clause[0], True) if clause else []
    else:
        listed = LISTED.match(first)
        items = _items(listed["items"], True) if listed else []
    return tuple(dict.fromkeys(item for item in items if not OTHERS.match(item)))


def wants_entities(instruction: str) -> bool:
    """Does it speak of entities? Then an answer has any number of spans, each of a kind."""
    return bool(ENTITIES.search(_order(instruction).split("\n", 1)[0]))


def _order(instruction: str) -> str:
    """The instruction from its own verb on."""
    text = instruction.strip()
    while (shorter := PREAMBLE.sub("", text)) != text:
        text = shorter
    return text


def sounds_like_classes(instruction: str) -> bool:
    """Does it use a word of classification?"""
    return bool(CLASSIFIES.search(instruction))


def _lists(instruction: str) -> list[list[str]]:
    found = []
    for openings, announced in ((ANNOUNCED, True), (RUN_INTO, False)):
        for opening in openings:
            for match in re.finditer(opening, instruction, re.I):
                clause = CLAUSE.match(instruction, match.end())
                if clause:
                    found.append(_items(clause[0], announced))
    return found


def _items(clause: str, announced: bool) -> list[str]:
    """The alternatives in "a, b or c"; none where they are no list or too long for labels."""
    quoted = re.findall(QUOTED, clause)
    if len(quoted) >= 2 and re.match(rf"\s*(?:an?\s+)?(?:{QUOTED})", clause):
        return [_bare(item) for item in quoted]
    if not announced or not re.search(r",", clause):
        clause = CLAUSE_GOES_ON.sub("", clause)
    commas = re.split(r"\s*,\s*", clause)
    if len(commas) > 1:
        items = [*commas[:-1], *re.split(rf"(?:^|\s+){OR}\s+", commas[-1], flags=re.I)]
    else:
        items = re.split(rf"\s+{OR}\s+|\s*[/|]\s*", clause, flags=re.I)
    labels = [label for item in items if (label := _bare(item))]
    if not announced and labels and all(len(label.split()) == 1 for label in labels[:-1]):
        labels[-1] = labels[-1].split()[0]
    return labels if len(labels) >= 2 and all(len(label.split()) <= LABEL_WORDS for label in labels) else []


def _bullets(instruction: str) -> list[str]:
    match = BULLETS.search(instruction + "\n")
    if not match:
        return []
    items = [
        re.sub(r"^[ \t]*(?:[-*•]|\d+[.)])[ \t]+", "", line) for line in match["items"].splitlines() if line.strip()
    ]
    labels = [_bare(re.split(r"\s*[:：(]\s*|\s+[-–—=]+>?\s+", item, maxsplit=1)[0]) for item in items]
    return labels if all(label and len(label.split()) <= 5 and len(label) <= 50 for label in labels) else []


def _label_table(instruction: str) -> list[str]:
    rows = [[c.strip() for c in line.strip().strip("|").split("|")] for line in instruction.splitlines() if "|" in line]
    if len(rows) < 4 or plain(rows[0][0]) not in ("label", "class", "category", "intent", "topic", "tag"):
        return []
    return [_bare(row[0]) for row in rows[2:]]


def _conditional(instruction: str) -> list[str]:
    return [(m["label"] or m["other"]).strip() for m in CONDITIONAL.finditer(instruction)]


def _bare(item: str) -> str:
    return re.sub(r"^(?:an?|the)\s+(?=\w)", "", item.strip().strip("\"“”'‘’`*_ ").strip())
