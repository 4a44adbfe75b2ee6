"""How often the 90% interval of an estimate holds the true score, which is known here.

    python benchmarks/estimate.py [--fast] [--json FILE] [--seed N]

Simulated: answers are drawn from rates that are given, so that the true score is a formula or the score of a large
population; every metric, at 40 to 400 rows. Real: ten students (a head on frozen MiniLM) trained on 60 rows of five
public datasets; from some 1,500 other rows a test is drawn as the referee draws it, again and again, and the truth is
the score on all the rows not drawn. The few rows of a user beside generated ones: alone, and by prediction-powered
inference, where the generated rows are like the user's and where they are easier. The intervals are those of
the product at another level. Measured settings are kept in benchmarks/.work and not measured again.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, options, say, shared, table, write_json

from p2m.data.split import split
from p2m.evaluate.abstain import GOAL, choose_threshold
from p2m.evaluate.calibration import at_temperature, ece, fit_temperature
from p2m.evaluate.intervals import Estimate, interval, wilson
from p2m.evaluate.metrics import score
from p2m.evaluate.powered import powered_mean
from p2m.outputs import Span, format_number, format_spans
from p2m.rows import Row
from p2m.task.spec import Metric

LEVEL = 0.9
SIZES = (40, 80, 160, 400)
FEW = (10, 20, 39)
GENERATED = 80
RIGHT = (0.65, 0.85)
POOL = 1500
TRAINED_ON = 60
TEST = 80
CHEAP = 20  # intervals without a bootstrap cost nothing: so many times the draws

Draw = Callable[[np.random.Generator, int], tuple[list[str], list[str]]]


def shares(right: float) -> tuple[float, Draw]:
    """Accuracy: each row is right with one probability."""

    def draw(rng: np.random.Generator, n: int) -> tuple[list[str], list[str]]:
        return ["a"] * n, np.where(rng.random(n) < right, "a", "b").tolist()

    return right, draw


def joint(labels: list[float], recall: list[float]) -> np.ndarray:
    """The shares of (right label, answer): what is wrong falls on the other labels alike."""
    k = len(labels)
    rates = np.array([[r if i == j else (1 - r) / (k - 1) for j in range(k)] for i, r in enumerate(recall)])
    return rates * np.array(labels)[:, None]


def stratified(rates: np.ndarray) -> Draw:
    """Rows as the referee draws them: the labels in their shares, the answers by chance."""

    def draw(rng: np.random.Generator, n: int) -> tuple[list[str], list[str]]:
        rows = [Row(str(i), str(g)) for i, g in enumerate(rng.choice(len(rates), size=2 * n, p=rates.sum(1)))]
        drawn = split(rows, int(rng.integers(1 << 30)), use="validation_file", stratify=True).test[:n]
        golds = [int(r.output) for r in drawn]
        said = [rng.choice(len(rates), p=rates[g] / rates[g].sum()) for g in golds]
        return [str(g) for g in golds], [str(a) for a in said]

    return draw


def macro_f1(rates: np.ndarray) -> float:
    return float(np.mean([2 * rates[i, i] / (rates[i].sum() + rates[:, i].sum()) for i in range(len(rates))]))


def mcc(rates: np.ndarray) -> float:
    golds, said = rates.sum(1), rates.sum(0)
    return float((np.trace(rates) - golds @ said) / np.sqrt((1 - golds @ golds) * (1 - said @ said)))


def spans() -> tuple[float, Draw]:
    """Rows of 0 to 3 spans: hard rows have half of them found, others nearly all; false ones besides."""
    sizes, found, false = (0.2, 0.4, 0.25, 0.15), (0.55, 0.95), 0.2
    mean = float(np.dot(sizes, range(4)))
    hits = mean * float(np.mean(found))

    def draw(rng: np.random.Generator, n: int) -> tuple[list[str], list[str]]:
        golds, said = [], []
        for _ in range(n):
            right = [Span(10 * i, 10 * i + 4, "x", "text") for i in range(rng.choice(4, p=sizes))]
            rate = found[int(rng.integers(2))]
            kept = [s for s in right if rng.random() < rate]
            wrong = [Span(500 + 10 * i, 504 + 10 * i, "x", "text") for i in range(rng.poisson(false))]
            golds.append(format_spans(right))
            said.append(format_spans([*kept, *wrong]))
        return golds, said

    return 2 * hits / (mean + hits + false), draw


def population(metric: Metric, golds: list[str], said: list[str]) -> tuple[float, Draw]:
    """Rows drawn from a large population: the truth is its own score."""

    def draw(rng: np.random.Generator, n: int) -> tuple[list[str], list[str]]:
        index = rng.integers(len(golds), size=n)
        return [golds[i] for i in index], [said[i] for i in index]

    return score(metric, golds, said), draw


def sentences(rng: np.random.Generator, n: int = 3000) -> tuple[list[str], list[str]]:
    """Texts, and copies in which a share of the words, another in each row, is lost or exchanged."""
    letters = list("etaoinshrdlucmfwyp")
    words = ["".join(rng.choice(letters, size=rng.integers(2, 9))) for _ in range(400)]
    golds, said = [], []
    for _ in range(n):
        text = [words[i] for i in rng.integers(400, size=rng.integers(3, 15))]
        rate = rng.beta(1, 2)
        other = [words[rng.integers(400)] if rng.random() < 0.5 else "" for _ in text]
        copy = [o if rng.random() < rate else w for w, o in zip(text, other, strict=True)]
        golds.append(" ".join(text))
        said.append(" ".join(w for w in copy if w))
    return golds, said


def ratings(rng: np.random.Generator, n: int = 20000) -> tuple[list[str], list[str]]:
    """Grades from 1 to 5, and numbers that follow them with noise."""
    golds = rng.choice(5, size=n, p=(0.1, 0.2, 0.3, 0.25, 0.15)) + 1.0
    return [format_number(g) for g in golds], [format_number(v) for v in golds + rng.normal(0, 1.1, size=n)]


def simulations(seed: int) -> Iterator[tuple[str, Metric, float, Draw]]:
    """(what, metric, true score, how rows are drawn)."""
    rng = np.random.default_rng(seed)
    for right in (0.95, 0.75):
        yield f"right with probability {right:g}", "accuracy", *shares(right)
    uneven = joint([0.6, 0.3, 0.1], [0.85, 0.7, 0.5])
    many = joint([0.1] * 10, [0.95, 0.9, 0.9, 0.85, 0.8, 0.8, 0.75, 0.7, 0.9, 0.95])
    spam = joint([0.86, 0.14], [0.97, 0.85])
    yield "three uneven labels", "macro_f1", macro_f1(uneven), stratified(uneven)
    yield "ten even labels", "macro_f1", macro_f1(many), stratified(many)
    yield "two uneven labels", "mcc", mcc(spam), stratified(spam)
    yield "rows of 0 to 3 spans", "span_f1", *spans()
    texts = sentences(rng)
    yield "texts with lost words", "chrf", *population("chrf", *texts)
    yield "texts with lost words", "squad_f1", *population("squad_f1", *texts)
    yield "grades with noise", "spearman", *population("spearman", *ratings(rng))


def simulated(seed: int, draws: int, kept: Kept) -> None:
    for what, metric, truth, draw in simulations(seed):
        for n in SIZES:
            job = partial(_simulated, what, metric, truth, draw, n, seed, draws)
            kept.measure(f"{metric}, {what}, {n}", job)


def _simulated(what: str, metric: Metric, truth: float, draw: Draw, n: int, seed: int, draws: int) -> list[dict]:
    rng = np.random.default_rng((seed, n))
    times, method = (draws * CHEAP, "Wilson") if metric == "accuracy" else (draws, "BCa")
    found = [interval(metric, *draw(rng, n), confidence=LEVEL, seed=i) for i in range(times)]
    return [{"kind": "simulated", "what": what, "metric": metric, "method": method, "n": n, **held(found, truth)}]


def held(found: list[Estimate], truths: float | list[float]) -> dict[str, Any]:
    """How often the intervals hold the truth, with the interval of that share itself."""
    each = truths if isinstance(truths, list) else [truths] * len(found)
    hits = sum(e.low <= t <= e.high for e, t in zip(found, each, strict=True))
    low, high = wilson(hits, len(found))
    return {
        "draws": len(found),
        "truth": round(float(np.mean(each)), 4),
        "coverage": round(hits / len(found), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "width": round(float(np.mean([e.width for e in found])), 4),
        "above": round(float(np.mean([e.low > t for e, t in zip(found, each, strict=True)])), 4),
        "below": round(float(np.mean([e.high < t for e, t in zip(found, each, strict=True)])), 4),
    }


def few_rows(seed: int, draws: int, kept: Kept) -> None:
    """The user's rows alone, and with generated ones on which the student is right more often by ``easier``."""
    for n in FEW:
        kept.measure(f"own rows, {n}", partial(_few, "Wilson", 0.0, n, seed, draws))
        for easier in (0.0, 0.05, 0.1, 0.15):
            kept.measure(f"PPI++, {easier:.0%} easier, {n}", partial(_few, "PPI++", easier, n, seed, draws))


def _few(method: str, easier: float, n: int, seed: int, draws: int) -> list[dict]:
    rng = np.random.default_rng((seed, n))
    found, rates = [], rng.uniform(*RIGHT, size=draws * CHEAP).tolist()
    for rate in rates:
        truth, proxy = few_answers(rng, n, rate)
        _, many = few_answers(rng, GENERATED, rate + easier)
        if method == "PPI++":
            value, low, high, _ = powered_mean(truth, proxy, many, LEVEL)
        else:
            value, (low, high) = float(truth.mean()), wilson(int(truth.sum()), n, LEVEL)
        found.append(Estimate("accuracy", value, low, high, n))
    what = "the user's rows alone" if method == "Wilson" else f"with generated rows, {easier:.0%} easier"
    row = {"kind": "few", "what": what, "metric": "accuracy", "method": method, "n": n, "easier": easier}
    return [{**row, **held(found, rates)}]


def few_answers(rng: np.random.Generator, n: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Whether the student is right, and whether the teacher, itself right on nine rows of ten, would say so."""
    truth = rng.random(n) < rate
    teacher_errs = rng.random(n) > 0.9
    return truth, np.where(teacher_errs, ~truth & (rng.random(n) < 0.3), truth)


def datasets(data: Path) -> dict[str, list[tuple[str, str]]]:
    """Five datasets as (text, label): of those with many labels the ten that come first in the alphabet."""

    def lines(path: str, text: str, label: str, ten: bool) -> list[tuple[str, str]]:
        files = sorted((data / "hub/datasets" / path).glob("*.jsonl"))
        records = [json.loads(line) for f in files for line in f.read_text(encoding="utf-8").splitlines()]
        rows = list(dict.fromkeys((r[text], r[label]) for r in records))
        common = [label for label, n in Counter(y for _, y in rows).items() if n >= 100]
        chosen = set(sorted(common)[:10] if ten else common)
        return [row for row in rows if row[1] in chosen]

    return {
        "banking77, ten intents": lines("polyai/banking77", "text", "category", True),
        "sms-spam": lines("uci/sms-spam-collection", "sms", "label", False),
        "snips": lines("snips/nlu-benchmark", "text", "intent", False),
        "hwu64, ten intents": lines("xliuhw/hwu64", "text", "intent", True),
        "clinc, ten intents": lines("clinc/clinc-oos-small", "text", "intent", True),
    }


def real(seed: int, draws: int, kept: Kept) -> None:
    """Two students a dataset; accuracy and macro-F1; and what the threshold and the temperature are worth."""
    for name, pairs in datasets(shared()).items():
        labels = sorted({y for _, y in pairs})
        pool = random.Random(seed).sample(pairs, min(len(pairs), POOL + 2 * TRAINED_ON))
        for student in (1, 2):
            train = pool[(student - 1) * TRAINED_ON : student * TRAINED_ON]
            kept.measure(
                f"{name}, student {student}",
                partial(_real, f"{name}, student {student}", train, pool[2 * TRAINED_ON :], labels, seed, draws),
            )


def _real(name: str, train: list, rows: list, labels: list[str], seed: int, draws: int) -> list[dict]:
    from p2m.train.embed import Embedder

    return measured(name, rows, predicted(train, rows, labels, seed, Embedder.default()), labels, seed, draws)


def predicted(train: list, rows: list, labels: list[str], seed: int, embedder: Any) -> np.ndarray:
    """Probabilities (n, labels) of a head on the frozen encoder."""
    from scipy.special import softmax

    from p2m.train.heads import fit_head

    targets = np.eye(len(labels))[[labels.index(y) for _, y in train]]
    head = fit_head(embedder.embed([x for x, _ in train]), targets, np.ones(len(train)), seed)
    return softmax(head.logits(embedder.embed([x for x, _ in rows])), axis=1)


def measured(name: str, pairs: list, probs: np.ndarray, labels: list[str], seed: int, draws: int) -> list[dict]:
    """Tests of 80 rows, drawn as the referee draws them, against all rows that were not drawn."""
    rows = [Row(str(i), y) for i, (_, y) in enumerate(pairs)]
    golds, said = [r.output for r in rows], [labels[i] for i in probs.argmax(1)]
    right = np.array([g == s for g, s in zip(golds, said, strict=True)])
    rng = random.Random(f"{name} {seed}")
    found: dict[Metric, list[Estimate]] = {"accuracy": [], "macro_f1": []}
    truths: dict[Metric, list[float]] = {"accuracy": [], "macro_f1": []}
    trust = []
    for i in range(draws):
        drawn = split(rng.sample(rows, 2 * TEST), i, use="validation_file", stratify=True)
        test, validation = ([int(r.input) for r in part] for part in (drawn.test, drawn.validation))
        rest = sorted(set(range(len(rows))) - set(test) - set(validation))
        for metric in found:
            chosen = [golds[j] for j in test], [said[j] for j in test]
            found[metric].append(interval(metric, *chosen, labels=labels, confidence=LEVEL, seed=i))
            truths[metric].append(score(metric, [golds[j] for j in rest], [said[j] for j in rest], labels))
        temperature = fit_temperature(probs[validation], [golds[j] for j in validation], labels)
        sure = at_temperature(probs, temperature).max(1)
        threshold = choose_threshold(sure[validation], right[validation], GOAL)
        answered = [j for j in rest if threshold is not None and sure[j] >= threshold]
        trust.append(
            {
                "temperature": temperature,
                "ece_before": ece(probs.max(1)[rest], right[rest]),
                "ece_after": ece(sure[rest], right[rest]),
                "coverage": len(answered) / len(rest),
                "kept": float(right[answered].mean()) if answered else float("nan"),
            }
        )
    mean = {key: round(float(np.nanmean([t[key] for t in trust])), 4) for key in trust[0]}
    kept = [t["kept"] for t in trust if not np.isnan(t["kept"])]
    mean["thresholds"] = round(len(kept) / len(trust), 4)
    mean["goal_reached"] = round(float(np.mean([k >= GOAL for k in kept])), 4) if kept else 0.0
    methods = {"accuracy": "Wilson", "macro_f1": "BCa"}
    made = [
        {"kind": "real", "what": name, "metric": m, "method": methods[m], **held(found[m], truths[m]), "n": TEST}
        for m in found
    ]
    return [*made, {"kind": "trust", "what": name, "metric": "accuracy", "draws": draws, "n": TEST, **mean}]


class Kept:
    """Rows by the name of what was measured, in a file, so that a run that is cut goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, list[dict[str, Any]]] = json.loads(path.read_text()) if path.exists() else {}

    def measure(self, name: str, job: Callable[[], list[dict[str, Any]]]) -> None:
        if name in self.rows:
            return
        began = time.monotonic()
        rows = job()
        seconds = round(time.monotonic() - began, 2)
        self.rows[name] = [{**row, "seconds": seconds} for row in rows]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.rows))
        say(f"{name}: {rows[0].get('coverage')} [{seconds:.0f} s]")


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over settings; ``coverage`` is of the intervals that p2m goes by, and that of PPI++ where it is valid."""

    def mean(chosen: list[dict[str, Any]], key: str = "coverage") -> float:
        return round(float(np.mean([r[key] for r in chosen])), 4)

    by = {kind: [r for r in rows if r["kind"] == kind] for kind in ("simulated", "real", "few", "trust")}
    own = [r for r in by["few"] if r["method"] == "Wilson"]
    matching = [r for r in by["few"] if r["method"] == "PPI++" and not r["easier"]]
    shifted = [r for r in by["few"] if r["easier"]]
    reached, thresholds = ([r[key] for r in by["trust"]] for key in ("goal_reached", "thresholds"))
    counted = [*by["simulated"], *by["real"], *own, *matching]
    return {
        "level": LEVEL,
        "coverage": mean(counted),
        "coverage_simulated": mean(by["simulated"]),
        "coverage_real": mean(by["real"]),
        "lowest": min(r["coverage"] for r in counted),
        "highest": max(r["coverage"] for r in counted),
        "simulated_runs": sum(r["draws"] for r in by["simulated"]),
        "real_students": len(by["trust"]),
        "real_runs": sum(r["draws"] for r in by["trust"]),
        "coverage_own_rows": mean(own),
        "width_own_rows": mean(own, "width"),
        "coverage_ppi_matching": mean(matching),
        "width_ppi_matching": mean(matching, "width"),
        "coverage_ppi_shifted": mean(shifted),
        "ece_before": mean(by["trust"], "ece_before"),
        "ece_after": mean(by["trust"], "ece_after"),
        # Of all thresholds that were found.
        "goal_reached": round(float(np.average(reached, weights=thresholds)), 4),
    }


def main() -> None:
    args = options(__doc__ or "")
    draws = 100 if args.fast else 400
    kept = Kept(ROOT / "benchmarks" / ".work" / f"estimate-{'fast' if args.fast else 'full'}-{args.seed}.json")
    few_rows(args.seed, draws, kept)
    real(args.seed, draws, kept)
    simulated(args.seed, draws, kept)
    rows = [row for made in kept.rows.values() for row in made]
    columns = ["kind", "what", "metric", "method", "n", "draws", "coverage", "its 95% interval", "width"]
    shown = [
        [*(r[c] for c in columns[:6]), f"{r['coverage']:.3f}", f"{r['low']:.3f}–{r['high']:.3f}", f"{r['width']:.3f}"]
        for r in rows
        if r["kind"] != "trust"
    ]
    found = summary(rows)
    print(table(columns, shown))
    print(f"\nOverall {found['coverage']:.3f} at the level {LEVEL:g}.")
    write_json(args.json, rows, found)


if __name__ == "__main__":
    main()
