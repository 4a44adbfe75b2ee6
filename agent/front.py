"""The commands that open a front end: apart from the others, whose imports would keep the first screen waiting."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from p2m.errors import BadInput


def chat(args: argparse.Namespace) -> int:
    if args.plain:
        from agent.plain_chat import main

        return main(args)
    if not (sys.stdout.isatty() or "TEXTUAL_DRIVER" in os.environ):
        raise BadInput("the app needs a terminal", where="p2m chat", fix="Without one: p2m chat --plain")
    run_dir = None
    if args.run:
        from agent.runs import find_run

        run_dir = find_run(args.run)
    from agent.tui.app import open_app

    return open_app(args, run_dir)


def web(args: argparse.Namespace) -> int:
    from agent.tui.web import serve

    return serve(args.port)


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {"chat": chat, "web": web}
