"""Charts as inline SVG without scripts: positions in percent of the width, sizes in pixels, so that text stays
readable on a phone; colours come from the page's CSS variables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tools.workspace import Experiment, Score

HEIGHT = 260
TOP, BOTTOM = 16, 46
LEFT, RIGHT = 9.0, 98.0
MOST_POINTS = 24


@dataclass(frozen=True)
class Scale:
    """Values from ``low`` to ``high``, with round ``ticks``."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def share(self, value: float) -> float:
        """Where ``value`` lies: 0 at ``low``, 1 at ``high``, clipped."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


def scale_of(values: Sequence[float]) -> Scale:
    """A scale inside [0, 1] that holds ``values``, in steps of 0.05, 0.1 or 0.2 with at most six of them."""
    low, high = min(values), max(values)
    for step in (0.05, 0.1, 0.2):
        first, last = int((low + 1e-9) / step), -int(-(high - 1e-9) // step)
        last = min(max(last, first + 1), round(1 / step))
        first = min(first, last - 1)
        if last - first <= 6:
            break
    ticks = tuple(round(i * step, 2) for i in range(first, last + 1))
    return Scale(ticks[0], ticks[-1], ticks)


def interval_bar(score: Score, scale: Scale, target: float | None, kind: str) -> Markup:
    """One line of a comparison: the interval, the value on it, and the target where there is one."""
    low, value, high = (f"{1 + 98 * scale.share(v):.2f}%" for v in (score.low, score.value, score.high))
    parts = [Markup('<line class="grid" x1="1%" x2="99%" y1="13" y2="13"/>')]
    if target is not None:
        at = f"{1 + 98 * scale.share(target):.2f}%"
        parts.append(Markup('<line class="target" x1="{0}" x2="{0}" y1="0" y2="26"/>').format(at))
    parts.append(Markup('<line class="span {2}" x1="{0}" x2="{1}" y1="13" y2="13"/>').format(low, high, kind))
    parts.append(Markup('<circle class="dot {1}" cx="{0}" cy="13" r="5"/>').format(value, kind))
    label = f"{score.value:.3f}, 95% interval {score.low:.3f} to {score.high:.3f}"
    return Markup('<svg class="bar" width="100%" height="26" role="img" aria-label="{}">{}</svg>').format(
        label, Markup("").join(parts)
    )


def learning_curve(experiments: Sequence[Experiment], target: float | None, baseline: float | None) -> Markup:
    """Validation score of each experiment with its interval, over the number of training rows; the best so far as a
    step line, the target dashed, the best baseline without an LLM dotted."""
    shown = list(enumerate(experiments, 1))[-MOST_POINTS:]
    bounds = [v for _, e in shown for v in (e.score.low, e.score.high)]
    scale = scale_of([*bounds, *(v for v in (target, baseline) if v is not None)])
    parts = [_ruler(scale, tick) for tick in scale.ticks]
    if baseline is not None:
        parts.append(_line(LEFT, RIGHT, scale, baseline, baseline, "baseline"))
    if target is not None:
        parts.append(_line(LEFT, RIGHT, scale, target, target, "target"))
    step = (RIGHT - LEFT) / len(shown)
    best = before = -1.0
    for place, (number, experiment) in enumerate(shown):
        x = LEFT + step * (place + 0.5)
        best = max(before, experiment.score.value)
        if before >= 0:
            parts.append(_line(x - step, x, scale, before, before, "best"))
            parts.append(_line(x, x, scale, before, best, "best"))
        crowded = len(shown) > 8
        parts.append(_point(x, scale, experiment, with_value=not crowded or best > before))
        if place % -(-len(shown) // 8) == 0:
            parts.append(_under(x, number, experiment))
        before = best
    title = f"validation {experiments[0].score.metric} of {len(experiments)} experiments, best {best:.3f}"
    return Markup('<svg class="chart" width="100%" height="{}" role="img" aria-label="{}">{}</svg>').format(
        HEIGHT, title, Markup("").join(parts)
    )


def _y(scale: Scale, value: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - scale.share(value))


def _ruler(scale: Scale, tick: float) -> Markup:
    y = _y(scale, tick)
    return Markup(
        '<line class="grid" x1="{0}%" x2="{1}%" y1="{2:.1f}" y2="{2:.1f}"/>'
        '<text class="tick" x="{3}%" y="{4:.1f}" text-anchor="end">{5:.2f}</text>'
    ).format(LEFT, RIGHT, y, LEFT - 1, y + 4, tick)


def _line(x1: float, x2: float, scale: Scale, v1: float, v2: float, kind: str) -> Markup:
    return Markup('<line class="{}" x1="{:.2f}%" x2="{:.2f}%" y1="{:.1f}" y2="{:.1f}"/>').format(
        kind, x1, x2, _y(scale, v1), _y(scale, v2)
    )


def _point(x: float, scale: Scale, experiment: Experiment, *, with_value: bool) -> Markup:
    score = experiment.score
    bar = _line(x, x, scale, score.low, score.high, "span student")
    dot = Markup('<circle class="dot student" cx="{:.2f}%" cy="{:.1f}" r="5"/>').format(x, _y(scale, score.value))
    if not with_value:
        return bar + dot
    value = Markup('<text class="value" x="{:.2f}%" dx="9" y="{:.1f}">{:.3f}</text>').format(
        x, _y(scale, score.value) + 4, score.value
    )
    return bar + dot + value


def _under(x: float, number: int, experiment: Experiment) -> Markup:
    return Markup(
        '<text class="tick" x="{0:.2f}%" y="{1}" text-anchor="middle">{2} rows</text>'
        '<text class="tick" x="{0:.2f}%" y="{3}" text-anchor="middle">#{4} {5}</text>'
    ).format(x, HEIGHT - BOTTOM + 18, experiment.rows, HEIGHT - BOTTOM + 34, number, experiment.method[:10])
