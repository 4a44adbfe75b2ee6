"""The report as one HTML file: no script, nothing loaded from anywhere, every value escaped."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from agent.plain import plain
from agent.report.chart import Scale, interval_bar, learning_curve, scale_of
from agent.report.facts import Comparison, Report
from agent.report.layout import environment, values


def to_html(report: Report) -> str:
    """The page."""
    target = report.task.target
    baseline = report.best_simple
    curve = ""
    if report.experiments:
        curve = learning_curve(report.experiments, target, baseline.score.value if baseline else None)
    return (
        environment(_visible)
        .get_template("report.html.j2")
        .render(
            **values(report),
            curve=curve,
            scales={c.split: _scale(c, target) for c in report.comparisons},
            bar=interval_bar,
            heat=_heat,
        )
    )


def _visible(value: Any) -> Any:
    """Autoescape does the rest: here control and invisible characters go."""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _scale(comparison: Comparison, target: float | None) -> Scale:
    bounds = [v for s in comparison.systems for v in (s.score.low, s.score.high)]
    return scale_of([*bounds, *([target] if target is not None else [])])


def _heat(count: int, row: list[int], is_right: bool) -> str:
    """The background of a confusion cell: green for right, red for wrong, by its share of the gold rows."""
    share = count / max(1, sum(row))
    color = "34,139,94" if is_right else "205,70,50"
    return f"rgba({color},{0.06 + 0.54 * share:.2f})" if count else "transparent"
