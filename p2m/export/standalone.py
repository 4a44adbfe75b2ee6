"""Label texts with the model in this folder. It needs onnxruntime, tokenizers and numpy, and nothing else.

    python predict.py 'some text'               one JSON object: label, probabilities
    python predict.py --file texts.txt          a text a line, an object a line; - is standard input

    from predict import Classifier
    Classifier().predict(["some text", "another"])

p2m runs exported classifiers with this very file, and ``p2m package`` copies it: it imports nothing of p2m.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

SETTINGS = "p2m.json"
# Padded tokens of a batch: its activations stay in a core's cache. Larger batches are slower.
BATCH_TOKENS = 256
# Texts that are tokenised and sorted by length at once: enough for even batches, few enough to hold any file.
WINDOW = 2048


class Classifier:
    """A folder with model.onnx, tokenizer.json and p2m.json as a function from texts to labels.

    ``threads`` is how many cores it uses, by default all that this process may. ``truncated`` counts the texts so far
    that were longer than the model reads. Raises ``OSError`` or ``ValueError`` for a folder that does not load.
    """

    def __init__(self, folder: str | Path | None = None, threads: int | None = None) -> None:
        place = Path(folder) if folder else Path(__file__).resolve().parent / "model"
        settings = json.loads((place / SETTINGS).read_text(encoding="utf-8"))
        self.labels: tuple[str, ...] = tuple(settings["labels"])
        self._longest, self._pad = int(settings["longest"]), int(settings["pad_id"])
        self._tokenizer = Tokenizer.from_file(str(place / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self._longest)
        self._session = _session(place / "model.onnx")
        self._pool = ThreadPoolExecutor(threads or _cores())
        self.truncated = 0

    def predict(self, texts: Sequence[str], batch_tokens: int = BATCH_TOKENS) -> list[dict[str, Any]]:
        """For each text, in order: ``label``, ``probabilities`` (by label, sum 1), ``truncated``."""
        return list(self.stream(texts, batch_tokens))

    def stream(self, texts: Iterable[str], batch_tokens: int = BATCH_TOKENS) -> Iterator[dict[str, Any]]:
        """The same for any number of texts, 2,048 of them in memory at a time."""
        remaining = iter(texts)
        while window := list(islice(remaining, WINDOW)):
            probs, cut = self.probabilities(window, batch_tokens)
            best = probs.argmax(1).tolist()
            for k, row, is_cut in zip(best, probs.tolist(), cut, strict=True):
                named = dict(zip(self.labels, row, strict=True))
                yield {"label": self.labels[k], "probabilities": named, "truncated": is_cut}

    def probabilities(self, texts: Sequence[str], batch_tokens: int = BATCH_TOKENS) -> tuple[np.ndarray, list[bool]]:
        """Probabilities of shape (texts, labels), float64; and which texts were cut."""
        encoded = self._tokenizer.encode_batch_fast(list(texts))
        ids = [e.ids for e in encoded]
        cut = [len(e.overflowing) > 0 for e in encoded]
        self.truncated += sum(cut)
        batches = _batches([len(i) for i in ids], batch_tokens)
        answer = self._pool.map if len(batches) > 1 else map
        found = np.empty((len(texts), len(self.labels)))
        for batch, probs in zip(batches, answer(self._answer, [[ids[i] for i in b] for b in batches]), strict=True):
            found[batch] = probs
        return found, cut

    def _answer(self, ids: Sequence[list[int]]) -> np.ndarray:
        """Probabilities of a batch, its longest row first."""
        padded = np.full((len(ids), len(ids[0])), self._pad, dtype=np.int64)
        mask = np.zeros(padded.shape, dtype=np.int64)
        for row, tokens in enumerate(ids):
            padded[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        (logits,) = self._session.run(["logits"], {"input_ids": padded, "attention_mask": mask})
        return _softmax(np.asarray(logits, dtype=np.float64))


def _session(model: Path) -> onnxruntime.InferenceSession:
    """One that computes in the thread that calls it."""
    options = onnxruntime.SessionOptions()
    # Threads of its own would wait for each other at every node, and spin while they do: a batch a thread is faster.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    # That node adds and normalises one number at a time: five times slower than the two it replaces.
    return onnxruntime.InferenceSession(str(model), options, providers, disabled_optimizers=["SkipLayerNormFusion"])


def _cores() -> int:
    """CPU cores this process may use: the affinity mask, and ``OMP_NUM_THREADS`` where it is set lower."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(allowed, int(wanted)) if wanted.isdigit() and int(wanted) else allowed


def _batches(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Indices of ``lengths``, longest first, in batches of at most ``tokens`` when padded (a longer row is alone)."""
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not batches or lengths[batches[-1][0]] * (len(batches[-1]) + 1) > tokens:
            batches.append([])
        batches[-1].append(i)
    return batches


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


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
    classifier = Classifier(threads=args.threads)
    if args.file is None:
        answers = iter(classifier.predict([args.text]))
    else:
        try:
            lines = sys.stdin if args.file == "-" else Path(args.file).open(encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            parser.error(f"{args.file}: {error.strerror}")
        answers = classifier.stream(line.rstrip("\r\n") for line in lines)
    for answer in answers:
        print(json.dumps(answer, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
