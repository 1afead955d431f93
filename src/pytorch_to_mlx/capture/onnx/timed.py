"""The original as onnxruntime runs it at its best, for timings, and what its products cost."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx

from pytorch_to_mlx.capture.onnx.reference import OnnxReference, Run, whole_model
from pytorch_to_mlx.capture.onnx.values import shapes_at
from pytorch_to_mlx.errors import CaptureError

PRODUCTS = ("MatMul", "Gemm", "Conv", "ConvTranspose")


def threads() -> int:
    """The threads that an operator gets: ``OMP_NUM_THREADS``, else one a CPU of this process."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def timed_runner(reference: OnnxReference) -> Run:
    """A function of a feed, with all of onnxruntime's optimisations, on its CPU provider.

    Raises:
        CaptureError: onnxruntime cannot run the model.
    """
    return _session(reference.loadable())


def product(side: int, dtype: str) -> Callable[[], object]:
    """A function that multiplies two square matrices in onnxruntime.

    Raises:
        CaptureError: it has no product of that dtype.
    """
    element = {"float16": onnx.TensorProto.FLOAT16, "bfloat16": onnx.TensorProto.BFLOAT16}
    kind = element.get(dtype, onnx.TensorProto.FLOAT)
    square = [onnx.helper.make_tensor_value_info(n, kind, [side, side]) for n in "xy"]
    node = onnx.helper.make_node("MatMul", ["x", "x"], ["y"])
    graph = onnx.helper.make_graph([node], "product", square[:1], square[1:])
    opset = onnx.helper.make_operatorsetid("", 13)
    run = _session(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8))
    x = np.random.default_rng(0).standard_normal((side, side))
    given = x.astype(onnx.helper.tensor_dtype_to_np_dtype(kind))
    return lambda: run({"x": given})


def _session(model: str | onnx.ModelProto) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads()
    # Else its products of 8 bits saturate on x86 processors without VNNI.
    options.add_session_config_entry("session.x64quantprecision", "1")
    given = model if isinstance(model, str) else model.SerializeToString()
    try:
        session = ort.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own
        text = (str(error).strip() or type(error).__name__).partition("\n")[0]
        raise CaptureError(f"onnxruntime cannot run the original: {text[:300]}") from error
    return lambda feed: session.run(None, feed)


def flops(reference: OnnxReference, inputs: Mapping[str, Any]) -> int | None:
    """Floating-point operations of the products and convolutions of one call, those within bodies
    of control flow and recurrent layers left out; None where the sizes cannot be found."""
    model = reference.program.model
    nodes = [n for n in model.graph.node if n.op_type in PRODUCTS and not n.domain]
    names = {name for n in nodes for name in (*n.input[:2], n.output[0])}
    try:
        shapes = shapes_at(whole_model(reference, model), sorted(names), reference.feed(inputs))
    except Exception:  # noqa: BLE001 (an unknown count checks nothing, and fails nothing)
        return None
    return sum(_of_node(n, shapes) for n in nodes)


def _of_node(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    x, w, out = (shapes[n] for n in (node.input[0], node.input[1], node.output[0]))
    if node.op_type == "MatMul":
        return 2 * math.prod(out) * x[-1]
    if node.op_type == "Gemm":
        turned = any(a.name == "transA" and a.i for a in node.attribute)
        return 2 * math.prod(out) * x[0 if turned else 1]
    points = x if node.op_type == "ConvTranspose" else out
    return 2 * math.prod(points) * math.prod(w[1:])
