"""Running the service: an address, a server, a quiet end."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from p2m.errors import BadInput

if TYPE_CHECKING:
    from fastapi import FastAPI

# Requests in work when Ctrl-C comes are answered, up to this many seconds.
GRACE = 10


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound; ``port`` 0 is any free one. Raises ``BadInput`` where the address cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        return found
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadInput(
            reason, where=f"{host}:{port}", fix="Choose another --port (0 is any free one) or --host"
        ) from error


def address(bound: socket.socket) -> str:
    """``http://127.0.0.1:8000`` of a bound socket."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(app: FastAPI, bound: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until Ctrl-C or SIGTERM; what is in work is answered first. ``ready`` is called when requests are taken."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE)
    # uvicorn raises the signal again when it has shut down, which was the user's wish and is no failure.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        Server(config).run(sockets=[bound])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
