"""Copy the measured numbers into README: from benchmarks/results/*.json and the demo's transcript, never by hand.

python benchmarks/update_readme.py [--demo TRANSCRIPT]
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from common import RESULTS, ROOT, table


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
    """The rows and the ratio of benchmarks/train_speed.py."""
    found = json.loads((RESULTS / "train_speed.json").read_text(encoding="utf-8"))
    rows = [
        [
            r["system"],
            f"{r['examples_per_second']:.1f}",
            f"{r['accuracy']:.3f}",
            f"{r['low']:.3f}–{r['high']:.3f}",
            r["n"],
        ]
        for r in found["rows"]
    ]
    summary = found["summary"]
    note = f"Ratio {summary['ratio']:.2f}, difference in accuracy {summary['accuracy_difference']:+.3f}."
    return table(["system", "examples/s", "accuracy", "95% interval", "n"], rows) + f"\n\n{note}"


def inference() -> str:
    """The rows and the ratios of benchmarks/inference.py."""
    from inference import COLUMNS, cells

    found = json.loads((RESULTS / "inference.json").read_text(encoding="utf-8"))
    summary = found["summary"]
    worst = (
        f"{summary['int8_speedup']:.2f} times torch's rows a second at least, {summary['int8_loss']:+.2f} points lost"
    )
    return table(COLUMNS, [cells(r) for r in found["rows"]]) + f"\n\nint8: {worst} at most."


def retrieval() -> str:
    """The rows of benchmarks/retrieval.py."""
    found = json.loads((RESULTS / "retrieval.json").read_text(encoding="utf-8"))
    measures = ("P@5", "R@5", "MAP", "MRR", "half_a", "half_b")
    rows = [[r["queries"], r["system"], *(f"{r[m]:.1f}" for m in measures)] for r in found["rows"]]
    return table(["queries", "found by", "P@5", "R@5", "MAP", "MRR", "R@5 half A", "R@5 half B"], rows)


def tried() -> str:
    """R@5 of benchmarks/retrieval.py with other weights and other counts of use."""
    rows = []
    for path in sorted(RESULTS.glob("retrieval_*.json")):
        recall: dict[str, list[str]] = {}
        for r in json.loads(path.read_text(encoding="utf-8"))["rows"]:
            if path.stem.endswith("grid") or r["system"] == "p2m catalog search":
                recall.setdefault(r["system"], []).append(f"{r['R@5']:.1f} ({r['half_a']:.1f}, {r['half_b']:.1f})")
        flags = path.stem.removeprefix("retrieval_").replace("_", " ")
        rows += [[f"`--{flags}`", system, *values] for system, values in recall.items()]
    return table(["flag", "weights", "full (half A, half B)", "keyphrase (half A, half B)"], rows)


def latency() -> str:
    """The rows and the memory of benchmarks/catalog_latency.py."""
    found = json.loads((RESULTS / "catalog_latency.json").read_text(encoding="utf-8"))
    names = ("n", "p50_ms", "p95_ms", "cpu_p50_ms", "cpu_p95_ms")
    rows = [[r["what"], *(r[name] for name in names)] for r in found["rows"]]
    s = found["summary"]
    note = f"Loading {s['load_seconds']} s; the file has {s['file_megabytes']} MB."
    return table(["what", "n", "p50 ms", "p95 ms", "processor p50 ms", "p95 ms"], rows) + f"\n\n{note}"


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
    for name, make in (("tasks", tasks), ("train_speed", train_speed), ("inference", inference)):
        if (RESULTS / f"{name}.json").exists():
            readme = fill(readme, name, make())
    path.write_text(readme, encoding="utf-8")
    notes = ROOT / "docs" / "retrieval.md"
    text = notes.read_text(encoding="utf-8")
    for file, name, make in (
        ("retrieval", "retrieval", retrieval),
        ("retrieval_grid", "tried", tried),
        ("catalog_latency", "latency", latency),
    ):
        if (RESULTS / f"{file}.json").exists():
            text = fill(text, name, make())
    notes.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
