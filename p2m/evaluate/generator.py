"""Answers of a generator's folder, as anyone who loads it with plain transformers gets them: greedy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from p2m.evaluate.predict import Prediction
from p2m.train.batching import token_batches
from p2m.train.formats import LONGEST_ANSWER, LONGEST_PROMPT, CausalFormat, Format, Seq2SeqFormat
from p2m.train.runtime import beside, device, load_config, load_model, load_tokenizer, prepare_torch

BATCH_TOKENS = 4096
# Each step reads all weights once, whatever the rows: on a CPU 32 rows take little longer than one.
BATCH_ROWS = 32
WINDOW = 512


@dataclass(frozen=True)
class Said:
    """An answer; ``finished`` is False where the limit cut it before its end token."""

    text: str
    finished: bool


def greedy(model: Any, form: Format, prompts: Sequence[list[int]], most: int, *, ends: Sequence[int]) -> list[Said]:
    """The greedy answer to each prompt, of at most ``most`` tokens, in order; prompts of like length run together."""
    import torch

    model.eval()
    said: list[Said | None] = [None] * len(prompts)
    with torch.inference_mode():
        for batch in token_batches([len(p) for p in prompts], BATCH_TOKENS, rows=BATCH_ROWS):
            inputs = beside(model, form.inputs([prompts[i] for i in batch]))
            out = model.generate(
                **inputs,
                max_new_tokens=most,
                do_sample=False,
                eos_token_id=list(ends),
                pad_token_id=form.pad,
                use_cache=True,
            )
            for i, ids in zip(batch, form.generated(out, inputs["input_ids"].shape[1]), strict=True):
                end = next((k for k, token in enumerate(ids) if token in ends), None)
                text = form.tokenizer.decode(ids[:end], skip_special_tokens=True).strip()
                said[i] = Said(text, end is not None)
    return [s for s in said if s is not None]


class Generator:
    """A folder that generates as a function from texts to answers, in float32.

    ``truncated`` counts the texts so far that were longer than the model reads, ``unfinished`` the answers that the
    limit cut. Raises ``BadInput`` for a folder that does not load.
    """

    def __init__(self, folder: Path) -> None:
        prepare_torch()
        folder = Path(folder)
        config = load_config(folder)
        is_seq2seq = bool(getattr(config, "is_encoder_decoder", False))
        self._model = load_model(folder, "AutoModelForSeq2SeqLM" if is_seq2seq else "AutoModelForCausalLM").eval()
        self._model.to(device())
        tokenizer = load_tokenizer(folder)
        self._format: Format = Seq2SeqFormat(tokenizer) if is_seq2seq else CausalFormat(tokenizer)
        how = self._model.generation_config
        ends = how.eos_token_id if isinstance(how.eos_token_id, list) else [how.eos_token_id]
        self._ends = list(dict.fromkeys([self._format.end, *(e for e in ends if e is not None)]))
        self._most = how.max_new_tokens or LONGEST_ANSWER
        self._longest = min(LONGEST_PROMPT, tokenizer.model_max_length)
        self.truncated = self.unfinished = 0

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """One answer a text, in order."""
        return list(self.stream(texts))

    def stream(self, texts: Iterable[str]) -> Iterator[Prediction]:
        """The same for any number of texts, 512 of them in memory at a time."""
        remaining = iter(texts)
        while window := list(islice(remaining, WINDOW)):
            prompts = [self._format.prompt(text, self._longest) for text in window]
            self.truncated += sum(cut for _, cut in prompts)
            said = greedy(self._model, self._format, [ids for ids, _ in prompts], self._most, ends=self._ends)
            self.unfinished += sum(not s.finished for s in said)
            yield from (Prediction(s.text) for s in said)
