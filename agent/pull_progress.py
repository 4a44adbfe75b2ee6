"""``p2m pull`` for a person: a bar in a terminal, lines elsewhere, and a table of what is there at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from p2m.errors import EXIT_INTERRUPTED, BadInput
from p2m.files import file_digest
from p2m.pack import NAMES, Member, find, marker, member
from p2m.pack.pull import Progress, pull

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress


def pull_with_progress(names: Sequence[str]) -> int:
    """Make ``names`` (all, where empty) present, showing progress on standard error and a table on standard output.

    A model that is there is hashed again, and fetched again where it is damaged. Raises ``BadInput`` with near names
    for an unknown one, and what ``pull`` raises. Returns 0, or 130 after Ctrl-C, which keeps the finished parts.
    """
    members = [_member(name) for name in dict.fromkeys(names or NAMES)]
    try:
        with _shown(members, sys.stderr) as shown:
            for m in members:
                _look_at(m, shown)
            found = pull([m.name for m in members], shown.show)
    except KeyboardInterrupt:
        again = " ".join(["p2m pull", *names])
        print(f"p2m: interrupted; the finished parts are kept. It resumes there with: {again}", file=sys.stderr)
        return EXIT_INTERRUPTED
    _print_table(members, found, sys.stdout)
    return 0


def _member(name: str) -> Member:
    if name in NAMES:
        return member(name)
    near = get_close_matches(name.lower(), NAMES, 3, 0.4)
    fix = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(NAMES)}"
    raise BadInput(f"no model {name!r} in the embedded pack", fix=fix)


class _Shown(Protocol):
    def show(self, p: Progress) -> None: ...

    def say(self, name: str, text: str) -> None: ...

    def is_here(self, m: Member) -> None: ...


def _look_at(m: Member, shown: _Shown) -> None:
    """Hash what is there; a copy that changed since it was fetched loses its mark, so that ``pull`` fetches it anew."""
    path = find(m.name)
    if path is None:
        shown.say(m.name, f"to fetch, {m.size / 1e6:,.0f} MB")
    elif all(_has_digest(path / name if name else path, expected) for name, expected in m.files.items()):
        shown.is_here(m)
    else:
        shown.say(m.name, "here but damaged; fetching it again")
        marker(m).unlink()


def _has_digest(path: Path, expected: str) -> bool:
    return path.is_file() and file_digest(path) == expected


@contextmanager
def _shown(members: Sequence[Member], stream: TextIO) -> Iterator[_Shown]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as RichProgress

    console = Console(file=stream, highlight=False)
    if not console.is_interactive:
        yield _Lines(stream)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with RichProgress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console) as rich:
        yield _Bars(rich, members)


class _Bars:
    """A bar a member; notes go above them."""

    def __init__(self, rich: RichProgress, members: Sequence[Member]) -> None:
        self.rich = rich
        self.rows = {m.name: rich.add_task(m.name, total=m.size, start=False) for m in members}

    def say(self, name: str, text: str) -> None:
        self.rich.console.print(f"{name}: {text}", markup=False)

    def is_here(self, m: Member) -> None:
        self.rich.update(self.rows[m.name], completed=m.size)

    def show(self, p: Progress) -> None:
        if p.note:
            self.say(p.name, p.note)
        self.rich.start_task(self.rows[p.name])  # its clock runs from the first call on, later ones change nothing
        self.rich.update(self.rows[p.name], completed=p.done)


class _Lines:
    """For a log: a line a member, its notes, and one every ten percent."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.tenths: dict[str, int] = {}

    def say(self, name: str, text: str) -> None:
        print(f"{name}: {text}", file=self.stream, flush=True)

    def is_here(self, m: Member) -> None:
        self.tenths[m.name] = 10
        self.say(m.name, "here, SHA-256 ok")

    def show(self, p: Progress) -> None:
        if p.note:
            self.say(p.name, p.note)
            self.tenths[p.name] = 0  # the next source begins again
        tenth = 10 * p.done // p.total
        if tenth > self.tenths.get(p.name, 0):
            self.say(p.name, f"{tenth * 10}% ({p.done / 1e6:,.0f} of {p.total / 1e6:,.0f} MB)")
            self.tenths[p.name] = tenth


def _print_table(members: Sequence[Member], found: Sequence[Path], stream: TextIO) -> None:
    rows = [("NAME", "SIZE", "SHA-256", "PATH")]
    rows += [(m.name, f"{m.size / 1e6:,.0f} MB", "ok", str(path)) for m, path in zip(members, found, strict=True)]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for name, size, state, path in rows:
        print(f"{name:<{widths[0]}}  {size:>{widths[1]}}  {state:<{widths[2]}}  {path}", file=stream)
