"""Matrix products of row groups with a weight each, as mixtures of experts compute them."""

from __future__ import annotations

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.lower.aten import lowers


@lowers("transformers.grouped_mm_fallback.default")
def grouped_mm_fallback(x: Value, weight: Value, offs: Value) -> Value:
    """grouped_mm_fallback(Tensor input, Tensor weight, Tensor offs) -> Tensor"""
    return call("ops.grouped_matmul", x, weight, offs)


@lowers("aten._grouped_mm.default")
def _grouped_mm(
    x: Value,
    mat2: Value,
    offs: Value | None = None,
    bias: Value | None = None,
    out_dtype: str | None = None,
) -> Value:
    """_grouped_mm(Tensor self, Tensor mat2, Tensor? offs=None, Tensor? bias=None, ScalarType?
    out_dtype=None) -> Tensor
    """
    if offs is None:
        y = x @ mat2
    elif x.ndim == 2 and mat2.ndim == 3:
        y = call("ops.grouped_matmul", x, mat2, offs)
    elif x.ndim == 3:
        y = call("ops.grouped_columns_matmul", x, mat2, offs)
    else:
        y = call("ops.grouped_inner_matmul", x, mat2, offs)
    y = y if bias is None else y + bias
    return y if out_dtype is None else y.astype(out_dtype)
