"""Answer texts with the model in this folder. It needs onnxruntime, tokenizers and numpy, and nothing else.

    python predict.py 'some text'               one JSON object: the answer
    python predict.py --file texts.txt          a text a line, an object a line; - is standard input

    from predict import load
    load().predict(["some text", "another"])

What an answer holds depends on the model: label and probabilities; labels and probabilities; score; spans (text, label,
start, end); or answer (to a text like 'question: …' with 'context: …' on the next line; in a file the line break is
written \\n). p2m runs exported models with this very file, and ``p2m package`` copies it: it imports nothing of p2m.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer

# From 1.29 on it reports to Microsoft what models it loads, on every system, unless told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

SETTINGS = "p2m.json"
# Padded tokens of a batch. In smaller and in larger ones the same texts take longer.
BATCH_TOKENS = 512
# Texts that are tokenised and sorted by length at once: enough for even batches, few enough to hold any file.
WINDOW = 2048


class Model:
    """A folder with model.onnx, tokenizer.json and p2m.json as a function from texts to answers.

    ``threads`` is how many cores it uses, by default all that this process may. ``truncated`` counts the texts so far
    that were longer than the model reads. Raises ``OSError`` or ``ValueError`` for a folder that does not load.
    """

    def __init__(self, folder: str | Path | None = None, threads: int | None = None) -> None:
        place = _place(folder)
        self.settings: dict[str, Any] = json.loads((place / SETTINGS).read_text(encoding="utf-8"))
        self.labels: tuple[str, ...] = tuple(self.settings["labels"])
        self._longest, self._pad = int(self.settings["longest"]), int(self.settings["pad_id"])
        self._tokenizer = Tokenizer.from_file(str(place / "tokenizer.json"))
        self._tokenizer.no_padding()
        _check_runtime(self.settings.get("onnxruntime", ""))
        self._session = _session(place / "model.onnx")
        self._typed = any(i.name == "token_type_ids" for i in self._session.get_inputs())
        self._pool = ThreadPoolExecutor(threads or _cores())
        self.truncated = 0
        self._ready(place)

    def _ready(self, place: Path) -> None:
        self._tokenizer.enable_truncation(self._longest)

    def predict(self, texts: Sequence[str], batch_tokens: int = BATCH_TOKENS) -> list[dict[str, Any]]:
        """One answer a text, in order."""
        return list(self.stream(texts, batch_tokens))

    def stream(self, texts: Iterable[str], batch_tokens: int = BATCH_TOKENS) -> Iterator[dict[str, Any]]:
        """The same for any number of texts, 2,048 of them in memory at a time."""
        remaining = iter(texts)
        while window := list(islice(remaining, WINDOW)):
            yield from self._answers(window, batch_tokens)

    def _answers(self, texts: list[str], batch_tokens: int) -> Iterator[dict[str, Any]]:
        raise NotImplementedError

    def _whole(self, texts: Sequence[str], batch_tokens: int) -> tuple[np.ndarray, list[bool]]:
        """Logits of whole texts, float64 of shape (texts, outputs); and which texts were cut."""
        encoded = self._tokenizer.encode_batch_fast(list(texts))
        cut = [len(e.overflowing) > 0 for e in encoded]
        self.truncated += sum(cut)
        found = self._logits([e.ids for e in encoded], batch_tokens)
        return np.array(found) if found else np.empty((0, len(self.labels))), cut

    def _logits(
        self, ids: Sequence[list[int]], batch_tokens: int, types: Sequence[list[int]] | None = None
    ) -> list[np.ndarray]:
        """What the graph gives for each row of tokens."""
        batches = _batches([len(i) for i in ids], batch_tokens)
        answer = self._pool.map if len(batches) > 1 else map
        rows = [([ids[i] for i in b], [types[i] for i in b] if types else None) for b in batches]
        found: list[Any] = [None] * len(ids)
        for batch, logits in zip(batches, answer(self._run, rows), strict=True):
            for i, row in zip(batch, logits, strict=True):
                found[i] = row
        return found

    def _run(self, rows: tuple[Sequence[list[int]], Sequence[list[int]] | None]) -> np.ndarray:
        """Logits of a batch, its longest row first."""
        ids, types = rows
        padded = np.full((len(ids), len(ids[0])), self._pad, dtype=np.int64)
        mask = np.zeros(padded.shape, dtype=np.int64)
        for row, tokens in enumerate(ids):
            padded[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        given = {"input_ids": padded, "attention_mask": mask}
        if self._typed:
            given["token_type_ids"] = kinds = np.zeros(padded.shape, dtype=np.int64)
            for row, numbers in enumerate(types or ()):
                kinds[row, : len(numbers)] = numbers
        (logits,) = self._session.run(["logits"], given)
        return np.asarray(logits, dtype=np.float64)


class Classifier(Model):
    """``label``, ``probabilities`` (by label, sum 1), ``truncated``."""

    def _answers(self, texts: list[str], batch_tokens: int) -> Iterator[dict[str, Any]]:
        probs, cut = self.probabilities(texts, batch_tokens)
        for k, row, is_cut in zip(probs.argmax(1).tolist(), probs.tolist(), cut, strict=True):
            named = dict(zip(self.labels, row, strict=True))
            yield {"label": self.labels[k], "probabilities": named, "truncated": is_cut}

    def probabilities(self, texts: Sequence[str], batch_tokens: int = BATCH_TOKENS) -> tuple[np.ndarray, list[bool]]:
        """Probabilities of shape (texts, labels), float64; and which texts were cut."""
        logits, cut = self._whole(texts, batch_tokens)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True), cut


class LabelSets(Model):
    """``labels``: those whose probability is above their threshold; ``probabilities`` of each; ``truncated``."""

    def _answers(self, texts: list[str], batch_tokens: int) -> Iterator[dict[str, Any]]:
        logits, cut = self._whole(texts, batch_tokens)
        for row, is_cut in zip((1 / (1 + np.exp(-np.clip(logits, -60, 60)))).tolist(), cut, strict=True):
            above = zip(self.labels, row, self.settings["thresholds"], strict=True)
            chosen = [label for label, p, threshold in above if p > threshold]
            named = dict(zip(self.labels, row, strict=True))
            yield {"labels": chosen, "probabilities": named, "truncated": is_cut}


class Rating(Model):
    """``score``, a number; ``truncated``."""

    def _answers(self, texts: list[str], batch_tokens: int) -> Iterator[dict[str, Any]]:
        logits, cut = self._whole(texts, batch_tokens)
        for row, is_cut in zip(logits.tolist(), cut, strict=True):
            yield {"score": float(f"{row[0]:.6g}"), "truncated": is_cut}


class Spans(Model):
    """``spans``: each with ``text``, ``label``, ``start`` and ``end`` (characters). Long texts are read in windows."""

    def _ready(self, place: Path) -> None:
        self._tokenizer.enable_truncation(self._longest, stride=int(self.settings["stride"]))

    def _answers(self, texts: list[str], batch_tokens: int) -> Iterator[dict[str, Any]]:
        made = [(row, e) for row, first in enumerate(self._tokenizer.encode_batch(texts)) for e in _parts(first)]
        tags, logits = self.settings["tags"], self._logits([e.ids for _, e in made], batch_tokens)
        # A word in two windows is judged by the one where it is further from the edge.
        best: list[dict[int, tuple[int, int, str]]] = [{} for _ in texts]
        for (row, e), found in zip(made, logits, strict=True):
            for token, start, end in _words(e):
                room = min(token, len(e.ids) - 1 - token)
                if start not in best[row] or room > best[row][start][0]:
                    best[row][start] = (room, end, tags[int(found[token].argmax())])
        for text, words in zip(texts, best, strict=True):
            yield {"spans": _decoded([(start, *words[start][1:]) for start in sorted(words)], text)}


def _words(e: Encoding) -> list[tuple[int, int, int]]:
    """(token, start, end) of each word: its first token's place, and its characters."""
    words: list[tuple[int, int, int]] = []
    last = None
    for token, (word, (start, end)) in enumerate(zip(e.word_ids, e.offsets, strict=True)):
        if word is None or start == end:
            continue
        if word == last:
            words[-1] = (*words[-1][:2], end)
        else:
            words.append((token, start, end))
        last = word
    return words


def _decoded(words: Sequence[tuple[int, int, str]], text: str) -> list[dict[str, Any]]:
    """Spans from words (start, end, BIO tag): an ``I-`` goes on a span of its label, and begins one elsewhere."""
    spans: list[dict[str, Any]] = []
    last = None
    for start, end, tag in words:
        mark, _, label = tag.partition("-")
        if tag == "O":
            last = None
            continue
        if mark == "I" and label == last:
            start = spans.pop()["start"]
        spans.append({"text": text[start:end], "label": label, "start": start, "end": end})
        last = label
    return spans


class Reader(Model):
    """``answer``: a part of the text, or nothing where the model may say that there is no answer."""

    def _ready(self, place: Path) -> None:
        stride = int(self.settings["stride"])
        self._tokenizer.enable_truncation(self._longest, stride=stride, strategy="only_second")
        self._questions = Tokenizer.from_file(str(place / "tokenizer.json"))
        self._questions.no_padding()
        self._questions.no_truncation()

    def _answers(self, texts: list[str], batch_tokens: int) -> Iterator[dict[str, Any]]:
        asks = [_asked(text, self.settings["question"]) for text in texts]
        pairs = [(self._short(question), context) for question, context in asks]
        made = [(row, e) for row, first in enumerate(self._tokenizer.encode_batch(pairs)) for e in _parts(first)]
        logits = self._logits([e.ids for _, e in made], batch_tokens, [e.type_ids for _, e in made])
        best = [(-np.inf, 0, 0)] * len(texts)
        for (row, e), found in zip(made, logits, strict=True):
            best[row] = max(best[row], self._best(e, found))
        for (_, context), (value, start, end) in zip(asks, best, strict=True):
            none = self.settings["unanswerable"] and value <= 0
            yield {"answer": "" if none else context[start:end]}

    def _short(self, question: str) -> str:
        offsets = self._questions.encode(question, add_special_tokens=False).offsets
        most = int(self.settings["longest_question"])
        return question[: offsets[:most][-1][1]] if offsets else question

    def _best(self, e: Encoding, logits: np.ndarray) -> tuple[float, int, int]:
        """The likeliest answer of a window: its score above that of no answer, and its characters in the context."""
        n = len(e.ids)
        usable = np.array([p == 1 and o[1] > o[0] for p, o in zip(e.sequence_ids, e.offsets, strict=True)])
        if not usable.any():
            return -np.inf, 0, 0
        start, end = (np.where(usable, logits[:n, k], -np.inf) for k in (0, 1))
        apart = np.arange(n)[None, :] - np.arange(n)[:, None]
        near = (apart >= 0) & (apart < int(self.settings["longest_answer"]))
        total = np.where(near, start[:, None] + end[None, :], -np.inf)
        i, j = divmod(int(total.argmax()), n)
        return float(total[i, j] - logits[0].sum()), e.offsets[i][0], e.offsets[j][1]


_PARTS = re.compile(
    r"\A\s*(?:question:\s*(?P<q1>.*?)\s*\n\s*context:\s*(?P<c1>.*)|context:\s*(?P<c2>.*?)\s*\n\s*question:\s*(?P<q2>[^\n]*?)\s*)\Z",
    re.IGNORECASE | re.DOTALL,
)


def _asked(text: str, question: str) -> tuple[str, str]:
    """Question and context of ``question: …\\ncontext: …`` in either order; another text is all context."""
    found = _PARTS.match(text)
    if not found:
        return question, text
    which = "1" if found["q1"] is not None else "2"
    return found[f"q{which}"], found[f"c{which}"]


def _parts(first: Encoding) -> list[Encoding]:
    return [first, *first.overflowing]


KINDS: dict[str, type[Model]] = {
    "classify": Classifier,
    "multi_label": LabelSets,
    "score": Rating,
    "extract": Spans,
    "read": Reader,
}


def load(folder: str | Path | None = None, threads: int | None = None) -> Model:
    """The model in ``folder``, by default the folder ``model`` beside this file. Raises as ``Model``."""
    settings = json.loads((_place(folder) / SETTINGS).read_text(encoding="utf-8"))
    return KINDS[settings["kind"]](folder, threads)


def _place(folder: str | Path | None) -> Path:
    return Path(folder) if folder else Path(__file__).resolve().parent / "model"


def _check_runtime(least: str) -> None:
    def numbers(version: str) -> list[int]:
        return [int(n) for n in re.findall(r"\d+", version)[:2]]

    if numbers(onnxruntime.__version__) < numbers(least):
        raise ValueError(f"this model needs onnxruntime {least} or newer, and {onnxruntime.__version__} is installed")


def _session(model: Path) -> onnxruntime.InferenceSession:
    """One that computes in the thread that calls it, and reports to nobody."""
    onnxruntime.disable_telemetry_events()  # On Windows that variable is not read.
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
    """Indices of ``lengths``, longest first, in batches of at most ``tokens`` when padded (a longer row is alone).

    A batch that is a quarter full ends where lengths change: little is padded.
    """
    batches: list[list[int]] = []
    widest = padded = 0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not batches or padded + widest > tokens or (lengths[i] < widest and 4 * padded >= tokens):
            batches.append([])
            widest, padded = lengths[i], 0
        batches[-1].append(i)
        padded += widest
    return batches


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
    try:
        model = load(threads=args.threads)
    except ValueError as error:
        parser.error(str(error))
    if args.file is None:
        answers = iter(model.predict([args.text]))
    else:
        try:
            lines = sys.stdin if args.file == "-" else Path(args.file).open(encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            parser.error(f"{args.file}: {error.strerror}")
        texts: Iterable[str] = (line.rstrip("\r\n") for line in lines)
        if isinstance(model, Reader):
            texts = (text.replace("\\n", "\n") for text in texts)
        answers = model.stream(texts)
    for answer in answers:
        print(json.dumps(answer, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
