"""A delivered decoder for llama.cpp: model.gguf, a Modelfile for Ollama, and how its prompt is put together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from p2m.errors import P2MError
from p2m.export.gguf import write_gguf
from p2m.files import write_atomic
from p2m.train.formats import LONGEST_ANSWER, LONGEST_PROMPT, CausalFormat
from p2m.train.runtime import load_config, load_tokenizer

_HERE = "\ue000TEXT\ue000"


def write_llama(model: Path, folder: Path, wanted: str) -> dict[str, Any]:
    """Write ``model.gguf`` and ``Modelfile`` to ``folder``; returns what p2m.json has to say of the prompt.

    Raises ``BadInput`` as ``write_gguf``, ``P2MError`` for a chat template that changes the input.
    """
    from transformers import GenerationConfig

    config = load_config(model)
    form = CausalFormat(load_tokenizer(model)) if config.model_type == "llama" else None
    kind: Literal["f16", "q8_0"] = "q8_0" if wanted == "gguf-q8" else "f16"
    write_gguf(model, folder / "model.gguf", kind, end=form.end if form else None)
    assert form is not None  # write_gguf refused the others
    how = GenerationConfig.from_pretrained(str(model))
    ends = how.eos_token_id if isinstance(how.eos_token_id, list) else [how.eos_token_id]
    ids = dict.fromkeys([form.end, *(end for end in ends if end is not None)])
    most = how.max_new_tokens or LONGEST_ANSWER
    longest = min(LONGEST_PROMPT, form.tokenizer.model_max_length)
    before, after, trim = _around(form)
    said = {
        "labels": [],
        "prompt": [before, after],
        "trim": trim,
        "longest": longest,
        "longest_answer": most,
        "context": longest + most + 8,
        "stop": [form.tokenizer.convert_ids_to_tokens(i) for i in ids],
    }
    write_atomic(folder / "Modelfile", modelfile(said))
    return said


def _around(form: CausalFormat) -> tuple[str, str, bool]:
    """What the chat template writes before and after an input, and whether it strips the input."""
    before, found, after = form.text(_HERE).partition(_HERE)
    for text, trim in ((" a ", False), ("a", True)):
        if found and form.text(" a ") == f"{before}{text}{after}":
            return before, after, trim
    raise P2MError(
        "its chat template does more to an input than stand around it; llama.cpp would be told another prompt"
    )


def modelfile(said: dict[str, Any]) -> str:
    """Ollama's Modelfile: the prompt as a Go template, greedy, as long as the delivered model answers."""
    before, after = map(_go, said["prompt"])
    # The end token ends an answer anyway: a stop that a Modelfile cannot hold may be left out.
    stops = "".join(f"PARAMETER stop {_quoted(stop)}\n" for stop in said["stop"] if stop.isprintable())
    return f'''# ollama create my-model -f Modelfile && ollama run my-model 'some text'
FROM ./model.gguf
TEMPLATE """{before}{{{{ .Prompt }}}}{after}"""
PARAMETER temperature 0
PARAMETER top_k 1
PARAMETER num_predict {said["longest_answer"]}
PARAMETER num_ctx {said["context"]}
{stops}'''


def _go(text: str) -> str:
    """``text`` as it stands in a Go template between three quotation marks, read by Ollama's parser/parser.go.

    Two braces would begin an action and three marks end the text, whatever follows them; that parser drops what does
    not print (a no-break space, a zero-width joiner), so these are written as string constants.
    """
    return re.sub(r'\{{2,}|\{\Z|"{3,}|[^\t\n\r -~]', _constant, text)


def _constant(found: re.Match[str]) -> str:
    run = found[0]
    if run[0] not in '{"' and run.isprintable():
        return run
    return '{{ "' + "".join(f"\\U{ord(letter):08x}" for letter in run) + '" }}'


def _quoted(text: str) -> str:
    """A value of PARAMETER: a Modelfile has no escapes, so one with a mark in it stands between three."""
    mark = '"""' if '"' in text else '"'
    return f"{mark}{text}{mark}"
