"""One real task of each kind, from labelled files, without an LLM: is the student above what is there without it?

    python benchmarks/kinds.py [--only NAME] [--fast] [--json FILE] [--seed N]

p2m is run as a user runs it (`p2m run TASK --planner policy --teacher none`): the task in words, the published rows as
a training file and a held-out file of which p2m takes half to choose by and seals the other. Every system's score is
the one of the run's own delivery, on the sealed rows. Then `p2m predict` answers the sealed rows, and so does a fresh
process that has only transformers, from the delivered folder as its card says: how many answers are equal. How many
rows each task gets is set in kinds_tasks.py. Finished tasks are kept in benchmarks/.work and not run again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import ROOT, options, say, shared, table, write_json
from kinds_tasks import TASKS, Task
from reload_kinds import reload

COLUMNS = ["task", "system", "metric", "score", "95% interval", "n"]
RUN_COLUMNS = ["task", "kind of student", "trained on", "minutes", "model, MB", "same answers from plain transformers"]


def run_p2m(work: Path, task: Task, seed: int) -> Path:
    """One `p2m run`, resumed where an earlier one stopped; gives its folder."""
    work.mkdir(parents=True, exist_ok=True)
    front = {"name": task.name, **task.front, "train": "train.jsonl", "validation": "held-out.jsonl"}
    text = f"---\n{json.dumps(front, ensure_ascii=False, indent=1)}\n---\n{task.instruction}\n"
    (work / "task.md").write_text(text, encoding="utf-8")
    for name, rows in (("train", task.train), ("held-out", task.held_out)):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (work / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    run = work / "run"
    if (run / "journal.jsonl").exists():
        command = ["resume", str(run)]
    else:
        command = ["run", str(work / "task.md"), "--out", str(run), "--seed", str(seed)]
        command += ["--planner", "policy", "--teacher", "none"]
    done = subprocess.run([sys.executable, "-m", "agent.cli", *command], cwd=ROOT, stdout=sys.stderr)
    if done.returncode not in (0, 3):
        sys.exit(f"p2m run of {task.name} ended with {done.returncode}")
    return run


def measure(run: Path, task: Task) -> list[dict[str, Any]]:
    """Every system's score on the run's sealed test, the student's with what its run took."""
    from agent.runs import load_state
    from p2m import kinds
    from p2m.rows import read_rows

    state = load_state(run)
    delivery = state.delivery
    assert delivery is not None
    test = read_rows(run / "artifacts" / delivery["held_out"]["handle"] / "test.jsonl")
    say(f"  reloading in a process that has only transformers: {task.reloaded or len(test)} rows")
    texts = [row.input for row in test][: task.reloaded]
    again = reload(run, texts)
    best = next(e for e in state.workspace.experiments if e.model == delivery["model"])
    facts = {
        "kind": kinds.of(state.task).name,
        "method": best.method,
        "base": best.base,
        "train_rows": best.rows,
        "seconds": round(state.seconds),
        "megabytes": round(sum(f.stat().st_size for f in (run / "model").iterdir()) / 1e6, 1),
        "reloaded": {"same": again.same, "n": again.n},
    }
    rows = [{"task": task.name, "system": "p2m student", **_score(delivery["test"]), **facts}]
    rows += [{"task": task.name, "system": b["system"], **_score(b["score"])} for b in delivery["baselines"]]
    return rows


def _score(score: dict[str, Any]) -> dict[str, Any]:
    return {"metric": score["metric"], **{k: score[k] for k in ("value", "low", "high", "n")}}


def score_cells(rows: list[dict[str, Any]]) -> list[list[Any]]:
    """The rows as ``COLUMNS`` show them."""
    return [
        [r["task"], r["system"], r["metric"], f"{r['value']:.3f}", f"{r['low']:.3f}–{r['high']:.3f}", r["n"]]
        for r in rows
    ]


def run_cells(rows: list[dict[str, Any]]) -> list[list[Any]]:
    """What each student's run took, as ``RUN_COLUMNS`` show it."""
    return [
        [
            r["task"],
            f"{r['kind']}, {r['method']}, {r['base']}",
            f"{r['train_rows']:,} rows",
            f"{r['seconds'] / 60:.1f}",
            f"{r['megabytes']:.0f}",
            f"{r['reloaded']['same']} of {r['reloaded']['n']}",
        ]
        for r in rows
        if "kind" in r
    ]


def summed_up(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """By task, how far the student is above the best baseline, and the share of answers that reloading keeps."""
    found: dict[str, Any] = {"above_best_baseline": {}, "same_answers": {}}
    for name in dict.fromkeys(r["task"] for r in rows):
        student, *others = (r for r in rows if r["task"] == name)
        found["above_best_baseline"][name] = round(student["value"] - max(r["value"] for r in others), 4)
        found["same_answers"][name] = round(student["reloaded"]["same"] / student["reloaded"]["n"], 4)
    return found


def main() -> None:
    args = options(__doc__ or "", only=TASKS)
    work = ROOT / "benchmarks" / ".work" / f"kinds-{'fast' if args.fast else 'full'}-{args.seed}"
    earlier: list[dict[str, Any]] = []
    if args.json and Path(args.json).exists():
        earlier = json.loads(Path(args.json).read_text(encoding="utf-8"))["rows"]
    rows: list[dict[str, Any]] = []
    for name, make in TASKS.items():
        kept = work / name / "rows.json"
        if args.only in (None, name) and not kept.exists():
            say(f"== {name}")
            task = make(shared(), args.fast)
            kept.write_text(json.dumps(measure(run_p2m(work / name, task, args.seed), task), ensure_ascii=False))
        rows += json.loads(kept.read_text()) if kept.exists() else [r for r in earlier if r["task"] == name]
    print(table(COLUMNS, score_cells(rows)), table(RUN_COLUMNS, run_cells(rows)), sep="\n\n")
    write_json(args.json, rows, summed_up(rows))


if __name__ == "__main__":
    main()
