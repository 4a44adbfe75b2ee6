"""Does a delivered model say the same to those who have only transformers? ``reload_kinds.py RUN FILE [COLUMN]``.

``p2m predict`` answers the inputs of FILE; then a fresh process that imports transformers and torch alone answers them
from ``RUN/model``, as the card's snippet does. Prints how many answers are equal.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common import ROOT

N = 100
PLAIN = """
import json, sys, transformers
from pathlib import Path
from transformers import AutoConfig, pipeline
transformers.logging.set_verbosity_error()
folder, texts = sys.argv[1], json.load(sys.stdin)
config = AutoConfig.from_pretrained(folder)
kind, said = config.architectures[0], []
if kind.endswith("TokenClassification"):
    find = pipeline("token-classification", model=folder, aggregation_strategy="first")
    said = [[[s["start"], s["end"], s["entity_group"]] for s in find(t)] for t in texts]
elif kind.endswith("QuestionAnswering"):
    # The card's own code, but for its last line.
    code = Path(folder, "README.md").read_text(encoding="utf-8").split("```python\\n")[1].split("```")[0]
    exec(code.replace("PATH_OF_THIS_FOLDER", folder).rpartition("print(")[0], globals())
    for text in texts:
        question, context = text.split("\\ncontext: ", 1)
        said.append(answer(question.removeprefix("question: "), context))
elif kind.endswith("CausalLM"):
    write = pipeline("text-generation", model=folder)
    said = [write([{"role": "user", "content": t}], return_full_text=False)[0]["generated_text"].strip() for t in texts]
elif config.problem_type == "regression":
    rate = pipeline("text-classification", model=folder, function_to_apply="none")
    said = [rate(t, truncation=True)[0]["score"] for t in texts]
elif config.problem_type == "multi_label_classification":
    find = pipeline("text-classification", model=folder, function_to_apply="sigmoid")
    above = dict(zip(config.id2label.values(), config.thresholds))
    said = [[p["label"] for p in find(t, truncation=True, top_k=None) if p["score"] > above[p["label"]]] for t in texts]
else:
    find = pipeline("text-classification", model=folder)
    said = [find(t, truncation=True)[0]["label"] for t in texts]
assert "p2m" not in sys.modules
print(json.dumps(said))
"""


def same(ours: str, theirs: object) -> bool:
    """Whether an answer in our spelling is the plain one."""
    if isinstance(theirs, float):
        return abs(float(ours) - theirs) < 1e-3
    if isinstance(theirs, list):
        spans = json.loads(ours)
        if all(isinstance(s, str) for s in [*spans, *theirs]):
            return set(spans) == set(theirs)
        return [[s["start"], s["end"], s["label"]] for s in spans] == theirs
    return ours == theirs


@dataclass(frozen=True)
class Reloaded:
    """Of ``n`` texts how many have the ``same`` answer; the ``others`` as (text, ours, theirs)."""

    same: int
    n: int
    others: list[tuple[str, str, object]]


def reload(run: Path, texts: Sequence[str]) -> Reloaded:
    """``p2m predict`` against plain transformers, each in a process of its own. Ends the program where one fails."""
    with tempfile.TemporaryDirectory() as place:
        given, answered = Path(place) / "in.jsonl", Path(place) / "out.jsonl"
        given.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        command = [sys.executable, "-m", "agent.cli", "predict", str(run), "--file", str(given), "--out", str(answered)]
        _checked(subprocess.run([*command, "--input-column", "text"], cwd=ROOT, capture_output=True, text=True))
        lines = answered.read_text(encoding="utf-8").splitlines()
    command = [sys.executable, "-I", "-c", PLAIN, str(Path(run).resolve() / "model")]
    found = _checked(subprocess.run(command, input=json.dumps(list(texts)), capture_output=True, text=True))
    theirs = json.loads(found.strip().splitlines()[-1])
    both = [(text, str(json.loads(line)["prediction"]), t) for text, line, t in zip(texts, lines, theirs, strict=True)]
    others = [one for one in both if not same(one[1], one[2])]
    return Reloaded(len(both) - len(others), len(both), others)


def _checked(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode:
        sys.exit(done.stderr.strip()[-2000:])
    return done.stdout


def main(run: str, file: str, column: str | None = None) -> int:
    from p2m.data.labelled import read_unlabelled

    found = reload(Path(run), read_unlabelled(file, input_column=column).texts[:N])
    for text, ours, theirs in found.others:
        print(f"{text!r}: p2m predict says {ours!r}, plain transformers {theirs!r}")
    print(f"{run}: {found.same} of {found.n} answers are the same with plain transformers")
    return 0 if found.same == found.n else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
