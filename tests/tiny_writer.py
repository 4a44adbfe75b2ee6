"""Generators of a few thousand random weights, and a task they can learn: the plural of an animal in a sentence."""

from __future__ import annotations

import random
from pathlib import Path

from p2m.rows import Row

ANIMALS = {"cow": "cows", "dog": "dogs", "goose": "geese", "mouse": "mice", "ox": "oxen", "sheep": "sheep"}
FILLER = ("the", "a", "my", "old", "small", "we", "saw", "near", "and", "then")
SPECIAL = ["<unk>", "<end>", "<start>", "<pad>"]
INSTRUCTION = "Write the plural ."
CHATML = (
    "{% for m in messages %}{{ '<start> ' + m['role'] + ' ' + m['content'] + ' <end> ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start> assistant ' }}{% endif %}"
)


def rows(n: int, seed: int) -> list[Row]:
    """Sentences of 3 to 8 words with one animal; the answer is ``many`` and its plural."""
    rng = random.Random(seed)
    made = []
    for i in range(n):
        animal = list(ANIMALS)[i % len(ANIMALS)]
        words = [*rng.choices(FILLER, k=rng.randint(2, 7)), animal]
        rng.shuffle(words)
        made.append(Row(" ".join(words), f"many {ANIMALS[animal]}", "generated"))
    return made


def make_writer(folder: Path, *, seq2seq: bool = False, chat: bool = True, positions: int = 96) -> Path:
    """Save a llama (or T5) and its tokenizer, as a base model is published. The llama pads with its end token."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedTokenizerFast

    words = dict.fromkeys([*FILLER, *ANIMALS, *ANIMALS.values(), "many", "system", "user", "assistant"])
    words |= dict.fromkeys([*INSTRUCTION.split(), "Input:", "Output:"])
    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *words])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if seq2seq:
        core.post_processor = processors.TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", eos_token="<end>", pad_token="<pad>" if seq2seq else "<end>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<start>"]})
    torch.manual_seed(0)
    if seq2seq:
        config = AutoConfig.for_model(
            "t5", vocab_size=len(vocabulary), d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2,
            pad_token_id=3, eos_token_id=1, decoder_start_token_id=3, dropout_rate=0.0,
        )  # fmt: skip
        AutoModelForSeq2SeqLM.from_config(config).save_pretrained(folder)
    else:
        tokenizer.chat_template = CHATML if chat else None
        config = AutoConfig.for_model(
            "llama", vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=1,
            max_position_embeddings=positions, tie_word_embeddings=False, initializer_range=0.3,
            pad_token_id=1, eos_token_id=1, bos_token_id=1,
        )  # fmt: skip
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
