"""What a report says, gathered once; ``html`` and ``markdown`` only lay it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import journal
from agent.log import LogEntry, log_lines
from agent.plain import duration
from agent.report.costs import Costs, costs_of
from agent.report.data import Removal, Source, removals_of, sources_of
from agent.report.reproduce import Reproduction, reproduction_of
from agent.state import RunState
from p2m.errors import P2MError
from p2m.evaluate.abstain import Abstention
from p2m.evaluate.calibration import Calibration
from p2m.evaluate.errors import Cluster, Fault
from p2m.evaluate.powered import Correction
from p2m.evaluate.slices import Slice
from p2m.store import Store
from p2m.task.spec import TaskSpec
from tools.workspace import Experiment, Score


@dataclass(frozen=True)
class System:
    """A line of the comparison. ``kind`` is ``student``, ``baseline`` or ``llm``."""

    name: str
    kind: str
    score: Score


@dataclass(frozen=True)
class Comparison:
    """The student beside its baselines on one split, best first."""

    split: str
    systems: tuple[System, ...]


@dataclass(frozen=True)
class Result:
    """The headline. ``tone`` is ``good``, ``bad`` or ``open``; ``remarks`` are what an honest reader has to know."""

    verdict: str
    tone: str
    sentence: str
    score: Score | None
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """Everything in a report. ``trial`` is of the base models, as in the workspace; ``confusion`` is
    ``{"labels", "matrix"}``, rows gold, columns predicted; ``aimed`` says that rows were written for ``faults``."""

    task: TaskSpec
    run: str
    started: str
    seconds: float
    result: Result
    held_out: str
    held_out_notes: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    trial: dict[str, Any] | None
    experiments: tuple[Experiment, ...]
    delivered: str | None
    sources: tuple[Source, ...]
    removals: tuple[Removal, ...]
    per_class: tuple[dict[str, Any], ...]
    confusion: dict[str, Any] | None
    calibration: Calibration | None
    abstention: Abstention | None
    slices: tuple[Slice, ...]
    clusters: tuple[Cluster, ...]
    faults: tuple[Fault, ...]
    analysed: str
    aimed: bool
    log: tuple[LogEntry, ...]
    costs: Costs
    reproduction: Reproduction

    @property
    def best_simple(self) -> System | None:
        """The best baseline without an LLM on validation."""
        return next(
            (s for c in self.comparisons if c.split == "validation" for s in c.systems if s.kind == "baseline"), None
        )


def gather(run_dir: Path, state: RunState, store: Store) -> Report:
    """The facts of a run at any moment of it. Reads the journal and the artifacts, never a row of the sealed test."""
    records = journal.read(run_dir / journal.FILE)
    workspace, delivery = state.workspace, state.delivery or {}
    comparisons = _comparisons(state, delivery)
    held_out = workspace.held_out
    return Report(
        task=state.task,
        run=str(run_dir),
        started=records[0].at[:16].replace("T", " ") + " UTC",
        seconds=state.seconds,
        result=_result(state, delivery, comparisons),
        held_out=source_words(held_out.source, state.task) if held_out else "",
        held_out_notes=_notes(store, held_out.handle) if held_out else (),
        comparisons=comparisons,
        trial=workspace.trial,
        experiments=workspace.experiments,
        delivered=delivery.get("model"),
        sources=sources_of(state, store, delivery.get("rows_by_source")),
        removals=removals_of(state, store),
        per_class=tuple(delivery.get("per_class", ())),
        confusion=delivery.get("confusion"),
        calibration=Calibration(**raw) if (raw := delivery.get("calibration")) else None,
        abstention=Abstention.of_dict(raw) if (raw := delivery.get("abstain")) else None,
        slices=tuple(map(Slice.of_dict, delivery.get("slices", ()))),
        clusters=_clusters(workspace.analysis or {}),
        faults=Fault.of(workspace.analysis or {}),
        analysed=(workspace.analysis or {}).get("model", ""),
        aimed=_aimed(state),
        log=tuple(log_lines(state)),
        costs=costs_of(records),
        reproduction=reproduction_of(run_dir, state, records, store),
    )


def _aimed(state: RunState) -> bool:
    """Whether rows were written after the last look at what is wrong."""
    names = [c.tool for c in sorted(state.calls, key=lambda c: c.order) if c.finished and not c.error]
    return "evaluate" in names and "generate_batch" in names[len(names) - names[::-1].index("evaluate") :]


def source_words(source: str, task: TaskSpec) -> str:
    """Where held-out rows come from, as the report says it."""
    kind, _, name = source.partition(":")
    if kind == "user":
        file = Path(task.validation or task.train or "").name
        return f"labelled by the user{f' ({file})' if file else ''}"
    if kind == "dataset":
        return f"the test split of the public dataset {name}"
    return "generated: the teacher wrote them and, asked again, gave them the same label"


def _notes(store: Store, handle: str) -> tuple[str, ...]:
    try:
        return tuple(store.meta(handle).get("notes", ()))
    except P2MError:
        return ()


def _comparisons(state: RunState, delivery: dict[str, Any]) -> tuple[Comparison, ...]:
    on_test, on_validation = [], []
    if delivery:
        on_test = [System("the delivered student", "student", Score(**delivery["test"]))]
        on_test += [_baseline(b) for b in delivery.get("baselines", ())]
    step = next((c.data or {} for c in reversed(state.calls) if c.tool == "baselines" and not c.error), {})
    on_validation = [_baseline(b) for b in step.get("baselines", ())]
    if best := state.workspace.best:
        on_validation.append(System("the best student", "student", best.score))
    found = (("test", on_test), ("validation", on_validation))
    return tuple(Comparison(s, tuple(sorted(rows, key=lambda r: -r.score.value))) for s, rows in found if rows)


def _baseline(raw: dict[str, Any]) -> System:
    return System(raw["system"], "llm" if raw.get("is_llm") else "baseline", Score(**raw["score"]))


def _result(state: RunState, delivery: dict[str, Any], comparisons: Sequence[Comparison]) -> Result:
    if delivery:
        return _delivered(state, delivery, comparisons[0])
    best = state.workspace.best
    if state.ended:
        return Result("Nothing delivered", "bad", state.ended.text, best.score if best else None, ())
    so_far = "No student is trained yet."
    if best:
        so_far = f"The best student so far: {score_words(best.score)} on {best.score.n} validation rows."
    remarks = ("The sealed test has not been opened. Go on with the command under “Reproduce”.",)
    return Result("Not finished", "open", so_far, best.score if best else None, remarks)


def _delivered(state: RunState, delivery: dict[str, Any], comparison: Comparison) -> Result:
    task, test = state.task, Score(**delivery["test"])
    estimate = state.estimate or test
    if task.target is None:
        verdict, tone = "Delivered", "good"
    else:
        met = estimate.value >= task.target
        verdict, tone = ("Target met", "good") if met else ("Below the target", "bad")
    remarks = [_against_target(estimate, task.target)] if task.target is not None else ["No target was set."]
    if raw := delivery.get("correction"):
        remarks += Correction.of_dict(raw).words()
    rivals = [s for s in comparison.systems if s.kind != "student"]
    for kind, words in (("baseline", "the best baseline without an LLM"), ("llm", "the teacher itself")):
        if best := next((s for s in rivals if s.kind == kind), None):
            remarks.append(_against(test, best, words, "On the generated rows " if "correction" in delivery else ""))
    remarks.append(_held_out_words(state))
    opened = delivery.get("opened") or sum(c.tool == "deliver" and c.finished and not c.error for c in state.calls)
    if opened == 1:
        remarks.append("The sealed test was opened once, after the student was chosen on validation.")
    else:
        remarks.append(f"The sealed test was opened {opened} times: every look after the first flatters the estimate.")
    chosen = next((e for e in state.workspace.experiments if e.model == delivery.get("model")), None)
    if chosen:
        remarks.append(
            f"On validation the same student has {score_words(chosen.score)}: optimistic, as it was chosen there."
        )
    if (mae := delivery.get("mae")) is not None:
        remarks.append(f"Its ratings are {mae:.3f} from the right ones on the mean; Pearson {delivery['pearson']:.3f}.")
    if truncated := delivery.get("truncated"):
        remarks.append(f"Test texts longer than the model reads, and so cut: {truncated} of {test.n}.")
    if unfinished := delivery.get("unfinished"):
        remarks.append(f"Answers cut at the longest that the model writes: {unfinished} of {test.n}.")
    if state.ended is None:
        remarks.append("The run has been taken up again and is not finished: this is what was delivered before.")
    elif state.verdict:
        remarks.append(f"Why the run stopped: {state.verdict.text}")
    sentence = f"{score_words(estimate)} on {estimate.rows}"
    return Result(verdict, tone, sentence, estimate, tuple(remarks))


def score_words(score: Score) -> str:
    """``accuracy 0.840 (95% interval 0.773 to 0.890)``."""
    return f"{score.metric} {score.value:.3f} (95% interval {score.low:.3f} to {score.high:.3f})"


def _against_target(test: Score, target: float) -> str:
    if test.low >= target:
        return f"The target {target:g} is reached, and the whole interval lies above it."
    if test.value >= target:
        return f"The target {target:g} is reached, but the interval reaches below it: more test rows would tell."
    if test.high >= target:
        return f"The target {target:g} is missed by {target - test.value:.3f}, which is within the interval."
    return f"The target {target:g} is missed by {target - test.value:.3f}: the whole interval lies below it."


def _against(test: Score, other: System, words: str, where: str = "") -> str:
    gap = test.value - other.score.value
    side = f"{abs(gap):.3f} {'above' if gap > 0 else 'below'}" if abs(gap) >= 0.0005 else "level with"
    apart = test.low > other.score.high or test.high < other.score.low
    sample = f" on a sample of {other.score.n} rows" if other.score.n != test.n else ""
    overlap = "the intervals do not overlap" if apart else "the intervals overlap"
    return f"{where}{side} {words} ({other.name}: {other.score.value:.3f}{sample}); {overlap}."


def _held_out_words(state: RunState) -> str:
    held_out = state.workspace.held_out
    if held_out is None:
        return "The held-out rows are unknown."
    if held_out.check:
        return "The rows of the sealed test, which the systems are compared on, are generated."
    if held_out.source == "generated":
        return (
            "The test rows are generated, so this is an estimate on generated rows only. Real inputs may well be "
            "harder: give a labelled file (validation:) for a measurement."
        )
    where = source_words(held_out.source, state.task)
    return f"The test rows are {where}; none of them, or of what resembles them, was trained on."


def _clusters(analysis: dict[str, Any]) -> tuple[Cluster, ...]:
    """The clusters of the last analysis; where it has none, its confusions."""
    found = [Cluster(c["gold"], c["predicted"], c["count"], tuple(c["texts"])) for c in analysis.get("clusters", ())]
    return tuple(found or [Cluster(g, p, n, ()) for g, p, n in analysis.get("confusions", ())[:8]])


def spent_words(report: Report) -> str:
    """Time, tokens and price in a line."""
    total = report.costs.total
    return f"{duration(report.seconds)} of work, {total.tokens:,} LLM tokens, {total.price}"
