"""Does a delivered model say the same to those who have only transformers? ``reload_kinds.py RUN FILE``.

``p2m predict`` answers the inputs of FILE; then a fresh process that imports transformers and torch alone answers them
from ``RUN/model``, as the card's snippet does. Prints how many answers are equal.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

N = 100
PLAIN = """
import json, sys, torch, transformers
from transformers import AutoConfig, AutoModelForQuestionAnswering, AutoTokenizer, pipeline
transformers.logging.set_verbosity_error()
folder, texts = sys.argv[1], json.load(sys.stdin)
config = AutoConfig.from_pretrained(folder)
kind, said = config.architectures[0], []
if kind.endswith("TokenClassification"):
    find = pipeline("token-classification", model=folder, aggregation_strategy="first")
    said = [[[s["start"], s["end"], s["entity_group"]] for s in find(t)] for t in texts]
elif kind.endswith("QuestionAnswering"):
    model = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in texts:
        question, context = text.split("\\ncontext: ", 1)
        inputs = tokenizer(question.removeprefix("question: "), context, return_tensors="pt",
                           return_offsets_mapping=True, truncation="only_second", max_length=384)
        places = inputs.pop("offset_mapping")[0].tolist()
        inside = torch.tensor([part == 1 for part in inputs.sequence_ids(0)])
        with torch.no_grad():
            out = model(**inputs)
        start, end = (side[0].masked_fill(~inside, -1e9) for side in (out.start_logits, out.end_logits))
        n = len(places)
        apart = torch.arange(n)[None, :] - torch.arange(n)[:, None]
        total = (start[:, None] + end[None, :]).masked_fill((apart < 0) | (apart >= 40), -4e9)
        first, last = divmod(int(total.argmax()), n)
        said.append(context[places[first][0]:places[last][1]])
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


def main(run: str, file: str) -> int:
    from p2m.data.labelled import read_unlabelled
    from p2m.evaluate.predict import load_predictor

    column = sys.argv[3] if len(sys.argv) > 3 else None
    texts = read_unlabelled(file, input_column=column).texts[:N]
    folder = Path(run) / "model"
    ours = [p.output for p in load_predictor(folder).predict(texts)]
    found = subprocess.run(
        [sys.executable, "-I", "-c", PLAIN, str(folder)], input=json.dumps(texts), capture_output=True, text=True
    )
    if found.returncode:
        print(found.stderr, file=sys.stderr)
        return 1
    theirs = json.loads(found.stdout.strip().splitlines()[-1])
    equal = sum(same(o, t) for o, t in zip(ours, theirs, strict=True))
    print(f"{run}: {equal} of {len(texts)} answers are the same with plain transformers")
    return 0 if equal == len(texts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
