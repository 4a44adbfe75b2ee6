"""Copy the measured numbers into README and docs: from benchmarks/results/ and the demo's transcript, never by hand.

python benchmarks/update_readme.py [--demo TRANSCRIPT]
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from common import RESULTS, ROOT, table

EARLIER = "words 0.1 (best), use 0.15 (fixed)"
"""How `p2m catalog search` weighed before benchmarks/retrieval_weights.py."""
ALONE = "words 0 (best), use 0 (fixed)"


def tasks() -> str:
    """The table of benchmarks/tasks.py."""
    found = json.loads((RESULTS / "tasks.json").read_text(encoding="utf-8"))
    rows = [
        [r["task"], r["system"], f"{r['accuracy']:.3f}", f"{r['low']:.3f}–{r['high']:.3f}", r["n"]]
        for r in found["rows"]
    ]
    gains = found["summary"]["gain_where_teacher_leads"]
    lead = "; ".join(f"{name} {100 * gain:+.1f} points" for name, gain in gains.items()) or "on none of these"
    text = (
        "Where the teacher is 20 points or more above every few-shot student, the gain of ours over the best of them: "
    )
    return table(["task", "system", "accuracy", "95% interval", "n"], rows) + f"\n\n{text}{lead}."


def train_speed() -> str:
    """The rows and the ratios of benchmarks/train_speed.py, a kind after the other."""
    from speed_tasks import TASKS
    from train_speed import COLUMNS, cells

    rows, ratios = [], []
    for kind in TASKS:
        path = RESULTS / ("train_speed.json" if kind == "classify" else f"train_speed_{kind}.json")
        if not path.exists():
            continue
        found = json.loads(path.read_text(encoding="utf-8"))
        rows += [[kind, *cells(r)] for r in found["rows"]]
        s = found["summary"]
        said = [f"**{kind}** {s['ratio']:.2f}"]
        said += [f"{s['ratio_to_loss']:.2f} to equal loss"] if s.get("ratio_to_loss") else []
        said += [f"{s['ratio_memory']:.2f} of the memory"] if s.get("ratio_memory") else []
        said += [f"score {s['accuracy_difference']:+.3f}"]
        ratios.append(", ".join(said) + (f" ({s['note']})" if s.get("note") else ""))
    note = f"Speed to Trainer's defaults: {'; '.join(ratios)}."
    return table(["kind", *COLUMNS], rows) + f"\n\n{note}"


def many_labels() -> str:
    """The rows of benchmarks/many_labels.py."""
    from many_labels import COLUMNS, cells

    found = json.loads((RESULTS / "many_labels.json").read_text(encoding="utf-8"))
    return table(COLUMNS, [cells(r) for r in found["rows"]])


def kinds() -> str:
    """The scores and the runs of benchmarks/kinds.py."""
    from kinds import COLUMNS, RUN_COLUMNS, run_cells, score_cells

    rows = json.loads((RESULTS / "kinds.json").read_text(encoding="utf-8"))["rows"]
    return table(COLUMNS, score_cells(rows)) + "\n\n" + table(RUN_COLUMNS, run_cells(rows))


def inference() -> str:
    """The rows and the ratios of benchmarks/inference.py."""
    from inference import COLUMNS, cells

    found = json.loads((RESULTS / "inference.json").read_text(encoding="utf-8"))
    summary = found["summary"]
    worst = (
        f"{summary['int8_speedup']:.2f} times torch's rows a second at least "
        f"({summary['int8_speedup_best_torch']:.2f} with the batches that are best for torch), "
        f"{summary['int8_loss']:+.2f} points lost"
    )
    return table(COLUMNS, [cells(r) for r in found["rows"]]) + f"\n\nint8: {worst} at most."


def retrieval() -> str:
    """The rows of benchmarks/retrieval.py."""
    found = json.loads((RESULTS / "retrieval.json").read_text(encoding="utf-8"))
    measures = ("P@5", "R@5", "MAP", "MRR", "half_a", "half_b")
    rows = [[r["queries"], r["system"], *(f"{r[m]:.1f}" for m in measures)] for r in found["rows"]]
    return table(["queries", "found by", "P@5", "R@5", "MAP", "MRR", "R@5 half A", "R@5 half B"], rows)


def judged() -> str:
    """The rows of benchmarks/retrieval_judged.py."""
    found = json.loads((RESULTS / "retrieval_judged.json").read_text(encoding="utf-8"))
    rows = [[r["system"], *(f"{r[m]:.1f}" for m in ("P@5", "R@5", "MAP", "MRR"))] for r in found["rows"]]
    return table(["found by", "P@5", "R@5", "MAP", "MRR"], rows)


def weights() -> str:
    """R@5 of benchmarks/retrieval_weights.py: the best of each form of the score by the seen half, and the unseen."""
    found = json.loads((RESULTS / "retrieval_weights.json").read_text(encoding="utf-8"))
    best: dict[tuple[bool, ...], dict[str, Any]] = {}
    for r in found["rows"]:  # sorted by the seen half
        best.setdefault((r["by_ceiling"], r["long_less"], r["known"]), r)
    named = {found["summary"]["chosen"]: "chosen", EARLIER: "as it was", ALONE: "embeddings alone"}
    apart = [r for r in found["rows"] if r["scoring"] in named]
    sets = ("full", "keyphrase", "judged", "judged AP")
    rows = [
        [
            f"{r['scoring']}{': ' + named[r['scoring']] if r['scoring'] in named else ''}",
            *(f"{r[half][name]:.1f}" for half in ("seen", "unseen") for name in sets),
        ]
        for r in (*(r for r in best.values() if r["scoring"] not in named), *apart)
    ]
    heads = [f"{name}, {half}" for half in ("seen", "unseen") for name in sets]
    return table(["weights", *heads], rows)


def tried() -> str:
    """R@5 of benchmarks/retrieval.py with other counts of use."""
    rows = []
    for path in sorted(RESULTS.glob("retrieval_use_*.json")):
        recall = [
            f"{r['R@5']:.1f} ({r['half_a']:.1f}, {r['half_b']:.1f})"
            for r in json.loads(path.read_text(encoding="utf-8"))["rows"]
        ]
        rows.append([f"`--{path.stem.removeprefix('retrieval_').replace('_', ' ')}`", *recall])
    return table(["flag", "full (half A, half B)", "keyphrase (half A, half B)"], rows)


def setups() -> str:
    """Rows of benchmarks/retrieval_setups.py: R@5 of full descriptions and keyphrases, each also of the described."""
    found = json.loads((RESULTS / "retrieval_setups.json").read_text(encoding="utf-8"))["rows"]
    texts, left_out = ("contents", "name. contents", "title. contents"), ("split at spaces", "stop words")
    cells: dict[tuple[str, str], list[str]] = {}
    for row in found:
        form, _, prefix = row["queries"].partition(", ")
        system = row["system"] + (", queries with a prefix" if prefix else "")
        if row["text"] in texts and not any(part in system for part in left_out):
            said = f"{row['R@5']:.1f} ({row['R@5 described']:.1f})"
            cells.setdefault((system, row["text"]), ["", ""])[form == "keyphrase"] = said
    rows = [[*key, *values] for key, values in sorted(cells.items())]
    return table(["found by", "text of a card", "full (of the described)", "keyphrase (of the described)"], rows)


def latency() -> str:
    """The rows and the memory of benchmarks/catalog_latency.py."""
    found = json.loads((RESULTS / "catalog_latency.json").read_text(encoding="utf-8"))
    names = ("n", "p50_ms", "p95_ms", "cpu_p50_ms", "cpu_p95_ms")
    rows = [[r["what"], *(r[name] for name in names)] for r in found["rows"]]
    s = found["summary"]
    note = f"Loading {s['load_seconds']} s; the file has {s['file_megabytes']} MB."
    return table(["what", "n", "p50 ms", "p95 ms", "processor p50 ms", "p95 ms"], rows) + f"\n\n{note}"


def estimate() -> str:
    """The rows of benchmarks/estimate.py, those of the real students with two metrics each on a line."""
    found = json.loads((RESULTS / "estimate.json").read_text(encoding="utf-8"))
    shown = [
        [r["what"], r["metric"], r["method"], r["n"], r["draws"], f"{r['coverage']:.3f}", f"{r['width']:.3f}"]
        for r in found["rows"]
        if r["kind"] != "trust"
    ]
    s = found["summary"]
    notes = (
        f"Over all settings but PPI++ on generated rows that are easier: **{s['coverage']:.1%}** "
        f"({s['coverage_simulated']:.1%} of {s['simulated_runs']:,} simulated runs, {s['coverage_real']:.1%} of "
        f"{s['real_runs']:,} draws for {s['real_students']} real students, each as a mean over settings); the lowest "
        f"setting {s['lowest']:.1%}, the highest {s['highest']:.1%}. PPI++ on easier rows: "
        f"{s['coverage_ppi_shifted']:.1%}.\n\n"
        f"The same real students: expected calibration error {s['ece_before']:.3f} before and {s['ece_after']:.3f} "
        "after the temperature that 80 validation rows give; of the thresholds chosen on these rows "
        f"{s['goal_reached']:.1%} reach the accuracy of 0.95 on all other rows."
    )
    return table(["rows", "metric", "interval", "n", "draws", "holds the truth", "width"], shown) + f"\n\n{notes}"


def estimate_line() -> str:
    """What README says of it."""
    s = json.loads((RESULTS / "estimate.json").read_text(encoding="utf-8"))["summary"]
    return (
        f"The 90% intervals hold the true score in {s['coverage_simulated']:.1%} of {s['simulated_runs']:,} simulated "
        f"runs and in {s['coverage_real']:.1%} of {s['real_runs']:,} draws of a test for {s['real_students']} real "
        f"students. The temperature takes these students' expected calibration error from {s['ece_before']:.3f} to "
        f"{s['ece_after']:.3f}."
    )


def ranking() -> str:
    """The violations of benchmarks/model_ranking.py, and the first five of each system."""
    found = json.loads((RESULTS / "model_ranking.json").read_text(encoding="utf-8"))
    names = ("n", "wrong language", "wrong kind", "too large", "no licence", "any")
    total = [[system, *(counts[name] for name in names)] for system, counts in found["summary"]["systems"].items()]
    each = [[r["task"], r["system"], ", ".join(r["models"])] for r in found["rows"]]
    head = table(["found by", "models", *names[1:5], "violations"], total)
    return f"{head}\n\n{table(['task', 'found by', 'first five'], each)}"


def needs() -> str:
    """The rows of benchmarks/model_needs.py."""
    found = json.loads((RESULTS / "model_needs.json").read_text(encoding="utf-8"))
    rows = []
    for r in found["rows"]:
        sizes = [f"{r[name] / 1e9:.2f}" for name in ("reckoned_bytes", "peak_bytes")]
        times = ["" if r[k] is None else f"{r[k]:.1f}" for k in ("reckoned_epoch_seconds", "epoch_seconds")]
        rows.append([r["method"], *sizes, *times])
    return table(["method", "memory reckoned, GB", "measured, GB", "epoch reckoned, s", "measured, s"], rows)


def tui() -> str:
    """The rows of benchmarks/tui.py in words."""
    found = json.loads((RESULTS / "tui.json").read_text(encoding="utf-8"))
    paint, key, memory = found["rows"]
    return (
        f"First paint {paint['median']:.2f} s after the process is started (median of {paint['n']}; p95 "
        f"{paint['p95']:.2f} s). A key is answered in {key['median']:.0f} ms (median of {key['n']}; p95 "
        f"{key['p95']:.0f} ms). Memory {memory['median']:.0f} MB when the run is opened, {memory['p95']:.0f} MB after "
        f"{memory['n']:,} events."
    )


def start() -> str:
    """The rows of benchmarks/start.py in words."""
    found = json.loads((RESULTS / "start.json").read_text(encoding="utf-8"))
    forked, fresh = found["rows"]
    return (
        f"A training of 60 rows takes {forked['median']:.1f} s from call to result (median of {forked['n']}); "
        f"{fresh['median']:.1f} s where each child is a new interpreter (of {fresh['n']}, in turn): "
        f"{found['summary']['ratio']:.1f} times. The first of a run, with the server's start: "
        f"{found['summary']['first_s']:.1f} s."
    )


def fill(readme: str, name: str, body: str) -> str:
    """``readme`` with what stands between the markers of ``name`` replaced."""
    pattern = rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)"
    return re.sub(pattern, lambda m: f"{m[1]}{body}\n{m[2]}", readme, flags=re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, default=RESULTS / "demo.txt", help="what `make demo` printed")
    args = parser.parse_args()
    path = ROOT / "README.md"
    readme = path.read_text(encoding="utf-8")
    if args.demo.exists():
        readme = fill(readme, "demo", f"```\n{args.demo.read_text(encoding='utf-8').strip()}\n```")
    for name, make in (
        ("tasks", tasks),
        ("kinds", kinds),
        ("train_speed", train_speed),
        ("many_labels", many_labels),
        ("inference", inference),
        ("estimate", estimate_line),
        ("tui", tui),
        ("start", start),
    ):
        if (RESULTS / f"{name}.json").exists():
            readme = fill(readme, name, make())
    path.write_text(readme, encoding="utf-8")
    for notes, tables in (
        (
            "retrieval",
            (
                ("retrieval", "retrieval", retrieval),
                ("retrieval_judged", "judged", judged),
                ("retrieval_weights", "weights", weights),
                ("retrieval_use_names", "tried", tried),
                ("retrieval_setups", "setups", setups),
                ("catalog_latency", "latency", latency),
            ),
        ),
        ("estimate", (("estimate", "estimate", estimate),)),
        ("models", (("model_ranking", "model_ranking", ranking), ("model_needs", "model_needs", needs))),
    ):
        file = ROOT / "docs" / f"{notes}.md"
        text = file.read_text(encoding="utf-8")
        for result, name, make in tables:
            if (RESULTS / f"{result}.json").exists():
                text = fill(text, name, make())
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
