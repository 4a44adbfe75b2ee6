"""Answer texts with the language model in this folder. It needs torch and transformers, and nothing else.

    python predict.py 'some text'               one JSON object: the answer
    python predict.py --file texts.txt          a text a line, an object a line; - is standard input

    from predict import load
    load().predict(["some text", "another"])

``p2m package`` copies this file where the model is none that llama.cpp runs: it imports nothing of p2m.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

BATCH_ROWS = 16


class Writer:
    """A folder of transformers as a function from texts to answers, greedy. Raises ``OSError`` for a folder that does
    not load."""

    def __init__(self, folder: str | Path | None = None, threads: int | None = None) -> None:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

        place = str(Path(folder) if folder else Path(__file__).resolve().parent / "model")
        if threads:
            torch.set_num_threads(threads)
        self._both: bool = AutoConfig.from_pretrained(place).is_encoder_decoder
        auto: Any = AutoModelForSeq2SeqLM if self._both else AutoModelForCausalLM
        self._model = auto.from_pretrained(place, dtype=torch.float32, use_safetensors=True).eval()
        self._tokenizer: Any = AutoTokenizer.from_pretrained(place)

    def predict(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """For each text, in order: ``answer``."""
        return list(self.stream(texts))

    def stream(self, texts: Iterable[str]) -> Iterator[dict[str, Any]]:
        """The same for any number of texts."""
        import torch

        remaining = iter(texts)
        while batch := list(islice(remaining, BATCH_ROWS)):
            with torch.inference_mode():
                given = self._given(batch)
                out = self._model.generate(**given)
            new = out[:, 1:] if self._both else out[:, given["input_ids"].shape[1] :]
            yield from ({"answer": t.strip()} for t in self._tokenizer.batch_decode(new, skip_special_tokens=True))

    def _given(self, texts: list[str]) -> Any:
        how: dict[str, Any] = {"return_tensors": "pt", "padding": True, "truncation": True}
        how["return_token_type_ids"] = False
        if self._both:
            return self._tokenizer(texts, **how)
        talks = [[{"role": "user", "content": text}] for text in texts]
        prompts = self._tokenizer.apply_chat_template(talks, tokenize=False, add_generation_prompt=True)
        return self._tokenizer(prompts, add_special_tokens=False, **how)


def load(folder: str | Path | None = None, threads: int | None = None) -> Writer:
    """The model in ``folder``, by default the folder ``model`` beside this file. Raises as ``Writer``."""
    return Writer(folder, threads)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the return value is the exit code."""
    summary, _, usage = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary,
        epilog=usage.rpartition("\n\n")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("text", nargs="?", help="one text")
    parser.add_argument("--file", help="a text a line; - is standard input")
    parser.add_argument("--threads", type=int, help="cores to use (default: all)")
    args = parser.parse_args(arguments)
    if (args.text is None) == (args.file is None):
        parser.error("give either a TEXT or --file FILE")
    model = load(threads=args.threads)
    if args.file is None:
        answers = iter(model.predict([args.text]))
    else:
        try:
            lines = sys.stdin if args.file == "-" else Path(args.file).open(encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            parser.error(f"{args.file}: {error.strerror}")
        answers = model.stream(line.rstrip("\r\n") for line in lines)
    for answer in answers:
        print(json.dumps(answer, ensure_ascii=False), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
