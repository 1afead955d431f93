"""Products of matrices and vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph.build import call
from pytorch_to_mlx.graph.dims import dims_equal, is_static
from pytorch_to_mlx.graph.dims import product as size_of
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.ir import Value
from pytorch_to_mlx.lower.aten import lowers
from pytorch_to_mlx.lower.aten._common import align, is_complex, is_float


def product(a: Value, b: Value) -> Value:
    """``a @ b``; integers by an exact integer product, which MLX's matmul lacks."""
    a, b = align(a, b)
    return call("ops.matmul", a, b) if _exact(a) else a @ b


def _times(x: Value, factor: Any) -> Value:
    return x if factor == 1 else x * align(x, factor)[1]


def _plus(self: Value, made: Value, beta: Any, alpha: Any) -> Value:
    """``beta * self + alpha * made``; with ``beta`` 0 torch ignores ``self``, NaNs and all."""
    if _exact(made):
        # torch brings the factors to the dtype of the products first.
        alpha, beta = (int(f) if isinstance(f, float) else f for f in (alpha, beta))
    if beta == 0:
        from pytorch_to_mlx.graph.rules import broadcast
        from pytorch_to_mlx.lower.aten.shape import expand

        return expand(_times(made, alpha), broadcast(self.dims, made.dims))
    a, b = align(_times(made, alpha), _times(self, beta))
    return a + b


@lowers("aten.mm", "aten.bmm", "aten.matmul", "aten.mv", "aten.dot", "aten.linalg_matmul")
def matmul(self: Value, other: Value) -> Value:
    """matmul(Tensor self, Tensor other) -> Tensor"""
    return product(self, other)


@lowers("aten.vdot")
def vdot(self: Value, other: Value) -> Value:
    """vdot(Tensor self, Tensor other) -> Tensor"""
    return product(call(mx.conjugate, self) if is_complex(self) else self, other)


@lowers("aten.addmm", "aten.addmv", "aten.baddbmm")
def addmm(self: Value, mat1: Value, mat2: Value, beta: Any = 1, alpha: Any = 1) -> Value:
    """addmm(Tensor self, Tensor mat1, Tensor mat2, *, Scalar beta=1, Scalar alpha=1) -> Tensor"""
    return _plus(self, product(mat1, mat2), beta, alpha)


@lowers("aten.addbmm")
def addbmm(self: Value, batch1: Value, batch2: Value, beta: Any = 1, alpha: Any = 1) -> Value:
    """addbmm(Tensor self, Tensor batch1, Tensor batch2, *, Scalar beta=1, Scalar alpha=1)
    -> Tensor"""
    return _plus(self, _summed(product(batch1, batch2), axis=0), beta, alpha)


def _summed(x: Value, **how: Any) -> Value:
    """A sum in the dtype of ``x``, where MLX widens small integers."""
    return call(mx.sum, x, **how).astype(DType(str(x.dtype)))


@lowers("aten.outer", "aten.ger")
def outer(self: Value, vec2: Value) -> Value:
    """outer(Tensor self, Tensor vec2) -> Tensor"""
    a, b = align(self, vec2)
    return call(mx.expand_dims, a, 1) * b


@lowers("aten.addr")
def addr(self: Value, vec1: Value, vec2: Value, beta: Any = 1, alpha: Any = 1) -> Value:
    """addr(Tensor self, Tensor vec1, Tensor vec2, *, Scalar beta=1, Scalar alpha=1) -> Tensor"""
    return _plus(self, outer(vec1, vec2), beta, alpha)


@lowers("aten.einsum")
def einsum(equation: str, tensors: tuple[Value, ...], path: Any = None) -> Value:
    """einsum(str equation, Tensor[] tensors, *, int[]? path=None) -> Tensor"""
    text, operands = equation.replace(" ", ""), align(*tensors)
    found = _as_product(text, *operands) if len(operands) == 2 else None
    if found is not None:
        return found
    if _exact(operands[0]):
        # What is summed alone is int64 in torch; narrower results wrap where they are cast.
        return call("ops.einsum", text, *(x.astype(DType("int64")) for x in operands))
    return call(mx.einsum, text, *operands)


def _as_product(equation: str, a: Value, b: Value) -> Value | None:
    """The einsum as a product of batches of matrices (as in attention), which later passes know.

    That is: axes in all three, and one of each operand's own, and one that is summed.
    """
    inputs, _, out = equation.partition("->")
    left, _, right = inputs.partition(",")
    if not f"{left}{right}{out}".isalpha() or any(len({*t}) < len(t) for t in (left, right)):
        return None
    shared = [c for c in out if c in left and c in right]
    summed = [c for c in left if c in right and c not in out]
    mine, other = [c for c in left if c not in right], [c for c in right if c not in left]
    one_each = len(summed) == len(mine) == len(other) == 1
    if not shared or not one_each or sorted(out) != sorted([*shared, *mine, *other]):
        return None
    pairs = ((a.dims[left.index(c)], b.dims[right.index(c)]) for c in (*shared, *summed))
    if not all(dims_equal(x, y) for x, y in pairs):
        return None  # an axis of size one counts for all elements of its partner
    if out.index(mine[0]) > out.index(other[0]):
        a, b, left, right, mine, other = b, a, right, left, other, mine
    rows = _reordered(a, left, [*shared, *mine, *summed])
    columns = _reordered(b, right, [*shared, *summed, *other])
    return _reordered(product(rows, columns), [*shared, *mine, *other], out)


def _reordered(x: Value, axes: Sequence[str], wanted: Sequence[str]) -> Value:
    order = [list(axes).index(c) for c in wanted]
    return x if order == sorted(order) else x.transpose(*order)


@lowers("aten.inner")
def inner(self: Value, other: Value) -> Value:
    """inner(Tensor self, Tensor other) -> Tensor"""
    if self.ndim == 0 or other.ndim == 0:
        return self * other
    axes = tuple(range(other.ndim))
    turned = other if other.ndim == 1 else other.transpose(*axes[:-2], axes[-1], axes[-2])
    if other.ndim <= 2:
        return product(self, turned)
    if _exact(self):
        return _tensordot_exact(self, other, (self.ndim - 1,), (other.ndim - 1,))
    return call(mx.inner, self, other)


@lowers("aten.tensordot")
def tensordot(
    self: Value, other: Value, dims_self: tuple[int, ...], dims_other: tuple[int, ...]
) -> Value:
    """tensordot(Tensor self, Tensor other, int[] dims_self, int[] dims_other) -> Tensor"""
    pairs = list(zip(dims_self, dims_other, strict=True))
    # An axis of size one counts for all elements of its partner.
    self_only = tuple(a for a, b in pairs if _one(other, b) and not _one(self, a))
    other_only = tuple(b for a, b in pairs if _one(self, a) and not _one(other, b))
    a = _summed(self, axis=self_only, keepdims=True) if self_only else self
    b = _summed(other, axis=other_only, keepdims=True) if other_only else other
    if _exact(a):
        return _tensordot_exact(a, b, dims_self, dims_other)
    return call(mx.tensordot, a, b, (tuple(dims_self), tuple(dims_other)))


def _exact(x: Value) -> bool:
    """Whether products of such arrays are those of integers, which MLX's own do not take."""
    return not is_float(x) and not is_complex(x)


def _tensordot_exact(a: Value, b: Value, dims_a: tuple[int, ...], dims_b: tuple[int, ...]) -> Value:
    """``tensordot`` as one product of matrices."""
    summed_a, summed_b = [d % a.ndim for d in dims_a], [d % b.ndim for d in dims_b]
    own_a = [d for d in range(a.ndim) if d not in summed_a]
    own_b = [d for d in range(b.ndim) if d not in summed_b]
    shared = size_of(a.dims[d] for d in summed_a)
    left = a.transpose(*own_a, *summed_a).reshape(size_of(a.dims[d] for d in own_a), shared)
    right = b.transpose(*summed_b, *own_b).reshape(shared, size_of(b.dims[d] for d in own_b))
    return product(left, right).reshape(*(a.dims[d] for d in own_a), *(b.dims[d] for d in own_b))


def _one(x: Value, axis: int) -> bool:
    return is_static(x.dims[axis]) and int(x.dims[axis]) == 1


@lowers("aten.kron")
def kron(self: Value, other: Value) -> Value:
    """kron(Tensor self, Tensor other) -> Tensor"""
    return call(mx.kron, *align(self, other))
