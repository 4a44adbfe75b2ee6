"""The report of a run: ``report.md`` and a self-contained ``report.html`` in its folder, finished or not."""

from __future__ import annotations

from pathlib import Path

from agent.state import RunState
from p2m.store import Store


def write_report(run_dir: Path, state: RunState, store: Store) -> tuple[Path, Path]:
    """Write ``report.md`` and ``report.html`` (returned), and ``task.md``, the task as ``p2m run`` reads it.

    Each file is replaced as a whole. Raises ``P2MError`` for a damaged journal and for a full disk.
    """
    from agent.report.facts import gather
    from agent.report.html import to_html
    from agent.report.markdown import to_markdown
    from agent.report.reproduce import TASK_FILE, task_file
    from p2m.files import write_atomic

    report = gather(run_dir, state, store)
    markdown, html = run_dir / "report.md", run_dir / "report.html"
    write_atomic(run_dir / TASK_FILE, task_file(state.task))
    write_atomic(markdown, to_markdown(report))
    write_atomic(html, to_html(report))
    return markdown, html
