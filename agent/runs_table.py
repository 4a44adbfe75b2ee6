"""The table of runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from agent.plain import console, duration, one_line
from agent.runs import RunRow

if TYPE_CHECKING:
    from rich.table import Table

SPLITS = {"test": "sealed test", "check": "user's rows", "validation": "validation"}
STYLES = {"met": "green", "below": "yellow", "running": "cyan", "interrupted": "magenta"}
WIDEST = 1000
HEADERS = ("run", "task", "status", "score [95% interval]", "on", "spend", "time")


def print_runs(rows: Sequence[RunRow], stream: TextIO) -> None:
    """A line a run; a block a run where the terminal is too narrow for lines. Empty: how to start one."""
    if not rows:
        stream.write(
            "no runs yet. Start one:\n  p2m run TASK   (a task file, or the task in words; see p2m run --help)\n"
        )
        return
    out, table = console(stream, piped_width=WIDEST), _table(rows)
    if out.measure(table, options=out.options.update(width=WIDEST)).maximum <= out.width:
        out.print(table)
        return
    for row in rows:
        name, *rest = row_cells(row)
        out.print(name, style="bold")
        for header, cell in zip(HEADERS[1:], rest, strict=True):
            if cell:
                out.print(f"  {header.split(' [')[0]:<7}{cell}")


def _table(rows: Sequence[RunRow]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in HEADERS:
        table.add_column(header, no_wrap=True, justify="right" if header in ("spend", "time") else "left")
    for row in rows:
        cells = [Text(cell) for cell in row_cells(row)]
        cells[2].stylize(STYLES.get(row.status, "red"))
        table.add_row(*cells)
    return table


def row_cells(row: RunRow) -> tuple[str, ...]:
    """A run as text, a cell a column of ``HEADERS``."""
    spend = ", ".join(p for p in (row.price, f"{row.tokens:,} tokens" if row.tokens else "") if p)
    return (
        one_line(row.run, 60),
        one_line(row.task, 40),
        one_line(row.status, 80),
        _score(row),
        SPLITS.get(row.split, one_line(row.split, 20)),
        spend,
        duration(row.seconds) if row.seconds else "",
    )


def _score(row: RunRow) -> str:
    if row.best is None:
        return "none yet" if row.metric else ""
    interval = "" if row.low is None or row.high is None else f" [{row.low:.3f}, {row.high:.3f}]"
    return f"{row.metric} {row.best:.3f}{interval}"
