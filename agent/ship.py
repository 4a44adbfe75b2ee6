"""``p2m export``, ``p2m package`` and ``p2m serve``: a delivered model where it is to be used."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from agent.runs import find_run, load_state
from agent.state import RunState
from p2m import kinds
from p2m.errors import BadInput

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def model_folder(run_dir: Path, wanted: str = "hf") -> Path:
    """The delivered model, or what it was exported to as ``wanted``.

    Raises ``BadInput`` where the run has delivered none, or was not exported so, or has delivered a better one since.
    """
    folder = run_dir / "model"
    if not (folder / "config.json").is_file():
        raise BadInput(
            "the run has delivered no model yet", where=str(run_dir), fix=f"Let it finish: p2m resume {run_dir}"
        )
    if wanted == "hf":
        return folder
    from p2m.export.kinds import check_format
    from p2m.export.settings import read_settings

    state = load_state(run_dir)
    check_format(kinds.of(state.task).name, wanted)
    exported, again = export_folder(run_dir, wanted), f"p2m export {run_dir} {options_of(wanted)}"
    if not exported.is_dir():
        raise BadInput(f"the model was not exported as {wanted} yet", where=str(run_dir), fix=f"Do: {again}")
    if read_settings(exported)["made_from"] != _delivered(state):
        raise BadInput("the run has delivered another model since", where=str(exported), fix=f"Do: {again}")
    return exported


def export_folder(run_dir: Path, wanted: str) -> Path:
    return run_dir / "export" / wanted


def options_of(wanted: str) -> str:
    """The options of ``p2m export`` that give a format."""
    base, _, int8 = wanted.partition("-")
    return f"--{base} --int8" if int8 else f"--{base}"


def export(args: argparse.Namespace) -> int:
    from agent.session import quiet_libraries

    if args.hf and args.int8:
        raise BadInput("--hf is float32", where="p2m export", fix="Use --onnx --int8")
    base = "onnx" if args.onnx else "gguf" if args.gguf else "hf"
    wanted = base if not args.int8 else {"onnx": "onnx-int8", "gguf": "gguf-q8"}[base]
    quiet_libraries()
    run_dir = find_run(args.run)
    state = load_state(run_dir)
    done = _export(run_dir, state, wanted)
    parity = done.parity
    print(done.folder)
    print(f"  {parity}", file=sys.stderr)
    print(f"  weights {done.megabytes[0]:.1f} MB before, {done.megabytes[1]:.1f} MB after", file=sys.stderr)
    return 0


def _export(run_dir: Path, state: RunState, wanted: str) -> Any:
    from p2m.data.referee import open_validation
    from p2m.export.model import export_model
    from p2m.export.parity import LOSS_WARNED
    from p2m.store import Store

    model = model_folder(run_dir)
    held_out = state.workspace.held_out
    assert held_out is not None  # a model was delivered
    done = export_model(
        model,
        export_folder(run_dir, wanted),
        wanted,
        open_validation(Store(run_dir / "artifacts"), held_out.handle),
        state.task,
        _delivered(state),
        lambda text: print(f"p2m: {text}", file=sys.stderr),
    )
    if done.parity.loss > LOSS_WARNED:
        lost = f"{100 * done.parity.loss:.1f} points of {done.parity.before.metric}"
        print(f"p2m: WARNING: this export loses {lost} on {done.parity.n} validation rows", file=sys.stderr)
    return done


def _delivered(state: RunState) -> str:
    assert state.delivery is not None
    return str(state.delivery["model"])


def package(args: argparse.Namespace) -> int:
    from agent.session import quiet_libraries
    from p2m.export.bundle import write_bundle

    quiet_libraries()
    run_dir = find_run(args.run)
    state = load_state(run_dir)
    target = Path(args.out) if args.out else run_dir / "package"
    if args.out and target.exists() and not (target / "predict.py").is_file():
        raise BadInput("it is there already and no package", where=str(target), fix="Give a new folder with --out")
    print(write_bundle(_packed(run_dir, state, args.int8), target))
    print(f"  try it: python {target / 'predict.py'} 'some text'", file=sys.stderr)
    return 0


def _packed(run_dir: Path, state: RunState, int8: bool) -> Path:
    """The folder to package, exported where it is not there yet: ONNX of what reads, GGUF of a Llama that writes, and
    of another that writes the delivered folder, which transformers runs."""
    from p2m.export.gguf import refusal

    if kinds.of(state.task).name != "generate":
        wanted = "onnx-int8" if int8 else "onnx"
    elif (why := refusal(model_folder(run_dir))) is None:
        wanted = "gguf-q8" if int8 else "gguf"
    elif int8:
        raise BadInput(f"there is no int8 package of this model: {why}", where="--int8", fix="Leave out --int8")
    else:
        wanted = "hf"
    if wanted != "hf":
        try:
            return model_folder(run_dir, wanted)
        except BadInput:
            pass
    return _export(run_dir, state, wanted).folder


def serve(args: argparse.Namespace) -> int:
    from agent.session import quiet_libraries
    from p2m.export.formats import require_extra
    from p2m.export.kinds import adapter_of

    require_extra("serve", "fastapi", "uvicorn", "prometheus_client")
    from p2m.serve.app import Served, create_app
    from p2m.serve.run import address, listen, run

    if not 0 <= args.port <= 65535:
        raise BadInput("a port is a number from 0 to 65535", where="--port")
    quiet_libraries()
    run_dir = find_run(args.run)
    state = load_state(run_dir)
    task = state.task
    kind = kinds.of(task).name
    adapter = adapter_of(kind)
    folder = model_folder(run_dir, args.model)
    bound = listen(args.host, args.port)
    print(f"p2m: loading {folder}", file=sys.stderr)
    model = adapter.open(folder)
    served = Served(task.name, task.instruction, kind, _delivered(state), args.model)
    here = address(bound)
    if args.host not in LOOPBACK:
        print(f"p2m: anybody who reaches {args.host} can use it: there is no login", file=sys.stderr)

    def ready() -> None:
        print(f"serving {task.name} on {here} (Ctrl-C ends it)", flush=True)
        body = '{"question": "Who?", "context": "some text"}' if adapter.asks else '{"text": "some text"}'
        print(f"  curl {here}/predict -H 'Content-Type: application/json' -d '{body}'", file=sys.stderr)

    run(create_app(served, adapter, model), bound, ready)
    print("p2m: the server has ended", file=sys.stderr)
    return 0
