"""What the Hub's client may ask for: no other host, no listing without end, no file larger than was said.

``huggingface_hub`` follows every redirect and every ``Link: next``, for all callers through one HTTP client; hooks on
that client see each request before it is sent, and each answer before its body is read.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from p2m.catalog.safety import Refused

if TYPE_CHECKING:
    import httpx2

HUB_HOSTS = ("huggingface.co", "hf.co")
"""And all under them: where the Hub keeps its files."""
PAGES, CARDS_A_PAGE = 20, 10
"""A listing of n cards may take ``PAGES`` pages, and one more for every ``CARDS_A_PAGE`` cards."""
ASKED_AGAIN = 10
"""The client asks for the same page up to 6 times after a 429 or 5xx."""
_LISTINGS = ("/api/datasets", "/api/models")
_endpoints: set[tuple[str, int | None]] = set()
_installed = False
_lock = threading.Lock()
_listing = threading.local()


def guard(endpoint: str) -> None:
    """From here on this process reads from ``endpoint``, the other endpoints given before, ``$HF_ENDPOINT``, the Hub's
    own hosts over https, and ``$P2M_HUB_HOSTS`` (names with commas between); from elsewhere, ``Refused`` is raised."""
    from huggingface_hub import constants, set_client_factory
    from huggingface_hub.utils._http import default_client_factory

    global _installed
    with _lock:
        _endpoints.add(_place(endpoint))
        if not _of_the_hub(endpoint):  # Xet fetches from where it is told to, and not through this client
            constants.HF_HUB_DISABLE_XET = True
        if not _installed:

            def client() -> httpx2.Client:
                made = default_client_factory()
                made.event_hooks = {
                    "request": [*made.event_hooks["request"], _check],
                    "response": [*made.event_hooks["response"], _check_length],
                }
                return made

            set_client_factory(client)
            _installed = True


@contextmanager
def listing(limit: int) -> Iterator[None]:
    """For a listing of at most ``limit`` cards in this thread: a page that was asked for before, or pages without end,
    raise ``Refused``."""
    _listing.seen, _listing.most = Counter(), PAGES + limit // CARDS_A_PAGE
    try:
        yield
    finally:
        _listing.seen = None


@contextmanager
def at_most(size: int | None) -> Iterator[None]:
    """For a file in this thread that was listed with ``size`` bytes (None: not known): an answer that says that it is
    larger raises ``Refused`` before it is read."""
    _listing.size = size
    try:
        yield
    finally:
        _listing.size = None


def _check_length(response: httpx2.Response) -> None:
    size = getattr(_listing, "size", None)
    length = response.headers.get("Content-Length", "")
    if size is None or response.request.method != "GET" or response.status_code not in (200, 206):
        return
    if length.isdigit() and int(length) > size:
        said = f"a file that was listed with {size:,} bytes has {int(length):,}"
        raise Refused("size", said)


def _check(request: httpx2.Request) -> None:
    address = str(request.url)
    if request.method in ("GET", "HEAD"):
        _check_host(address)
    if request.method == "GET" and urlsplit(address).path in _LISTINGS and getattr(_listing, "seen", None) is not None:
        _check_page(address)


def _check_host(address: str) -> None:
    parts = urlsplit(address)
    host = parts.hostname or ""
    more = [h.strip() for h in os.environ.get("P2M_HUB_HOSTS", "").split(",")]
    endpoints = {*_endpoints, _place(os.environ.get("HF_ENDPOINT", ""))}
    if _place(address) not in endpoints and not _of_the_hub(address) and host not in more:
        place = f"{parts.scheme}://{host[:80]}"
        raise Refused("host", f"the Hub sends us on to {place}; to allow that, set P2M_HUB_HOSTS={host[:80]}")


def _of_the_hub(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme == "https" and any(f".{parts.hostname}".endswith(f".{h}") for h in HUB_HOSTS)


def _check_page(address: str) -> None:
    _listing.seen[address] += 1
    if len(_listing.seen) > _listing.most or _listing.seen[address] > ASKED_AGAIN:
        raise Refused("pages", "the Hub's listing has no end: its pages go on, or go round")


def _place(address: str) -> tuple[str, int | None]:
    parts = urlsplit(address)
    return parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)
