"""What a run has for a student now: its machine, its texts, its rows, its time."""

from __future__ import annotations

from itertools import islice

from p2m.catalog.needs import Conditions, Texts
from p2m.machine import this_machine
from tools.base import ToolContext
from tools.fine_tune import SECONDS_TO_DELIVER

MOST_TEXTS = 2000


def conditions(ctx: ToolContext) -> Conditions:
    """Texts are the examples, the validation rows and the rows in use, up to ``MOST_TEXTS`` of each dataset; the time
    is without what delivering takes."""
    from p2m.data.referee import open_validation

    texts = [e.input for e in ctx.task.examples]
    if held_out := ctx.workspace.held_out:
        texts += [row.input for row in islice(open_validation(ctx.store, held_out.handle), MOST_TEXTS)]
    for info in ctx.workspace.datasets:
        texts += [row.input for row in islice(ctx.store.rows(info.handle), MOST_TEXTS)]
    left = ctx.seconds_left()
    return Conditions(
        machine=this_machine(ctx.run_dir),
        texts=Texts.of(texts),
        rows=len(ctx.task.examples) + ctx.workspace.rows,
        seconds=None if left is None else left - SECONDS_TO_DELIVER,
    )
