"""The policy planner: a rule book that needs no LLM. It also gives the LLM planner its advice."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from agent import guard
from agent.events import By
from agent.planner import Turn, View
from agent.state import Call, RunState
from p2m import kinds
from p2m.kinds.base import Advice
from p2m.rows import is_real
from p2m.task.spec import TaskSpec

AIMED_BATCH = 60
TRANSFORMED = 120
TRAININGS_FOR_RATES = 8
"""A trial of rates takes 0.3 of the time and wants at least one and a half trainings; the winner is trained anew."""
Step = tuple[str, dict[str, Any], str]


class PolicyPlanner:
    """Says what it does and why, in one sentence a turn."""

    name = "policy"
    by: By = "policy"

    async def turn(self, view: View, on_text: Callable[[str], None]) -> Turn:
        tool, arguments, why = advise(view)
        on_text(why)
        return Turn(why, ((tool, arguments),))


def advise(view: View) -> Step:
    """The next call, its arguments and the reason, from the first rule that applies to what the menu offers."""
    rules = (
        *(_find_data, _transform, _first_data, _check, _choose_base),
        *(_compare_bases, _try_quickly, _train, _plain_head, _try_rates, _train_at_rate),
        *(_look_at_errors, _aim, _more),
    )
    for rule in rules:
        step = rule(view)
        if step is not None and step[0] in view.menu and not _is_used_up(view, step):
            return step
    if "finish" in view.menu:
        return (
            "finish",
            {"reason": "every rule is used up: more of the same will not help"},
            "nothing more to try: deliver",
        )
    name = next(iter(view.menu))
    return name, {}, f"{name} is all that can be done now"


def _is_used_up(view: View, step: Step) -> bool:
    """The guard would refuse it."""
    tool, arguments, _ = step
    return guard.refuses(view.state, Call("", tool, arguments, "policy")) is not None


def _find_data(view: View) -> Step | None:
    workspace = view.state.workspace
    if not view.facts.has_catalog:
        return None
    if not workspace.searched:
        return (
            "search_datasets",
            {"queries": search_queries(view.state.task)},
            "real rows beat written ones: search first",
        )
    for hit in [h for h in workspace.hits if h["id"] not in workspace.refused][:3]:
        if hit["id"] in workspace.advised:
            if hit["id"] not in workspace.imported:
                return "import_dataset", {"dataset": hit["id"]}, f"{hit['id']} fits the task: import it"
            return None
        if hit["id"] not in workspace.inspected:
            return "inspect_dataset", {"dataset": hit["id"]}, f"look at {hit['id']} before using it"
    return None


def _transform(view: View) -> Step | None:
    """Once, where a dataset is on the subject but its labels are not the task's."""
    workspace = view.state.workspace
    if any(c.tool == "transform_dataset" and c.finished for c in view.state.calls) or workspace.imported:
        return None
    near = [h["id"] for h in workspace.hits if h["id"] in workspace.inspected and h.get("fit") == "maybe"]
    left = [name for name in near if name not in workspace.advised and name not in workspace.refused]
    if not left:
        return None
    n = _affordable(view, TRANSFORMED, share=0.4)
    why = f"{left[0]} is on the subject, its labels are not the task's: have the teacher label its rows anew"
    return "transform_dataset", {"dataset": left[0], "max_rows": n}, why


def _first_data(view: View) -> Step | None:
    workspace, advice = view.state.workspace, _advice(view)
    real = sum(d.rows for d in workspace.datasets if is_real(d.source))
    if real >= advice.enough_rows or any(d.source == "generated" for d in workspace.datasets):
        return None
    n = _affordable(view, advice.first_batch, share=0.5)
    return "generate_batch", {"n": n}, f"too few training rows: write {n} {advice.over}"


def _check(view: View) -> Step | None:
    fresh = [d for d in view.state.workspace.datasets if d.source == "generated" and not d.checked]
    if not fresh:
        return None
    return (
        "check_labels",
        {"dataset": fresh[0].handle},
        "the labels of a fresh batch are only what was asked for: check them",
    )


def _choose_base(view: View) -> Step | None:
    """The embedded student reads English; another language, or a base that the task names, is looked for first."""
    workspace, task = view.state.workspace, view.state.task
    if workspace.models or workspace.experiments or not workspace.datasets:
        return None
    # A folder that the task names has been made a whole path.
    if view.facts.has_catalog and re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", task.student.base or ""):
        return "rank_models", {}, f"the task asks for {task.student.base}: see whether it may be used"
    if task.language.split("-")[0] != "en":
        return "rank_models", {}, f"the task is in {task.language}: look for a base model that reads it"
    if view.facts.has_models and task.student.base is None:
        return "rank_models", {}, "there are base models beside the embedded one: see which may serve"
    return None


def _compare_bases(view: View) -> Step | None:
    """The menu has it where there are two base models or more and nothing is trained."""
    workspace = view.state.workspace
    if workspace.experiments or not workspace.datasets:
        return None
    count = sum(m["kept"] for m in workspace.models)
    return "try_models", {}, f"{count} base models may serve: a short trial on the rows says which to start from"


def _try_quickly(view: View) -> Step | None:
    workspace, quick = view.state.workspace, _advice(view).quick
    if workspace.experiments or not workspace.datasets or quick is None:
        return None
    return "fine_tune", {"method": quick}, "a quick head first: it shows at little cost what the rows are worth"


def _train(view: View) -> Step | None:
    workspace, best = view.state.workspace, _advice(view).best
    in_use = {d.handle for d in workspace.datasets}
    if not in_use or any(e.method == best and set(e.data) == in_use for e in workspace.experiments):
        return None
    return "fine_tune", {"method": best}, "train the whole student on all rows in use"


def _plain_head(view: View) -> Step | None:
    """Nothing worse than a baseline is delivered: where that leads, a student learns what it learnt."""
    workspace = view.state.workspace
    real = [d.handle for d in workspace.datasets if is_real(d.source)]
    if not workspace.plain_head_leads or any(set(e.data) == set(real) for e in workspace.experiments):
        return None
    why = "the baseline on frozen embeddings is ahead of every student: train a head on the real rows alone"
    return "fine_tune", {"method": "frozen", "data": real}, why


def _try_rates(view: View) -> Step | None:
    """Once, where the rows are enough or none can be written, and there is time for several trainings like the last."""
    workspace, advice = view.state.workspace, _advice(view)
    last = [e for e in workspace.experiments if e.method == advice.best]
    real = sum(d.rows for d in workspace.datasets if is_real(d.source))
    if not last or (real < advice.enough_rows and "generate_batch" in view.menu):
        return None
    if view.left.seconds is not None and view.left.seconds < TRAININGS_FOR_RATES * last[-1].seconds:
        return None
    return "try_rates", {}, "the rows are what they are: see whether another learning rate makes more of them"


def _train_at_rate(view: View) -> Step | None:
    found = view.state.workspace.rates
    if not found or not found["decided"] or found["rate"] == found["default"]:
        return None
    tried = [c.arguments.get("learning_rate") for c in view.state.calls if c.tool == "fine_tune"]
    if found["rate"] in tried:
        return None
    why = f"the learning rate {found['rate']:.1e} did better in the trial: train with it on all rows"
    return "fine_tune", {"method": found["method"], "learning_rate": found["rate"]}, why


def _look_at_errors(view: View) -> Step | None:
    workspace, best = view.state.workspace, view.state.workspace.best
    if best is None or (workspace.analysis or {}).get("model") == best.model:
        return None
    standing = " is below the target" if view.state.task.target is not None else ""
    return "evaluate", {}, f"{best.score.metric} {best.score.value:.3f}{standing}: see what goes wrong"


def _aim(view: View) -> Step | None:
    """More rows for the weak labels, with the worst confusion as the brief; once for each analysis."""
    state = view.state
    analysis = state.workspace.analysis
    if not analysis or _generated_since_analysis(state):
        return None
    n = _affordable(view, AIMED_BATCH, share=0.5)
    if brief := analysis.get("brief"):
        return "generate_batch", {"n": n, "brief": brief}, f"write rows for what goes wrong: {brief}"
    if not analysis.get("weak"):
        return None
    weak = analysis["weak"][:3]
    return (
        "generate_batch",
        {"n": n, "labels": weak, "brief": confusion_brief(analysis)},
        f"weakest: {', '.join(weak)}; write rows that settle what they are confused with",
    )


def _more(view: View) -> Step | None:
    if _generated_since_analysis(view.state):
        return None
    n = _affordable(view, AIMED_BATCH * 2, share=0.5)
    return "generate_batch", {"n": n}, f"no single weakness: write {n} more {_advice(view).over}"


def _advice(view: View) -> Advice:
    return kinds.of(view.state.task).advice(view.state.task)


def _affordable(view: View, n: int, share: float) -> int:
    """``n``, but no more than ``share`` of the examples left, in whole calls of five."""
    if view.left.examples is not None:
        n = min(n, max(10, int(view.left.examples * share)))
    return max(10, min(400, n // 5 * 5))


def _generated_since_analysis(state: RunState) -> bool:
    names = [c.tool for c in state.calls if c.finished and not c.error]
    if "evaluate" not in names:
        return False
    return "generate_batch" in names[len(names) - names[::-1].index("evaluate") :]


def confusion_brief(analysis: dict[str, Any]) -> str:
    """The worst confusion, as an instruction to the writer."""
    confusions = [c for c in analysis.get("confusions", []) if c[0] in analysis["weak"]]
    if not confusions:
        return ""
    gold, predicted, _ = confusions[0]
    return f'inputs that are clearly "{gold}" but easily taken for "{predicted}"'[:300]


def search_queries(task: TaskSpec) -> list[str]:
    """Up to four short queries: the name, the start of the instruction, the labels."""
    words = re.findall(r"[^\W_]{3,}", task.instruction)
    labels = " ".join(re.sub(r"[_-]+", " ", label) for label in task.labels[:6])
    queries = [task.name.replace("-", " "), " ".join(words[:12]), labels]
    return list(dict.fromkeys(q[:120] for q in queries if q.strip()))[:4]
