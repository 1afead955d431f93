"""Matrix products."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.lower.onnx import lowers
from pytorch_to_mlx.lower.onnx._common import Weight, array, call_as, cast, is_float
from pytorch_to_mlx.ops.linalg import einsum as einsum_of
from pytorch_to_mlx.ops.linalg import matmul as matmul_of


def product_of(a: Value, b: Value) -> Value:
    """``a @ b``; integers, which MLX does not multiply so, by sums of products."""
    if is_float(a) or a.dtype == "complex64":
        return call(mx.matmul, a, b)
    return call(matmul_of, a, b)


@lowers("MatMul")
def matmul(A: Value, B: Value) -> Value:
    """MatMul(T A, T B) -> T Y"""
    return product_of(A, B)


@lowers("Gemm")
def gemm(
    A: Value,
    B: Value,
    C: Weight | None = None,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    broadcast: int = 1,
) -> Value:
    """Gemm(T A, T B, T? C, float alpha=1, float beta=1, int transA=0, int transB=0) -> T Y"""
    a = A.transpose(1, 0) if transA else A
    plain = alpha == 1.0 and is_float(a)
    bias = array(C) if C is not None and beta != 0 else None
    if transB and plain and beta == 1.0 and (bias is None or bias.ndim == 1):
        return call("ops.linear", a, B, *(() if bias is None else (bias,)))
    y = product_of(a, B.transpose(1, 0) if transB else B)
    if alpha != 1.0:
        y = _scaled(y, alpha)
    if bias is None:
        return y
    return y + (bias if beta == 1.0 else _scaled(bias, beta))


def _scaled(x: Value, factor: float) -> Value:
    if is_float(x):
        return x * factor
    return cast(cast(x, "float32") * factor, str(x.dtype))


@lowers("Einsum")
def einsum(*Inputs: Value, equation: str) -> Value:
    """Einsum(T Inputs..., string equation) -> T Output"""
    text = equation.replace(" ", "")
    dims = _einsum_dims(text, Inputs)
    result = (dims, str(Inputs[0].dtype))
    return call_as(einsum_of, [result], text, *Inputs)


def _einsum_dims(equation: str, inputs: tuple[Value, ...]) -> tuple[Any, ...]:
    left, arrow, right = equation.partition("->")
    sizes: dict[str, Any] = {}
    dots: tuple[Any, ...] = ()
    for term, x in zip(left.split(","), inputs, strict=True):
        before, dot, after = term.partition("...")
        extra = x.ndim - len(before) - len(after)
        if dot and extra > len(dots):
            dots = x.dims[len(before) : len(before) + extra]
        names = [*before, *([""] * extra if dot else []), *after]
        for name, d in zip(names, x.dims, strict=True):
            if name and (name not in sizes or sizes[name] == 1):
                sizes[name] = d
    if not arrow:
        letters = left.replace(",", "").replace(".", "")
        right = ("..." if "..." in left else "") + "".join(
            c for c in sorted(set(letters)) if letters.count(c) == 1
        )
    before, dot, after = right.partition("...")
    return (
        *(sizes[c] for c in before),
        *(dots if dot else ()),
        *(sizes[c] for c in after),
    )


@lowers("Det")
def det(X: Value) -> Value:
    """Det(T X) -> T Y"""
    return call_as("ops.det", [(X.dims[:-2], str(X.dtype))], X)
