"""What cards say of themselves in a word: kind, tasks, languages, licence. Filters over all cards at once."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from p2m.catalog.index.card import CardKind

if TYPE_CHECKING:
    import numpy as np

_EVERY_LANGUAGE = ("multilingual", "mul")


class Facets:
    """``rows`` are ``(kind, tasks, languages, licence)``, the lists as JSON, one a card in the order of the index."""

    def __init__(self, rows: Sequence[tuple[str, str, str, str]]) -> None:
        import numpy as np

        self.size = len(rows)
        self._rows = rows
        self._at: dict[tuple[str, str], np.ndarray] = {}
        places: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        known: dict[str, list[str]] = {}  # the same few lists come again and again
        for i, (kind, tasks, languages, license_) in enumerate(rows):
            places["kind", kind].append(i)
            places["license", license_].append(i)
            for facet, packed in (("task", tasks), ("language", languages)):
                values = known.get(packed)
                if values is None:
                    values = known[packed] = json.loads(packed)
                for value in {v.split("-")[0] for v in values} if facet == "language" else values or [""]:
                    places[facet, value].append(i)
                if not values and facet == "language":
                    places[facet, ""].append(i)
        self._at = {facet: np.array(at) for facet, at in places.items()}

    def kind(self, kind: CardKind | None) -> np.ndarray:
        """Where the cards are of ``kind``: bool of shape (cards,)."""
        return self._any("kind", [kind] if kind else None)

    def passed(self, language: str, tasks: Sequence[str], licenses: Sequence[str]) -> np.ndarray:
        """Where no filter drops a card: bool of shape (cards,). An empty filter drops none."""
        spoken = [language.lower().split("-")[0], "", *_EVERY_LANGUAGE] if language else None
        fitting = [*tasks, ""] if tasks else None
        allowed = [name.lower() for name in licenses] or None
        return self._any("language", spoken) & self._any("task", fitting) & self._any("license", allowed)

    def refusal(self, i: int, language: str, tasks: Sequence[str], licenses: Sequence[str]) -> str:
        """Why card ``i`` is dropped, in words."""
        _, stated_tasks, stated_languages, license_ = self._rows[i]
        reasons = []
        if language and not self._any("language", [language.lower().split("-")[0], "", *_EVERY_LANGUAGE])[i]:
            reasons.append(f"its language is {'/'.join(json.loads(stated_languages)[:4])}, not {language}")
        if tasks and not self._any("task", [*tasks, ""])[i]:
            reasons.append(f"it is for {', '.join(json.loads(stated_tasks)[:3])}, not {' or '.join(tasks)}")
        if licenses and license_ not in licenses:
            reasons.append(f"its licence is {license_ or 'not stated'}")
        return "; ".join(reasons)

    def _any(self, facet: str, values: Iterable[str] | None) -> np.ndarray:
        import numpy as np

        if values is None:
            return np.ones(self.size, dtype=bool)
        mask = np.zeros(self.size, dtype=bool)
        for value in values:
            if (at := self._at.get((facet, value))) is not None:
                mask[at] = True
        return mask
