"""What the Hub's client may ask for: no other host, no listing without end.

``huggingface_hub`` follows every redirect and every ``Link: next``, for all callers through one HTTP client; a hook on
that client sees each request before it is sent.
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
    """From here on this process reads from ``endpoint``, the other endpoints given before, the Hub's own hosts over
    https, and ``$P2M_HUB_HOSTS`` (names with commas between). Reading from elsewhere raises ``Refused``."""
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils._http import default_client_factory

    global _installed
    with _lock:
        _endpoints.add(_place(endpoint))
        if not _installed:

            def client() -> httpx2.Client:
                made = default_client_factory()
                made.event_hooks = {**made.event_hooks, "request": [*made.event_hooks["request"], _check]}
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


def _check(request: httpx2.Request) -> None:
    address = str(request.url)
    if request.method in ("GET", "HEAD"):
        _check_host(address)
    if request.method == "GET" and urlsplit(address).path in _LISTINGS and getattr(_listing, "seen", None) is not None:
        _check_page(address)


def _check_host(address: str) -> None:
    parts = urlsplit(address)
    host = parts.hostname or ""
    own = parts.scheme == "https" and any(host == h or host.endswith(f".{h}") for h in HUB_HOSTS)
    more = [h.strip() for h in os.environ.get("P2M_HUB_HOSTS", "").split(",")]
    if _place(address) not in _endpoints and not own and host not in more:
        place = f"{parts.scheme}://{host[:80]}"
        raise Refused("host", f"the Hub sends us on to {place}; to allow that, set P2M_HUB_HOSTS={host[:80]}")


def _check_page(address: str) -> None:
    _listing.seen[address] += 1
    if len(_listing.seen) > _listing.most or _listing.seen[address] > ASKED_AGAIN:
        raise Refused("pages", "the Hub's listing has no end: its pages go on, or go round")


def _place(address: str) -> tuple[str, int | None]:
    parts = urlsplit(address)
    return parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)
