"""The delivered folder's model card: what the model does, what it was trained on, how good it is and who says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2m import __version__, kinds
from p2m.evaluate.abstain import Abstention
from p2m.evaluate.calibration import Calibration
from p2m.evaluate.intervals import Estimate
from p2m.evaluate.powered import Correction
from p2m.evaluate.slices import Slice
from p2m.files import write_atomic
from p2m.kinds.base import CardWords
from p2m.task.spec import TaskSpec

PLACE = "PATH_OF_THIS_FOLDER"
# SPDX ids of bases that state one; a model trained from another has to be looked up by its owner.
_BASES = {"all-minilm-l6-v2": ("sentence-transformers/all-MiniLM-L6-v2", "apache-2.0")}
_SOURCES = {
    "user": "a labelled file that the user gave",
    "generated": "rows that the teacher wrote and labelled the same twice: no person has seen them",
}
_ROWS = {
    "user": "labelled by the user",
    "demonstration": "the task's examples",
    "generated": "written by a language model (the teacher)",
}
# The names of these metrics in the Hub's evaluation results.
_METRIC_TYPES = {"macro_f1": "f1"}


@dataclass(frozen=True)
class CardFacts:
    """What the card says.

    ``estimate`` is on the sealed test, whose rows come from ``held_out_source``; ``baselines`` are (system, estimate)
    on the same rows, or a sample of them as their ``n`` says; ``rows_by_source`` counts training rows. ``correction``
    is what the user's few rows say where the test is generated; ``low_slices`` score clearly below the whole.
    """

    name: str
    instruction: str
    labels: tuple[str, ...]
    language: str
    base: str
    method: str
    estimate: Estimate
    held_out_source: str
    baselines: tuple[tuple[str, Estimate], ...]
    rows_by_source: Mapping[str, int]
    target: float | None = None
    truncated: int = 0
    calibration: Calibration | None = None
    abstention: Abstention | None = None
    correction: Correction | None = None
    low_slices: tuple[Slice, ...] = ()
    kind: str = "classify"

    @property
    def words(self) -> CardWords:
        """What its kind says on a card."""
        return kinds.named(self.kind).card(self.labels)

    @classmethod
    def of(cls, task: TaskSpec, experiment: Any, delivered: Mapping[str, Any]) -> CardFacts:
        """From the task, the best ``tools.workspace.Experiment`` and what the delivering step found."""
        return cls(
            name=task.name,
            instruction=task.instruction,
            labels=task.labels,
            language=task.language,
            base=experiment.base,
            method=experiment.method,
            estimate=_estimate(delivered["test"]),
            held_out_source=delivered["held_out"]["source"],
            baselines=tuple((b["system"], _estimate(b["score"])) for b in delivered["baselines"]),
            rows_by_source=delivered["rows_by_source"],
            target=task.target,
            truncated=delivered.get("truncated", 0),
            calibration=Calibration(**raw) if (raw := delivered.get("calibration")) else None,
            abstention=Abstention.of_dict(raw) if (raw := delivered.get("abstain")) else None,
            correction=Correction.of_dict(raw) if (raw := delivered.get("correction")) else None,
            low_slices=tuple(part for raw in delivered.get("slices", ()) if (part := Slice.of_dict(raw)).low),
            kind=kinds.of(task).name,
        )

    @property
    def headline(self) -> Estimate:
        """The user's own rows where they correct a generated test."""
        return self.correction.own if self.correction else self.estimate


def write_card(folder: Path, facts: CardFacts) -> None:
    """Write ``README.md`` with the YAML front matter that the Hub reads. Raises ``P2MError`` where the disk is full."""
    import yaml

    header = yaml.safe_dump(_header(facts), sort_keys=False, allow_unicode=True)
    write_atomic(folder / "README.md", f"---\n{header}---\n{_body(facts)}")


def _header(facts: CardFacts) -> dict[str, Any]:
    base, license = _BASES.get(Path(facts.base).name, (None, None))
    estimate, words = facts.headline, facts.words
    rows = "a few rows that the user labelled" if facts.correction else _held_out(facts.held_out_source)
    result = {
        "task": {"type": words.pipeline, "name": _line(facts.name)},
        "dataset": {"type": "held-out", "name": f"sealed test: {rows}", "split": "test"},
        "metrics": [
            {
                "type": _METRIC_TYPES.get(estimate.metric, estimate.metric),
                "name": f"{estimate.metric}, 95% interval {estimate.low:.3f} to {estimate.high:.3f}, n={estimate.n}",
                "value": round(estimate.value, 4),
            }
        ],
    }
    header: dict[str, Any] = {"license": license} if license else {}
    header |= {"language": [facts.language], "library_name": "transformers", "pipeline_tag": words.pipeline}
    header |= {"base_model": base} if base else {}
    # The Hub refuses names of results with a slash.
    index = [{"name": _line(facts.name).replace("/", "-"), "results": [result]}]
    return header | {"tags": ["p2m"], "model-index": index}


def _body(facts: CardFacts) -> str:
    words, estimate, total = facts.words, facts.estimate, sum(facts.rows_by_source.values())
    parts = [
        f"# {_line(facts.name)}",
        f"{words.what}, trained by p2m {__version__} from this task description:\n\n{_quote(facts.instruction)}",
        *(("Labels: " + ", ".join(f"`{_line(label)}`" for label in facts.labels),) if facts.labels else ()),
        "## How good it is",
        f"**{estimate.metric} {estimate.value:.3f}**, 95% interval {estimate.low:.3f} to {estimate.high:.3f}, on "
        f"{estimate.n} sealed test rows ({_held_out(facts.held_out_source)}). They were fixed before any training, "
        "nothing near-identical to them was trained on, and they were opened once, after this model was chosen."
        + (f" The target was {facts.target:.2f}." if facts.target is not None else ""),
        *((" ".join(facts.correction.words()),) if facts.correction else ()),
        _baseline_table(facts),
        *_trust(facts),
        "## What it was trained on",
        f"{total:,} rows:\n\n"
        + "\n".join(f"- {count:,}: {_rows(source)}" for source, count in facts.rows_by_source.items()),
        f"Base model: {_line(Path(facts.base).name)}; " + f"{words.methods[facts.method]}.",
        "## Limits",
        "\n".join(f"- {limit}" for limit in _limits(facts)),
        "## Use",
        "```python\n" + words.snippet.replace("{model}", PLACE) + "\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _trust(facts: CardFacts) -> list[str]:
    """The section on probabilities, none where they were not measured."""
    if facts.calibration is None:
        return []
    abstain = facts.abstention.words() if facts.abstention else "No threshold makes the answers above it reliable."
    return ["## How far to trust an answer", facts.calibration.words(), abstain]


def _baseline_table(facts: CardFacts) -> str:
    rows = [("this model", facts.estimate), *facts.baselines]
    lines = [f"| system | {facts.estimate.metric} | 95% interval | n |", "| --- | --: | --- | --: |"]
    lines += [f"| {_cell(name)} | {e.value:.3f} | {e.low:.3f} to {e.high:.3f} | {e.n} |" for name, e in rows]
    return "\n".join(lines)


def _limits(facts: CardFacts) -> list[str]:
    limits = [
        *facts.words.limits,
        f"It was made for text in the language `{_line(facts.language)}` that resembles its training and test rows.",
    ]
    if facts.held_out_source == "generated":
        limits.append(
            "The test rows were written by a language model: on what people write the score may well be lower."
        )
    elif facts.held_out_source.startswith("dataset:"):
        limits.append("The test rows come from a public dataset, which may differ from the texts it will meet.")
    limits += [
        f"On {part.name} inputs it scores clearly lower: {part.estimate}."
        if part.by == "length"
        else f"On rows from `{_line(part.name)}` it scores clearly lower: {part.estimate}."
        for part in facts.low_slices
    ]
    counts = facts.rows_by_source
    transformed = sum(n for source, n in counts.items() if source.startswith("transformed:"))
    written = counts.get("generated", 0) + transformed
    if written:
        share = written / sum(counts.values())
        how = "written or labelled" if transformed else "written"
        limits.append(
            f"{share:.0%} of its training rows were {how} by a language model, whose slips it may have learnt."
        )
    if facts.truncated:
        limits.append(
            f"{facts.truncated} of {facts.estimate.n} test texts were longer than it reads; their ends were cut."
        )
    return limits


def _held_out(source: str) -> str:
    return f"the dataset {_line(source.partition(':')[2])}" if source.startswith("dataset:") else _SOURCES[source]


def _rows(source: str) -> str:
    kind, _, name = source.partition(":")
    if kind == "transformed":
        return f"from the dataset `{_line(name)}`, made into rows of this task by a language model"
    return f"from the dataset `{_line(name)}`" if source.startswith("dataset:") else _ROWS.get(source, _line(source))


def _estimate(score: Mapping[str, Any]) -> Estimate:
    return Estimate(score["metric"], score["value"], score["low"], score["high"], score["n"])


def _line(text: str) -> str:
    """Untrusted text on one line, without what would leave a code span."""
    return " ".join(text.replace("`", "'").split())


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")


def _quote(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.strip().splitlines())
