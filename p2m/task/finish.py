"""From a draft to a ``TaskSpec``: infer what was not said, and refuse what contradicts itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from p2m.data.labelled import map_label, read_labelled
from p2m.data.structured import label_set
from p2m.outputs import format_labels, parse_number
from p2m.task.draft import Draft, Shown
from p2m.task.fields import METRICS
from p2m.task.infer import LABEL_CHARS, Pairs, are_label_sets, infer, infer_metric
from p2m.task.phrases import scale_said, wants_entities
from p2m.task.spec import Example, Kind, Metric, TaskSpec

SCRIPTS = (
    ("ja", r"[\u3040-\u30ff]"),
    ("ko", r"[\uac00-\ud7af]"),
    ("zh", r"[\u4e00-\u9fff]"),
    ("ru", r"[\u0400-\u04ff]"),
    ("ar", r"[\u0600-\u06ff]"),
    ("he", r"[\u0590-\u05ff]"),
    ("hi", r"[\u0900-\u097f]"),
    ("th", r"[\u0e00-\u0e7f]"),
    ("el", r"[\u0370-\u03ff]"),
)
SCRIPT_SHARE = 0.2


@dataclass(frozen=True)
class NeedsLLM:
    """Code cannot tell what the text asks for; one LLM call may (``load_task_with``). ``reason`` is for the user."""

    draft: Draft
    reason: str


def finish(draft: Draft) -> TaskSpec | NeedsLLM:
    """The complete task. Raises ``BadInput`` for a task that is empty or contradicts itself."""
    if not draft.instruction.strip():
        if draft.examples:
            raise draft.place.bad("the task has examples but no instruction", "Say in a sentence what is to be done.")
        raise draft.place.bad("the task is empty", "Say in a sentence what is to be done, and give a few examples.")
    fields = draft.fields
    if fields.labels and fields.kind not in (None, "classify", "extract"):
        raise draft.at("labels").bad(
            f"labels are for kinds classify and extract, but kind is {fields.kind}", "Remove one of them."
        )
    examples, notes = _without_repeats(draft.examples)
    pairs: Pairs = [(s.input, s.output) for s in examples]
    evidence, origin = _evidence(draft, pairs)
    kind, labels, said = _kind(draft, evidence, origin)
    several = kind == "classify" and (fields.multi_label or are_label_sets(evidence))
    nameless = kind == "extract" and not labels and not evidence and wants_entities(draft.instruction)
    if kind is None or (kind == "classify" and not labels) or nameless:
        what = "its labels" if kind else "whether it classifies, generates, extracts or rates"
        return NeedsLLM(draft, f"the task does not say {what}, and has no examples that show it")
    scale = fields.scale
    if several:
        examples = _label_sets(examples, labels)
    elif kind == "score":
        scale = fields.scale or _scale(draft.instruction, evidence)
        _numbers(examples, scale)
    elif kind == "classify":
        examples = _labelled(draft, examples, labels, inferred=not fields.labels)
    metric, metric_notes = _metric(draft, kind, evidence, _default(kind, labels, several))
    language, language_notes = _language(draft, examples)
    return TaskSpec(
        name=fields.name or _name(draft),
        instruction=draft.instruction.strip(),
        kind=kind,
        labels=labels,
        multi_label=several,
        scale=scale,
        examples=tuple(Example(input=s.input, output=s.output) for s in examples),
        metric=metric,
        target=fields.target,
        language=language,
        validation=fields.validation,
        train=fields.train,
        input_column=fields.input_column,
        output_column=fields.output_column,
        budget=fields.budget,
        student=fields.student,
        notes=(*draft.notes, *notes, *said, *metric_notes, *language_notes),
    )


def _without_repeats(examples: Sequence[Shown]) -> tuple[list[Shown], list[str]]:
    kept: dict[str, Shown] = {}
    repeats = 0
    for shown in examples:
        key = " ".join(shown.input.split())
        first = kept.setdefault(key, shown)
        if first is shown:
            continue
        if " ".join(first.output.split()) != " ".join(shown.output.split()):
            line = f" (line {first.place.line})" if first.place.line else ""
            raise shown.place.bad(
                f"the examples contradict each other: {_short(shown.input)} has the output {_short(shown.output)} here "
                f"and {_short(first.output)} before{line}",
                "Keep the right one.",
            )
        repeats += 1
    notes = [f"{repeats} repeated example{'s' if repeats > 1 else ''} left out"] if repeats else []
    return list(kept.values()), notes


def _evidence(draft: Draft, pairs: Pairs) -> tuple[Pairs, str]:
    """What kind and labels are read from: the user's files where there are some, with the examples.

    Files are read even where nothing is to be inferred, so that a bad one is refused before any work is done.
    """
    fields, rows = draft.fields, []
    for path in dict.fromkeys(p for p in (fields.train, fields.validation) if p):
        rows += read_labelled(
            path,
            kind=fields.kind,
            labels=fields.labels if fields.kind != "extract" else (),
            multi_label=fields.multi_label,
            input_column=fields.input_column,
            output_column=fields.output_column,
        )
    if not rows:
        return pairs, "the examples"
    return [*((row.input, row.output) for row in rows), *pairs], "the labelled files"


def _kind(draft: Draft, evidence: Pairs, origin: str) -> tuple[Kind | None, tuple[str, ...], tuple[str, ...]]:
    fields = draft.fields
    if fields.labels:
        return fields.kind or "classify", fields.labels, ()
    found = infer(draft.instruction, evidence, told=fields.kind, origin=origin, multi_label=fields.multi_label)
    if found.kind == "classify" and len(found.labels) == 1:
        raise draft.place.bad(
            f"all examples have one label, {_short(found.labels[0])}: nothing to tell apart",
            "Write labels: [first, second], or add examples of the others.",
        )
    long = next((label for label in found.labels if len(label) > LABEL_CHARS), None)
    if long:
        raise draft.at("kind").bad(f"{_short(long)} is too long for a label", "Write kind: generate, or short labels.")
    return found.kind, found.labels, found.notes


def _labelled(draft: Draft, examples: list[Shown], labels: tuple[str, ...], *, inferred: bool) -> list[Shown]:
    mapped = []
    for number, shown in enumerate(examples, 1):
        label = map_label(shown.output, labels)
        if label is None:
            source = "the labels that the instruction names" if inferred else "the labels"
            raise shown.place.bad(
                f"example {number} ({_short(shown.input)}) has the output {_short(shown.output)}, which is not among "
                f"{source}: {', '.join(labels)}",
                "Correct the example, or write all labels under labels:.",
            )
        mapped.append(replace(shown, output=label))
    return mapped


def _label_sets(examples: list[Shown], labels: tuple[str, ...]) -> list[Shown]:
    made = []
    for number, shown in enumerate(examples, 1):
        chosen = [map_label(said, labels) for said in label_set(shown.output)]
        if None in chosen:
            raise shown.place.bad(
                f"example {number} ({_short(shown.input)}) has the output {_short(shown.output)}, which is not among "
                f"the labels: {', '.join(labels)}",
                "Correct the example, or write all labels under labels:.",
            )
        made.append(replace(shown, output=format_labels([c for c in chosen if c], labels)))
    return made


def _numbers(examples: Sequence[Shown], scale: tuple[float, float] | None) -> None:
    for number, shown in enumerate(examples, 1):
        try:
            value = parse_number(shown.output)
        except ValueError as error:
            raise shown.place.bad(f"example {number}: {error}", "Write a number.") from None
        if scale and not scale[0] <= value <= scale[1]:
            raise shown.place.bad(
                f"example {number}: {value:g} is not on the scale {scale[0]:g} to {scale[1]:g}", "Correct one of them."
            )


def _scale(instruction: str, evidence: Pairs) -> tuple[float, float] | None:
    """What the instruction says, where no known rating is off it."""
    said = scale_said(instruction)
    try:
        return said if said and all(said[0] <= parse_number(o) <= said[1] for _, o in evidence) else None
    except ValueError:
        return None


def _default(kind: Kind, labels: Sequence[str], several: bool) -> Metric | None:
    """The metric where the kind alone does not say it."""
    if several:
        return "micro_f1"
    return "span_f1" if kind == "extract" and labels else None


def _metric(draft: Draft, kind: Kind, evidence: Pairs, default: Metric | None) -> tuple[Metric, tuple[str, ...]]:
    metric = draft.fields.metric
    if metric is None and default is not None:
        return default, ()
    if metric is None:
        return infer_metric(kind, evidence)
    if metric not in METRICS[kind]:
        at = draft.at("metric" if "metric" in draft.fields.places else "target")
        raise at.bad(f"{metric} is no metric for kind {kind}", f"Use {' or '.join(METRICS[kind])}.")
    return metric, ()


def _language(draft: Draft, examples: Sequence[Shown]) -> tuple[str, tuple[str, ...]]:
    if draft.fields.language:
        return draft.fields.language, ()
    text = "".join(s.input for s in examples) or draft.instruction
    letters = sum(c.isalpha() for c in text)
    for language, script in SCRIPTS:
        if letters and len(re.findall(script, text)) > SCRIPT_SHARE * letters:
            return language, (f"language: {language} (by its script)",)
    return "en", ()


def _name(draft: Draft) -> str:
    words = re.sub(r"[\x00-\x1f/\\]+", " ", draft.name or " ".join(draft.instruction.split()[:6])).strip(" .:;,")
    return words[:60].strip() or "task"


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= 60 else f"{flat[:57]}...")
