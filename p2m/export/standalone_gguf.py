"""Answer texts with the language model in this folder. It needs xllamacpp (llama.cpp), and nothing else.

    python predict.py 'some text'               one JSON object: the answer
    python predict.py --file texts.txt          a text a line, an object a line; - is standard input

    from predict import load
    load().predict(["some text", "another"])

p2m runs exported GGUF models with this very file, and ``p2m package`` copies it: it imports nothing of p2m.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

SETTINGS = "p2m.json"
# Texts answered side by side: the weights are read once for all of them.
SLOTS = 4
WINDOW = 512


class Writer:
    """A folder with model.gguf and p2m.json as a function from texts to answers, greedy.

    ``truncated`` counts the texts so far whose end was cut. Raises ``OSError``, ``ValueError`` or llama.cpp's own error
    for a folder that does not load.
    """

    def __init__(self, folder: str | Path | None = None, threads: int | None = None) -> None:
        place = _place(folder)
        self.settings: dict[str, Any] = json.loads((place / SETTINGS).read_text(encoding="utf-8"))
        self._before, self._after = self.settings["prompt"]
        self._key = secrets.token_urlsafe(24)
        self._server = _server(place / "model.gguf", int(self.settings["context"]), threads or _cores(), self._key)
        self._pool = ThreadPoolExecutor(SLOTS)
        # The server is this process's own: no proxy is asked.
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
        self.truncated = 0

    def predict(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """For each text, in order: ``answer``."""
        return list(self.stream(texts))

    def stream(self, texts: Iterable[str]) -> Iterator[dict[str, Any]]:
        """The same for any number of texts, 512 of them in memory at a time."""
        remaining = iter(texts)
        while window := list(islice(remaining, WINDOW)):
            yield from self._pool.map(self._answer, window)

    def _answer(self, text: str) -> dict[str, Any]:
        asked = {
            "prompt": self._prompt(text),
            "n_predict": int(self.settings["longest_answer"]),
            "temperature": 0.0,
            "top_k": 1,
            "cache_prompt": False,
            "stop": self.settings["stop"],
        }
        return {"answer": self._ask("/completion", asked)["content"].strip()}

    def _prompt(self, text: str) -> str:
        text = text.strip() if self.settings["trim"] else text
        whole, longest = f"{self._before}{text}{self._after}", int(self.settings["longest"])
        if len(whole.encode()) <= longest:  # a token is a byte at least
            return whole
        over = len(self._tokens(whole)) - longest
        if over <= 0:
            return whole
        self.truncated += 1
        inside = self._tokens(text)
        kept = self._ask("/detokenize", {"tokens": inside[: max(1, len(inside) - over)]})["content"]
        return f"{self._before}{kept}{self._after}"

    def _tokens(self, text: str) -> list[int]:
        return self._ask("/tokenize", {"content": text, "parse_special": True})["tokens"]

    def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"}
        address = f"{self._server.listening_address}{path}"
        with self._open(urllib.request.Request(address, json.dumps(body).encode(), headers)) as answer:
            return json.load(answer)


def load(folder: str | Path | None = None, threads: int | None = None) -> Writer:
    """The model in ``folder``, by default the folder ``model`` beside this file. Raises as ``Writer``."""
    return Writer(folder, threads)


def _server(file: Path, context: int, threads: int, key: str) -> Any:
    """llama.cpp in this process, on 127.0.0.1 with a key, so that nobody else can use it."""
    import xllamacpp

    if not file.is_file():
        raise FileNotFoundError(f"there is no {file}")
    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.n_parallel, params.n_ctx = SLOTS, SLOTS * context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, [key]
    params.cache_ram_mib = 0
    params.warmup = params.ui = False
    params.verbosity = 0
    return xllamacpp.Server(params)


def _place(folder: str | Path | None) -> Path:
    return Path(folder) if folder else Path(__file__).resolve().parent / "model"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
