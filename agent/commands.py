"""What each command does, over the same event stream that the terminal app will show."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.runs import find_run, list_runs, load_state, new_run_dir, runs_dir, summary
from agent.ship import export, model_folder, package, serve
from p2m.errors import EXIT_INTERNAL, EXIT_INTERRUPTED, BadInput

if TYPE_CHECKING:
    from agent.approval import Request
    from agent.loop import Parts
    from p2m.evaluate.predict import Prediction

BUDGET_OPTIONS = ("minutes", "examples", "usd", "tokens", "steps")


def run(args: argparse.Namespace) -> int:
    from agent.session import (
        check_task,
        open_catalog,
        parts_for,
        quiet_libraries,
        read_approve,
        read_limits,
        read_rules,
        resolve_endpoint,
    )
    from agent.settings import Settings

    quiet_libraries()
    approve = read_approve(args.approve, args.approve_above_usd, args.approve_above_mb)
    limits = read_limits({name: getattr(args, f"budget_{name}") for name in BUDGET_OPTIONS})
    planner, teacher = resolve_endpoint(args.planner, "planner"), resolve_endpoint(args.teacher, "teacher")
    rules = read_rules(args.allow_licences, args.any_licence, args.max_dataset_mb, args.allow_gated)
    open_catalog(args.catalog, rules)
    task = _load_task(args, teacher)
    settings = Settings(
        planner=planner,
        teacher=teacher,
        catalog=str(Path(args.catalog).resolve()) if args.catalog and args.catalog != "hub" else args.catalog,
        rules=rules,
        seed=args.seed,
        budget=limits,
        approve=approve,
        interactive=args.ask,
    )
    check_task(task, settings)
    run_dir = new_run_dir(task.name, args.out)
    if not args.json:
        for note in task.notes:
            print(f"note: {note}", file=sys.stderr)
    ask = _ask if args.ask else None
    return _drive(parts_for(run_dir, settings, task=task, ask=ask, approve=_approve), args.json)


def resume(args: argparse.Namespace) -> int:
    from agent.budget import used
    from agent.session import parts_for, quiet_libraries, read_limits

    quiet_libraries()
    run_dir = find_run(args.run)
    state = load_state(run_dir)
    more = read_limits({name: getattr(args, f"budget_{name}") for name in BUDGET_OPTIONS}).model_dump(exclude_none=True)
    was_stopped = state.verdict is not None and state.verdict.kind == "stopped"
    if (
        state.ended
        and state.ended.status in ("met", "below")
        and not more
        and not (was_stopped and state.ended.exit_code)
    ):
        print(f"p2m: {run_dir} has ended: {state.ended.text}", file=sys.stderr)
        if state.ended.status == "below":
            print(f"p2m: go on with a new budget, e.g. p2m resume {run_dir} --budget-minutes 10", file=sys.stderr)
        return state.ended.exit_code
    spent = used(state)
    new_budget = {name: value + spent[name] for name, value in more.items()}
    ask = _ask if state.settings.interactive else None
    return _drive(parts_for(run_dir, state.settings, new_budget=new_budget, ask=ask, approve=_approve), args.json)


def _load_task(args: argparse.Namespace, teacher: str) -> Any:
    from p2m.task.parse import NeedsLLM, Overrides, load_task, load_task_with

    source = sys.stdin.read() if args.task == "-" else args.task
    overrides = Overrides(target=args.target, input_column=args.input_column, output_column=args.output_column)
    task = load_task(source, overrides=overrides)
    if not isinstance(task, NeedsLLM):
        return task

    async def ask_model() -> Any:
        from agent.session import open_reader

        model = open_reader(teacher)
        try:
            print(f"p2m: no examples or labels in the text: asking {model.name} what the task is", file=sys.stderr)
            return await load_task_with(source, model, overrides=overrides)
        finally:
            await model.close()

    return asyncio.run(ask_model())


async def _ask(question: str) -> str:
    print(f"\n? {question}\n> ", end="", file=sys.stderr, flush=True)
    if not sys.stdin.isatty():
        return (await asyncio.to_thread(sys.stdin.readline)).strip()
    # A thread that waits for a line would keep Ctrl-C from ending the process.
    loop, typed = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, typed.set)
    try:
        await typed.wait()
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline().strip()


async def _approve(request: Request) -> bool:
    return (await _ask(f"{request.words}. Do it? [y/N]")).lower() in ("y", "yes")


def _drive(parts: Parts, as_json: bool) -> int:
    """Run to the end, printing; Ctrl-C and SIGTERM stop it cleanly at any moment."""
    from agent.printer import JsonPrinter, Printer

    printer = JsonPrinter(sys.stdout) if as_json else Printer(sys.stdout, parts.run_dir)
    try:
        code = asyncio.run(_consume(parts, printer))
    except (KeyboardInterrupt, asyncio.CancelledError):
        code = None
    if code is None:
        print(f"\np2m: interrupted, nothing is lost. Go on with: p2m resume {parts.run_dir}", file=sys.stderr)
        return EXIT_INTERRUPTED
    return code


async def _consume(parts: Parts, printer: Any) -> int | None:
    from agent.events import RunEnded
    from agent.loop import run as run_loop
    from agent.steer import Mailbox

    _stop_on_signals()
    ended = None
    me = asyncio.current_task()
    assert me is not None
    ears = asyncio.create_task(Mailbox(parts.run_dir, parts.controls, me.cancel).listen())
    try:
        async for event in run_loop(parts):
            printer.show(event)
            if isinstance(event, RunEnded):
                ended = event
    except BaseException:
        # The report of an interrupted or failed run is a courtesy: what stopped the run is what the user is told.
        with suppress(Exception):
            await write_report_of(parts.run_dir)
        raise
    finally:
        ears.cancel()
    await write_report_of(parts.run_dir)
    if ended is None:  # resumed after its end: nothing was left to do
        state = load_state(parts.run_dir)
        return state.ended.exit_code if state.ended else EXIT_INTERNAL
    return ended.exit_code


def _stop_on_signals() -> None:
    """The first Ctrl-C or SIGTERM cancels the present task; the second ends the process as a crash would."""
    me = asyncio.current_task()
    assert me is not None
    asked = False

    def stop() -> None:
        nonlocal asked
        if asked:  # the journal is on disk, and a training child dies with us
            os._exit(EXIT_INTERRUPTED)
        asked = True
        print("\np2m: stopping; Ctrl-C again to end at once, nothing is lost either way", file=sys.stderr, flush=True)
        me.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)


async def write_report_of(run_dir: Path) -> None:
    """The report of a run, whatever state it is in; cancelling does not cut it short."""
    if (run_dir / "journal.jsonl").exists():
        await asyncio.shield(asyncio.to_thread(_write_report, run_dir))


def _write_report(run_dir: Path) -> tuple[Path, Path]:
    from agent.report import write_report
    from p2m.store import Store

    return write_report(run_dir, load_state(run_dir), Store(run_dir / "artifacts"))


def runs(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from agent.runs_table import print_runs

    folder = Path(args.dir) if args.dir else runs_dir()
    if args.dir and not folder.is_dir():
        raise BadInput("there is no such folder", where=args.dir, fix="Give the folder that holds the runs")
    rows = [summary(path) for path in list_runs(folder)]
    if args.json:
        for row in rows:
            print(json.dumps(asdict(row), ensure_ascii=False))
    else:
        print_runs(rows, sys.stdout)
    return 0


def tell(args: argparse.Namespace) -> int:
    from agent.session import read_limits
    from agent.steer import send
    from p2m.task.draft import Place
    from p2m.task.fields import read_target

    run_dir = find_run(args.run)
    budget = read_limits({name: getattr(args, f"budget_{name}") for name in BUDGET_OPTIONS}).model_dump(
        exclude_none=True
    )
    target = read_target(args.target, Place("--target"))[0] if args.target is not None else None
    asked: list[tuple[str, Any]] = [("pause", True)] if args.pause else []
    asked += [("pause", False)] if args.go_on else []
    asked += [("stop", True)] if args.stop else []
    asked += [("skip", True)] if args.skip else []
    asked += [("cancel", True)] if args.cancel else []
    asked += [("change", {"target": target, "budget": budget})] if budget or target is not None else []
    asked += [("say", args.text)] if args.text else []
    if not asked:
        raise BadInput("nothing to tell", where="p2m tell", fix="For example: p2m tell RUN 'shorter texts, please'")
    for name, value in asked:
        send(run_dir, **{name: value})
    return 0


def log(args: argparse.Namespace) -> int:
    from agent.log import print_log, print_log_json

    run_dir = find_run(args.run)
    state = load_state(run_dir)
    if args.row is not None:
        from agent.rows_log import print_rows, training_rows

        print_rows(training_rows(run_dir, state), args.row, sys.stdout, as_json=args.json)
        return 0
    (print_log_json if args.json else print_log)(state, sys.stdout)
    return 0


def report(args: argparse.Namespace) -> int:
    for path in _write_report(find_run(args.run)):
        print(path)
    return 0


def predict(args: argparse.Namespace) -> int:
    from agent.session import quiet_libraries
    from p2m.data.labelled import read_unlabelled, write_table

    quiet_libraries()
    if not args.text and args.file is None and args.abstain and not _is_number(args.abstain):
        args.text, args.abstain = [args.abstain], ""  # `predict RUN --abstain TEXT`: what stands there is the text
    if len(args.text) > 1:
        raise BadInput(
            f"{len(args.text)} texts where one is read",
            where="p2m predict",
            fix="Put the text in quotes; for many, one a line: --file texts.txt, or --file - for standard input",
        )
    if bool(args.text) == (args.file is not None):
        raise BadInput(
            "give either a TEXT or --file FILE", where="p2m predict", fix="For example: p2m predict RUN 'some text'"
        )
    run_dir = find_run(args.run)
    folder = model_folder(run_dir, args.model)
    threshold = _threshold(args.abstain, run_dir)
    table = None
    if args.file is not None:
        table = read_unlabelled(args.file, input_column=args.input_column)
        texts = table.texts
    else:
        texts = args.text
    from p2m.evaluate.abstain import answered
    from p2m.export.formats import open_predictor

    predictions = open_predictor(folder).predict(texts)
    labels = answered([p.output for p in predictions], [_confidence(p) for p in predictions], threshold)
    if table is None:
        first = predictions[0]
        if args.json:
            said: dict[str, Any] = {"output": first.output}
            if first.probs is not None:
                said = {"label": labels[0], "probabilities": first.probs}
            print(json.dumps(said, ensure_ascii=False))
        else:
            print(labels[0])
            for label, p in sorted((first.probs or {}).items(), key=lambda item: -item[1]):
                print(f"  {p:6.1%}  {label}")
        return 0
    records = [
        {**record, "prediction": label, **_probabilities(p)}
        for record, label, p in zip(table.records, labels, predictions, strict=True)
    ]
    if threshold and (held_back := labels.count("")):
        print(f"{held_back} of {len(labels)} held back: less probable than {threshold:g}", file=sys.stderr)
    if args.out:
        write_table(args.out, records)
        print(f"{len(records)} predictions written to {args.out}", file=sys.stderr)
    else:
        for record in records:
            print(json.dumps(record, ensure_ascii=False))
    return 0


def _threshold(given: str | None, run_dir: Path) -> float:
    """The probability that an answer must have: 0 without ``--abstain``, the run's own where no number is given."""
    if given is None:
        return 0.0
    if given:
        if not _is_number(given) or not 0 <= float(given) <= 1:
            fix = "Write --abstain 0.8, or --abstain alone for the run's own threshold"
            raise BadInput(f"{given!r} is no probability", where="--abstain", fix=fix)
        return float(given)
    found = (load_state(run_dir).delivery or {}).get("abstain")
    if not found:
        raise BadInput(
            "this run found no threshold above which its model is reliable",
            where="--abstain",
            fix="Give one: --abstain 0.8",
        )
    return float(found["threshold"])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _confidence(prediction: Prediction) -> float:
    """The answer's probability; 1 where a model gives none."""
    return 1.0 if prediction.probs is None else prediction.probs.get(prediction.output, 0.0)


def _probabilities(prediction: Prediction) -> dict[str, Any]:
    """Further columns of a prediction: those of a classifier's, none for others."""
    if prediction.probs is None:
        return {}
    rounded = {label: round(p, 4) for label, p in prediction.probs.items()}
    return {"probability": rounded.get(prediction.output), "probabilities": rounded}


def evaluate(args: argparse.Namespace) -> int:
    from agent.eval_table import evaluation, print_evaluation
    from agent.session import quiet_libraries

    quiet_libraries()
    run_dir = find_run(args.run)
    state = load_state(run_dir)
    result = evaluation(model_folder(run_dir, args.model), state.task, args.file, args.input_column, args.output_column)
    if args.json:
        print(json.dumps(result.as_dict(), ensure_ascii=False))
    else:
        print_evaluation(result, sys.stdout)
    return 0


def push(args: argparse.Namespace) -> int:
    from agent.push import push_run
    from agent.session import quiet_libraries

    # A model takes a while to go up; the client's own bar shows how far it is, where somebody looks.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "0" if sys.stderr.isatty() else "1")
    quiet_libraries()
    for address in push_run(find_run(args.run), args.repo, private=args.private, dataset=args.dataset):
        print(address)
    return 0


def pull(args: argparse.Namespace) -> int:
    from agent.pull_progress import pull_with_progress

    return pull_with_progress(args.names)


def catalog(args: argparse.Namespace) -> int:
    from agent.catalog_commands import catalog

    return catalog(args)


def doctor(args: argparse.Namespace) -> int:
    from agent.doctor import examine, print_findings

    findings = examine()
    if args.json:
        print(json.dumps([f.as_dict() for f in findings], ensure_ascii=False))
    else:
        print_findings(findings, sys.stdout)
    return 0 if all(f.ok or not f.needed for f in findings) else 2


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": run,
    "resume": resume,
    "runs": runs,
    "tell": tell,
    "log": log,
    "report": report,
    "predict": predict,
    "eval": evaluate,
    "export": export,
    "serve": serve,
    "package": package,
    "push": push,
    "pull": pull,
    "catalog": catalog,
    "doctor": doctor,
}
