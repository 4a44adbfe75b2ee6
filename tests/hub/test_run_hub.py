"""A whole run through the loopback hub: it finds, judges, imports, gets its base, trains; then it is pushed, and
``transformers`` loads what was pushed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import journal
from agent.state import fold
from tests import scripted_teacher as script
from tests.catalog_folder import make
from tests.conftest import ROOT
from tests.fake_llm import FakeLLM
from tests.hub import LoopbackHub
from tests.hub.conftest import child_environment
from tests.tiny_model import make_encoder

CARD = """license: cc-by-4.0
language: en
task_categories: [text-classification]
configs:
- config_name: default
  data_files:
  - {split: train, path: train.jsonl}
  - {split: test, path: test.jsonl}"""


@pytest.fixture
def teacher() -> Iterator[FakeLLM]:
    with FakeLLM(lambda request: script.answer(request.body)) as server:
        yield server


def p2m(*arguments: str | Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agent.cli", *map(str, arguments)]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=300)


def stock(hub: LoopbackHub) -> None:
    """A dataset that fits, two that do not, a hostile one with the best name, and a base model."""
    rows = {
        split: [{"question": t, "answer_kind": k} for t, k in script.held_out(n, split)]
        for split, n in (("train", 60), ("test", 30))
    }
    folder = make(hub.tree.root, "quiz/question-kinds", CARD, rows["train"])
    (folder / "test.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows["test"]))
    (folder / "README.md").write_text(f"---\n{CARD}\n---\nQuestions, each with the kind of answer it asks for.\n")
    make(hub.tree.root, "mail/spam", "license: mit\nlanguage: en\ntask_categories: [text-classification]")
    hostile = make(hub.tree.root, "evil/question-answer-kind", CARD.replace("train.jsonl", "http://127.0.0.1:1/x"))
    (hostile / "README.md").write_text(
        (hostile / "README.md").read_text() + "\nQuestions by kind of answer: person, place, number.\n"
    )
    base = make_encoder(hub.tree.root / "models" / "tiny" / "encoder", positions=64)
    (base / "README.md").write_text("---\nlicense: mit\nlanguage: en\npipeline_tag: fill-mask\n---\n")


def test_find_judge_import_train_push(hub: LoopbackHub, teacher: FakeLLM, minilm: Path, tmp_path: Path) -> None:
    stock(hub)
    front = {
        "name": "question-kinds",
        "labels": list(script.LABELS),
        "examples": [{"input": t, "output": k} for k in script.LABELS for t in script.write(k, 3, f"demo {k}")],
        "budget": {"steps": 5},
        "student": {"base": "tiny/encoder"},
    }
    (tmp_path / "task.md").write_text(f"---\n{json.dumps(front)}\n---\nSay what kind of answer a question asks for.\n")
    home, run = tmp_path / "home", tmp_path / "run"
    home.mkdir()
    (home / "pack").symlink_to(minilm.resolve().parent)
    env = {**child_environment(hub, tmp_path, token=True), "P2M_HOME": str(home), "OMP_NUM_THREADS": "1"}
    args = ("--catalog", "hub", "--planner", "policy", "--teacher", teacher.endpoint, "--max-dataset-mb", "5")
    done = p2m("run", tmp_path / "task.md", "--out", run, *args, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    state = fold(journal.read(run / journal.FILE))
    assert state is not None and state.workspace.held_out is not None
    said = {c.tool: c for c in state.calls}
    assert "Next: inspect_dataset quiz/question-kinds" in said["search_datasets"].text
    assert "evil/question-answer-kind: refused (data_files rule)" in said["search_datasets"].text
    assert said["inspect_dataset"].text.startswith("Fits: import_dataset quiz/question-kinds.")
    assert state.workspace.datasets[0].source == "dataset:quiz/question-kinds/train"
    assert state.workspace.held_out.source == "dataset:quiz/question-kinds"
    assert said["rank_models"].text.startswith("Start from tiny/encoder.")
    best = state.workspace.best
    assert best is not None and best.base == "tiny/encoder" and state.delivery is not None
    assert state.generated == 0
    worth = state.workspace.datasets[0].worth
    assert worth is not None and worth["verdict"] in ("helps", "better than chance") and worth["n"] >= 20
    assert f"stays, {worth['verdict']}: a quick head has accuracy" in " ".join(done.stdout.split())

    done = p2m("push", run, "me/question-kinds", "--dataset", env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"{hub.url}/me/question-kinds", f"{hub.url}/datasets/me/question-kinds"]
    repo = hub.tree.repo("models", "me/question-kinds")
    assert repo is not None
    weights = repo.files()["model.safetensors"].read_bytes()
    assert weights == (run / "model" / "model.safetensors").read_bytes()
    card = (repo.folder / "README.md").read_text()
    assert "dataset `quiz/question-kinds/train`" in card and "Held" not in done.stderr
    data, source = (hub.tree.repo("datasets", i) for i in ("me/question-kinds", "quiz/question-kinds"))
    assert (
        data is not None
        and source is not None
        and f"at {source.sha()[:12]}, licence cc-by-4.0" in (data.folder / "README.md").read_text()
    )
    everything = b"".join(f.read_bytes() for r in (repo, data) for f in r.files().values())
    assert env["HF_TOKEN"].encode() not in everything and b"ToolFinished" not in everything
    the_pushed_model_answers_as_here(run, env, data.files())


def the_pushed_model_answers_as_here(run: Path, env: dict[str, str], pushed_rows: dict[str, Path]) -> None:
    """The plain clients, with a cache of their own and no token, get from the Hub what p2m has on its disk."""
    texts = [text for label in script.LABELS for text in script.write(label, 2, f"new {label}")]
    asked = run.with_name("asked.txt")
    asked.write_text("\n".join(texts))
    done = p2m("predict", run, "--file", asked, env=env)
    assert done.returncode == 0, done.stderr
    here = [json.loads(line) for line in done.stdout.splitlines()]
    stranger = {k: v for k, v in env.items() if k != "HF_TOKEN"} | {"HF_HOME": f"{env['HF_HOME']}-stranger"}
    command = [sys.executable, "-m", "tests.hub.child_pushed", "me/question-kinds", *texts]
    done = subprocess.run(command, env=stranger, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    there = json.loads(done.stdout.splitlines()[-1])
    assert [a["label"] for a in there["answers"]] == [p["prediction"] for p in here]
    assert [a["score"] for a in there["answers"]] == pytest.approx([p["probability"] for p in here], abs=1e-4)
    assert there["rows"] == sum(len(f.read_text().splitlines()) for p, f in pushed_rows.items() if p.endswith(".jsonl"))
