"""How a row becomes tokens for a generator, and its answer text again: decoders (causal) and encoder-decoders.

A decoder reads the tokenizer's chat template: the instruction as the system's words, the input as the user's, the
answer as the assistant's. The delivered folder's template puts the instruction in by itself, so that
``apply_chat_template([{"role": "user", "content": text}])`` is the prompt that was trained. An encoder-decoder reads
the input as it is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from p2m.train.prefix import IGNORED, after_shared_start

if TYPE_CHECKING:
    import torch

LONGEST_PROMPT, LONGEST_ANSWER = 1024, 512
# For bases that have none. The space before the answer is part of it, as in running text.
PLAIN_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}"
    "{% elif message['role'] == 'user' %}{{ 'Input: ' + message['content'] + '\\nOutput:' }}"
    "{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
)
_ANSWER = "ANSWER"


@dataclass(frozen=True)
class Tokens:
    """One row: ``prompt`` as the model reads it, ``answer`` with the token that ends it. ``cut``: the input was cut."""

    prompt: list[int]
    answer: list[int]
    cut: bool = False

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


def with_instruction(template: str, instruction: str) -> str:
    """``template`` with ``instruction`` as the system's words wherever a conversation brings none of its own."""
    words = json.dumps(instruction, ensure_ascii=False)
    # Jinja has no \u escapes, but reads \n and \" like JSON does.
    return (
        "{% if messages[0]['role'] != 'system' %}"
        f"{{% set messages = [{{'role': 'system', 'content': {words}}}] + messages %}}"
        "{% endif %}" + template
    )


class CausalFormat:
    """For decoders. ``tokenizer`` has the delivered chat template; padding is on the left, for training too, so that
    answers end together and logits are computed for the last positions only."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        whole = self._render([{"role": "user", "content": "x"}, {"role": "assistant", "content": _ANSWER}])
        before, _, tail = whole.rpartition(_ANSWER)
        # What stands between the prompt and the answer (the space of the plain template) belongs to the answer.
        self.lead = before[len(self._render([{"role": "user", "content": "x"}], prompt=True)) :]
        ids = tokenizer(tail, add_special_tokens=False)["input_ids"]
        ends = ids and ids[0] in tokenizer.all_special_ids
        self.end: int = ids[0] if ends else tokenizer.eos_token_id
        self.pad: int = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.end

    @classmethod
    def new(cls, tokenizer: Any, instruction: str) -> CausalFormat:
        """For a base model's tokenizer, which gets the template to deliver."""
        original = tokenizer.chat_template or PLAIN_TEMPLATE
        for template in (original, PLAIN_TEMPLATE):
            tokenizer.chat_template = with_instruction(template, instruction)
            try:
                made = cls(tokenizer)
                if instruction in made._render([{"role": "user", "content": "x"}], prompt=True):
                    return made
            except Exception:
                # A template may refuse the system's role, in an error of its own making.
                if template is PLAIN_TEMPLATE:
                    raise
        return made

    def _render(self, messages: list[dict[str, str]], prompt: bool = False) -> str:
        return self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)

    def prompt(self, text: str, longest: int) -> tuple[list[int], bool]:
        """The tokens of a prompt, the input's end cut off where there are more than ``longest``; whether it was."""
        ids = self._prompt(text)
        if len(ids) <= longest:
            return ids, False
        inside = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        room = max(1, len(inside) - (len(ids) - longest))
        ids = self._prompt(self.tokenizer.decode(inside[:room]))
        return ids, True

    def text(self, text: str) -> str:
        """The prompt of an input as text."""
        return self._render([{"role": "user", "content": text}], prompt=True)

    def _prompt(self, text: str) -> list[int]:
        return self.tokenizer(self.text(text), add_special_tokens=False)["input_ids"]

    def answer(self, text: str) -> list[int]:
        """The tokens of an answer with the one that ends it."""
        return [*self.tokenizer(self.lead + text, add_special_tokens=False)["input_ids"], self.end]

    def row(self, text: str, answer: str, longest: int) -> Tokens:
        ids, cut = self.prompt(text, longest)
        return Tokens(ids, self.answer(answer), cut)

    def batch(self, rows: Sequence[Tokens]) -> dict[str, torch.Tensor]:
        """``input_ids``, ``attention_mask``, ``position_ids`` and ``labels`` of shape (rows, longest). Labels are the
        answers with their end; padding is told by place, not by id, as it may be the end's own."""
        import torch

        width = max(map(len, rows))
        ids = torch.full((len(rows), width), self.pad)
        labels = torch.full((len(rows), width), IGNORED)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, width - len(row) :] = torch.tensor(row.prompt + row.answer)
            mask[i, width - len(row) :] = 1
            labels[i, width - len(row.answer) :] = torch.tensor(row.answer)
        return {"input_ids": ids, "attention_mask": mask, "position_ids": _positions(mask), "labels": labels}

    def inputs(self, prompts: Sequence[list[int]]) -> dict[str, torch.Tensor]:
        """What ``generate`` takes, padded on the left."""
        import torch

        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), self.pad)
        mask = torch.zeros((len(prompts), width), dtype=torch.long)
        for i, prompt in enumerate(prompts):
            ids[i, width - len(prompt) :] = torch.tensor(prompt)
            mask[i, width - len(prompt) :] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def logits(self, model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and the labels that they should give, (rows, positions, words) and (rows, positions)."""
        # The vocabulary is a fifth of a small model's work: only answers need it. One position before the first too.
        longest = int((batch["labels"] != IGNORED).sum(1).max())
        inputs = after_shared_start(model, batch) or {k: v for k, v in batch.items() if k != "labels"}
        logits = model(**inputs, logits_to_keep=longest + 1).logits
        return logits[:, -longest - 1 : -1], batch["labels"][:, -longest:]

    def generated(self, out: torch.Tensor, width: int) -> list[list[int]]:
        """The new tokens of each row of what ``generate`` gave for prompts ``width`` wide."""
        return out[:, width:].tolist()


class Seq2SeqFormat:
    """For encoder-decoders: the encoder reads the input as it is."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.end: int = tokenizer.eos_token_id
        self.pad: int = tokenizer.pad_token_id

    def prompt(self, text: str, longest: int) -> tuple[list[int], bool]:
        """As ``CausalFormat.prompt``."""
        ids = self.tokenizer(text)["input_ids"]
        if len(ids) <= longest:
            return ids, False
        return self.tokenizer(text, truncation=True, max_length=longest)["input_ids"], True

    def answer(self, text: str) -> list[int]:
        """As ``CausalFormat.answer``."""
        return [*self.tokenizer(text_target=text, add_special_tokens=False)["input_ids"], self.end]

    def row(self, text: str, answer: str, longest: int) -> Tokens:
        ids, cut = self.prompt(text, longest)
        return Tokens(ids, self.answer(answer), cut)

    def batch(self, rows: Sequence[Tokens]) -> dict[str, torch.Tensor]:
        """``input_ids`` and ``attention_mask`` of the encoder, ``labels`` of the decoder, each padded on the right."""
        import torch

        made = self.inputs([row.prompt for row in rows])
        width = max(len(row.answer) for row in rows)
        labels = torch.full((len(rows), width), IGNORED)
        for i, row in enumerate(rows):
            labels[i, : len(row.answer)] = torch.tensor(row.answer)
        return {**made, "labels": labels}

    def inputs(self, prompts: Sequence[list[int]]) -> dict[str, torch.Tensor]:
        """What ``generate`` takes."""
        import torch

        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), self.pad)
        mask = torch.zeros((len(prompts), width), dtype=torch.long)
        for i, prompt in enumerate(prompts):
            ids[i, : len(prompt)] = torch.tensor(prompt)
            mask[i, : len(prompt)] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def logits(self, model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """As ``CausalFormat.logits``."""
        return model(**batch, use_cache=False).logits, batch["labels"]

    def generated(self, out: torch.Tensor, width: int) -> list[list[int]]:
        """As ``CausalFormat.generated``: the first token starts every answer."""
        return out[:, 1:].tolist()


Format = CausalFormat | Seq2SeqFormat


def _positions(mask: torch.Tensor) -> torch.Tensor:
    return (mask.cumsum(1) - 1).clamp(min=0)
