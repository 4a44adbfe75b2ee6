"""The referee's rows: a validation set and a sealed test set, fixed before anything is generated or trained."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from p2m import kinds
from p2m.data.labelled import read_for
from p2m.data.near import Embed, HeldOutGuard, deduplicate, normalise
from p2m.data.split import FEW, FEWEST_CHECKS, Use, split
from p2m.errors import BadInput, P2MError, ToolFailure
from p2m.evaluate.intervals import wilson
from p2m.files import digest, file_digest, write_atomic
from p2m.rows import Row, read_rows, write_rows
from p2m.store import Store
from p2m.task.spec import TaskSpec

_PRECEDENCE = {"generated": 0, "dataset": 1, "user": 2}


@dataclass(frozen=True)
class HeldOutSet:
    """``source`` is ``user``, ``dataset:NAME`` or ``generated``; ``leftover`` rows may train; ``removed`` counts rows
    that are in no split, by reason: ``demonstration``, ``duplicate``, ``contradiction`` (one text, two labels),
    ``merged`` (one text, two right answers: the first row has both).

    ``check`` are a user's few rows beside generated ones: they choose nothing, train nothing, and correct the estimate.
    """

    source: str
    validation: list[Row]
    test: list[Row]
    leftover: list[Row]
    removed: dict[str, int]
    notes: tuple[str, ...]
    check: tuple[Row, ...] = ()


def better(new_source: str, old_source: str) -> bool:
    """May rows of ``new_source`` replace those of ``old_source``? The user's beat a dataset's, which beat generated."""
    return _PRECEDENCE[new_source.partition(":")[0]] > _PRECEDENCE[old_source.partition(":")[0]]


class Referee:
    """Fixes held-out rows and stores them as an artifact. ``embed`` None leaves paraphrases of demonstrations in."""

    def __init__(self, store: Store, embed: Embed | None) -> None:
        self._store = store
        self._embed = embed

    def fix_from_file(self, task: TaskSpec, seed: int) -> HeldOutSet:
        """Hold out the task's ``validation`` file: none of it trains. Where there is only a ``train`` file, hold out at
        most half of that, with the rest as ``leftover``.

        Raises ``BadInput``: no file named, one that cannot be read, unknown labels, too few rows.
        """
        path = task.validation or task.train
        if path is None:
            raise BadInput("the task names no labelled file", where="validation", fix="Name one, or leave it to p2m")
        rows = read_for(task, path)
        return self._fix(task, rows, "user", seed, path, "validation_file" if task.validation else "training_file")

    def few_rows(self, task: TaskSpec) -> list[Row]:
        """The rows of the task's ``validation`` file where they are too few to hold out but enough to check generated
        rows with (8 to 39); else none. Raises as ``fix_from_file`` for a file that cannot be read."""
        if task.validation is None:
            return []
        rows = read_for(task, task.validation)
        if not FEWEST_CHECKS <= len(rows) < FEW:
            return []
        clean, _ = self._clean(task, rows, "user")
        return clean if len(clean) >= FEWEST_CHECKS else []

    def fix_from_rows(self, task: TaskSpec, rows: Sequence[Row], source: str, seed: int) -> HeldOutSet:
        """Hold out a dataset's test split (``dataset:NAME``) or rows that the teacher agrees on (``generated``).

        Raises ``BadInput`` for too few rows or labels that the task has not.
        """
        return self._fix(task, rows, source, seed, source, "test_split")

    def save(self, held_out: HeldOutSet) -> str:
        """Store both splits; the same rows give the same handle."""
        splits = {"validation": held_out.validation, "test": held_out.test}
        if held_out.check:
            splits["check"] = list(held_out.check)
        content = {name: [[r.input, r.output] for r in rows] for name, rows in splits.items()}
        handle = self._store.handle("ho", source=held_out.source, rows=digest(content))
        if self._store.has(handle):
            return handle
        with self._store.writing(handle) as folder:
            sha256 = {}
            for name, rows in splits.items():
                file = folder / f"{name}.jsonl"
                write_rows(file, rows)
                sha256[name] = file_digest(file)
            meta = {
                "source": held_out.source,
                "removed": held_out.removed,
                "notes": held_out.notes,
                "sha256": sha256,
            }
            write_atomic(folder / "meta.json", json.dumps(meta, ensure_ascii=False, indent=1))
        return handle

    def _fix(self, task: TaskSpec, rows: Sequence[Row], source: str, seed: int, where: str, use: Use) -> HeldOutSet:
        is_classifier = kinds.of(task).answers_are_labels
        if is_classifier and task.labels and (unknown := sorted({r.output for r in rows} - set(task.labels))):
            shown = ", ".join(map(repr, unknown[:5]))
            raise BadInput(f"labels that the task has not: {shown}", where=where, fix=f"It has {list(task.labels)}")
        clean, removed = self._clean(task, rows, source)
        drawn = split(clean, seed, use=use, strata=kinds.of(task).strata(clean), where=where)
        notes = list(drawn.notes)
        if is_classifier and (unseen := [x for x in task.labels if x not in {r.output for r in clean}]):
            notes.append(
                f"no held-out row has the label {', '.join(unseen)}: how well it is told apart is not measured"
            )
        if is_classifier:
            low, high = wilson(0.8 * len(drawn.test), len(drawn.test))
            notes.append(
                f"{len(drawn.test)} test rows: an accuracy of 0.80 would have the 95% interval {low:.2f} to {high:.2f}"
            )
        if use == "validation_file" and drawn.leftover:
            notes.append(
                f"{len(drawn.leftover)} rows of {where} are used for nothing: more would not sharpen the estimate"
            )
        leftover = [] if use == "validation_file" else drawn.leftover
        return HeldOutSet(source, drawn.validation, drawn.test, leftover, removed, tuple(notes))

    def _clean(self, task: TaskSpec, rows: Sequence[Row], source: str) -> tuple[list[Row], dict[str, int]]:
        """Without demonstrations (they train), contradictions and repetitions.

        Of real rows only exact repetitions go: what users nearly repeat is what they ask. A generator's
        near-repetitions are its own habit, and would make the sample look larger than it is.
        """
        removed: Counter[str] = Counter()
        admitted = HeldOutGuard([e.input for e in task.examples], self._embed).admit(rows)
        removed["demonstration"] = len(admitted.removed)
        kept = admitted.kept
        kept, settled = kinds.of(task).settle(kept)
        removed.update(settled)
        if source == "generated":
            unique = deduplicate(kept, self._embed).kept
        else:
            unique = list({normalise(row.input): row for row in reversed(kept)}.values())[::-1]
        removed["duplicate"] += len(kept) - len(unique)
        return unique, {reason: count for reason, count in removed.items() if count}


def open_validation(store: Store, handle: str) -> list[Row]:
    """The validation rows. Raises ``ToolFailure`` for no such artifact, ``P2MError`` where the file was changed."""
    return _open(store, handle, "validation")


def open_test(store: Store, handle: str) -> list[Row]:
    """The sealed test rows: for the loop's last step only, once, after the student is chosen. No tool imports this.

    Raises like ``open_validation``.
    """
    return _open(store, handle, "test")


def open_check(store: Store, handle: str) -> list[Row]:
    """The user's few rows beside generated ones, none where there are none: sealed like the test.

    ``meta["teacher"]`` is what the teacher says of a row, where it was asked.
    """
    return _open(store, handle, "check") if "check" in store.meta(handle).get("sha256", {}) else []


def guard_texts(store: Store, handle: str) -> list[str]:
    """The inputs of all splits, for ``HeldOutGuard`` and for nothing that is shown."""
    held_out = [row for name in ("validation", "test") for row in _open(store, handle, name)]
    return [row.input for row in (*held_out, *open_check(store, handle))]


def _open(store: Store, handle: str, name: str) -> list[Row]:
    fixed = store.meta(handle).get("sha256", {}).get(name)
    if fixed is None:
        raise ToolFailure("invalid_args", f"{handle} holds no held-out rows")
    file: Path = store.path(handle) / f"{name}.jsonl"
    if not file.is_file() or file_digest(file) != fixed:
        raise P2MError(f"{file} was changed after it was fixed: no estimate on it is honest. Start a new run")
    return read_rows(file)
