"""An answer that stands in a text: a question and a context in, the start and the end of the answer out.

The context is read in windows that overlap, so that none of it is cut; in a window without the answer both ends are the
first token (Devlin et al. 2019, "BERT", section 4.2 and 4.3), which also answers a question that has no answer.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2m.errors import ToolFailure
from p2m.evaluate.metrics import score
from p2m.rows import Row
from p2m.train.loop import OnProgress, begin, every, fit
from p2m.train.recipe import Epoch, Recipe, TrainResult
from p2m.train.runtime import autocast, beside, device_of, load_config, load_to_train, load_tokenizer, prepare_torch
from p2m.train.student import positions, save_tokenizer

if TYPE_CHECKING:
    import numpy as np
    import torch

WINDOW, STRIDE = 384, 128
LONGEST_QUESTION, LONGEST_ANSWER = 64, 40
_PARTS = re.compile(
    r"\A\s*(?:question:\s*(?P<q1>.*?)\s*\n\s*context:\s*(?P<c1>.*)|context:\s*(?P<c2>.*?)\s*\n\s*question:\s*(?P<q2>[^\n]*?)\s*)\Z",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True)
class Asked:
    """A question about ``context``, which begins at character ``at`` of the input."""

    question: str
    context: str
    at: int


def asked(text: str, question: str) -> Asked:
    """The parts of ``question: …\\ncontext: …`` in either order; of another text all is context to ``question``."""
    found = _PARTS.match(text)
    if not found:
        return Asked(question, text, 0)
    which = "1" if found["q1"] is not None else "2"
    return Asked(found[f"q{which}"], found[f"c{which}"], found.start(f"c{which}"))


@dataclass(frozen=True)
class Window:
    """Part of a question with its context; ``offsets[i]`` are the context's characters of token i, None elsewhere.
    ``cut``: the question's end was left out."""

    row: int
    ids: list[int]
    types: list[int]
    offsets: tuple[tuple[int, int] | None, ...]
    cut: bool = False


def windows(tokenizer: Any, asks: Sequence[Asked], longest: int) -> list[Window]:
    """Every context in windows of at most ``longest`` tokens with its question, in order."""
    if not asks:
        return []
    cut = tokenizer([a.question for a in asks], truncation=True, max_length=LONGEST_QUESTION, add_special_tokens=False)
    questions = [
        a.question[: e.offsets[-1][1]] if e.offsets else a.question for a, e in zip(asks, cut.encodings, strict=True)
    ]
    found = tokenizer(
        questions, [a.context for a in asks], truncation="only_second", max_length=longest,
        stride=min(STRIDE, longest // 4), return_overflowing_tokens=True, return_offsets_mapping=True,
        return_token_type_ids=True,
    )  # fmt: skip
    made = []
    for i, row in enumerate(found["overflow_to_sample_mapping"]):
        parts = found.sequence_ids(i)
        offsets = tuple(
            (s, e) if part == 1 and e > s else None
            for part, (s, e) in zip(parts, found["offset_mapping"][i], strict=True)
        )
        shorter = len(cut.encodings[row].overflowing) > 0
        made.append(Window(row, found["input_ids"][i], found["token_type_ids"][i], offsets, shorter))
    return made


def place_of(row: Row, ask: Asked) -> tuple[int, int] | None:
    """Where the answer stands in the context: at ``meta["start"]`` of the input where that is said, else where its text
    comes first; None for no answer. Raises ``ValueError`` for a text that is not there."""
    if not row.output.strip():
        return None
    said = row.meta.get("start")
    if isinstance(said, int) and row.input[said : said + len(row.output)] == row.output and said >= ask.at:
        return said - ask.at, said - ask.at + len(row.output)
    start = ask.context.find(row.output)
    if start < 0:
        start = ask.context.casefold().find(row.output.casefold())
    if start < 0:
        raise ValueError(f"the answer {row.output[:60]!r} is not in its text")
    return start, start + len(row.output)


def ends(window: Window, place: tuple[int, int] | None) -> tuple[int, int]:
    """The first and the last token of the answer; (0, 0) where the window does not hold it whole."""
    if place is None:
        return 0, 0
    inside = [i for i, o in enumerate(window.offsets) if o and o[0] < place[1] and place[0] < o[1]]
    known = [o for o in window.offsets if o]
    if not inside or known[0][0] > place[0] or known[-1][1] < place[1]:
        return 0, 0
    return inside[0], inside[-1]


def best_span(window: Window, logits: np.ndarray) -> tuple[float, int, int]:
    """The likeliest answer of a window: its score above that of no answer, and its characters in the context."""
    import numpy as np

    usable = np.array([o is not None for o in window.offsets])
    start, end = (np.where(usable, logits[: len(usable), k], -np.inf) for k in (0, 1))
    total = start[:, None] + end[None, :]
    n = len(usable)
    apart = np.arange(n)[None, :] - np.arange(n)[:, None]
    total = np.where((apart >= 0) & (apart < LONGEST_ANSWER), total, -np.inf)
    i, j = divmod(int(total.argmax()), n)
    first, last = window.offsets[i], window.offsets[j]
    if first is None or last is None:
        return -np.inf, 0, 0
    return float(total[i, j] - logits[0].sum()), first[0], last[1]


def answers(
    made: Sequence[Window], found: Sequence[np.ndarray], asks: Sequence[Asked], unanswerable: bool
) -> list[tuple[str, float]]:
    """Of each question the best answer over its windows and its score; ``""`` for none where that is allowed."""
    best: list[tuple[float, int, int]] = [(float("-inf"), 0, 0)] * len(asks)
    for window, logits in zip(made, found, strict=True):
        best[window.row] = max(best[window.row], best_span(window, logits))
    return [
        ("" if unanswerable and value <= 0 else ask.context[start:end], value)
        for ask, (value, start, end) in zip(asks, best, strict=True)
    ]


class Reader:
    """A question answerer in training, its new head drawn from ``seed``. ``question`` is asked of texts that bring
    none. Raises ``BadInput`` for a folder that does not load."""

    def __init__(self, base: Path, question: str, seed: int = 0) -> None:
        import torch

        prepare_torch()
        self.base, self.question = Path(base), question
        self.tokenizer = load_tokenizer(self.base)
        torch.manual_seed(seed)
        self.module: Any = load_to_train(self.base, "AutoModelForQuestionAnswering")
        config = load_config(self.base)
        self.longest = positions(config, self.tokenizer)
        self.types = getattr(config, "type_vocab_size", 0) > 1
        self.unanswerable = False

    @property
    def encoder(self) -> Any:
        """The pretrained part."""
        return self.module.base_model

    def pad(self, made: Sequence[Window]) -> dict[str, torch.Tensor]:
        """A padded batch with its attention mask."""
        features: dict[str, Any] = {"input_ids": [w.ids for w in made]}
        if self.types:
            features["token_type_ids"] = [w.types for w in made]
        return dict(self.tokenizer.pad(features, return_tensors="pt"))

    def logits(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Start and end logits, of shape (rows, tokens, 2)."""
        import torch

        found = self.module(**batch)
        return torch.stack([found.start_logits, found.end_logits], dim=-1)

    def save(self, folder: Path) -> None:
        """Write weights (safetensors, float32), config and tokenizer, for ``AutoModelForQuestionAnswering``."""
        self.module.config.question = self.question
        self.module.config.unanswerable = self.unanswerable
        self.module.save_pretrained(folder)
        save_tokenizer(self.base, folder, self.longest)


@dataclass(frozen=True)
class _Questions:
    """Windows and the ends of their answers."""

    student: Reader
    made: list[Window]
    ends: list[tuple[int, int]]

    @property
    def lengths(self) -> list[int]:
        return [len(w.ids) for w in self.made]

    def loss(self, batch: list[int]) -> torch.Tensor:
        import torch

        padded = beside(self.student.module, self.student.pad([self.made[i] for i in batch]))
        with autocast(device_of(self.student.module).type):
            logits = self.student.logits(padded)
        gold = torch.tensor([self.ends[i] for i in batch], device=logits.device)
        # What is padding is no answer.
        logits = logits.float().masked_fill(padded["attention_mask"].unsqueeze(-1) == 0, -1e4)
        return torch.nn.functional.cross_entropy(logits.transpose(1, 2).flatten(0, 1), gold.flatten())

    def weight(self, batch: list[int]) -> float:
        return float(len(batch))


def lesson(student: Reader, rows: Sequence[Row], longest: int) -> _Questions:
    """The rows as windows, each with the first and the last token of its answer. A row whose answer no window holds
    whole has none: its windows would teach that there is no answer."""
    asks = [asked(r.input, student.question) for r in rows]
    places = [place_of(r, a) for r, a in zip(rows, asks, strict=True)]
    made = windows(student.tokenizer, asks, longest)
    found = [ends(w, places[w.row]) for w in made]
    held = {w.row for w, (first, _) in zip(made, found, strict=True) if first or places[w.row] is None}
    kept = [(w, e) for w, e in zip(made, found, strict=True) if w.row in held]
    return _Questions(student, [w for w, _ in kept], [e for _, e in kept])


def train_reader(
    recipe: Recipe, student: Reader, rows: Sequence[Row], validation: Sequence[Row], on_progress: OnProgress
) -> TrainResult:
    """Train ``student``; its weights end as those that were best on ``validation``.

    Nothing is cut but questions beyond 64 tokens, which are counted, as are the rows left out as no window holds their
    answer. Raises ``ValueError`` for no rows, and for an answer that is not in its text; ``ToolFailure`` where no row
    is left.
    """
    if not rows or not validation:
        raise ValueError("training needs rows and validation rows")
    began = time.monotonic()
    begin(recipe, student)
    student.unanswerable = any(not r.output.strip() for r in rows)
    longest = min(WINDOW, student.longest)
    data = lesson(student, rows, longest)
    if not data.made:
        raise ToolFailure("invalid_args", f"every answer is longer than {longest} tokens")
    asks = [asked(r.input, student.question) for r in validation]
    made = windows(student.tokenizer, asks, longest)
    lengths, golds = [len(w.ids) for w in made], [r.output for r in validation]
    also = [r.meta.get("also", ()) for r in validation]

    def judge(number: int, loss: float | None) -> Epoch:
        found = every(student.module, student.pad, student.logits, made, lengths, recipe.batch_tokens)
        said = answers(made, found, asks, student.unanswerable)
        value = score(recipe.metric, golds, [text for text, _ in said], also=also)
        # F1 beside exact match breaks its ties; the loss on validation needs gold places, which not every row has.
        return Epoch(number, loss, value, 1 - score("squad_f1", golds, [text for text, _ in said], also=also))

    learnt = {w.row for w in data.made}
    return fit(
        recipe,
        student,
        data,
        judge,
        on_progress,
        rows=len(learnt),
        began=began,
        truncated=len({w.row for w in data.made if w.cut}),
        max_length=LONGEST_QUESTION,
        cut_answers=len(rows) - len(learnt),
    )
