"""The learning curve in characters: a point an experiment, its interval, and the target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agent.report.chart import Scale, scale_of

if TYPE_CHECKING:
    from tools.workspace import Experiment

MOST_POINTS = 12
POINT, SPAN = "●", "┃"


def curve(experiments: Sequence[Experiment], target: float | None, width: int, height: int) -> list[str]:
    """Lines of ``width`` characters without colour, oldest experiment left; empty where there is none.

    The target is the only line across, beside the frame.
    """
    import plotext

    shown = list(enumerate(experiments, 1))[-MOST_POINTS:]
    if not shown:
        return []
    bounds = [v for _, e in shown for v in (e.score.low, e.score.high)] + ([target] if target is not None else [])
    scale = scale_of(bounds)
    places = [float(n) for n, _ in shown]
    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(width, height)
    if target is not None:
        figure.line(target)
    for place, (_, e) in zip(places, shown, strict=True):
        figure.draw(figure.segment((place, place), (e.score.low, e.score.high), marker=SPAN))
    figure.draw(figure.signal(places, [e.score.value for _, e in shown], marker=POINT))
    figure.ruler("y").lim(scale.low, scale.high)
    ticks = _ticks(scale, target, height)
    figure.ruler("y").ticks(ticks, [f"{tick:.2f}" for tick in ticks])
    figure.ruler("x").lim(places[0] - 0.5, places[-1] + 0.5)
    figure.ruler("x").ticks(places, [f"#{n}" for n, _ in shown])
    return str(plotext.uncolorize(str(figure.build()))).splitlines()


def _ticks(scale: Scale, target: float | None, height: int) -> list[float]:
    """Round values, and the target in place of those that would stand on its line."""
    if target is None:
        return list(scale.ticks)
    line = (scale.high - scale.low) / max(1, height - 4)
    return sorted([*(tick for tick in scale.ticks if abs(tick - target) > line), target])
