"""JSON tasks: Instruction Induction, Super-NaturalInstructions, and files with the keys of the front matter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from p2m.data.jsonrows import parse_json
from p2m.data.labelled import read_labelled
from p2m.data.taskdocument import is_induction, is_superni, unusable
from p2m.errors import BadInput
from p2m.rows import Row
from p2m.task.draft import TASK_TEXT, Draft, Fields, Place, Shown
from p2m.task.infer import balanced, infer
from p2m.task.markdown import Lines, load_yaml, read_keys
from p2m.task.styles import pair_of

DEMONSTRATIONS = 8
LINES_UP_TO = 1_000_000


def read_json_task(text: str, path: Path | None) -> Draft:
    """The draft of a JSON task file. Raises ``BadInput`` for broken JSON and for JSON that is no task."""
    where = str(path) if path else TASK_TEXT
    document = parse_json(text, where)
    if path and is_induction(document):
        return _induction(document, path)
    if path and is_superni(document):
        return _superni(document, path)
    if isinstance(document, list):
        raise BadInput(
            "this is a list of examples without an instruction",
            where=where,
            fix='Write {"instruction": "what to do", "examples": [...]}, or name the file as train: in a task file.',
        )
    if not isinstance(document, dict):
        raise BadInput("this JSON is no task", where=where, fix='Write {"instruction": "what to do", ...}.')
    return read_keys(text, path, _as_written(document), _lines(text, where))


def _induction(document: dict[str, Any], path: Path) -> Draft:
    annotations = document["annotations"]
    told = annotations.get("annotations") if isinstance(annotations, dict) else annotations
    if not (isinstance(told, list) and told and isinstance(told[0], str)):
        raise BadInput("annotations holds no description of the task", where=str(path))
    rows = read_labelled(f"{path}#induce")
    pairs = [(row.input, row.output) for row in rows]
    labels = infer(told[0], pairs).labels
    shown = [_shown(rows[i], path) for i in balanced(pairs, labels, DEMONSTRATIONS)]
    return _benchmark(document, path, told[0], tuple(shown), train="induce", held_out="execute")


def _superni(document: dict[str, Any], path: Path) -> Draft:
    definition = document["Definition"]
    text = definition[0] if isinstance(definition, list) and definition else definition
    if not isinstance(text, str) or not text.strip():
        raise BadInput("Definition holds no text", where=str(path))
    pairs = [pair_of(example) for example in document.get("Positive Examples", ())]
    shown = tuple(Shown(*pair, Place(str(path))) for pair in pairs if pair)
    return _benchmark(document, path, text, shown, train="train", held_out="test")


def _benchmark(
    document: dict[str, Any], path: Path, instruction: str, shown: tuple[Shown, ...], *, train: str, held_out: str
) -> Draft:
    here = {key: f"{path.resolve()}#{key}" for key in (train, held_out) if document.get(key)}
    notes = []
    for key in here:
        if left_out := sum(unusable(document, row) for row in document[key] if isinstance(row, dict)):
            notes.append(f"{left_out} row of {key} has no input and is left out" if left_out == 1
                         else f"{left_out} rows of {key} have no input and are left out")  # fmt: skip
    fields = Fields(train=here.get(train), validation=here.get(held_out))
    name = str(document.get("task") or path.stem)
    return Draft(Place(str(path)), instruction, instruction.strip(), fields, shown, name, tuple(notes))


def _shown(row: Row, path: Path) -> Shown:
    return Shown(row.input, row.output, Place(str(path), row.meta["line"]))


def _as_written(value: Any) -> Any:
    """JSON values as the front matter has them: scalars as text."""
    if isinstance(value, dict):
        return {key: _as_written(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_written(item) for item in value]
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _lines(text: str, where: str) -> Lines:
    if len(text) > LINES_UP_TO:
        return {}
    try:
        return load_yaml(text, where)[1]  # JSON is YAML, but for a few escapes and tabs: then no lines are known
    except BadInput as error:
        if "given twice" in error.problem:
            raise
        return {}
