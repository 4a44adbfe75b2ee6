"""The training rows as a dataset for others: the rows, and a card that says where each is from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from p2m import __version__, kinds
from p2m.rows import Row
from p2m.task.spec import TaskSpec

_FROM = {
    "user": "labelled by the person who made the model",
    "demonstration": "the examples of the task's description",
    "generated": "written by a language model; no person has checked them",
}


def dataset_files(
    task: TaskSpec,
    rows: Sequence[Row],
    licenses: Mapping[str, str],
    removed: Mapping[str, int],
    revisions: Mapping[str, str],
) -> dict[str, bytes]:
    """``train.jsonl`` (text, label or output, source, source_row) and its README.md.

    ``licenses`` and ``revisions`` are those of the source datasets by id; ``removed`` counts the rows that training
    left out, by reason.
    """
    answer = "label" if kinds.of(task).answers_are_labels else "output"
    lines = []
    for row in rows:
        record = {"text": row.input, answer: row.output, "source": row.source, "source_row": row.meta.get("row")}
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    return {
        "train.jsonl": "".join(lines).encode(),
        "README.md": _card(task, rows, licenses, removed, revisions).encode(),
    }


def _card(
    task: TaskSpec,
    rows: Sequence[Row],
    licenses: Mapping[str, str],
    removed: Mapping[str, int],
    revisions: Mapping[str, str],
) -> str:
    import yaml

    counts = Counter(row.source for row in rows)
    used = sorted({_dataset(source) for source in counts if source.startswith("dataset:")})
    stated = {licenses.get(name, "") for name in used}
    header: dict[str, object] = {"pretty_name": f"Training rows of {_line(task.name)}", "language": [task.language]}
    # Rows under several licences, or beside rows that nobody has licensed, have none of their own.
    alone = len(stated) == 1 and set(counts) == {s for s in counts if s.startswith("dataset:")}
    header |= {"license": stated.pop() or "other"} if alone else {"license": "other"}
    words = kinds.of(task).card(task.labels)
    header |= {"task_categories": [words.pipeline], "tags": ["p2m"]}
    header |= {"configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "train.jsonl"}]}]}
    parts = [
        f"# Training rows of {_line(task.name)}",
        f"The {len(rows):,} rows that p2m {__version__} gathered for the model of this task:\n\n"
        + "\n".join(f"> {line}".rstrip() for line in task.instruction.strip().splitlines()),
        *(("Labels: " + ", ".join(f"`{_line(label)}`" for label in task.labels),) if task.labels else ()),
        "## Where they are from\n\n| rows | source |\n| --: | --- |\n"
        + "\n".join(f"| {n:,} | {_said(source, licenses, revisions)} |" for source, n in counts.most_common()),
        "Each row names its source, and its place there (`source_row`, from 0). The rows the classifier was scored on "
        "are not among them."
        + (f" Training left out {', '.join(f'{n} ({reason})' for reason, n in removed.items())}." if removed else ""),
        "The licence of each source holds for its rows." if used else "",
    ]
    text = yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
    return f"---\n{text}---\n" + "\n\n".join(p for p in parts if p) + "\n"


def _said(source: str, licenses: Mapping[str, str], revisions: Mapping[str, str]) -> str:
    if not source.startswith("dataset:"):
        return _FROM.get(source, _line(source))
    name = _dataset(source)
    at = f" at {_line(revisions[name])}" if name in revisions else ""
    return f"`{_line(source.partition(':')[2])}`{at}, licence {_line(licenses.get(name, '') or 'not stated')}"


def _dataset(source: str) -> str:
    """``org/name`` of ``dataset:org/name/split``."""
    return str(PurePosixPath(source.partition(":")[2]).parent)


def _line(text: str) -> str:
    return " ".join(text.replace("`", "'").replace("|", "\\|").split())
