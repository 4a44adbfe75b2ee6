"""p2m export of classifiers: what is written answers as what was delivered, and says what it costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from agent.cli import main
from p2m.errors import BadInput, P2MError
from p2m.evaluate.predict import Prediction, Predictor
from p2m.export.formats import OnnxPredictor
from p2m.export.kinds import check_format
from p2m.export.model import export_model
from p2m.export.parity import compare
from p2m.rows import Row
from p2m.task.spec import TaskSpec
from tests.delivered_run import MODEL, TASK, deliver_another, delivered_run, trained
from tests.tiny_model import FILLER, LABELS, make_encoder, rows

pytest.importorskip("onnx", reason="needs onnx: pip install -e '.[onnx]'")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install -e '.[onnx]'")

TEXTS = [row.input for row in rows(50, 2)] + ["", "apple", " ".join(FILLER * 3), "the old saw"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return delivered_run(tmp_path_factory.mktemp("run") / "run", tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize("model_type", ["bert", "roberta", "distilbert"])
def test_float32_answers_the_same_in_any_batch(model_type: str, tmp_path: Path) -> None:
    model = trained(tmp_path / "model", tmp_path / "base", model_type)
    done = export_model(model, tmp_path / "onnx", "onnx", rows(20, 3), TASK, MODEL, lambda text: None)
    assert done.parity.equal == done.parity.n == 20 and done.parity.largest_difference < 1e-4
    delivered, exported = Predictor(model), OnnxPredictor(tmp_path / "onnx")
    for ours, theirs in zip(exported.predict(TEXTS), delivered.predict(TEXTS), strict=True):
        assert (ours.label, ours.truncated) == (theirs.label, theirs.truncated)
        assert ours.probs == pytest.approx(theirs.probs, abs=1e-4)
    (alone,) = exported.predict(["the old saw"])
    assert alone.probs == pytest.approx(exported.predict(TEXTS)[-1].probs, abs=1e-5)
    assert exported.labels == LABELS and exported.predict([]) == []
    assert exported.truncated == 2 * delivered.truncated == 2


def test_a_mean_pooled_student_loses_its_extra_layer_and_no_other(tmp_path: Path) -> None:
    import onnx

    for model_type, layers in (("bert", 2), ("distilbert", 2)):
        model = trained(tmp_path / model_type, tmp_path / f"{model_type}-base", model_type)
        export_model(model, tmp_path / "onnx", "onnx", rows(20, 3), TASK, MODEL, lambda text: None)
        nodes = onnx.load(str(tmp_path / "onnx" / "model.onnx")).graph.node
        assert sum(node.op_type in ("Attention", "MultiHeadAttention", "Softmax") for node in nodes) == layers


def test_the_command_writes_the_folder_and_the_card(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run), "--onnx", "--int8"]) == 0
    said = capsys.readouterr()
    folder = run / "export" / "onnx-int8"
    assert said.out == f"{folder}\n" and "of 40 validation answers equal" in said.err
    names = {"README.md", "config.json", "model.onnx", "p2m.json", "tokenizer.json", "tokenizer_config.json"}
    assert {file.name for file in folder.iterdir()} == names
    assert [p.name for p in (run / "export").iterdir()] == ["onnx-int8"], "nothing is left aside"
    settings = json.loads((folder / "p2m.json").read_text())
    assert (settings["labels"], settings["made_from"], settings["kind"]) == (list(LABELS), MODEL, "classify")
    _, header, body = (folder / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(header)["library_name"] == "onnx" and yaml.safe_load(header)["model-index"]
    assert "| rows | 40 | 40 |" in body and "Equal answers:" in body and "onnxruntime.InferenceSession" in body
    assert body.count("## Use") == 1 and "pipeline(" not in body


def test_the_exported_model_predicts_and_is_scored(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run), "--onnx"]) == 0
    (tmp_path / "in.txt").write_text("\n".join(TEXTS[:20]))
    said = []
    for chosen in ("hf", "onnx"):
        capsys.readouterr()
        assert main(["predict", str(run), "--file", str(tmp_path / "in.txt"), "--model", chosen]) == 0
        said.append([json.loads(line) for line in capsys.readouterr().out.splitlines()])
    assert [r["prediction"] for r in said[0]] == [r["prediction"] for r in said[1]] and len(said[0]) == 20
    (tmp_path / "gold.csv").write_text("text,label\nthe old apple,fruit\nmy saw,tool\na cow,animal\n")
    assert main(["eval", str(run), str(tmp_path / "gold.csv"), "--model", "onnx", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 3


def test_plain_transformers_is_checked_too(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run), "--hf"]) == 0
    folder = run / "export" / "hf"
    assert (folder / "model.safetensors").read_bytes() == (run / "model" / "model.safetensors").read_bytes()
    assert "40 of 40 validation answers equal" in capsys.readouterr().err
    assert "pipeline(" in (folder / "README.md").read_text()


def test_gguf_says_why_not(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run), "--gguf"]) == 2
    said = capsys.readouterr().err
    assert "llama.cpp" in said and "--onnx" in said and said.count("\n") == 1
    with pytest.raises(BadInput, match="or transformers"):
        check_format("generate", "onnx")


def test_an_export_of_an_earlier_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = delivered_run(tmp_path / "run", tmp_path / "base")
    assert main(["predict", str(run), "apple", "--model", "onnx"]) == 2
    assert f"p2m export {run} --onnx" in capsys.readouterr().err
    assert main(["export", str(run), "--onnx"]) == 0
    assert main(["predict", str(run), "apple", "--model", "onnx"]) == 0
    deliver_another(run)
    capsys.readouterr()
    assert main(["predict", str(run), "apple", "--model", "onnx"]) == 2
    assert "another model since" in capsys.readouterr().err


def test_float32_that_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = trained(tmp_path / "model", tmp_path / "base")
    other = trained(tmp_path / "other", make_encoder(tmp_path / "other-base", "roberta"), "roberta")
    import p2m.export.graph as graph

    real = graph.export_graph
    monkeypatch.setattr(graph, "export_graph", lambda folder, file: real(other, file))
    with pytest.raises(P2MError, match="answers otherwise"):
        export_model(model, tmp_path / "onnx", "onnx", rows(20, 3), TASK, MODEL, lambda text: None)
    assert not (tmp_path / "onnx").exists() and not list(tmp_path.glob(".onnx*"))


def test_parity_counts_labels_probabilities_and_the_metric() -> None:
    before = [Prediction("a", {"a": 0.9, "b": 0.1}), Prediction("b", {"a": 0.4, "b": 0.6})]
    after = [Prediction("a", {"a": 0.8, "b": 0.2}), Prediction("a", {"a": 0.55, "b": 0.45})]
    task = TaskSpec(name="t", instruction="Do.", kind="classify", labels=("a", "b"))
    found = compare([Row("x", "a"), Row("y", "b")], before, after, task)
    assert (found.n, found.equal, found.loss, found.is_same) == (2, 1, 0.5, False)
    assert found.largest_difference == pytest.approx(0.15)
    assert (found.before.value, found.after.value, found.before.n) == (1.0, 0.5, 2)
