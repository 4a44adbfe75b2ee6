"""p2m export, predict, eval and package of every kind but single labels: the answers of the delivered model."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
from ast import literal_eval
from pathlib import Path

import pytest

from agent.cli import main
from p2m.evaluate.predict import load_predictor
from p2m.export.formats import open_predictor, prediction_of
from p2m.export.ollama import modelfile
from p2m.outputs import parse_number
from tests.delivered_kinds import KINDS, delivered_kind, texts_of
from tests.test_package import ALONE
from tests.tiny_model import FILLER

for _package in ("onnx", "onnxruntime"):
    pytest.importorskip(_package, reason=f"needs {_package}: pip install -e '.[onnx]'")

ENCODERS = tuple(kind for kind in KINDS if kind != "generate")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        kind: delivered_kind(tmp_path_factory.mktemp(kind) / "run", tmp_path_factory.mktemp("base"), kind)
        for kind in KINDS
    }


def hard_texts(kind: str) -> list[str]:
    """Also none, one that is longer than the model reads, and of a question one without."""
    long = " ".join([*FILLER * 5, "apple", "saw"])
    return [*texts_of(kind), "", long, f"question: apple\ncontext: {long}", "Context: a dog\nQuestion: horse"]


@pytest.mark.parametrize("kind", ENCODERS)
def test_float32_onnx_gives_the_delivered_answers(kind: str, runs: dict[str, Path]) -> None:
    run = runs[kind]
    assert main(["export", str(run), "--onnx"]) == 0
    texts = hard_texts(kind)
    expected, model = load_predictor(run / "model"), open_predictor(run / "export" / "onnx")
    wanted, found = expected.predict(texts), model.predict(texts)
    assert len({p.output for p in wanted}) > 1, "a model that always says the same proves nothing"
    for ours, theirs in zip(found, wanted, strict=True):
        if kind == "score":
            assert parse_number(ours.output) == pytest.approx(parse_number(theirs.output), abs=1e-4)
        else:
            assert ours.output == theirs.output
        assert ours.probs == (theirs.probs and pytest.approx(theirs.probs, abs=1e-4))
        assert ours.truncated == theirs.truncated
    assert model.truncated == expected.truncated
    if kind in ("extract", "read"):  # words alone: they are equal, and there is more than nothing to compare
        assert any(p.output not in ("", "[]") for p in found)


@pytest.mark.parametrize("kind", ENCODERS)
def test_attention_is_one_node_a_layer_in_every_kind(kind: str, runs: dict[str, Path]) -> None:
    import onnx

    main(["export", str(runs[kind]), "--onnx", "--int8"])
    nodes = onnx.load(str(runs[kind] / "export" / "onnx-int8" / "model.onnx")).graph.node
    assert sum((node.op_type, node.domain) == ("Attention", "") for node in nodes) == 2
    assert sum(node.op_type == ("FastGelu" if kind in ("extract", "read") else "QuickGelu") for node in nodes) == 2
    assert sum(node.op_type == "MatMulInteger" for node in nodes) == 2 * 6, "every product of a layer is in int8"
    assert not any(node.op_type in ("Softmax", "Erf", "BiasGelu") for node in nodes)


@pytest.mark.parametrize("kind", ENCODERS)
def test_the_card_of_int8_says_what_it_costs(
    kind: str, runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(runs[kind]), "--onnx", "--int8"]) == 0
    assert "of 20 validation answers equal" in capsys.readouterr().err
    body = (runs[kind] / "export" / "onnx-int8" / "README.md").read_text()
    assert (
        ("Ratings within" if kind == "score" else "Equal answers:") in body
        and "| rows | 20 | 20 |" in body
        and body.count("## Use") == 1
    )
    settings = json.loads((runs[kind] / "export" / "onnx-int8" / "p2m.json").read_text())
    assert (settings["kind"], settings["format"]) == (kind, "onnx-int8")


@pytest.mark.parametrize("kind", KINDS)
def test_the_delivered_folder_is_checked_too(kind: str, runs: dict[str, Path]) -> None:
    assert main(["export", str(runs[kind]), "--hf"]) == 0
    assert (runs[kind] / "export" / "hf" / "model.safetensors").is_file()


def test_predict_and_eval_take_the_export(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs["extract"]
    assert main(["export", str(run), "--onnx"]) == 0
    said = []
    for model in ("hf", "onnx"):
        capsys.readouterr()
        assert main(["predict", str(run), texts_of("extract")[0], "--model", model]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] and '"start"' in said[0]
    gold = {"text": "the apple", "output": json.loads(said[0])}
    gold["output"] = [{"text": "apple", "label": "fruit", "start": 4, "end": 9}]
    (tmp_path / "gold.jsonl").write_text(json.dumps({"input": "the apple", "output": gold["output"]}) + "\n")
    assert main(["eval", str(run), str(tmp_path / "gold.jsonl"), "--model", "onnx", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metric"] == "span_f1"


def alone(package: Path, cwd: Path, texts: list[str]) -> list[dict]:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    given = "\n".join(text.replace("\n", "\\n") for text in texts)
    command = [sys.executable, "-c", ALONE, str(package / "predict.py"), "--file", "-"]
    done = subprocess.run(command, input=given, capture_output=True, text=True, cwd=cwd, env=env)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_package_answers_without_p2m(kind: str, runs: dict[str, Path], tmp_path: Path) -> None:
    assert main(["package", str(runs[kind]), "--out", str(tmp_path / "it")]) == 0
    texts = texts_of(kind)
    found, model = alone(tmp_path / "it", tmp_path, texts), open_predictor(runs[kind] / "export" / "onnx")
    labels = getattr(model, "labels", ())
    expected = [p.output for p in model.predict(texts)]
    assert [prediction_of(answer, labels).output for answer in found] == expected


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["extract", "generate"])
def test_a_package_runs_in_a_fresh_environment(kind: str, runs: dict[str, Path], tmp_path: Path) -> None:
    package, texts = tmp_path / "it", texts_of(kind)
    assert main(["package", str(runs[kind]), "--out", str(package)]) == 0
    venv.create(tmp_path / "venv", with_pip=True)
    python, env = str(tmp_path / "venv" / "bin" / "python"), {"PATH": os.environ["PATH"]}
    install = [python, "-m", "pip", "install", "-q", "--no-deps", "-r", str(package / "requirements.txt")]
    subprocess.run(install, check=True, timeout=600, env={**os.environ, "PYTHONPATH": ""})
    done = subprocess.run(
        [python, "predict.py", "--file", "-"],
        input="\n".join(texts),
        capture_output=True,
        text=True,
        cwd=package,
        env=env,
    )
    assert done.returncode == 0, done.stderr
    model = open_predictor(runs[kind] / "export" / ("gguf" if kind == "generate" else "onnx"))
    found = [prediction_of(json.loads(line)).output for line in done.stdout.splitlines()]
    assert found == [p.output for p in model.predict(texts)]


def test_what_has_no_such_format_says_so(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    for kind, option, fix in (("read", "--gguf", "--onnx"), ("generate", "--onnx", "--gguf")):
        assert main(["export", str(runs[kind]), option]) == 2
        said = capsys.readouterr().err
        assert fix in said and said.count("\n") == 1


def test_a_written_answer_is_the_same_in_llama_cpp(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gguf", reason="needs gguf: pip install -e '.[gguf]'")
    run = runs["generate"]
    assert main(["export", str(run), "--gguf"]) == 0
    assert "of 20 validation answers equal" in capsys.readouterr().err
    folder, texts = run / "export" / "gguf", texts_of("generate")
    expected = [p.output for p in load_predictor(run / "model").predict(texts)]
    found = [p.output for p in open_predictor(folder).predict(texts)]
    assert sum(a == b for a, b in zip(found, expected, strict=True)) >= len(texts) - 1, (found, expected)
    assert len(set(expected)) > 1
    card, made = (folder / "README.md").read_text(), (folder / "Modelfile").read_text()
    assert "ollama create" in card and "Equal answers:" in card
    assert 'FROM ./model.gguf\nTEMPLATE """' in made and "{{ .Prompt }}" in made and "PARAMETER stop " in made
    assert main(["predict", str(run), texts[0], "--model", "gguf"]) == 0
    assert capsys.readouterr().out.strip() == found[0]
    assert main(["package", str(run), "--out", str(tmp_path / "it")]) == 0
    assert [a["answer"] for a in alone(tmp_path / "it", tmp_path, texts)] == found
    assert "xllamacpp==" in (tmp_path / "it" / "requirements.txt").read_text()


@pytest.mark.slow
def test_an_encoder_decoder_is_packaged_for_transformers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = delivered_kind(tmp_path / "run", tmp_path / "base", "generate", seq2seq=True)
    assert main(["export", str(run), "--gguf"]) == 2
    assert "this is t5" in capsys.readouterr().err
    assert main(["package", str(run), "--out", str(tmp_path / "it")]) == 0
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, str(tmp_path / "it" / "predict.py"), "--file", "-"]
    given = "\n".join(texts_of("generate"))
    done = subprocess.run(command, input=given, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    expected = [p.output for p in load_predictor(run / "model").predict(texts_of("generate"))]
    assert [json.loads(line)["answer"] for line in done.stdout.splitlines()] == expected


MODELFILES = [
    ("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>"),
    ('Say """{{ .System }}"""\n', "\nA:", '<"end">'),
    ('{"text": ', ', "tags": {{}}, "answer": {', "a\\b"),
    ("nbsp\u00a0joined\u200d tab\tReturn\r\nline\u2028bell\x07 \U0001f600", "\ufeff", "</s>"),
    ('"', '"', '""'),
    ('""\n', '\n""', "#"),
]


@pytest.mark.parametrize(("before", "after", "stop"), MODELFILES)
def test_a_prompt_stays_words_in_a_modelfile(before: str, after: str, stop: str) -> None:
    said = {"prompt": [before, after], "longest_answer": 9, "context": 64, "stop": [stop]}
    found = re.search(r'TEMPLATE """(.*)"""\n.*PARAMETER stop ("""|")(.*)\2\n', modelfile(said), re.S)
    assert found is not None and found[3] == stop
    assert '"""' not in found[1].strip('"')  # three marks within it would end the template
    assert as_ollama_fills(found[1], "INPUT") == f"{before}INPUT{after}"


def as_ollama_fills(template: str, given: str) -> str:
    """By Ollama's parser/parser.go and Go's text/template: what does not print is dropped, then actions are run."""
    kept = "".join(c for c in template if c.isprintable() or c in "\t\n\r")
    return re.sub(r"\{\{(.*?)\}\}", lambda m: given if m[1] == " .Prompt " else literal_eval(m[1].strip()), kept)
