"""A delivered model in a process of its own: ``python -m agent.tryout RUN``. A JSON string a line in, an answer out.

An answer is ``{"label", "probs", "nearest": [{"text", "label", "from", "similarity"}]}``, or ``{"error"}``. The first
line out is ``{"ready": LABELS}``, or ``{"error"}`` for a model that does not load.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2m.errors import P2MError

if TYPE_CHECKING:
    from p2m.rows import Row

NEAREST = 5
# Enough to find what a text was like; more would keep the person waiting for the first answer.
MOST_ROWS = 4000


class Neighbours:
    """The training rows nearest to a text: cosine of sentence embeddings."""

    def __init__(self, rows: Sequence[Row]) -> None:
        from p2m.catalog.embedding import default_embed

        self.rows = list(rows)[:MOST_ROWS]
        self._embed = default_embed() if self.rows else None
        self._vectors = self._embed([row.input for row in self.rows]) if self._embed else None

    def of(self, text: str, most: int = NEAREST) -> list[dict[str, Any]]:
        """The nearest first; empty without an embedder."""
        from p2m.rows import provenance

        if self._embed is None or self._vectors is None:
            return []
        similarity = self._vectors @ self._embed([text])[0]
        nearest = similarity.argsort()[::-1][:most]
        return [
            {
                "text": self.rows[i].input,
                "label": self.rows[i].output,
                "from": provenance(self.rows[i]),
                "similarity": round(float(similarity[i]), 3),
            }
            for i in nearest
        ]


def main(argv: Sequence[str]) -> int:
    """Answer until stdin ends."""
    from agent.rows_log import training_rows
    from agent.runs import load_state
    from agent.session import quiet_libraries

    quiet_libraries()
    run_dir = Path(argv[0])
    try:
        from p2m.evaluate.predict import Predictor

        predictor = Predictor(run_dir / "model")
        _say({"ready": list(predictor.labels)})
        neighbours: Neighbours | None = None
        for line in sys.stdin:
            text = str(json.loads(line))
            found = predictor.predict([text])[0]
            answer: dict[str, Any] = {"label": found.label, "probs": found.probs}
            if neighbours is None:
                _say({**answer, "nearest": None})  # the prediction at once; the neighbours take a moment to embed
                neighbours = Neighbours(training_rows(run_dir, load_state(run_dir)))
            _say({**answer, "nearest": neighbours.of(text)})
    except P2MError as error:
        _say({"error": str(error)})
        return error.exit_code
    return 0


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
