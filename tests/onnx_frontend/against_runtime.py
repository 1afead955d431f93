"""One node, run by ONNX Runtime and by the converter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
from onnx.helper import (  # noqa: E402
    make_graph,
    make_model,
    make_node,
    make_operatorsetid,
    make_tensor_value_info,
    np_dtype_to_tensor_dtype,
)

from pytorch_to_mlx import onnx_backend  # noqa: E402
from pytorch_to_mlx.capture.onnx.reference import exact  # noqa: E402

rng = np.random.default_rng(0)


def floats(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def check(
    op: str,
    inputs: Mapping[str, np.ndarray | None],
    outputs: int = 1,
    weights: tuple[str, ...] = (),
    rtol: float = 1e-4,
    domain: str = "com.microsoft",
    wanted: tuple[int, ...] | None = None,
    dynamic: bool = False,
    compared: int = 9,
    opset: int = 17,
    **attributes: Any,
) -> None:
    """Both backends on one node; ``weights`` names inputs that are initializers, ``wanted`` the
    outputs that are asked for; the first ``compared`` of them are judged."""
    names = [n if v is not None else "" for n, v in inputs.items()]
    wanted = tuple(range(outputs)) if wanted is None else wanted
    outs = [f"out{i}" if i in wanted else "" for i in range(max(wanted) + 1)]
    node = make_node(op, names, outs, domain=domain, **attributes)
    given = {n: v for n, v in inputs.items() if v is not None and n not in weights}

    def shape(name: str, v: np.ndarray) -> list[Any]:
        """With ``dynamic``, batch and length have no stated size."""
        open_ = {0, 2 if v.ndim == 4 else 1} if dynamic else set()
        return [f"{name}{i}" if i in open_ else n for i, n in enumerate(v.shape)]

    graph = make_graph(
        [node],
        "g",
        [
            make_tensor_value_info(n, np_dtype_to_tensor_dtype(v.dtype), shape(n, v))
            for n, v in given.items()
        ],
        [onnx.ValueInfoProto(name=o) for o in outs if o],
        [onnx.numpy_helper.from_array(inputs[w], w) for w in weights],
    )
    opsets = [make_operatorsetid("", opset), make_operatorsetid("com.microsoft", 1)]
    model = make_model(graph, opset_imports=opsets, ir_version=8)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(exact(model).SerializeToString(), options)
    expected = session.run(None, given)
    for info, value in zip(model.graph.output, expected, strict=True):
        kind = np_dtype_to_tensor_dtype(value.dtype)
        info.CopyFrom(make_tensor_value_info(info.name, kind, [None] * value.ndim))
    actual = onnx_backend.prepare(model).run(given)
    assert len(actual) == len(expected)
    for a, e in zip(actual[:compared], expected[:compared], strict=True):
        np.testing.assert_allclose(a, e, rtol=rtol, atol=1e-5)
