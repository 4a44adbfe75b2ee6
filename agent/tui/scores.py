"""How good it is and what it has cost: budget bars, the learning curve, baselines, experiments."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import DataTable, Static

from agent.budget import used
from agent.plain import one_line
from agent.state import RunState
from agent.tui.cards import bar_of
from agent.tui.curve import POINT, SPAN, curve
from agent.tui.safe import cell
from tools.workspace import Experiment

CURVE_HEIGHT = 11
COLUMNS = {"": 3, "how": 7, "rows": 5, "score": 5, "interval": 9}
UNITS = {"minutes": "time", "examples": "rows", "usd": "dollars", "tokens": "tokens", "llm_calls": "calls"}


class Scores(VerticalScroll):
    """Redrawn from the state alone."""

    class Compare(Message):
        """The person wants to see what two experiments differ in."""

        def __init__(self, model: str) -> None:
            super().__init__()
            self.model = model

    def compose(self) -> ComposeResult:
        yield Static("", id="budget")
        yield Static("", id="curve")
        table: DataTable[object] = DataTable(id="experiments", cursor_type="row", zebra_stripes=True)
        for name, width in COLUMNS.items():
            table.add_column(name, width=width)
        yield table
        yield Static("", id="data")

    run_state: RunState | None = None

    def on_resize(self) -> None:
        """The curve is as wide as there is room, which is known only now."""
        if self.run_state is not None:
            self.show_results(self.run_state)

    def show(self, state: RunState, seconds: float) -> None:
        """``seconds`` is the clock, which runs ahead of the state's last event."""
        self.query_one("#budget", Static).update(budget(state, seconds))
        self.show_results(state)

    def show_budget(self, state: RunState, seconds: float) -> None:
        """The clock goes on; the number of bars does not change by itself."""
        self.query_one("#budget", Static).update(budget(state, seconds), layout=False)

    def show_results(self, state: RunState) -> None:
        self.run_state = state
        width = min(64, max(30, (self.size.width or 42) - 3))
        self.query_one("#curve", Static).update(learning(state, width))
        self.query_one("#data", Static).update(data(state))
        table = self.query_one("#experiments", DataTable)
        experiments, best = state.workspace.experiments, state.workspace.best
        table.display = bool(experiments)
        row = table.cursor_row
        table.clear()
        for number, e in enumerate(experiments, 1):
            style = "bold" if best and e.model == best.model else ""
            score = e.score
            cells = (f"#{number}", e.method, str(e.rows), f"{score.value:.3f}", f"{score.low:.2f}-{score.high:.2f}")
            table.add_row(*(cell(c, 12, style) for c in cells), key=e.model)
        if experiments:
            table.move_cursor(row=min(row, len(experiments) - 1))

    @on(DataTable.RowSelected)
    def _chosen(self, event: DataTable.RowSelected) -> None:
        event.stop()
        if event.row_key.value:
            self.post_message(self.Compare(event.row_key.value))


def budget(state: RunState, seconds: float) -> Content:
    """A bar a limit: what is used of it."""
    spent = used(state)
    spent["minutes"] = max(state.seconds, seconds) / 60
    lines = []
    for name, limit in state.limits.model_dump(exclude_none=True).items():
        share = spent[name] / limit if limit else 1.0
        style = "$text-warning" if share > 0.85 else "$text-accent"
        shown = f"{_amount(name, spent[name])} of {_amount(name, float(limit))}"
        words = f" {shown}{' min' if name == 'minutes' else ''}"
        lines.append(Content.assemble(f"{UNITS.get(name, name):<8}", (bar_of(share, 12), style), words))
    price = state.spend.price
    lines.append(Content.styled(f"{state.spend.tokens:,} tokens, {price}", "dim"))
    return Content("\n").join(lines)


def _amount(name: str, value: float) -> str:
    if name == "minutes":
        return f"{value:.1f}".removesuffix(".0")
    return f"${value:.2f}" if name == "usd" else f"{value:,.0f}"


def learning(state: RunState, width: int) -> Content:
    """The curve with its legend; without an experiment, what it will be measured against."""
    task = state.task
    goal = f"target {task.target:g}" if task.target is not None else "no target"
    others = [b for b in state.workspace.baselines if not b.is_llm]
    strongest = max(others, key=lambda b: b.score.value, default=None)
    base = (
        f"best baseline {strongest.score.value:.3f} {one_line(strongest.system, max(12, width - 20))}"
        if strongest
        else ""
    )
    lines = [Content.styled(f"{task.metric} on validation, {goal}", "bold")]
    for row in curve(state.workspace.experiments, task.target, width, CURVE_HEIGHT):
        lines.append(_coloured(row))
    if not state.workspace.experiments:
        lines.append(Content.styled("no student yet", "dim"))
    if base:
        lines.append(Content.styled(base, "dim"))
    teacher = next((b for b in state.workspace.baselines if b.is_llm), None)
    if teacher:
        lines.append(Content.styled(f"the teacher itself {teacher.score.value:.3f} (n={teacher.score.n})", "dim"))
    return Content("\n").join(lines)


def _coloured(row: str) -> Content:
    """The target line, points and intervals in colours; without colours the characters say as much."""
    is_target = "─" in row and not row.lstrip().startswith(("┌", "└"))
    pieces = []
    for character in row.rstrip():
        if character == POINT:
            pieces.append((character, "bold $text-success"))
        elif character == SPAN:
            pieces.append((character, "$text-accent"))
        else:
            pieces.append((character, "$text-warning" if is_target and character == "─" else "dim"))
    return Content.assemble(*pieces)


def data(state: RunState) -> Content:
    """The rows in use."""
    workspace = state.workspace
    lines = []
    if workspace.held_out:
        h = workspace.held_out
        lines.append(Content.styled(f"held out: {h.validation} + {h.test} sealed, {one_line(h.source, 40)}", "dim"))
    for d in workspace.datasets:
        checked = "checked" if d.checked else "not checked"
        lines.append(Content(f"{d.handle}  {d.rows} rows, {one_line(d.source, 30)}, {checked}"))
    return Content("\n").join(lines)


def best_words(state: RunState) -> str:
    """The best score so far, for the header."""
    best: Experiment | None = state.workspace.best
    test = (state.delivery or {}).get("test")
    if test:
        return f"{test['metric']} {test['value']:.3f} [{test['low']:.3f}, {test['high']:.3f}] sealed test"
    if best is None:
        return "no student yet"
    score = best.score
    return f"best {score.metric} {score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
