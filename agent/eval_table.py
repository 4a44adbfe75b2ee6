"""``p2m eval``: a delivered model on a labelled file, as numbers and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from p2m import kinds
from p2m.errors import BadInput
from p2m.evaluate.calibration import ece
from p2m.evaluate.errors import Fault
from p2m.evaluate.intervals import Estimate
from p2m.evaluate.metrics import LabelScore, confusions
from p2m.evaluate.slices import Slice, slices
from p2m.outputs import parse_labels
from p2m.task.spec import TaskSpec

if TYPE_CHECKING:
    from rich.table import Table

    from p2m.evaluate.predict import Prediction

MATRIX_LABELS = 10
TOP_CONFUSIONS = 15


@dataclass(frozen=True)
class Evaluation:
    """``estimates``: the task's metric first, then the others of its kind. ``confusions`` holds
    (gold, predicted, count) of every pair that occurs; ``truncated`` counts texts longer than the model reads,
    ``unfinished`` written answers that the limit on their length cut.
    ``used_for`` says what the run itself did with this file, empty where it never saw it. ``ece`` is the expected
    calibration error of the answers' probabilities, None where there are none. ``faults`` is what is wrong with answers
    that are no labels; ``counted`` is what faults and supports count, ``highlights`` says in a
    sentence what stands out where there are no labels."""

    file: str
    n: int
    estimates: tuple[Estimate, ...]
    per_label: tuple[LabelScore, ...]
    confusions: tuple[tuple[str, str, int], ...]
    truncated: int
    unfinished: int = 0
    used_for: str = ""
    ece: float | None = None
    slices: tuple[Slice, ...] = ()
    faults: tuple[Fault, ...] = ()
    counted: str = "rows"
    highlights: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON; the estimates are keyed by their metric."""
        return {
            **asdict(self),
            "metric": self.estimates[0].metric,
            "estimates": {e.metric: asdict(e) for e in self.estimates},
        }


def evaluation(
    folder: Path, task: TaskSpec, file: str, input_column: str | None = None, output_column: str | None = None
) -> Evaluation:
    """Score the model in ``folder`` on a labelled file. Columns not named are the task's where the file has them, else
    detected.

    Raises ``BadInput`` for what ``read_labelled`` and ``open_predictor`` refuse, and for a file without rows.
    """
    from p2m.data.table import read_table
    from p2m.export.formats import open_predictor

    columns, kind = read_table(file).columns, kinds.of(task)
    there = {name: _there(getattr(task, name), columns) for name in ("input_column", "output_column")}
    rows = kind.read(task.model_copy(update=there), file, input_column=input_column, output_column=output_column)
    if not rows:
        raise BadInput("there is no row to score", where=file)
    predictor = open_predictor(folder)
    golds = [row.output for row in rows]
    predictions = predictor.predict([row.input for row in rows])
    predicted = [p.output for p in predictions]
    metrics = dict.fromkeys((task.metric, *kind.extra_metrics))
    return Evaluation(
        file=file,
        n=len(rows),
        estimates=tuple(kind.estimate_of(m, task, rows, predicted) for m in metrics),
        per_label=tuple(LabelScore(**s) for s in kind.details(task, rows, predicted).get("per_class", ())),
        confusions=tuple(confusions(golds, predicted)) if kind.answers_are_labels else (),
        faults=Fault.of(kind.errors(task, rows, predicted).analysis),
        truncated=predictor.truncated,
        unfinished=getattr(predictor, "unfinished", 0),
        used_for=_used_for(file, task),
        ece=_ece(task, predictions, golds),
        slices=tuple(slices(task.metric, rows, predicted, labels=task.labels)),
        counted=kind.counted,
        highlights="" if kind.answers_are_labels else kind.highlights(task, rows, predicted).sentence,
    )


def _ece(task: TaskSpec, predictions: Sequence[Prediction], golds: Sequence[str]) -> float | None:
    """Of the label that is given; of a label set, of the probability of each label."""
    import numpy as np

    probs = [p.probs for p in predictions if p.probs is not None]
    if len(probs) < len(predictions):
        return None
    if task.multi_label:
        known = frozenset(task.labels)
        sets = [frozenset(parse_labels(gold, known)) for gold in golds]
        pairs = [(p, label in gold) for each, gold in zip(probs, sets, strict=True) for label, p in each.items()]
    else:
        pairs = [(p[s.output], s.output == g) for p, s, g in zip(probs, predictions, golds, strict=True)]
    return ece(np.array([p for p, _ in pairs]), np.array([there for _, there in pairs]))


def _used_for(file: str, task: TaskSpec) -> str:
    uses = {task.train: "to train on", task.validation: "to choose the model by"}
    return next((use for path, use in uses.items() if path and Path(path).resolve() == Path(file).resolve()), "")


def _there(column: str | None, columns: Sequence[str]) -> str | None:
    return column if column in columns else None


def print_evaluation(result: Evaluation, stream: TextIO) -> None:
    """The table for a person; no colour where ``stream`` is no terminal or ``NO_COLOR`` is set."""
    from rich.console import Console
    from rich.text import Text

    # Labels may be long and a log has no width: only a terminal wraps.
    console = Console(file=stream, width=None if stream.isatty() else 200, highlight=False)

    def line(text: str = "", style: str = "") -> None:
        console.print(Text(text, style=style), soft_wrap=True)

    line(f"{result.file}: {result.n} rows, 95% intervals")
    for place, e in enumerate(result.estimates):
        line(f"  {e.metric:<12} {e.value:.3f}  ({e.low:.3f} to {e.high:.3f})", "bold" if place == 0 else "")
    if result.ece is not None:
        line(f"  {'ECE':<12} {result.ece:.3f}  (expected calibration error: 0 where probabilities are what they say)")
    if result.highlights and not result.per_label:
        line(f"  {result.highlights}")
    if result.used_for:
        line(f"  the run had this file {result.used_for}: new rows may score lower, see its report", "yellow")
    if result.truncated:
        line(f"  {result.truncated} of the texts are longer than the model reads and were cut", "yellow")
    if result.unfinished:
        line(f"  {result.unfinished} of the answers were cut at the longest that the model writes", "yellow")
    line()
    if result.per_label and result.faults:
        console.print(_label_table(result.per_label, result.counted))
        line()
    if result.faults or not result.per_label:
        for fault in result.faults:
            of = f"of {result.n}" if result.counted == "rows" else result.counted
            line(f"  {fault.count} {of}: {fault.name}")
            for text in fault.texts:
                line(f"    {text}", "dim")
        return
    console.print(_label_table(result.per_label, result.counted))
    line()
    if result.slices:
        console.print(_slice_table(result.slices))
        line()
    wrong = [(gold, predicted, n) for gold, predicted, n in result.confusions if gold != predicted]
    if not wrong:
        line("no row was answered wrongly")
    elif len(result.per_label) <= MATRIX_LABELS:
        line("confusion: rows are the right labels, columns the predicted ones")
        console.print(_matrix(result))
    else:
        shown = min(len(wrong), TOP_CONFUSIONS)
        line(f"the {shown} most frequent confusions of {len(wrong)}")
        console.print(_top(wrong[:shown], result.per_label))


def _table(*heads: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for place, head in enumerate(heads):
        table.add_column(Text(head), justify="left" if place == 0 else "right", overflow="fold")
    return table


def _cells(label: str, *rest: object) -> list[Any]:
    from rich.text import Text

    return [Text(label), *(Text(str(cell)) for cell in rest)]


def _label_table(scores: Sequence[LabelScore], counted: str) -> Table:
    table = _table("label", "precision", "recall", "F1", counted)
    for s in scores:
        # A label without rows has no recall: 0.000 would read as a failure.
        figures = (f"{v:.3f}" if s.support else "–" for v in (s.precision, s.recall, s.f1))
        table.add_row(*_cells(s.label, *figures, s.support))
    return table


def _slice_table(parts: Sequence[Slice]) -> Table:
    table = _table("part", parts[0].estimate.metric, "95% interval", "rows", "")
    for part in parts:
        e = part.estimate
        said = "clearly below the whole" if part.low else ""
        table.add_row(*_cells(part.name, f"{e.value:.3f}", f"{e.low:.3f} to {e.high:.3f}", e.n, said))
    return table


def _matrix(result: Evaluation) -> Table:
    labels = [s.label for s in result.per_label]
    counts = {(gold, predicted): n for gold, predicted, n in result.confusions}
    table = _table("", *labels)
    for gold in labels:
        table.add_row(*_cells(gold, *(counts.get((gold, predicted), 0) or "·" for predicted in labels)))
    return table


def _top(wrong: Sequence[tuple[str, str, int]], scores: Sequence[LabelScore]) -> Table:
    support = {s.label: s.support for s in scores}
    table = _table("right label", "predicted", "rows", "of")
    table.columns[1].justify = "left"
    for gold, predicted, n in wrong:
        table.add_row(*_cells(gold, predicted, n, support.get(gold, 0)))
    return table
