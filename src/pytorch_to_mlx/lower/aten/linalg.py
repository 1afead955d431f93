"""Matrices: triangles, diagonals, norms, factorisations and solvers."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph.build import call, call_many
from pytorch_to_mlx.graph.dims import Dim
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.ir import Value
from pytorch_to_mlx.lower._precision import in_single
from pytorch_to_mlx.lower.aten import lowers
from pytorch_to_mlx.lower.aten._common import (
    align,
    axes_of,
    is_complex,
    is_float,
    reduction,
)
from pytorch_to_mlx.lower.aten.creation import filled


def for_dtype(name: str, x: Value) -> str:
    """The function of ``ops`` for the dtype: MLX's own solvers take real matrices only."""
    return f"ops.{name}_complex" if is_complex(x) else f"ops.{name}"


def info_codes(x: Value) -> Value:
    """The error codes of a factorisation, all zero: MLX raises where LAPACK reports a failure."""
    return filled(x.dims[:-2], 0, "int32")


@lowers("aten.tril", "aten.tril_copy")
def tril(self: Value, diagonal: Dim = 0) -> Value:
    """tril(Tensor self, SymInt diagonal=0) -> Tensor"""
    return call(mx.tril, self, **({"k": diagonal} if diagonal != 0 else {}))


@lowers("aten.triu", "aten.triu_copy")
def triu(self: Value, diagonal: Dim = 0) -> Value:
    """triu(Tensor self, SymInt diagonal=0) -> Tensor"""
    return call(mx.triu, self, **({"k": diagonal} if diagonal != 0 else {}))


@lowers("aten.diagonal", "aten.diagonal_copy", "aten.linalg_diagonal")
def diagonal(self: Value, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Value:
    """diagonal(Tensor(a) self, int offset=0, int dim1=0, int dim2=1) -> Tensor(a)"""
    return call(mx.diagonal, self, offset, dim1, dim2)


@lowers("aten.diag_embed")
def diag_embed(self: Value, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Value:
    """diag_embed(Tensor self, int offset=0, int dim1=-2, int dim2=-1) -> Tensor"""
    return call("ops.diag_embed", self, offset, dim1, dim2)


@lowers("aten.diag")
def diag(self: Value, diagonal: int = 0) -> Value:
    """diag(Tensor self, int diagonal=0) -> Tensor"""
    return call(mx.diag, self, k=diagonal)


@lowers("aten.trace")
def trace(self: Value) -> Value:
    """trace(Tensor self) -> Tensor"""
    return call("ops.trace", self)


@lowers("aten.rot90")
def rot90(self: Value, k: int = 1, dims: tuple[int, int] = (0, 1)) -> Value:
    """rot90(Tensor self, int k=1, int[] dims=[0, 1]) -> Tensor"""
    return call("ops.rot90", self, k, tuple(dims))


@lowers("aten.unfold", "aten.unfold_copy")
def unfold(self: Value, dimension: int, size: int, step: int) -> Value:
    """unfold(Tensor(a) self, int dimension, int size, int step) -> Tensor(a)"""
    return call("ops.unfold_dim", self, dimension, size, step)


@lowers("aten.block_diag")
def block_diag(tensors: tuple[Value, ...]) -> Value:
    """block_diag(Tensor[] tensors) -> Tensor"""
    return call("ops.block_diag", align(*tensors))


@lowers("aten.meshgrid.default")
def meshgrid(tensors: tuple[Value, ...]) -> Any:
    """meshgrid(Tensor[] tensors) -> Tensor[]"""
    return meshgrid_indexing(tensors, "ij")


@lowers("aten.meshgrid.indexing")
def meshgrid_indexing(tensors: tuple[Value, ...], indexing: str) -> Any:
    """meshgrid.indexing(Tensor[] tensors, *, str indexing) -> Tensor[]"""
    if len(tensors) == 1:
        (only,) = tensors
        return (only if only.ndim else only.reshape(1),)
    return call("mx.meshgrid", *tensors, indexing=indexing)


@lowers("aten.repeat_interleave.self_Tensor")
def repeat_interleave(
    self: Value, repeats: Value, dim: int | None = None, output_size: Dim | None = None
) -> Value:
    """repeat_interleave.self_Tensor(Tensor self, Tensor repeats, int? dim=None, *,
    SymInt? output_size=None) -> Tensor"""
    return call("ops.repeat_interleave", self, repeats, dim, output_size)


@lowers("aten.repeat_interleave.Tensor")
def repeat_indices(repeats: Value, output_size: Dim | None = None) -> Value:
    """repeat_interleave.Tensor(Tensor repeats, *, SymInt? output_size=None) -> Tensor"""
    return call("ops.repeat_indices", repeats, output_size)


@lowers("aten.linalg_vander")
def linalg_vander(x: Value, N: Dim | None = None) -> Value:
    """linalg_vander(Tensor x, *, SymInt? N=None) -> Tensor"""
    rows = x if x.ndim else x.reshape(1)
    return call("ops.vander", rows, rows.dims[-1] if N is None else N, True)


@lowers("aten.vander")
def vander(x: Value, N: Dim | None = None, increasing: bool = False) -> Value:
    """vander(Tensor x, int? N=None, bool increasing=False) -> Tensor"""
    return call("ops.vander", x, N, increasing)


@lowers("aten.cartesian_prod")
def cartesian_prod(tensors: tuple[Value, ...]) -> Value:
    """cartesian_prod(Tensor[] tensors) -> Tensor"""
    return call("ops.cartesian_prod", tensors)


# -- norms ---------------------------------------------------------------------------------------


@lowers("aten.linalg_vector_norm")
def vector_norm(
    self: Value, ord: Any = 2, dim: Any = None, keepdim: bool = False, dtype: str | None = None
) -> Value:
    """linalg_vector_norm(Tensor self, Scalar ord=2, int[1]? dim=None, bool keepdim=False, *,
    ScalarType? dtype=None) -> Tensor"""
    x = self if dtype is None else self.astype(DType(dtype))
    how = reduction(axes_of(dim, x.ndim), keepdim)
    if ord == 2 and is_float(x):
        return in_single(x, lambda v: call(mx.sqrt, call(mx.sum, call(mx.square, v), **how)))
    return call("ops.vector_norm", x, float(ord), **how)


@lowers("aten.norm.Scalar", "aten.norm.ScalarOpt_dim", "aten.norm.ScalarOpt_dim_dtype")
def norm(
    self: Value, p: Any = 2, dim: Any = None, keepdim: bool = False, dtype: str | None = None
) -> Value:
    """norm.ScalarOpt_dim(Tensor self, Scalar? p, int[1] dim, bool keepdim=False) -> Tensor"""
    return vector_norm(self, 2 if p is None else p, dim, keepdim, dtype)


@lowers("aten.norm.ScalarOpt_dtype")
def norm_dtype(self: Value, p: Any, dtype: str) -> Value:
    """norm.ScalarOpt_dtype(Tensor self, Scalar? p, *, ScalarType dtype) -> Tensor"""
    return norm(self, p, dtype=dtype)


@lowers("aten.dist")
def dist(self: Value, other: Value, p: Any = 2) -> Value:
    """dist(Tensor self, Tensor other, Scalar p=2) -> Tensor"""
    a, b = align(self, other)
    return vector_norm(a - b, p)


@lowers("aten.renorm")
def renorm(self: Value, p: Any, dim: int, maxnorm: Any) -> Value:
    """renorm(Tensor self, Scalar p, int dim, Scalar maxnorm) -> Tensor"""
    return call("ops.renorm", self, float(p), dim, float(maxnorm))


@lowers("aten.linalg_cross")
def cross(self: Value, other: Value, dim: int = -1) -> Value:
    """linalg_cross(Tensor self, Tensor other, *, int dim=-1) -> Tensor"""
    return call("ops.cross", *align(self, other), dim)


@lowers("aten.linalg_vecdot")
def vecdot(x: Value, y: Value, dim: int = -1) -> Value:
    """linalg_vecdot(Tensor x, Tensor y, *, int dim=-1) -> Tensor"""
    return call("ops.vecdot", *align(x, y), dim)


# -- factorisations and solvers ------------------------------------------------------------------


@lowers("aten.linalg_inv_ex")
def inv_ex(A: Value, check_errors: bool = False) -> tuple[Value, Value]:
    """linalg_inv_ex(Tensor A, *, bool check_errors=False) -> (Tensor inverse, Tensor info)"""
    return call(for_dtype("inv", A), A), info_codes(A)


@lowers("aten.linalg_inv", "aten.inverse")
def inv(A: Value) -> Value:
    """linalg_inv(Tensor A) -> Tensor"""
    return call(for_dtype("inv", A), A)


@lowers("aten.linalg_pinv.atol_rtol_float", "aten.linalg_pinv.atol_rtol_tensor")
def pinv(self: Value, atol: Any = None, rtol: Any = None, hermitian: bool = False) -> Value:
    """linalg_pinv.atol_rtol_float(Tensor self, *, float? atol=None, float? rtol=None,
    bool hermitian=False) -> Tensor"""
    if hermitian:  # only the lower triangle is read
        below = call(mx.tril, self, k=-1)
        above = call(mx.swapaxes, below, -1, -2)
        if is_complex(self):  # and of the diagonal only the real parts
            diagonal = call(mx.triu, call(mx.tril, call(mx.real, self)))
            self = below + call(mx.conj, above) + diagonal
        else:
            self = call(mx.tril, self) + above
    return call("ops.pinv", self, rtol, 0.0 if atol is None else atol)


@lowers("aten.linalg_det", "aten.det")
def det(A: Value) -> Value:
    """linalg_det(Tensor A) -> Tensor"""
    return call(for_dtype("det", A), A)


@lowers("aten.linalg_slogdet", "aten.slogdet")
def slogdet(A: Value) -> tuple[Value, ...]:
    """linalg_slogdet(Tensor A) -> (Tensor sign, Tensor logabsdet)"""
    return call_many(for_dtype("slogdet", A), 2, A)


@lowers("aten.logdet")
def logdet(self: Value) -> Value:
    """logdet(Tensor self) -> Tensor"""
    return call(for_dtype("logdet", self), self)


@lowers("aten.linalg_solve")
def solve(A: Value, B: Value, left: bool = True) -> Value:
    """linalg_solve(Tensor A, Tensor B, *, bool left=True) -> Tensor"""
    return call(for_dtype("solve", A), A, B, **({} if left else {"left": False}))


@lowers("aten.linalg_solve_ex")
def solve_ex(
    A: Value, B: Value, left: bool = True, check_errors: bool = False
) -> tuple[Value, Value]:
    """linalg_solve_ex(Tensor A, Tensor B, *, bool left=True, bool check_errors=False)
    -> (Tensor result, Tensor info)"""
    return solve(A, B, left), info_codes(A)


@lowers("aten.linalg_solve_triangular")
def solve_triangular(
    self: Value, B: Value, upper: bool, left: bool = True, unitriangular: bool = False
) -> Value:
    """linalg_solve_triangular(Tensor self, Tensor B, *, bool upper, bool left=True,
    bool unitriangular=False) -> Tensor"""
    return call(for_dtype("solve_triangular", self), self, B, upper, left, unitriangular)


@lowers("aten.linalg_cholesky_ex")
def cholesky_ex(
    self: Value, upper: bool = False, check_errors: bool = False
) -> tuple[Value, Value]:
    """linalg_cholesky_ex(Tensor self, *, bool upper=False, bool check_errors=False)
    -> (Tensor L, Tensor info)"""
    return cholesky(self, upper), info_codes(self)


@lowers("aten.linalg_cholesky", "aten.cholesky")
def cholesky(self: Value, upper: bool = False) -> Value:
    """linalg_cholesky(Tensor self, *, bool upper=False) -> Tensor"""
    return call(for_dtype("cholesky", self), self, **({"upper": True} if upper else {}))


@lowers("aten.cholesky_solve")
def cholesky_solve(self: Value, input2: Value, upper: bool = False) -> Value:
    """cholesky_solve(Tensor self, Tensor input2, bool upper=False) -> Tensor"""
    return call(for_dtype("cholesky_solve", self), self, input2, upper)


@lowers("aten.cholesky_inverse")
def cholesky_inverse(self: Value, upper: bool = False) -> Value:
    """cholesky_inverse(Tensor self, bool upper=False) -> Tensor"""
    return call(for_dtype("cholesky_inverse", self), self, upper)


@lowers("aten.linalg_eigh", "aten._linalg_eigh")
def eigh(self: Value, UPLO: str = "L", compute_v: bool = True) -> tuple[Value, ...]:
    """linalg_eigh(Tensor self, str UPLO="L") -> (Tensor eigenvalues, Tensor eigenvectors)"""
    values, vectors = call_many("ops.eigh", 2, self, UPLO)
    return values, vectors if compute_v else filled((0,), 0, str(self.dtype))


@lowers("aten.linalg_matrix_exp", "aten.matrix_exp")
def matrix_exp(self: Value) -> Value:
    """linalg_matrix_exp(Tensor self) -> Tensor"""
    return call("ops.matrix_exp", self)


@lowers("aten.linalg_matrix_power", "aten.matrix_power")
def matrix_power(self: Value, n: int) -> Value:
    """linalg_matrix_power(Tensor self, int n) -> Tensor"""
    return call(for_dtype("matrix_power", self) if n < 0 else "ops.matrix_power", self, n)


@lowers("aten.linalg_householder_product")
def householder_product(input: Value, tau: Value) -> Value:
    """linalg_householder_product(Tensor input, Tensor tau) -> Tensor"""
    return call("ops.householder_product", input, tau)
