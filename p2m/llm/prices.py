"""What a token costs. A price that is not known is None ("unpriced"), never 0."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from p2m.errors import BadInput
from p2m.llm.endpoint import Endpoint

# OpenAI's public price list as known on 2025-08-15, and as others quote it in March 2026; USD per million tokens:
# (prompt, completion).
OPENAI_PRICES = {
    "gpt-5": (1.25, 10.0),
    "gpt-5-mini": (0.25, 2.0),
    "gpt-5-nano": (0.05, 0.4),
    "gpt-4.1": (2.0, 8.0),
    "gpt-4.1-mini": (0.4, 1.6),
    "gpt-4.1-nano": (0.1, 0.4),
    "gpt-4o": (2.5, 10.0),
    "gpt-4o-mini": (0.15, 0.6),
}
_DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$")


@dataclass(frozen=True)
class Price:
    """USD per million tokens."""

    prompt: float
    completion: float

    def usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


def price_of(endpoint: Endpoint) -> Price | None:
    """0 for a local model; else from the file ``$P2M_PRICES``, else the table for OpenAI's own host, else None.

    The file is JSON, ``{"MODEL": [prompt, completion]}`` USD per million tokens. Raises ``BadInput`` where it is not.
    """
    if endpoint.kind == "local":
        return Price(0.0, 0.0)
    own = _own_prices()
    if endpoint.model in own:
        return own[endpoint.model]
    if endpoint.host != "api.openai.com":
        return None
    found = OPENAI_PRICES.get(_DATED.sub("", endpoint.model))
    return Price(*found) if found else None


def _own_prices() -> dict[str, Price]:
    path = os.environ.get("P2M_PRICES")
    if not path:
        return {}
    try:
        raw = json.loads(Path(path).read_text(encoding="utf-8"))
        prices = {str(model): Price(float(pair[0]), float(pair[1])) for model, pair in raw.items()}
    except (OSError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        fix = 'It should be JSON: {"MODEL": [USD per million prompt tokens, per million completion tokens]}'
        raise BadInput(f"cannot read the prices ({error})", where=path, fix=fix) from error
    if any(not (p.prompt >= 0 and p.completion >= 0) for p in prices.values()):
        raise BadInput("a price is below zero", where=path)
    return prices
