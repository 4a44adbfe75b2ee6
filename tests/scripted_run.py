"""A finished run as the loop leaves it, written event by event through the real journal and store: no model, no LLM."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.events import (
    Event,
    LLMSpend,
    PlannerSpoke,
    Retry,
    RunEnded,
    RunStarted,
    ToolFinished,
    ToolProgress,
    ToolStarted,
    UserSpoke,
    Verdict,
)
from agent.journal import Journal
from agent.runs import load_state
from agent.settings import Settings
from agent.state import RunState
from p2m.evaluate.abstain import Abstention, Kept
from p2m.evaluate.calibration import Calibration
from p2m.evaluate.intervals import Estimate, wilson
from p2m.evaluate.powered import Correction
from p2m.evaluate.slices import Slice
from p2m.rows import Row
from p2m.store import Store
from p2m.task.spec import Example, Limits, TaskSpec

LABELS = ("abbreviation", "description", "entity", "human", "location", "number")
NASTY = 'What is <script>alert("x")</script> | `a` **b** \x1b[31mred\x1b[0m?'
PLANNER, TEACHER = "local:qwen2.5-coder-1.5b", "openai:gpt-5-mini"
RIGHT = (8, 23, 14, 27, 26, 28)
SUPPORT = (9, 30, 22, 29, 27, 33)

TASK = TaskSpec(
    name="question-type",
    instruction="Say what kind of answer a question asks for.\nChoose one of the six kinds.",
    kind="classify",
    labels=LABELS,
    examples=tuple(
        Example(input=i, output=o)
        for i, o in (
            ("What does NASA stand for?", "abbreviation"),
            ("Why is the sky blue?", "description"),
            ("What breed is Lassie?", "entity"),
            ("Who wrote Hamlet?", "human"),
            ("Where is Timbuktu?", "location"),
            ("How many legs has a spider?", "number"),
        )
    ),
    metric="accuracy",
    target=0.82,
    budget=Limits(minutes=20),
    notes=("the labels were taken from the examples",),
)


def score(right: int, n: int, split: str) -> dict[str, Any]:
    low, high = wilson(right, n)
    return {"metric": "accuracy", "value": right / n, "low": low, "high": high, "n": n, "split": split}


class Script:
    """Appends events; ``call`` writes a whole turn with one tool call."""

    def __init__(self, run_dir: Path, task: TaskSpec = TASK) -> None:
        self.run_dir, self.store = run_dir, Store(run_dir / "artifacts")
        self._now, self._turn = 0.0, 0
        self.journal = Journal(run_dir, clock=lambda: self._now)
        settings = Settings(planner=PLANNER, teacher=TEACHER, catalog="/data/hub", seed=7)
        self.add(RunStarted(task.model_dump(mode="json"), settings.model_dump(mode="json"), "0.1.0"))

    def add(self, event: Event) -> None:
        self.journal.append(event)

    def call(
        self, tool: str, arguments: dict[str, Any], why: str, text: str, data: dict[str, Any], **more: Any
    ) -> None:
        self._turn += 1
        call_id = f"t{self._turn}.1"
        self.add(LLMSpend("planner", PLANNER, 1, 0, 1400, 60, 0.0))
        calls = ({"id": call_id, "tool": tool, "arguments": arguments},)
        self.add(PlannerSpoke(self._turn, "planner", PLANNER, why, calls, prompt="0123456789ab"))
        for step in more.pop("first", ()):
            self.step(**step)
        self.run(call_id, tool, arguments, "planner", why, text, data, **more)

    def step(self, tool: str, why: str, text: str, data: dict[str, Any], **more: Any) -> None:
        self.run(f"r0.{tool}.1", tool, {}, "referee", why, text, data, **more)

    def run(
        self,
        call_id: str,
        tool: str,
        arguments: dict[str, Any],
        by: Any,
        why: str,
        text: str,
        data: dict[str, Any],
        *,
        seconds: float = 1.0,
        teacher_calls: int = 0,
        usd: float | None = 0.004,
        error: str | None = None,
    ) -> None:
        self.add(ToolStarted(call_id, tool, arguments, by, why))
        self._now += seconds / 2
        self.add(ToolProgress(call_id, f"{tool} half done", 0.5))
        if teacher_calls:
            self.add(LLMSpend("teacher", TEACHER, teacher_calls, 2, 300 * teacher_calls, 90 * teacher_calls, usd))
        self._now += seconds / 2
        self.add(ToolFinished(call_id, text, "", data, error, seconds))

    def malformed(self, text: str, reason: str) -> None:
        self._turn += 1
        self.add(PlannerSpoke(self._turn, "planner", PLANNER, text, (), reason))

    def dataset(
        self,
        handle: str,
        source: str,
        counts: Sequence[int],
        removed: dict[str, int],
        samples: Sequence[tuple[str, str]],
    ) -> dict[str, Any]:
        rows = [
            Row(
                NASTY if k == 0 and label == "human" else f"Question number {k} about {label}, {source}?", label, source
            )
            for label, n in zip(LABELS, counts, strict=True)
            for k in range(n)
        ]
        shown = [{"input": text, "reason": reason} for text, reason in samples]
        meta = {"written": len(rows) + sum(removed.values()), "removed": removed, "removed_samples": shown}
        self.store.save_rows(handle, rows, meta)
        return {
            "handle": handle,
            "source": source,
            "rows": len(rows),
            "labels": dict(Counter(r.output for r in rows)),
            "removed": removed,
        }


def experiment(model: str, method: str, data: Sequence[str], rows: int, right: int, seconds: float) -> dict[str, Any]:
    return {
        "experiment": {
            "model": model,
            "method": method,
            "base": "all-minilm-l6-v2",
            "data": list(data),
            "rows": rows,
            "score": score(right, 150, "validation"),
            "per_label": dict(zip(LABELS, (0.6, 0.7, 0.55, 0.9, 0.95, 0.85), strict=True)),
            "seconds": seconds,
        }
    }


def to_first_training(script: Script, source: str = "user") -> None:
    """Searching, holding out, generating, checking, and a quick head."""
    baselines = [
        {"system": "majority", "score": score(32, 150, "validation"), "is_llm": False},
        {"system": "frozen embeddings + LR", "score": score(82, 150, "validation"), "is_llm": False},
    ]
    script.call(
        "search_datasets",
        {"queries": ["question type", "answer type classification", "abbreviation description entity human"]},
        "Real rows beat written ones, so I look for a dataset first.",
        "3 datasets found, none fits: clinc/clinc-oos-small (intents), xliuhw/hwu64 (intents)",
        {"hits": [{"id": "clinc/clinc-oos-small"}]},
        seconds=0.8,
    )
    held_out = {"handle": "ho_11112222", "source": source, "validation": 150, "test": 150}
    with script.store.writing("ho_11112222") as folder:
        (folder / "meta.json").write_text('{"notes": ["150 test rows: an accuracy of 0.80 would be 0.73 to 0.86"]}')
    batch = script.dataset(
        "ds_aaaa0001",
        "generated",
        (28, 30, 29, 30, 30, 28),
        {"duplicate_near": 4, "held_out_similar": 1},
        [("How many legs has a spider, then?", "duplicate_near"), (NASTY, "held_out_similar")],
    )
    script.call(
        "generate_batch",
        {"n": 180, "brief": "short factual questions as people type them"},
        "No dataset fits: write 30 rows a label.",
        "ds_aaaa0001: 175 new rows of 180 written (dropped: 4 duplicate_near, 1 held_out_similar). Labels not checked.",
        {"dataset": batch, "written": 180, "new_share": 0.972},
        seconds=84.2,
        teacher_calls=40,
        usd=0.031,
        first=[
            {
                "tool": "hold_out",
                "why": "held-out rows are fixed before anything is generated or trained",
                "text": f"held out from {source}: 150 validation rows, 150 sealed test rows",
                "data": {"held_out": held_out, "removed": {"demonstration": 2, "contradiction": 1}},
                "seconds": 3.1,
            }
        ],
    )
    checked = script.dataset(
        "ds_bbbb0002",
        "generated",
        (27, 29, 24, 30, 30, 28),
        {"duplicate_near": 4, "held_out_similar": 1, "label_rejected": 7},  # counts go on from those of ds_aaaa0001
        [("What is the name of the longest river?", "label_rejected")],
    )
    script.add(Retry("llm", "429 too many requests", 2, 4.0))
    script.call(
        "check_labels",
        {"dataset": "ds_aaaa0001"},
        "The labels of a fresh batch are only what was asked for: check them.",
        "ds_bbbb0002: 168 of 175 rows kept",
        {"dataset": {**checked, "checked": True}, "replaces": ["ds_aaaa0001"]},
        seconds=41.0,
        teacher_calls=30,
        usd=0.012,
    )
    script.malformed("I will now train\x1b[2J", "bad_json: the answer is no JSON object")
    script.call(
        "fine_tune",
        {"method": "frozen"},
        "A quick head shows what the rows are worth.",
        "m_cccc0003: frozen head on 174 rows: accuracy 0.720 on 150 validation rows",
        experiment("m_cccc0003", "frozen", ["ds_bbbb0002"], 174, 108, 3.9),
        seconds=4.0,
        first=[
            {
                "tool": "baselines",
                "why": "baselines come before the first training",
                "text": "baselines on validation: majority 0.213; frozen embeddings + LR 0.547",
                "data": {"baselines": baselines},
                "seconds": 5.0,
            }
        ],
    )


def trust() -> dict[str, Any]:
    """What a delivery says beyond the score."""
    there = Kept(Estimate("accuracy", 0.95, *wilson(114, 120), 120), Estimate("coverage", 0.8, *wilson(120, 150), 150))
    here = Kept(Estimate("accuracy", 0.92, *wilson(115, 125), 125), Estimate("coverage", 0.83, *wilson(125, 150), 150))
    parts = [
        Slice("length", "short (up to 20 characters)", Estimate("accuracy", 0.9, *wilson(45, 50), 50), False),
        Slice("length", "long (from 45)", Estimate("accuracy", 0.7, *wilson(35, 50), 50), True),
    ]
    return {
        "calibration": Calibration(0.62, 0.113, 0.052, 0.047, 150).as_dict(),
        "abstain": Abstention(0.71, 0.82, there, here).as_dict(),
        "slices": [part.as_dict() for part in parts],
    }


def to_the_end(
    script: Script, *, right: int = sum(RIGHT), test_source: str = "user", correction: Correction | None = None
) -> None:
    """Errors, an aimed batch, two trainings, the verdict, delivery."""
    clusters = [
        {
            "gold": "entity",
            "predicted": "description",
            "count": 7,
            "texts": ["What is a golden parachute?", NASTY],
        },
        {"gold": "description", "predicted": "entity", "count": 4, "texts": ["What is caffeine?"]},
    ]
    analysis = {
        "model": "m_cccc0003",
        "n": 150,
        "wrong": 42,
        "confusions": [["entity", "description", 7], ["description", "entity", 4], ["abbreviation", "entity", 2]],
        "weak": ["entity", "abbreviation"],
        "clusters": clusters,
    }
    script.call(
        "evaluate",
        {},
        "Accuracy 0.720 is below the target: see what is confused.",
        "weak: entity (0.55), abbreviation (0.60); entity taken for description x7",
        {"analysis": analysis},
        seconds=1.2,
    )
    script.call(
        "generate_batch",
        {"n": 5},
        "a few more",
        "n: 5 is less than the minimum of 10",
        {},
        seconds=0.0,
        error="invalid_args",
    )
    script.add(UserSpoke("more questions about animals, please"))
    aimed = script.dataset("ds_dddd0004", "generated", (18, 0, 40, 0, 0, 0), {"duplicate_exact": 2}, [])
    script.call(
        "generate_batch",
        {"n": 60, "labels": ["entity", "abbreviation"], "brief": 'inputs clearly "entity" but taken for "description"'},
        "Weakest: entity, abbreviation; write rows that settle what they are confused with.",
        "ds_dddd0004: 58 new rows of 60 written",
        {"dataset": {**aimed, "brief": 'clearly "entity"'}, "written": 60, "new_share": 0.967},
        seconds=33.0,
        teacher_calls=14,
        usd=None,
    )
    both = ["ds_bbbb0002", "ds_dddd0004"]
    script.call(
        "fine_tune",
        {"method": "full"},
        "Train the whole student on all rows.",
        "m_eeee0005: full fine-tune on 232 rows: accuracy 0.847",
        experiment("m_eeee0005", "full", both, 232, 127, 61.0),
        seconds=62.0,
    )
    script.add(Verdict("met", "accuracy 0.847 on 150 validation rows reaches 0.82"))
    matrix = [[0] * 6 for _ in LABELS]
    for i, (hit, n) in enumerate(zip(RIGHT, SUPPORT, strict=True)):
        matrix[i][i] = hit
        matrix[i][(i + 1) % 6] = n - hit
    delivery = {
        "test": score(right, 150, "test"),
        "model": "m_eeee0005",
        "held_out": {
            "handle": "ho_11112222",
            "source": test_source,
            "sha256": {"validation": "ab" * 32, "test": "cd" * 32},
        },
        "baselines": [
            {"system": "majority", "score": score(33, 150, "test"), "is_llm": False},
            {"system": "TF-IDF + LR", "score": score(57, 150, "test"), "is_llm": False},
            {"system": "frozen embeddings + LR", "score": score(84, 150, "test"), "is_llm": False},
            {"system": f"teacher few-shot ({TEACHER})", "score": score(88, 100, "test"), "is_llm": True},
        ],
        "per_class": [
            {"label": label, "precision": 0.8 + i / 100, "recall": hit / n, "f1": 0.8, "support": n}
            for i, (label, hit, n) in enumerate(zip(LABELS, RIGHT, SUPPORT, strict=True))
        ],
        "confusion": {"labels": list(LABELS), "matrix": matrix},
        "opened": 1,
        "folder": "model",
        "rows_by_source": {"generated": 226, "demonstration": 6},
        "truncated": 1,
        **trust(),
    }
    if correction is not None:
        delivery |= {"correction": correction.as_dict(), "estimate": {**correction.own.as_dict(), "split": "check"}}
    script.step("deliver", "open the sealed test once", f"delivered m_eeee0005: accuracy {right / 150:.3f}", delivery)
    value = right / 150
    text = (
        f"accuracy {value:.3f} [{delivery['test']['low']:.3f}, {delivery['test']['high']:.3f}] on 150 sealed test rows"
    )
    met = value >= 0.82
    script.add(
        RunEnded("met", 0, f"target 0.82 met: {text}")
        if met
        else RunEnded("below", 3, f"below the target 0.82: {text}")
    )


def finished_run(run_dir: Path, **how: Any) -> tuple[RunState, Store]:
    """A whole run. ``how``: ``right`` (test rows answered rightly), ``test_source``."""
    script = Script(run_dir)
    to_first_training(script, how.get("test_source", "user"))
    to_the_end(script, **how)
    script.journal.close()
    return load_state(run_dir), script.store


def unfinished_run(run_dir: Path) -> tuple[RunState, Store]:
    """The same run, cut after its first training."""
    script = Script(run_dir)
    to_first_training(script)
    script.journal.close()
    return load_state(run_dir), script.store
