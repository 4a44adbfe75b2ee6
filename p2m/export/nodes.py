"""Nodes of an optimised graph exchanged for those that ONNX Runtime computes faster, weights changed to match."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxruntime.transformers.onnx_model import OnnxModel

# The first opset whose Attention may be told how many tokens of a row are no padding.
ATTENTION_OPSET = 24
# ONNX Runtime 1.24 loads it and reads padding as text.
RUNTIME = "1.25"
# GELU is x · Φ(x); x · sigmoid(1.702 x) is within 0.021 of it (Hendrycks and Gimpel 2016, arXiv:1606.08415).
STEEP = 1.702


def standard_attention(graph: OnnxModel) -> None:
    """``com.microsoft.Attention`` as three products and ONNX's own ``Attention``: the fused node projects each head of
    each row apart, in products too small to be fast. Rows are padded on the right, as that node wants too.

    What the optimiser does not write today (a scale of its own, heads of unequal size, no mask) is left as it is."""
    fused = [
        node
        for node in graph.nodes()
        if node.op_type == "Attention"
        and node.domain == "com.microsoft"
        and {a.name for a in node.attribute} <= {"num_heads", "mask_filter_value"}
        and len(node.input) == 4
        and node.input[3]
    ]
    if not fused:
        return
    import numpy as np

    axis = _constant(graph, "tokens_axis", np.array([1], dtype=np.int64))
    _add(graph, "ReduceSum", ["attention_mask", axis], "tokens_seen", keepdims=0)
    for node in fused:
        states, weight, bias = node.input[:3]
        weights, biases = (np.split(_value(graph, name), 3, axis=-1) for name in (weight, bias))
        parts = []
        for letter, part, shift in zip("qkv", weights, biases, strict=True):
            name = f"{node.name}_{letter}"
            product = _add(graph, "MatMul", [states, _constant(graph, f"{name}_weight", part)], f"{name}_product")
            parts.append(_add(graph, "Add", [_constant(graph, f"{name}_bias", shift), product], name))
        heads = next(a.i for a in node.attribute if a.name == "num_heads")
        seen = ["", "", "", "tokens_seen"]
        _add(graph, "Attention", [*parts, *seen], node.output[0], q_num_heads=heads, kv_num_heads=heads)
    graph.remove_nodes(fused)
    for imported in graph.model.opset_import:
        if imported.domain in ("", "ai.onnx"):
            imported.version = ATTENTION_OPSET


def sigmoid_gelu(graph: OnnxModel) -> None:
    """GELU between two products as x · sigmoid(x), which is faster: what goes in is made ``STEEP`` times as large, by
    the weights before, and what comes out as much smaller, by those after."""
    made, used = graph.output_name_to_node(), graph.input_name_to_nodes()
    for node in [node for node in graph.nodes() if node.op_type == "BiasGelu"]:
        before, after = made.get(node.input[0]), used[node.output[0]]
        if before is None or [n.op_type for n in (before, *after)] != ["MatMul", "MatMul"]:
            continue
        weighed = all(graph.get_initializer(part.input[1]) is not None for part in (before, node, after[0]))
        if not weighed or len(used[node.input[0]]) > 1:
            continue
        # Copies: another layer may share these weights, or its biases of zero be the same constant.
        for part, factor in ((before, STEEP), (node, STEEP), (after[0], 1 / STEEP)):
            value = _value(graph, part.input[1])
            part.input[1] = _constant(graph, f"{part.input[1]}/{node.name}", value * value.dtype.type(factor))
        shifted = _add(graph, "Add", list(node.input), f"{node.name}_steep")
        _add(graph, "QuickGelu", [shifted], node.output[0], "com.microsoft", alpha=1.0)
        graph.remove_node(node)


def _add(graph: OnnxModel, kind: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any) -> str:
    from onnx import helper

    graph.add_node(helper.make_node(kind, inputs, [output], f"{output}/{kind}", domain=domain, **attributes))
    return output


def _constant(graph: OnnxModel, name: str, value: Any) -> str:
    import numpy as np
    from onnx import numpy_helper

    graph.add_initializer(numpy_helper.from_array(np.ascontiguousarray(value), name))
    return name


def _value(graph: OnnxModel, name: str) -> Any:
    from onnx import numpy_helper

    return numpy_helper.to_array(graph.get_initializer(name))
