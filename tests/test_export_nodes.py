"""Graphs for int8, before they are rounded: the same answers, but for the approximation of GELU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2m.errors import BadInput
from p2m.export.formats import OnnxPredictor
from p2m.export.model import export_model
from p2m.train.batching import token_batches
from tests.delivered_run import MODEL, TASK, trained
from tests.tiny_model import rows

pytest.importorskip("onnx", reason="needs onnx: pip install -e '.[onnx]'")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install -e '.[onnx]'")


def run(model: Any, **given: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], given)[0])


def logits(model: Any, ids: np.ndarray, seen: np.ndarray) -> np.ndarray:
    return run(model, input_ids=ids, attention_mask=seen)


@pytest.fixture(scope="module", params=["bert", "roberta", "distilbert"])
def graphs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    from p2m.export.graph import export_graph

    place = tmp_path_factory.mktemp("graphs")
    model = trained(place / "model", place / "base", request.param)
    for name, for_int8 in (("plain", False), ("int8", True)):
        export_graph(model, place / f"{name}.onnx", for_int8=for_int8)
    return place / "plain.onnx", place / "int8.onnx"


def batch() -> tuple[np.ndarray, np.ndarray]:
    """Three rows of random words, of 9, 6 and 2 tokens; where nothing is seen stand words, not pads."""
    ids = np.random.default_rng(0).integers(5, 30, size=(3, 9))
    return ids, (np.arange(9)[None, :] < np.array([[9], [6], [2]])).astype(np.int64)


def test_standard_attention_sees_what_the_fused_node_sees(graphs: tuple[Path, Path]) -> None:
    import onnx
    from onnxruntime.transformers.onnx_model import OnnxModel

    from p2m.export.nodes import standard_attention

    before, after = onnx.load(str(graphs[0])), OnnxModel(onnx.load(str(graphs[0])))
    standard_attention(after)
    after.topological_sort()
    kinds = [(node.op_type, node.domain) for node in after.model.graph.node]
    assert kinds.count(("Attention", "")) == 2 and ("Attention", "com.microsoft") not in kinds
    ids, seen = batch()
    assert logits(after.model, ids, seen) == pytest.approx(logits(before, ids, seen), abs=1e-5)
    other = np.where(seen == 1, ids, 7)
    assert logits(after.model, other, seen) == pytest.approx(logits(after.model, ids, seen), abs=1e-6)
    assert np.abs(logits(after.model, ids, np.ones_like(seen)) - logits(after.model, ids, seen)).max() > 1e-4


def test_the_approximate_gelu_is_near_and_no_more(graphs: tuple[Path, Path]) -> None:
    import onnx

    ids, seen = batch()
    plain, approximate = (logits(onnx.load(str(g)), ids, seen) for g in graphs)
    assert approximate == pytest.approx(plain, abs=0.05 * float(plain.std()))


def test_layers_that_share_their_weights_are_scaled_once_each() -> None:
    """As in ALBERT; and biases of zero are one constant in any exported graph."""
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime.transformers.onnx_model import OnnxModel

    from p2m.export.nodes import sigmoid_gelu

    rng, sizes = np.random.default_rng(0), {"w1": (4, 8), "b": (8,), "w2": (8, 4)}
    weights = [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), n) for n, s in sizes.items()]
    nodes = []
    for before, after in (("x", "y"), ("y", "logits")):
        nodes += [
            helper.make_node("MatMul", [before, "w1"], [f"{after}_up"]),
            helper.make_node(
                "BiasGelu", [f"{after}_up", "b"], [f"{after}_act"], f"{after}_gelu", domain="com.microsoft"
            ),
            helper.make_node("MatMul", [f"{after}_act", "w2"], [after]),
        ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [5, 4]) for name in ("x", "logits")]
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(
        helper.make_graph(nodes, "g", ends[:1], ends[1:], weights), opset_imports=imports, ir_version=10
    )
    x = rng.normal(size=(5, 4)).astype(np.float32)
    w1, b, w2 = (numpy_helper.to_array(weight).copy() for weight in weights)
    expected = x
    for _ in range(2):
        hidden = expected @ w1 + b
        expected = (hidden / (1 + np.exp(-1.702 * hidden))) @ w2
    graph = OnnxModel(model)
    sigmoid_gelu(graph)
    graph.topological_sort()
    assert [node.op_type for node in graph.nodes()].count("QuickGelu") == 2
    assert run(graph.model, x=x) == pytest.approx(expected, abs=1e-4)


@given(st.lists(st.integers(1, 300), max_size=200), st.integers(1, 700))
def test_the_copied_file_makes_the_batches_of_training(lengths: list[int], tokens: int) -> None:
    from p2m.export.standalone import _batches

    assert _batches(lengths, tokens) == token_batches(lengths, tokens, even=True)


def test_an_older_onnx_runtime_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1.24 loads the graph and reads padding as text: no error would tell."""
    import onnxruntime

    from p2m.export.nodes import RUNTIME

    model = trained(tmp_path / "model", tmp_path / "base")
    export_model(model, tmp_path / "int8", "onnx-int8", rows(20, 3), TASK, MODEL, lambda text: None)
    monkeypatch.setattr(onnxruntime, "__version__", "1.24.4")
    with pytest.raises(BadInput, match=f"needs onnxruntime {RUNTIME} or newer, and 1.24.4"):
        OnnxPredictor(tmp_path / "int8")
    monkeypatch.setattr(onnxruntime, "__version__", "2.0.0")
    OnnxPredictor(tmp_path / "int8")
