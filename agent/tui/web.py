"""``p2m --web``: the app in a browser of this machine. Loopback only, and only who has the token gets in."""

from __future__ import annotations

import hmac
import secrets
import shlex
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from p2m.errors import BadInput

HOST = "127.0.0.1"
COOKIE = "p2m-token"
# The page that textual-serve sends names a font of another host: nothing leaves this machine.
POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self' ws://127.0.0.1:* ws://localhost:*; frame-ancestors 'none'"
)


def serve(port: int, token: str | None = None) -> int:
    """Serve until Ctrl-C. Each browser tab is an app of its own. Raises ``BadInput`` without the extra ``web``."""
    try:
        from aiohttp import web
        from textual_serve.server import Server
    except ImportError:
        raise BadInput("the web server is not installed", where="--web", fix="pip install 'p2m[web]'") from None
    secret = token or secrets.token_urlsafe(24)

    class Guarded(Server):  # type: ignore[misc]
        async def _make_app(self) -> Any:
            app = await super()._make_app()
            app.middlewares.append(gate(secret, port))
            return app

        def initialize_logging(self) -> None:
            """No line for each request; what goes wrong is still told."""

        async def on_startup(self, app: Any) -> None:
            print(f"p2m is at {self.public_url}/?token={secret}", flush=True)
            print("Who has this address can use it, on this machine only. Ctrl-C ends it.", flush=True)

    command = shlex.join([sys.executable, "-m", "agent.cli"])
    server = Guarded(command, host=HOST, port=port, title="p2m", public_url=f"http://{HOST}:{port}")
    try:
        server.serve()
    except web.GracefulExit:
        pass
    except OSError as error:
        raise BadInput(
            f"port {port} cannot be used: {error.strerror or error}", where="--web", fix="Give --port"
        ) from error
    return 0


def gate(secret: str, port: int) -> Any:
    """An aiohttp middleware: the token once in the address, a cookie from then on; every other request is refused.

    The host is checked too, so that a page of another site cannot come in by a name that leads here (DNS rebinding),
    and so is the origin of a websocket.
    """
    from aiohttp import web

    hosts = {f"{HOST}:{port}", f"localhost:{port}"}
    origins = {f"http://{host}" for host in hosts}

    @web.middleware
    async def check(request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        given = request.query.get("token") or request.cookies.get(COOKIE) or ""
        origin = request.headers.get("Origin")
        if request.host not in hosts or (origin is not None and origin not in origins):
            raise web.HTTPForbidden(text="p2m answers on 127.0.0.1 only\n")
        if not hmac.compare_digest(given.encode(), secret.encode()):
            raise web.HTTPForbidden(text="p2m needs the token of the address that it printed\n")
        if request.query.get("token") and request.path == "/":
            answer = web.HTTPFound("/")  # the token does not stay in the address bar
            answer.set_cookie(COOKIE, secret, httponly=True, samesite="Strict", path="/")
            raise answer
        response = await handler(request)
        if not response.prepared:
            response.headers["Content-Security-Policy"] = POLICY
            response.headers["Referrer-Policy"] = "no-referrer"
        return response

    return check
