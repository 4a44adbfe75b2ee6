"""A delivered run of each kind but single labels, with a tiny model that its own kind has trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from p2m import kinds
from p2m.export.card import CardFacts, write_card
from p2m.outputs import format_number
from p2m.rows import Row
from p2m.task.spec import TaskSpec
from p2m.train.recipe import Method
from tests.delivered_run import MODEL, delivery_of, finished
from tests.test_train_kinds import label_rows, question_rows, span_rows
from tests.tiny_llama import make_llama
from tests.tiny_model import LABELS, WORDS, make_encoder
from tests.tiny_writer import INSTRUCTION, make_writer
from tests.tiny_writer import rows as plural_rows


def rating_rows(n: int, seed: int) -> list[Row]:
    """How many words are of the first label."""
    return [
        replace(r, output=format_number(float(min(5, 1 + sum(w in WORDS[LABELS[0]] for w in r.input.split())))))
        for r in label_rows(n, seed)
    ]


_LABELS = {"instruction": "Say which.", "labels": LABELS}
_MADE = {
    "multi_label": (
        TaskSpec(name="sets", kind="classify", multi_label=True, metric="micro_f1", **_LABELS),  # type: ignore[arg-type]
        label_rows,
    ),
    "extract": (TaskSpec(name="parts", kind="extract", metric="span_f1", **_LABELS), span_rows),  # type: ignore[arg-type]
    "read": (TaskSpec(name="ask", instruction="Answer.", kind="extract", metric="squad_f1"), question_rows),
    "score": (TaskSpec(name="rate", instruction="Rate.", kind="score", scale=(1, 5), metric="spearman"), rating_rows),
    "generate": (
        TaskSpec(name="plurals", instruction=INSTRUCTION, kind="generate", metric="exact_match"),
        plural_rows,
    ),
}
KINDS = tuple(_MADE)


def texts_of(kind: str) -> list[str]:
    """Some inputs that the model has not seen."""
    return [row.input for row in _MADE[kind][1](12, 9)]


def delivered_kind(run_dir: Path, base: Path, name: str, *, seq2seq: bool = False, method: Method = "full") -> Path:
    """A finished run of the kind ``name`` in ``run_dir`` with 20 validation rows."""
    task, rows = _MADE[name]
    kind = kinds.of(task)
    assert kind.name == name
    finished(run_dir, task, rows(20, 5), rows(20, 6))
    if name != "generate":
        make_encoder(base)
    elif seq2seq:
        make_writer(base, seq2seq=True)
    else:
        make_llama(base, [INSTRUCTION, *(f"{r.input} {r.output}" for r in rows(20, 0))], positions=512)
    recipe = kind.recipe(task, base=str(base), method=method, seed=0, epochs=2 if name == "generate" else 6)
    recipe = replace(recipe, learning_rate=5e-3)
    kind.train(recipe, rows(60, 0), rows(20, 1), run_dir / "model", lambda _: None)
    facts = CardFacts.of(task, SimpleNamespace(base="tiny", method=method), delivery_of(MODEL))
    write_card(run_dir / "model", facts)
    return run_dir
