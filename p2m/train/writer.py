"""The generative student: a decoder or encoder-decoder with its tokenizer, in training and as it is saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2m.errors import BadInput
from p2m.train.formats import LONGEST_ANSWER, LONGEST_PROMPT, CausalFormat, Format, Seq2SeqFormat, Tokens
from p2m.train.runtime import SAFE_LOADING, device, load_config, load_to_train, load_tokenizer, prepare_torch

if TYPE_CHECKING:
    from p2m.rows import Row
    from p2m.train.recipe import Method

LORA_RANK, LORA_ALPHA = 16, 32
# The instruction is in every prompt, so its tokens are paid for with every row; the first sentence says most of it.
INSTRUCTION_CHARACTERS = 200
# An answer half as long again as the longest one learnt is still an answer; beyond it the student is rambling.
ROOM = 1.5


class Writer:
    """A generator in training; ``model`` holds the weights, ``format`` its tokens.

    Raises ``BadInput`` for a folder that does not load as a generator.
    """

    def __init__(self, base: Path, instruction: str) -> None:
        prepare_torch()
        config = load_config(base)
        self.base = Path(base)
        self.is_seq2seq = bool(getattr(config, "is_encoder_decoder", False))
        self.model: Any = load_to_train(base, "AutoModelForSeq2SeqLM" if self.is_seq2seq else "AutoModelForCausalLM")
        self.model.to(device())
        self.tokenizer = load_tokenizer(base)
        positions = getattr(config, "max_position_embeddings", None) or LONGEST_PROMPT + LONGEST_ANSWER
        self.longest_answer = min(LONGEST_ANSWER, positions // 2)
        self.longest_prompt = min(LONGEST_PROMPT, positions if self.is_seq2seq else positions - self.longest_answer)
        self.format: Format
        if self.is_seq2seq:
            self.format = Seq2SeqFormat(self.tokenizer)
        else:
            self.format = CausalFormat.new(self.tokenizer, short_instruction(instruction))
        if self.format.end is None or self.format.pad is None:
            raise BadInput("its tokenizer has no token that ends an answer", where=str(base))

    def prepare(self, method: Method) -> list[Any]:
        """The parameters that ``method`` trains; the word embeddings, which are a fifth of a small model and see few of
        the words in the rows, stay as they are."""
        if method == "lora":
            from peft import LoraConfig, get_peft_model

            task = "SEQ_2_SEQ_LM" if self.is_seq2seq else "CAUSAL_LM"
            config = LoraConfig(r=LORA_RANK, lora_alpha=LORA_ALPHA, target_modules="all-linear", task_type=task)
            self.model = get_peft_model(self.model, config)
        else:
            self.model.get_input_embeddings().weight.requires_grad_(False)
        return [p for p in self.model.parameters() if p.requires_grad]

    def tokens(self, rows: Sequence[Row]) -> list[Tokens]:
        """Each row; an input that is too long is cut."""
        return [self.format.row(row.input, row.output, self.longest_prompt) for row in rows]

    def save(self, folder: Path, longest_answer: int) -> None:
        """Write plain weights (float32, LoRA merged in), config, tokenizer with its chat template, and how to generate:
        greedily, with ``room_for(longest_answer)``, to the end token."""
        from transformers import GenerationConfig

        model = self.model
        if hasattr(model, "merge_and_unload"):
            self.model = model = model.merge_and_unload()
        ends = model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        start = getattr(model.generation_config, "decoder_start_token_id", None)
        start = start if start is not None else getattr(model.config, "decoder_start_token_id", None)
        model.generation_config = GenerationConfig(
            max_new_tokens=min(self.longest_answer, room_for(longest_answer)),
            do_sample=False,
            eos_token_id=list(dict.fromkeys([self.format.end, *(e for e in ends if e is not None)])),
            pad_token_id=self.format.pad,
            bos_token_id=model.config.bos_token_id if not self.is_seq2seq else None,
            decoder_start_token_id=start,
        )
        model.config.use_cache = True
        model.cpu().save_pretrained(folder)
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.convert_ids_to_tokens(self.format.pad)
        if not self.is_seq2seq:
            self.tokenizer.padding_side = "left"
        self.tokenizer.model_max_length = self.longest_prompt
        for ours in (*SAFE_LOADING, "is_local"):
            self.tokenizer.init_kwargs.pop(ours, None)
        self.tokenizer.backend_tokenizer.no_truncation()
        self.tokenizer.backend_tokenizer.no_padding()
        self.tokenizer.save_pretrained(folder)


def room_for(longest: int) -> int:
    """Tokens that an answer may take where the longest one learnt has ``longest``."""
    return int(ROOM * longest) + 8


def short_instruction(instruction: str) -> str:
    """The instruction's first sentences, as many as 200 characters hold; one that is longer is cut at a word."""
    text = " ".join(instruction.split())
    if len(text) <= INSTRUCTION_CHARACTERS:
        return text
    head = text[:INSTRUCTION_CHARACTERS]
    end = max(head.rfind(mark) for mark in (". ", "? ", "! ", ": "))
    return head[: end + 1] if end > 0 else head.rpartition(" ")[0] or head
