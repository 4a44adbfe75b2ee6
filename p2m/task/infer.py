"""What the user did not say, read off the outputs: kind, labels, metric. Everything inferred is said in words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from p2m.data.labelled import map_label
from p2m.data.names import plain
from p2m.data.structured import label_set
from p2m.outputs import parse_labels, parse_spans
from p2m.task.phrases import kind_said, labels_said, sounds_like_classes, span_labels_said, wants_entities
from p2m.task.spec import DEFAULT_METRIC, Kind, Metric

ALMOST_ALL = 0.9
LABEL_WORDS, LABEL_CHARS = 6, 60
SCALE = 11  # a rating has at most the steps 0 to 10; more different numbers are amounts
SHORT_WORDS, SHORT_CHARS = 3, 24
RATES = re.compile(r"\b(rat(e|es|ing|ings)|scor(e|es|ing)|scale|how (well|much|good|similar|likely|strongly))\b", re.I)
NOTHING = {"", "n/a", "na", "none", "-", "null", "nothing"}

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Inferred:
    """``kind`` is ``None`` where neither the text nor the outputs tell it."""

    kind: Kind | None
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def infer(
    instruction: str,
    pairs: Pairs,
    *,
    told: Kind | None = None,
    origin: str = "the examples",
    multi_label: bool = False,
) -> Inferred:
    """Kind and labels from the instruction and ``pairs`` of input and output; ``told`` is the kind the user gave.

    Outputs decide where there are any: a label set is a few short outputs that come again and are not copied from
    their inputs; an extraction copies its answer from the input. ``origin`` names the pairs in the notes.
    """
    said = labels_said(instruction)
    outputs = [output for _, output in pairs]
    if told in (None, "extract") and (found := span_labels(outputs)):
        return Inferred("extract", found, (f"kind: extract; labels: {', '.join(found)} (the spans of {origin})",))
    if told in ("generate", "score") or (told == "extract" and outputs):
        return Inferred(told)
    if not outputs and told in (None, "extract"):
        word = told or kind_said(instruction)
        if word == "extract" and (told or not said or wants_entities(instruction)):
            return _extraction(instruction, told)
        if word == "score":
            return Inferred("score", (), ("kind: score (the instruction says the scale)",))
    if multi_label or are_label_sets(pairs):
        labels = tuple(dict.fromkeys(label for output in outputs for label in label_set(output)))
        return _classes(labels, f"the label sets of {origin}")
    if told is None and are_ratings(instruction, outputs):
        return Inferred("score", (), (f"kind: score (the outputs of {origin} are ratings with decimals)",))
    if said and outputs and sum(map_label(output, said) is not None for output in outputs) > len(outputs) / 2:
        return _classes(said, "the instruction names them")
    if not outputs:
        if said:
            return _classes(said, "the instruction names them")
        kind = told or kind_said(instruction)
        return Inferred(kind, (), (f"kind: {kind} (the instruction says so)",) if kind and not told else ())
    if told == "classify" or are_labels(instruction, pairs):
        return _classes(label_order(instruction, outputs), f"the different outputs of {origin}")
    if share(pairs, is_choice) >= ALMOST_ALL:
        return Inferred("generate", (), (f"kind: generate (in {origin}, each input lists its own alternatives)",))
    if share(pairs, is_copied) >= ALMOST_ALL:
        return Inferred("extract", (), (f"kind: extract (the outputs of {origin} are copied from their inputs)",))
    return Inferred("generate", (), (f"kind: generate (the outputs of {origin} are neither labels nor copies)",))


def infer_metric(kind: Kind, pairs: Pairs) -> tuple[Metric, tuple[str, ...]]:
    """The default metric of ``kind``, but exact match for a generator whose answers are single words or numbers.

    chrF gives part of the points for a wrong word that shares letters with the right one, and does not see spaces.
    """
    metric = DEFAULT_METRIC[kind]
    if kind == "generate" and pairs:
        if share(pairs, lambda _, o: len(o.split()) <= SHORT_WORDS and len(o) <= SHORT_CHARS) >= ALMOST_ALL:
            return "exact_match", ("metric: exact_match (the answers are short)",)
        if share(pairs, lambda i, o: "".join(i.split()).casefold() == "".join(o.split()).casefold()) >= ALMOST_ALL:
            return "exact_match", ("metric: exact_match (inputs and outputs differ in spaces only)",)
    return metric, ()


def are_labels(instruction: str, pairs: Pairs) -> bool:
    """Are the outputs a label set? Few, short, repeated; no copies; numbers only if they are a scale.

    With one or two examples a label nothing repeats: then the instruction must speak of classes, or name them all.
    """
    outputs = [output for _, output in pairs]
    distinct = set(outputs)
    if len(distinct) < 2 or any(len(o.split()) > LABEL_WORDS or len(o) > LABEL_CHARS or "\n" in o for o in distinct):
        return False
    if share(pairs, lambda i, o: plain(o) in plain(i)) >= ALMOST_ALL:
        return False
    if len(distinct) > SCALE and sum(bool(re.fullmatch(r"-?[\d.,]+", o)) for o in distinct) > len(distinct) / 2:
        return False
    if len(outputs) >= 4 and len(distinct) <= len(outputs) / 2:
        return True
    text = plain(instruction)
    named = all(plain(o) in text for o in distinct) and not any(_is_number(o) for o in distinct)
    short = all(len(o.split()) <= SHORT_WORDS for o in distinct)
    return len(outputs) < 50 and short and (named or sounds_like_classes(instruction))


def are_label_sets(pairs: Pairs) -> bool:
    """Is every output a JSON array of strings, as ``p2m.outputs`` writes label sets?"""
    return bool(pairs) and all(o == "[]" or (o.startswith('["') and len(parse_labels(o)) > 0) for _, o in pairs)


def span_labels(outputs: Sequence[str]) -> tuple[str, ...]:
    """The labels of outputs that are spans as ``p2m.outputs`` writes them, by first appearance; none for others."""
    if not all(o == "[]" or o.startswith("[{") for o in outputs):
        return ()
    try:
        return tuple(dict.fromkeys(span.label for output in outputs for span in parse_spans(output)))
    except ValueError:
        return ()


def are_ratings(instruction: str, outputs: Sequence[str]) -> bool:
    """Are the outputs numbers from 0 to at most 100, some with decimals, where the instruction speaks of rating?"""
    if len(outputs) < 4 or not all(_is_number(o) and re.fullmatch(r"-?\d+(\.\d+)?", o) for o in outputs):
        return False
    values = [float(o) for o in outputs]
    decimals = any(v != int(v) for v in values)
    return decimals and min(values) >= 0 and max(values) <= 100 and bool(RATES.search(instruction))


def label_order(instruction: str, outputs: Sequence[str]) -> tuple[str, ...]:
    """Labels in the order the instruction names them; else by their leading number; else by first appearance."""
    labels = list(dict.fromkeys(outputs))
    text = instruction.casefold()
    if all(label.casefold() in text for label in labels):
        return tuple(sorted(labels, key=lambda label: text.index(label.casefold())))
    if all(re.match(r"-?\d", label) for label in labels):
        return tuple(sorted(labels, key=lambda label: float(re.match(r"-?\d+(?:\.\d+)?", label)[0])))  # type: ignore[index]
    return tuple(labels)


def share(pairs: Pairs, test: object) -> float:
    """The fraction of pairs with an answer for which ``test(input, output)`` holds."""
    assert callable(test)
    answered = [(i, o) for i, o in pairs if o.strip().casefold() not in NOTHING] or list(pairs)
    return sum(bool(test(i, o)) for i, o in answered) / len(answered) if answered else 0.0


def is_copied(source: str, answer: str) -> bool:
    """Is ``answer`` whole words of ``source`` in one piece, several pieces between , ; |, or a few words in order?"""
    if _holds(source, answer):
        return True
    pieces = [p.strip() for p in re.split(r"[,;|]", answer)]
    if len(pieces) > 1 and all(p and _holds(source, p) for p in pieces):
        return True
    words, wanted = source.casefold().split(), answer.casefold().split()
    given = iter(word.strip(".,;:!?\"'()") for word in words)
    return len(wanted) <= len(words) / 2 and all(word in given for word in wanted)


def is_choice(source: str, answer: str) -> bool:
    """Is ``source`` nothing but a few alternatives ("wolf, ferret") and ``answer`` one of them?

    To name the better of two is to judge, not to find a span: such a task is generated.
    """
    items = [plain(item) for item in re.split(r"\s*(?:,|;|\||/|\bor\b|\bvs\b\.?)\s*", source)]
    return 2 <= len(items) <= 4 and plain(answer) in items


def balanced(pairs: Pairs, labels: Sequence[str], most: int) -> list[int]:
    """Positions of up to ``most`` pairs in file order: as many of each label, no input twice."""
    quota = max(1, most // len(labels)) if labels else most
    taken: list[int] = []
    count: Counter[str] = Counter()
    inputs: set[str] = set()
    for i, (source, answer) in enumerate(pairs):
        group = answer if labels else ""
        if len(taken) < most and count[group] < quota and source not in inputs:
            taken.append(i)
            count[group] += 1
            inputs.add(source)
    return taken


def _extraction(instruction: str, told: Kind | None) -> Inferred:
    """Without an output to see, the instruction says what spans there are, or that there is one answer."""
    labels = span_labels_said(instruction)
    why = "the instruction says so" if told is None else "the instruction names them"
    if labels:
        return Inferred("extract", labels, (f"kind: extract; labels: {', '.join(labels)} ({why})",))
    return Inferred("extract", (), () if told else (f"kind: extract ({why})",))


def _classes(labels: tuple[str, ...], why: str) -> Inferred:
    return Inferred("classify", labels, (f"kind: classify; labels: {', '.join(labels)} ({why})",))


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"-?[\d.,]+", text))


def _holds(source: str, piece: str) -> bool:
    # A CJK answer has no word boundary: it is looked for as it stands.
    edge = r"(?<!\w)", r"(?!\w)"
    pattern = re.escape(piece.strip().casefold())
    cjk = re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", piece)
    return bool(re.search(pattern if cjk else f"{edge[0]}{pattern}{edge[1]}", source.casefold()))
