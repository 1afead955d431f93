"""Sums of many float16 values, which MLX keeps in float16 unless told otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import parser

from pytorch_to_mlx import onnx_backend

SIZE = 4096
CASES = {
    "y = Softmax(x)": lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
    "y = LogSoftmax(x)": lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True)),
    "y = ReduceMean<axes = [1]>(x)": lambda x: x.mean(-1, keepdims=True),
    "y = ReduceL2<axes = [1]>(x)": lambda x: np.sqrt((x**2).sum(-1, keepdims=True)),
    "i = Constant<value_int = 1>() y = CumSum(x, i)": lambda x: x.cumsum(-1),
}


@pytest.mark.parametrize("body", CASES)
def test_sums(body: str) -> None:
    shape = "float16[2,1]" if "Reduce" in body else f"float16[2,{SIZE}]"
    model = parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 13]>
        g (float16[2,{SIZE}] x) => ({shape} y) {{ {body} }}""")
    rng = np.random.default_rng(0)
    most = 1.0 if "oftmax" in body or "CumSum" in body else 400.0
    x = (rng.random((2, SIZE)) * most).astype(np.float16)
    want = CASES[body](x.astype(np.float64))
    (got,) = onnx_backend.prepare(model).run([x])
    assert got.dtype == np.float16
    # A result is off by its rounding to float16 alone: half a unit of 11 bits.
    np.testing.assert_allclose(got.astype(np.float64), want, rtol=2**-11 * 1.01)


def test_global_average_pool() -> None:
    model = parser.parse_model("""<ir_version: 8, opset_import: ["" : 13]>
        g (float16[1,2,64,64] x) => (float16[1,2,1,1] y) { y = GlobalAveragePool(x) }""")
    x = np.full((1, 2, 64, 64), 300.0, np.float16)
    (got,) = onnx_backend.prepare(model).run([x])
    np.testing.assert_array_equal(got, np.full((1, 2, 1, 1), 300.0, np.float16))


def test_integers_to_negative_powers() -> None:
    model = parser.parse_model("""<ir_version: 8, opset_import: ["" : 13]>
        g (int64[5] x, int64[5] n) => (int64[5] y) { y = Pow(x, n) }""")
    x, n = np.array([2, 1, -1, -1, 3]), np.array([-1, -2, -3, -2, 2])
    (got,) = onnx_backend.prepare(model).run([x, n])
    np.testing.assert_array_equal(got, [0, 1, -1, 1, 9])
