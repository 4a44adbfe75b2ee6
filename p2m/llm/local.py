"""A ``.gguf`` model served by llama.cpp inside this process: one server a model, shared by planner and teacher."""

from __future__ import annotations

import asyncio
import atexit
import os
import re
import secrets
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from p2m.errors import P2MError
from p2m.files import digest
from p2m.llm.endpoint import Endpoint
from p2m.llm.slots import Slots
from p2m.pack import member, require, stamp

SLOTS = 16
CONTEXT = 4096
"""Tokens a slot, prompt and answer together. 28 KB each for the 1.5B model: 1.8 GB in all."""


class LocalServer:
    """Starts at the first call, ends with the last client (``release``) or the process.

    It listens on 127.0.0.1 with a key of its own, so that no other program and no web page can use it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.key = secrets.token_urlsafe(24)
        self.clients = 0
        self.announced = False
        self.slots: Slots | None = None
        self._lock = threading.Lock()
        self._server: Any = None

    @property
    def is_running(self) -> bool:
        return self._server is not None

    def start(self) -> str:
        """The address, e.g. ``http://127.0.0.1:40127``. Blocks while the model loads (seconds), the first time only.

        Raises ``P2MError`` where llama.cpp cannot load the file.
        """
        with self._lock:
            if self._server is None:
                self._server = _serve(self.path, self.key)
                self.slots = Slots(SLOTS, self._save, self._restore)
            return str(self._server.listening_address)

    def close(self) -> None:
        with self._lock:
            if self.slots is not None:
                self.slots.close()
            self._server = self.slots = None  # its destructor ends the threads and frees the memory

    @asynccontextmanager
    async def slot(self, ask: dict[str, Any]) -> AsyncIterator[int]:
        """A free slot for the request body ``ask``, with as much of its prompt read already as another slot has."""
        assert self.slots is not None
        prompt: dict[str, Any] = {k: ask[k] for k in ("messages", "tools") if k in ask}

        async def read(slot: int) -> None:
            await self._post("/v1/chat/completions", {**prompt, "max_tokens": 0, "id_slot": slot})

        said = [f"{m['role']}\n{m.get('content') or ''}{m.get('tool_calls') or ''}\n" for m in ask["messages"]]
        text = f"{ask.get('tools') or ''}{''.join(said)}"
        async with self.slots.take(text, read) as slot:
            yield slot

    async def _save(self, slot: int, fd: int) -> bool:
        return await self._post(f"/slots/{slot}?action=save", {"filename": str(fd)})

    async def _restore(self, slot: int, fd: int) -> bool:
        return await self._post(f"/slots/{slot}?action=restore", {"filename": str(fd)})

    async def _post(self, path: str, body: dict[str, Any]) -> bool:
        import httpx2

        headers = {"Authorization": f"Bearer {self.key}"}
        try:
            async with httpx2.AsyncClient(timeout=None, trust_env=False, verify=False) as http:
                answer = await http.post(self.start() + path, json=body, headers=headers)
                return answer.status_code == 200
        except httpx2.HTTPError:
            return False  # the call itself comes next and says what is wrong


def _serve(path: Path, key: str) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_parallel, params.n_ctx = SLOTS, SLOTS * CONTEXT
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = physical_cores()
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, [key]
    params.n_threads_http = SLOTS + 4
    params.cache_ram_mib = 0  # else it grows to 8 GiB; Slots shares prefixes instead
    params.slot_save_path = "/proc/self/fd/"  # a slot is saved to a file in memory, by its number
    params.warmup = params.ui = False
    params.verbosity = 0  # the terminal is the user's
    try:
        return xllamacpp.Server(params)
    except Exception as error:
        raise P2MError(f"llama.cpp cannot load {path}: {error}. Is it a whole .gguf file?") from error


def physical_cores() -> int:
    """Cores this process may use; two threads of one core would only wait for each other."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")
    except OSError:
        return allowed
    cores = {tuple(re.findall(r"^(?:physical id|core id)\s*:\s*(\d+)", cpu, re.MULTILINE)) for cpu in cpus} - {()}
    return min(allowed, len(cores)) if cores else allowed


_servers: dict[Path, LocalServer] = {}


def model_path(endpoint: Endpoint) -> Path:
    """Raises ``P2MError`` that says how to get a pack model that is not here."""
    if endpoint.model.endswith(".gguf"):
        return Path(endpoint.model).expanduser().resolve()
    return require(endpoint.model)


def model_identity(endpoint: Endpoint) -> str:
    """What tells one model file from another: the pack's SHA-256, else the file's size and both its ends."""
    if not endpoint.model.endswith(".gguf"):
        return stamp(member(endpoint.model))
    path = model_path(endpoint)
    size, end = path.stat().st_size, 1 << 20
    with path.open("rb") as handle:
        first = handle.read(end)
        handle.seek(max(0, size - end))
        return digest([size, first.hex(), handle.read().hex()])


def acquire(endpoint: Endpoint) -> LocalServer:
    """The server of a local model, not yet started. Each ``acquire`` needs a ``release``."""
    path = model_path(endpoint)
    server = _servers.setdefault(path, LocalServer(path))
    server.clients += 1
    return server


def release(server: LocalServer) -> None:
    """The last one out frees the model's memory."""
    server.clients -= 1
    if server.clients <= 0:
        server.close()
        _servers.pop(server.path, None)


@atexit.register
def _close_all() -> None:
    for server in _servers.values():
        server.close()


async def start(server: LocalServer, on_loading: Callable[[str], None]) -> str:
    """The server's address; ``on_loading(message)`` is called once, where the model has still to be loaded."""
    if server.is_running:
        return server.start()
    if not server.announced:
        server.announced = True
        on_loading(f"loading {server.path.stem} ({server.path.stat().st_size / 1e6:,.0f} MB)")
    return await asyncio.to_thread(server.start)
