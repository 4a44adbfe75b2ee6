"""An ONNX encoder in int8: weights once, activations as they come (dynamic quantisation)."""

from __future__ import annotations

import logging
from pathlib import Path

# Where the numbers are small and few, rounding costs answers and saves nothing: pooling and head stay in float32.
_HEAD = ("pooler", "classifier", "pre_classifier", "qa_outputs")


def quantise(source: Path, target: Path) -> None:
    """Write ``source`` as ``target`` with its matrix products and embeddings in int8, one scale a column.

    Weights get seven bits: a processor without VNNI adds two products of eight bits in sixteen, which overflow.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    nodes = onnx.load(str(source), load_external_data=False).graph.node
    head = [node.name for node in nodes if any(f"/{part}/" in node.name for part in _HEAD)]
    head += [f"{name}_MatMul" for name in head]  # what the quantiser makes of a Gemm before it looks
    logging.getLogger().disabled = True
    try:
        quantize_dynamic(
            str(source),
            str(target),
            op_types_to_quantize=["MatMul", "Gather"],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=head,
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    finally:
        logging.getLogger().disabled = False
