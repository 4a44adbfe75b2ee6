"""Cards as the Hub lists them: of `p2m catalog sync --hub`, most downloaded first, and of a run's searches."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Protocol

from p2m.catalog.hubclient import DEFAULT_ENDPOINT, RepoInfo, repo_info
from p2m.catalog.hubguard import guard, listing
from p2m.catalog.index.card import KINDS, CardKind, IndexCard
from p2m.catalog.index.sources import card_from_readme
from p2m.errors import ProviderError

DEFAULT_LIMIT = 50_000
"""Of each kind, where nobody says: a listing page has a few hundred cards, and 500 calls in 5 minutes are allowed."""
_EXPAND: dict[CardKind, list[str]] = {
    "dataset": ["cardData", "description", "downloads", "tags"],
    "model": ["cardData", "downloads", "pipeline_tag", "safetensors", "tags"],
}


class HubCards(Protocol):
    """At most ``limit`` cards of a kind, in a fixed order. Raises ``ProviderError`` where the Hub fails for good."""

    def __call__(self, kind: CardKind, limit: int) -> Iterator[IndexCard]: ...


class HubSource:
    """A ``CardSource`` over ``cards``, by default ``list_hub``."""

    def __init__(self, cards: HubCards | None = None, *, limit: int = DEFAULT_LIMIT) -> None:
        self.name, self.limit = source_of(None), limit
        self.skipped: dict[str, str] = {}
        self._cards = cards or list_hub

    def total(self) -> None:
        return None

    def __iter__(self) -> Iterator[IndexCard]:
        for kind in KINDS:
            yield from self._cards(kind, self.limit)


def source_of(endpoint: str | None) -> str:
    """What the cards of the Hub at ``endpoint`` (None is ``$HF_ENDPOINT``) are kept under: the same id on another Hub
    is another repository."""
    address = _address(endpoint)
    return "hub" if address == DEFAULT_ENDPOINT else address


def _address(endpoint: str | None) -> str:
    return (endpoint or os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")


def list_hub(kind: CardKind, limit: int, *, endpoint: str | None = None) -> Iterator[IndexCard]:
    """The Hub's listing through ``huggingface_hub``, page after page; ``endpoint`` is ``$HF_ENDPOINT`` where None.

    The client itself retries 429 and 5xx, waiting as the Hub asks. Raises ``ProviderError`` after that, and where the
    Hub is not to be reached. A listing has no README: of a dataset it has the description, of a model only its tags.
    """
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    source = source_of(endpoint)
    guard(_address(endpoint))
    api = HfApi(endpoint=_address(endpoint))
    listed: Any = api.list_datasets if kind == "dataset" else api.list_models
    try:
        with listing(limit):
            for info in listed(sort="downloads", limit=limit, expand=_EXPAND[kind]):
                yield listed_card(kind, repo_info(info), source)
    except OfflineModeIsEnabled as error:
        raise ProviderError("the Hub is switched off here (HF_HUB_OFFLINE). Unset it, or sync --folder DIR") from error
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        said = f"HTTP {status}" if status else type(error).__name__
        raise ProviderError(
            f"the Hub failed while it listed {kind}s ({said}). What was read is kept: run the same command again"
        ) from error


def listed_card(kind: CardKind, info: RepoInfo, source: str) -> IndexCard:
    """A card from what a listing says of a repository, the same whichever listing it was."""
    told = {name: value for name, value in info.meta.items() if value}
    tagged = {name: _tagged(info.tags, name) for name in ("license", "language", "task_categories")}
    meta = {**tagged, "pipeline_tag": info.pipeline_tag or None, "datasets": _tagged(info.tags, "dataset"), **told}
    body = info.description or ", ".join(t for t in info.tags if ":" not in t)
    sizes = {"downloads": info.downloads, "size_bytes": info.weight_bytes}
    return card_from_readme(kind, info.id, meta, body, source, **sizes)


def _tagged(tags: tuple[str, ...], name: str) -> list[str]:
    return [t.partition(":")[2] for t in tags if t.startswith(f"{name}:")]
