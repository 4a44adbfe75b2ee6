"""``p2m catalog``: fill the local catalogue of dataset and model cards, and search it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from p2m import paths
from p2m.catalog.index.hub import HubSource
from p2m.catalog.index.sources import CardSource, FolderSource, JsonSource
from p2m.catalog.index.store import Store
from p2m.catalog.index.sync import Progress, Report, sync
from p2m.catalog.untrusted import clean
from p2m.errors import EXIT_INTERRUPTED, BadInput

if TYPE_CHECKING:
    from p2m.catalog.index.search import Found

STAGES = {"read": "reading cards", "mentions": "counting mentions", "embed": "embedding"}
SKIPPED_SHOWN = 5
LINE_SECONDS = 10.0


def catalog(args: argparse.Namespace) -> int:
    return sync_catalog(args) if args.verb == "sync" else search_catalog(args)


def sync_catalog(args: argparse.Namespace) -> int:
    """Returns 0, or 130 after Ctrl-C, which keeps what was done."""
    from agent.session import quiet_libraries
    from p2m.catalog.card_embedding import named

    quiet_libraries()
    source = _source(args)
    store = Store(_path(args))
    by = named(args.embedding, store.fact("model"))
    if by.problem:
        fix = "Sync with --embedding FOLDER, or back to --embedding all-minilm-l6-v2"
        raise BadInput(by.problem, where=str(store.path), fix=fix)
    try:
        with _shown(sys.stderr) as show:
            report = sync(store, source, embed=by.cards, model=by.model, progress=show)
    except KeyboardInterrupt:
        left = store.count_without_vector()
        print(
            f"\np2m: interrupted; {store.count():,} cards are kept, {left:,} of them to be embedded. "
            "The same command goes on there",
            file=sys.stderr,
        )
        return EXIT_INTERRUPTED
    except BadInput as error:
        if error.line is None or error.fix:
            raise
        fix = f"Mend or remove the line and run it again; {store.count():,} cards are kept"
        raise BadInput(error.problem, where=error.where, line=error.line, fix=fix) from error
    _print_report(report, store, embedder=by.cards is not None)
    store.close()
    return 0


def _source(args: argparse.Namespace) -> CardSource:
    if args.folder:
        return FolderSource(Path(args.folder))
    return JsonSource(Path(args.jsonl)) if args.jsonl else HubSource(limit=args.limit)


def _path(args: argparse.Namespace) -> Path:
    return Path(args.index) if args.index else paths.catalog_index()


def _print_report(report: Report, store: Store, *, embedder: bool) -> None:
    new, changed, same = (report.changes[name] for name in ("new", "changed", "same"))
    if not new + changed + same and not report.skipped:
        print("there is no card in it", file=sys.stderr)
    print(f"{new + changed + same:,} cards read: {new:,} new, {changed:,} changed, {same:,} as before")
    for name, reason in list(report.skipped.items())[:SKIPPED_SHOWN]:
        print(f"  {clean(name, 80)}: {clean(reason)}", file=sys.stderr)
    if len(report.skipped) > SKIPPED_SHOWN:
        print(f"  and {len(report.skipped) - SKIPPED_SHOWN:,} more that could not be read whole", file=sys.stderr)
    model = str(store.fact("model"))
    by = f" by {model.rpartition('@')[0]}" if "@" in model else ""
    print(f"{report.embedded:,} embedded{by}" + (f", {report.not_embedded:,} are not" if report.not_embedded else ""))
    if not embedder:
        print("search goes by words alone until the embedder is here: p2m pull all-minilm-l6-v2, then sync again")
    datasets, models = store.count("dataset"), store.count("model")
    print(f"{store.path}: {datasets:,} datasets and {models:,} models. Search them: p2m catalog search 'WORDS'")


def search_catalog(args: argparse.Namespace) -> int:
    from agent.session import quiet_libraries
    from p2m.catalog.card_embedding import known
    from p2m.catalog.index.search import CatalogIndex

    quiet_libraries()
    if args.limit < 1:
        raise BadInput("--limit must be at least 1", where="p2m catalog search")
    store = Store(_path(args), create=False)
    by = known(store.fact("model"))
    if by.problem:
        print(f"by words alone: {by.problem}", file=sys.stderr)
    index = CatalogIndex(store, by.queries)
    found = index.search(
        args.query,
        kind=args.kind,
        language=args.language or "",
        tasks=args.task or (),
        licenses=args.license or (),
        limit=args.limit,
    )
    if args.json:
        for hit in found:
            print(json.dumps(_as_dict(hit), ensure_ascii=False))
        return 0
    if index.vectors is None and not by.problem:
        print("by words alone: no card is embedded, or the embedder is not here (p2m pull)", file=sys.stderr)
    _print_found(found, sys.stdout)
    return 0


def _as_dict(hit: Found) -> dict[str, object]:
    card = hit.card
    return {
        "id": card.id,
        "kind": card.kind,
        "title": card.title,
        "score": hit.score,
        "kept": hit.kept,
        "why": hit.why,
        "tasks": card.tasks,
        "languages": card.languages,
        "license": card.license,
        "downloads": card.downloads,
        "size_bytes": card.size_bytes,
        "source": card.source,
        "last_seen": hit.seen,
        "summary": card.body[:300],
    }


def _print_found(found: list[Found], stream: TextIO) -> None:
    kept = [f for f in found if f.kept]
    if not kept:
        print("No card matches.", file=stream)
    for number, hit in enumerate(kept, 1):
        card = hit.card
        license_ = f" · {clean(card.license, 40)}" if card.license else ""
        title = f" · {clean(card.title, 80)}" if card.title and card.title != card.id else ""
        print(f"{number:>2}. {clean(card.id, 100)} ({card.kind}{license_}){title}", file=stream)
        print(f"    {hit.score:.2f}: {clean(hit.why)}; seen {_ago(hit.seen)}", file=stream)
        if card.body:
            print(f"    {clean(card.body, 160)}", file=stream)
    if dropped := [f for f in found if not f.kept]:
        print("left out:", file=stream)
        for hit in dropped:
            print(f"    {clean(hit.card.id, 100)} ({hit.card.kind}): {clean(hit.why, 120)}", file=stream)


def _ago(day: str) -> str:
    """A day in YYYY-MM-DD as how long ago it was."""
    try:
        days = (datetime.now(UTC).date() - date.fromisoformat(day)).days
    except ValueError:
        return day
    if days < 1:
        return "today"
    return f"{days} day{'s' * (days > 1)} ago" if days < 60 else f"{days // 30} months ago"


@contextmanager
def _shown(stream: TextIO) -> Iterator[Callable[[Progress], None]]:
    """A bar a stage with rate and time left in a terminal; elsewhere a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(file=stream, highlight=False)
    if not console.is_interactive:
        yield _Lines(stream).show
        return
    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Bars(*columns, console=console) as bars:
        tasks: dict[str, tuple[TaskID, float]] = {}

        def show(p: Progress) -> None:
            if p.stage not in tasks:
                tasks[p.stage] = bars.add_task(STAGES[p.stage], total=p.total, rate=""), time.monotonic()
            task, begun = tasks[p.stage]
            seconds = max(time.monotonic() - begun, 1e-3)
            bars.update(task, completed=p.done, total=p.total, rate=f"{p.done / seconds:,.0f}/s")

        yield show


class _Lines:
    """For a log: a line as a stage begins and ends, and one every ten seconds between."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.begun: dict[str, float] = {}
        self.said = 0.0

    def show(self, p: Progress) -> None:
        now = time.monotonic()
        begun = self.begun.setdefault(p.stage, now)
        ended = p.done == p.total
        if not ended and now - self.said < LINE_SECONDS:
            return
        self.said = now
        rate = p.done / max(now - begun, 1e-3)
        of = f" of {p.total:,}" if p.total is not None else ""
        left = f", {(p.total - p.done) / rate:,.0f} s left" if p.total is not None and rate > 0 and not ended else ""
        print(f"{STAGES[p.stage]}: {p.done:,}{of}{left}", file=self.stream, flush=True)
