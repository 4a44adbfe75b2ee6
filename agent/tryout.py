"""A delivered model in a process of its own: ``python -m agent.tryout RUN``. A JSON string a line in, an answer out.

An answer is ``{"kind", "output", "probs", "spans", "nearest": [{"text", "output", "from", "similarity"}]}``, or
``{"error"}``. ``kind`` is a name of ``p2m.kinds``; ``probs`` is None where the model gives none; ``spans`` are the
parts of the text in the answer, ``{"text", "label", "start", "end"}``; ``nearest`` is None while they are sought.
The first line out is ``{"ready": WHAT IT DOES, "kind", "scale"}``, or ``{"error"}`` for a model that does not load.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2m.errors import P2MError

if TYPE_CHECKING:
    from p2m.rows import Row
    from p2m.task.spec import TaskSpec

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
                "output": self.rows[i].output,
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
        from p2m import kinds
        from p2m.evaluate.predict import load_predictor

        state = load_state(run_dir)
        kind = kinds.of(state.task).name
        predictor = load_predictor(run_dir / "model")
        _say({"ready": what_it_does(state.task), "kind": kind, "scale": state.task.scale})
        neighbours: Neighbours | None = None
        for line in sys.stdin:
            text = str(json.loads(line))
            found = predictor.predict([text])[0]
            spans = spans_of(kind, text, found.output)
            answer: dict[str, Any] = {"kind": kind, "output": found.output, "probs": found.probs, "spans": spans}
            if neighbours is None:
                _say({**answer, "nearest": None})  # the prediction at once; the neighbours take a moment to embed
                neighbours = Neighbours(training_rows(run_dir, state))
            _say({**answer, "nearest": neighbours.of(text)})
    except P2MError as error:
        _say({"error": str(error)})
        return error.exit_code
    return 0


def what_it_does(task: TaskSpec) -> str:
    """What a person should type, and what comes back."""
    labels = ", ".join(task.labels)
    if task.kind == "classify":
        return f"it chooses {'any number of' if task.multi_label else 'among'} {labels}"
    if task.kind == "extract" and task.labels:
        return f"it finds in a text: {labels}"
    if task.kind == "extract":
        return "it answers from a text; with a question of your own: question: …, then on a new line context: …"
    if task.kind == "score":
        low, high = task.scale or (None, None)
        return "it says a number" + (f" from {low:g} to {high:g}" if low is not None else "")
    return "it writes an answer"


def spans_of(kind: str, text: str, output: str) -> list[dict[str, Any]]:
    """The parts of ``text`` that an answer of this kind names."""
    if kind == "extract":
        from p2m.outputs import parse_spans

        return [asdict(span) for span in parse_spans(output, text)]
    if kind == "read" and output:
        from p2m.train.reader import asked

        context = asked(text, "")
        at = context.context.find(output)
        if at >= 0:
            start = context.at + at
            return [{"text": output, "label": "answer", "start": start, "end": start + len(output)}]
    return []


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
