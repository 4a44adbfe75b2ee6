"""Cards by listing the Hub, most downloaded first: what `p2m catalog sync --hub` reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from p2m.catalog.cards import strings
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
        self.name, self.limit = "hub", limit
        self.skipped: dict[str, str] = {}
        self._cards = cards or list_hub

    def total(self) -> None:
        return None

    def __iter__(self) -> Iterator[IndexCard]:
        for kind in KINDS:
            yield from self._cards(kind, self.limit)


def list_hub(kind: CardKind, limit: int, *, endpoint: str | None = None) -> Iterator[IndexCard]:
    """The Hub's listing through ``huggingface_hub``, page after page; ``endpoint`` is ``$HF_ENDPOINT`` where None.

    The client itself retries 429 and 5xx, waiting as the Hub asks. Raises ``ProviderError`` after that, and where the
    Hub is not to be reached. A listing has no README: of a dataset it has the description, of a model only its tags.
    """
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    api = HfApi(endpoint=endpoint.rstrip("/") if endpoint else None)
    listed: Any = api.list_datasets if kind == "dataset" else api.list_models
    try:
        for info in listed(sort="downloads", limit=limit, expand=_EXPAND[kind]):
            yield _card(kind, info)
    except OfflineModeIsEnabled as error:
        raise ProviderError("the Hub is switched off here (HF_HUB_OFFLINE). Unset it, or sync --folder DIR") from error
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        said = f"HTTP {status}" if status else type(error).__name__
        raise ProviderError(
            f"the Hub failed while it listed {kind}s ({said}). What was read is kept: run the same command again"
        ) from error


def _card(kind: CardKind, info: Any) -> IndexCard:
    told = info.card_data.to_dict() if getattr(info, "card_data", None) else {}
    tags = strings(getattr(info, "tags", None))
    meta = {
        "license": _tagged(tags, "license"),
        "language": _tagged(tags, "language"),
        "task_categories": _tagged(tags, "task_categories"),
        "pipeline_tag": getattr(info, "pipeline_tag", None),
        "datasets": _tagged(tags, "dataset"),
        **{name: value for name, value in told.items() if value},
    }
    weights = getattr(info, "safetensors", None)
    body = getattr(info, "description", None) or ""
    plain_tags = ", ".join(t for t in tags if ":" not in t)
    return card_from_readme(
        kind,
        info.id,
        meta,
        body or plain_tags,
        "hub",
        downloads=info.downloads,
        size_bytes=_bytes(weights),
    )


def _tagged(tags: tuple[str, ...], name: str) -> list[str]:
    return [t.partition(":")[2] for t in tags if t.startswith(f"{name}:")]


_WIDTHS = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2}


def _bytes(weights: Any) -> int | None:
    """The size of a model's weights, from its parameters a type."""
    parameters = getattr(weights, "parameters", None)
    if not isinstance(parameters, dict):
        return None
    return sum(_WIDTHS.get(str(kind), 1) * int(count) for kind, count in parameters.items())
