"""The conversation that ends in a task: a person says what they want, p2m reads it and asks at most two questions.

The terminal app and ``p2m chat --plain`` show the same conversation; neither has a logic of its own.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from p2m.data.labelled import read_labelled
from p2m.errors import BadInput
from p2m.task.parse import DATA_SUFFIXES, NeedsLLM, Overrides, load_task, load_task_with
from p2m.task.spec import TaskSpec

if TYPE_CHECKING:
    from p2m.llm.client import ChatModel

MOST_QUESTIONS = 2
# A file with more rows than this is training data, split by the referee; fewer are demonstrations.
MOST_EXAMPLES = 40
LABEL_CHARS = 40
About = Literal["labels", "examples"]


@dataclass(frozen=True)
class Question:
    """What p2m asks back, and what the answer is about. Any words are an answer; an empty one goes on without."""

    about: About
    text: str


@dataclass(frozen=True)
class Ready:
    """The task as read so far: to be confirmed, changed, or talked about further."""

    task: TaskSpec


@dataclass(frozen=True)
class Unclear:
    """The words do not say what the task is, and the person has nothing more to say: a model may read them."""

    reason: str


Reply = Question | Ready | Unclear

LABELS_QUESTION = (
    "Which answers are there to choose from? Write them with commas, e.g. positive, negative. "
    "(Empty: a language model reads your words.)"
)
EXAMPLES_QUESTION = (
    "Can you show a few? One a line as: input => answer. Also a path of a CSV file. Two or three of each answer help "
    "most. (Empty: go on without.)"
)


class Chat:
    """What has been said so far. ``overrides`` are the person's edits, as the options of ``p2m run`` are."""

    def __init__(self, overrides: Overrides | None = None) -> None:
        self.source = ""
        self.overrides = overrides or Overrides()
        self.asked: list[Question] = []

    def hear(self, text: str) -> Reply:
        """Take in a message or the answer to the last question. Raises ``BadInput``, one line, where it cannot be
        used; what was said before it stays."""
        before = self.source, self.overrides
        last = self.asked[-1] if self.asked else None
        try:
            self._take(text.strip(), last)
            return self._reply()
        except BadInput:
            self.source, self.overrides = before
            raise

    async def read_with(self, model: ChatModel) -> TaskSpec:
        """The task as ``model`` reads the words. Raises ``BadInput`` where that is of no use."""
        task = await load_task_with(self.source, model, overrides=self.overrides)
        self.overrides = replace(self.overrides, kind=task.kind, labels=task.labels)
        return task

    def _take(self, text: str, last: Question | None) -> None:
        path = _path(text)
        if path is not None and path.suffix.lower() in DATA_SUFFIXES:
            self._take_rows(path)
        elif last is not None and last.about == "labels" and text and _is_list(text):
            labels = [part.strip(" .") for part in re.split(r"[,;\n]| or ", text) if part.strip(" .")]
            self.overrides = replace(self.overrides, kind="classify", labels=tuple(dict.fromkeys(labels)))
        elif path is not None and not self.source:
            self.source = str(path)
        elif text:
            if self.overrides.target is None and (target := _target(text)):
                self.overrides = replace(self.overrides, target=target)
            self.source = "\n\n".join(filter(None, (self.source, with_examples(text))))

    def _take_rows(self, path: Path) -> None:
        if not self.source:
            raise BadInput(
                "these are examples; what is to be done with them?",
                where=str(path),
                fix="Say it in a sentence first, then give the file",
            )
        rows = read_labelled(
            str(path), input_column=self.overrides.input_column, output_column=self.overrides.output_column
        )
        pairs = [(row.input, row.output) for row in rows]
        if len(pairs) > MOST_EXAMPLES:
            self.overrides = replace(self.overrides, train=str(path.resolve()))
        else:
            self.source = "\n\n".join((self.source, _as_lines(pairs)))

    def _reply(self) -> Reply:
        if not self.source:
            raise BadInput("nothing was said yet", fix="Say in a sentence what is to be done")
        task = load_task(self.source, overrides=self.overrides)
        about = [q.about for q in self.asked]
        if isinstance(task, NeedsLLM):
            return self._ask(Question("labels", LABELS_QUESTION)) if "labels" not in about else Unclear(task.reason)
        few = len(task.examples) < len(task.labels)
        if few and not task.train and "examples" not in about and len(about) < MOST_QUESTIONS:
            return self._ask(Question("examples", EXAMPLES_QUESTION))
        return Ready(task)

    def _ask(self, question: Question) -> Question:
        self.asked.append(question)
        return question


def edited(
    task: TaskSpec,
    instruction: str,
    examples: str,
    *,
    several: bool | None = None,
    scale: str | None = None,
    **fields: object,
) -> TaskSpec:
    """``task`` with what was changed by hand on its card: the words, the examples (a line each, ``input => answer`` or
    JSON), whether a text has ``several`` labels, the ``scale`` of a rating (``1 to 5``), and fields of ``Overrides``.
    Raises ``BadInput`` that names the field where they contradict each other."""
    given = Overrides(
        name=task.name,
        kind=task.kind,
        labels=task.labels,
        metric=task.metric,
        target=task.target,
        language=task.language,
        validation=task.validation,
        train=task.train,
        input_column=task.input_column,
        output_column=task.output_column,
        budget=task.budget.model_dump(exclude_none=True),
        student=task.student.model_dump(exclude_none=True),
    )
    ends = list(task.scale or ()) if scale is None else [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", scale)]
    said: dict[str, object] = {"instruction": instruction.strip(), "examples": _read_lines(examples)}
    if ends:  # what no option of the command line says
        said["scale"] = ends
    if task.multi_label if several is None else several:
        said["multi_label"] = True
    source = json.dumps(said)
    changed = load_task(source, overrides=replace(given, **fields))  # type: ignore[arg-type]
    if isinstance(changed, NeedsLLM):
        raise BadInput(changed.reason, where="labels", fix="Give them with commas")
    return changed


def example_lines(task: TaskSpec) -> str:
    """The examples as they stand on the card; ``edited`` reads them again."""
    simple = all(
        "\n" not in e.input + e.output and not re.search(r"=>|->|→", e.input + e.output) for e in task.examples
    )
    if simple:
        return "\n".join(f"{e.input} => {e.output}" for e in task.examples)
    return _as_lines([(e.input, e.output) for e in task.examples])


def _read_lines(text: str) -> list[dict[str, str]]:
    """The examples on the card. Raises ``BadInput`` naming the line that is none."""
    pairs: list[tuple[str, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        parts = _pair(line.strip())
        if line.strip() and parts is None:
            raise BadInput(f"line {number} is no example: {line.strip()[:60]}", where="examples", fix=EXAMPLE_FIX)
        pairs += [parts] if parts else []
    return [{"input": i, "output": o} for i, o in pairs]


def _pair(line: str) -> tuple[str, str] | None:
    if line.startswith("{"):
        try:
            found = json.loads(line)
            return str(found["input"]), str(found["output"])
        except (ValueError, KeyError, TypeError):
            return None
    found = list(_ARROW.finditer(line))
    if not found:
        return None
    at = found[-1]
    pair = line[: at.start()].strip(), line[at.end() :].strip()
    return pair if all(pair) else None


def with_examples(text: str) -> str:
    """``text`` with its pasted table or ``input => answer`` lines written as JSON lines, which every task can hold."""
    lines = text.splitlines()
    block = _table(lines) or _arrows(lines)
    if block is None:
        return text
    start, end, pairs = block
    parts = ["\n".join(lines[:start]), _as_lines(pairs), "\n".join(lines[end:])]
    return "\n\n".join(part for part in parts if part.strip())


def _as_lines(pairs: list[tuple[str, str]]) -> str:
    return "\n".join(json.dumps({"input": i, "output": o}, ensure_ascii=False) for i, o in pairs)


_ARROW = re.compile(r"\s*(?:=>|->|→)\s*")
EXAMPLE_FIX = "Write each on a line: input => answer"
Block = tuple[int, int, list[tuple[str, str]]]
_HEADS = {"input", "text", "question", "sentence", "message", "output", "label", "answer", "class", "category"}


def _table(lines: list[str]) -> Block | None:
    """The longest run of lines that are two columns of CSV or TSV, the second one of a few short answers."""
    best: Block | None = None
    for delimiter in ("\t", ",", ";"):
        start = 0
        for end in range(len(lines) + 1):
            if end < len(lines) and len(_cells(lines[end], delimiter)) == 2:
                continue
            rows = [_cells(line, delimiter) for line in lines[start:end]]
            pairs = [(a, b) for a, b in rows if {a.lower(), b.lower()} - _HEADS]
            if _are_labelled(pairs) and (best is None or len(pairs) > len(best[2])):
                best = start, end, pairs
            start = end + 1
    return best


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return []
    return [c.strip() for c in cells] if all(c.strip() for c in cells) else []


def _are_labelled(pairs: list[tuple[str, str]]) -> bool:
    answers = Counter(answer for _, answer in pairs)
    return len(pairs) >= 3 and 2 <= len(answers) < len(pairs) and all(len(a) <= LABEL_CHARS for a in answers)


def _arrows(lines: list[str]) -> Block | None:
    """Lines ``input => answer`` that follow each other."""
    found = [(n, _ARROW.split(line.strip())) for n, line in enumerate(lines)]
    hits = [(n, parts) for n, parts in found if len(parts) == 2 and all(parts)]
    if not hits:
        return None
    start, end = hits[0][0], hits[-1][0] + 1
    if any(lines[n].strip() for n in range(start, end) if n not in {n for n, _ in hits}):
        return None
    return start, end, [(a.strip("\"'"), b.strip("\"'")) for _, (a, b) in hits]


def _target(text: str) -> str | None:
    """A score that the words ask for: ``at least 80% accuracy``, ``macro f1 above 0.7``."""
    number = r"(\d{1,3}(?:[.,]\d+)?\s*%|0?[.]\d+)"
    asked = r"(?:at least|>=|≥|above|over|minimum(?: of)?|reach(?:es|ing)?|target(?: of|:)?)"
    found = re.search(
        rf"{asked}\s*(?:an? )?(?:accuracy|score|macro[ -]?f1|f1)?\s*(?:of\s*)?{number}", text, re.IGNORECASE
    )
    if found is None:
        return None
    metric = "macro_f1>=" if re.search(r"\bf1\b", text, re.IGNORECASE) else ""
    return metric + found[1].replace(" ", "").replace(",", ".")


def _is_list(text: str) -> bool:
    """Whether this is a list of labels and not a sentence."""
    parts = [p.strip() for p in re.split(r"[,;\n]| or ", text) if p.strip()]
    return len(parts) >= 2 and all(len(p) <= LABEL_CHARS for p in parts) and with_examples(text) == text


def _path(text: str) -> Path | None:
    """The file that was typed or dropped: terminals quote it, escape its spaces or give a file: URL."""
    line = text.strip().removeprefix("file://").strip("'\"").replace("\\ ", " ")
    if not line or "\n" in line or len(line) > 400:
        return None
    path = Path(line).expanduser()
    try:
        return path if path.is_file() else None
    except OSError:
        return None
