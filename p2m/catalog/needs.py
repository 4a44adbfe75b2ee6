"""What a base model needs (memory, disk, time, length of text) beside what a run has, reckoned before it is loaded.

Memory is that of ``p2m.train.fit``: float32 weights, gradients and Adam's two moments for all but the word embeddings,
which do not train, the best weights so far and their next copy, and the activations of a batch. Activations are 34
bytes a token, layer and hidden unit at half precision (Korthikanti et al. 2022, "Reducing Activation Recomputation in
Large Transformer Models", without the attention matrices, which are never whole here). An epoch is six operations a
parameter and token (Kaplan et al. 2020, "Scaling Laws for Neural Language Models"). benchmarks/model_needs.py
compares both with what is measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from p2m.machine import Machine
from p2m.task.spec import TaskSpec

LONGEST_READ = 512
"""No student here reads more tokens of a text."""
CHARS_PER_TOKEN = 4
BATCH_TOKENS = 4096
RUNTIME_BYTES = 450_000_000
"""Python with torch and transformers loaded, before any model."""
WEIGHT, GRADIENT, MOMENTS = 4, 4, 8
ACTIVATION = 2 * 34
TRANSIENT = 80
"""Bytes a token and hidden unit of one layer, where nothing is kept for a backward pass."""
EFFICIENCY = 0.5
"""The share of a large matrix product's speed that training reaches with short texts in small batches."""
MOST_CUT = 0.5
"""A model that would cut more than this share of the texts does not read them."""
SAVED_STUDENTS = 3
"""Copies of the weights that a run writes at the least: two trainings and the delivered student."""
_UNSPACED = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x3400, 0x9FFF), (0xAC00, 0xD7AF))


@dataclass(frozen=True)
class Shape:
    """How large a model is. ``body`` counts the parameters outside the word embeddings; both are whole counts."""

    parameters: float
    body: float
    hidden: int
    layers: int


@dataclass(frozen=True)
class Texts:
    """Estimated lengths, in tokens, of texts that are like those to come."""

    tokens: tuple[int, ...] = ()

    @classmethod
    def of(cls, texts: Iterable[str]) -> Texts:
        return cls(tuple(estimated_tokens(t) for t in texts))

    @property
    def longest(self) -> int:
        return min(LONGEST_READ, max(self.tokens, default=0))

    @property
    def mean(self) -> float:
        return sum(min(t, LONGEST_READ) for t in self.tokens) / len(self.tokens) if self.tokens else 0.0

    def cut(self, context: int) -> int:
        """How many are longer than ``context`` tokens."""
        return sum(min(t, LONGEST_READ) > context for t in self.tokens)


@dataclass(frozen=True)
class Conditions:
    """What a run has for a student. ``rows`` are those to train on, ``seconds`` what is left for it (None: no
    limit)."""

    machine: Machine = field(default_factory=Machine)
    texts: Texts = field(default_factory=Texts)
    rows: int = 0
    seconds: float | None = None


@dataclass(frozen=True)
class Verdict:
    """``problem`` is why a model cannot serve at all; ``late`` says that it comes after the others, which ``notes``
    explain."""

    problem: str | None = None
    notes: tuple[str, ...] = ()
    late: bool = False


def of_task(task: TaskSpec) -> Conditions:
    """What is known before there are rows and a machine: the task's examples."""
    return Conditions(texts=Texts.of(e.input for e in task.examples), rows=len(task.examples))


def shape_of(parameters_m: float, config: Mapping[str, Any]) -> Shape:
    """From millions of parameters and what ``config.json`` says; a usual width is taken where it says nothing."""
    total = parameters_m * 1e6
    guess = 384 if total < 40e6 else 768 if total < 200e6 else 1024
    hidden = _whole(config, "hidden_size", "dim", "d_model") or guess
    vocabulary = _whole(config, "vocab_size")
    body = max(total - vocabulary * hidden, 0.1 * total) if vocabulary else 0.7 * total
    layers = _whole(config, "num_hidden_layers", "n_layers", "num_layers") or max(1, round(body / (12 * hidden**2)))
    return Shape(total, body, hidden, layers)


def context_of(config: Mapping[str, Any]) -> int | None:
    """The tokens that a model has positions for, special ones included; None where its configuration does not say."""
    positions = _whole(config, "max_position_embeddings")
    # RoBERTa counts positions from the padding id on: two of its 514 are never used.
    offset = 2 if config.get("model_type") in ("roberta", "xlm-roberta", "camembert") and positions > 2 else 0
    return positions - offset or None


def full_bytes(shape: Shape) -> float:
    """Memory of a full fine-tune."""
    weights = 3 * WEIGHT * shape.parameters  # training, the best so far, and a better one as it is copied
    trained = (GRADIENT + MOMENTS) * shape.body
    return RUNTIME_BYTES + weights + trained + BATCH_TOKENS * shape.layers * shape.hidden * ACTIVATION


def frozen_bytes(shape: Shape) -> float:
    """Memory of a head on the frozen encoder: the weights, and once more as they are saved."""
    return RUNTIME_BYTES + 2 * WEIGHT * shape.parameters + BATCH_TOKENS * shape.hidden * TRANSIENT


def reading_bytes(shape: Shape) -> float:
    """Memory of answering with it."""
    return RUNTIME_BYTES + WEIGHT * shape.parameters + BATCH_TOKENS * shape.hidden * TRANSIENT


def epoch_seconds(shape: Shape, rows: int, texts: Texts, machine: Machine) -> float | None:
    """An epoch of a full fine-tune, very roughly; None where the machine's speed is not known."""
    return _seconds(6 * shape.body, rows, texts, machine)


def embed_seconds(shape: Shape, rows: int, texts: Texts, machine: Machine) -> float | None:
    """Reading ``rows`` once, as a frozen head does."""
    return _seconds(2 * shape.body, rows, texts, machine)


def judge(shape: Shape | None, context: int | None, conditions: Conditions, *, fetched: bool) -> Verdict:
    """Whether a model of ``shape`` (None: not known) that reads ``context`` tokens can serve under ``conditions``.
    ``fetched`` says that it has to be downloaded first."""
    machine, texts = conditions.machine, conditions.texts
    notes = []
    late = False
    if context is not None and (cut := texts.cut(context)):
        if cut > MOST_CUT * len(texts.tokens):
            size = f"the texts have up to {texts.longest}"
            return Verdict(f"it reads {context} tokens and would cut {cut} of {len(texts.tokens)} texts: {size}")
        notes.append(f"cuts {cut} of {len(texts.tokens):,} texts at {context} tokens")
    if shape is None:
        return Verdict(None, tuple(notes))
    if machine.memory is not None:
        frozen, full = frozen_bytes(shape), full_bytes(shape)
        if frozen > machine.memory:
            least = f"a frozen head on it needs {_gb(frozen)} of memory (answering alone {_gb(reading_bytes(shape))})"
            return Verdict(f"{least}, {_gb(machine.memory)} are free")
        if full > machine.memory:
            late = True
            notes.append(f"a full fine-tune needs {_gb(full)} of memory, {_gb(machine.memory)} are free: frozen only")
    disk = WEIGHT * shape.parameters * (SAVED_STUDENTS + fetched)
    if machine.disk is not None and disk > machine.disk:
        what = "its download and the students" if fetched else "the students from it"
        return Verdict(f"{what} need {_gb(disk)} of disk, {_gb(machine.disk)} are free")
    seconds = epoch_seconds(shape, conditions.rows, texts, machine)
    if seconds is not None and conditions.seconds is not None and seconds > conditions.seconds:
        late = True
        estimate = f"an epoch on {conditions.rows:,} rows takes about {seconds:,.0f} s"
        notes.append(f"{estimate} here, {max(conditions.seconds, 0):,.0f} s are left")
    return Verdict(None, tuple(notes), late)


def estimated_tokens(text: str) -> int:
    """Tokens of ``text``, roughly: a quarter of its characters, each one of a script that is written without
    spaces (or in syllable blocks)."""
    dense = 0 if text.isascii() else sum(any(low <= ord(c) <= high for low, high in _UNSPACED) for c in text)
    return dense + (len(text) - dense) // CHARS_PER_TOKEN


def _seconds(operations: float, rows: int, texts: Texts, machine: Machine) -> float | None:
    if machine.flops is None:
        return None
    # A text has two special tokens, and a batch is padded to its longest.
    return operations * rows * (texts.mean + 2) / (EFFICIENCY * machine.flops)


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"


def _whole(config: Mapping[str, Any], *names: str) -> int:
    found = (config.get(name) for name in names)
    return next((v for v in found if isinstance(v, int) and not isinstance(v, bool) and v > 0), 0)
