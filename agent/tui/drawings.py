"""Results drawn for what they are, in characters: recall a label, confusions, baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.content import Content

from agent.plain import one_line

if TYPE_CHECKING:
    from p2m.rows import Row

MOST_LABELS = 12
FIRST_ROWS, LEFT_OUT = 6, 4
BAR = 20


def drawing(tool: str, data: Mapping[str, Any]) -> Content | None:
    """What the result of ``tool`` looks like; None where its words say it all."""
    draw = DRAWINGS.get(tool)
    lines = draw(data) if draw else []
    return Content("\n".join(lines)) if lines else None


def dataset_rows(run_dir: Path, kind: str, data: Mapping[str, Any]) -> Content | None:
    """The first rows of a dataset that a call made, a label each where there are labels, and what was left out, with
    the reason; None where it made none or its rows are gone."""
    from agent.answers import in_words
    from p2m.errors import P2MError
    from p2m.store import Store

    updates: list[dict[str, Any]] = data.get("datasets") or []
    made = data.get("dataset") or (updates[0].get("dataset") if updates else None)
    if not made:
        return None
    store = Store(run_dir / "artifacts")
    try:
        rows, meta = store.rows(made["handle"]), store.meta(made["handle"])
    except (P2MError, OSError, ValueError, KeyError):
        return None
    first: dict[str, list[Row]] = {}
    for row in rows:
        first.setdefault(row.output if made.get("labels") else "", []).append(row)
    shown = [row for n in range(FIRST_ROWS) for same in first.values() for row in same[n : n + 1]][:FIRST_ROWS]
    lines = [Content.styled(f"first of {len(rows):,} rows", "bold")]
    for row in shown:
        answer = one_line(in_words(kind, row.output), 24)
        lines.append(Content.assemble(("+ ", "$text-success"), f"{answer:<14} ", (one_line(row.input, 110), "dim")))
    for gone in (meta.get("removed_samples") or ())[:LEFT_OUT]:
        why = one_line(str(gone.get("reason", "")), 24)
        lines.append(Content.assemble(("x ", "$text-error"), f"{why:<14} ", (one_line(str(gone["input"]), 110), "dim")))
    return Content("\n").join(lines)


def _training(data: Mapping[str, Any]) -> list[str]:
    recalls = (data.get("experiment") or {}).get("per_label") or {}
    worst = sorted(recalls.items(), key=lambda item: item[1])[:MOST_LABELS]
    return ["recall on validation, lowest first", *(_bar(label, value) for label, value in worst)] if worst else []


def _baselines(data: Mapping[str, Any]) -> list[str]:
    return [_bar(b["system"], b["score"]["value"], 36) for b in data.get("baselines") or ()]


def _errors(data: Mapping[str, Any]) -> list[str]:
    analysis = data.get("analysis") or {}
    lines = []
    for cluster in (analysis.get("clusters") or ())[:4]:
        gold, said = one_line(cluster["gold"], 24), one_line(cluster["predicted"], 24)
        lines.append(f"{gold} taken for {said}, {cluster['count']} times:")
        lines += [f"    {one_line(example, 100)}" for example in cluster.get("texts", ())[:2]]
    return lines


def _delivery(data: Mapping[str, Any]) -> list[str]:
    lines = _confusion(data.get("confusion") or {})
    baselines = _baselines(data)
    return [*lines, "", *baselines] if lines and baselines else lines or baselines


def _confusion(confusion: Mapping[str, Any]) -> list[str]:
    """Rows are the true labels, columns what the student said; a dot is a zero."""
    labels, matrix = confusion.get("labels") or [], confusion.get("matrix") or []
    if not labels or len(labels) > MOST_LABELS:
        return []
    wide = max(len(one_line(label, 16)) for label in labels)
    cell = max(4, max(len(str(n)) for row in matrix for n in row) + 1)
    lines = ["true label, and how often each was said (sealed test)"]
    lines.append(" " * (wide + 1) + "".join(f"{chr(ord('a') + i):>{cell}}" for i in range(len(labels))))
    for i, (label, row) in enumerate(zip(labels, matrix, strict=True)):
        shown = "".join(f"{n or '.':>{cell}}" for n in row)
        lines.append(f"{one_line(label, 16):<{wide}} {shown}  {chr(ord('a') + i)}")
    return lines


def _bar(label: str, value: float, wide: int = 18) -> str:
    done = round(BAR * min(1.0, max(0.0, value)))
    return f"{one_line(label, wide):<{wide}} {'#' * done}{'.' * (BAR - done)} {value:.3f}"


DRAWINGS: dict[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "fine_tune": _training,
    "baselines": _baselines,
    "evaluate": _errors,
    "deliver": _delivery,
}
