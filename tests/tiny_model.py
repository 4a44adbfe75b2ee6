"""Encoders of a few thousand random weights, and a task that they can learn: no download, a second to train."""

from __future__ import annotations

import random
from pathlib import Path

from p2m.rows import Row

LABELS = ("fruit", "tool", "animal")
WORDS = {
    "fruit": ["apple", "pear", "plum", "fig", "grape", "melon"],
    "tool": ["hammer", "saw", "drill", "file", "plane", "wrench"],
    "animal": ["horse", "cow", "dog", "cat", "sheep", "goat"],
}
FILLER = (
    *("the", "a", "my", "old", "new", "big", "small", "we", "had", "took"),
    *("left", "near", "under", "over", "with", "and", "then", "they", "it", "one"),
)


def rows(n: int, seed: int, labels: tuple[str, ...] = LABELS) -> list[Row]:
    """Sentences of 3 to 12 words that hold one or two words of their label."""
    rng = random.Random(seed)
    made = []
    for i in range(n):
        label = labels[i % len(labels)]
        words = rng.choices(FILLER, k=rng.randint(2, 10)) + rng.choices(WORDS[label], k=rng.randint(1, 2))
        rng.shuffle(words)
        made.append(Row(" ".join(words), label, "generated"))
    return made


def make_encoder(folder: Path, model_type: str = "bert", positions: int = 40) -> Path:
    """Save an encoder of ``model_type`` and its tokenizer, as a base model is published."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {
        word: i for i, word in enumerate([*special, *FILLER, *(word for words in WORDS.values() for word in words)])
    }
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    tokenizer.model_max_length = positions - 2
    size = {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2} if model_type == "distilbert" else {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2
    }  # fmt: skip
    config = AutoConfig.for_model(
        model_type, vocab_size=len(vocabulary), max_position_embeddings=positions, pad_token_id=0, **size
    )
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
