"""QR, LU, SVD, eigenvalues and least squares."""

from __future__ import annotations

from pytorch_to_mlx.graph.build import call, call_many
from pytorch_to_mlx.graph.ir import Value
from pytorch_to_mlx.graph.rules import broadcast
from pytorch_to_mlx.lower.aten import Unsupported, lowers
from pytorch_to_mlx.lower.aten.creation import filled
from pytorch_to_mlx.lower.aten.linalg import for_dtype, info_codes


def _nothing(like: Value) -> Value:
    """The empty array that torch gives for a result that was not asked for."""
    return filled((0,), 0, str(like.dtype))


@lowers("aten._linalg_svd")
def svd(
    A: Value, full_matrices: bool = False, compute_uv: bool = True, driver: str | None = None
) -> tuple[Value, ...]:
    """_linalg_svd(Tensor A, bool full_matrices=False, bool compute_uv=True, *, ...)
    -> (Tensor U, Tensor S, Tensor Vh)"""
    if not compute_uv:
        empty = _nothing(A)
        return empty, call("ops.svdvals", A), empty
    return call_many("ops.svd_full" if full_matrices else "ops.svd_reduced", 3, A)


@lowers("aten.linalg_eig")
def eig(self: Value) -> tuple[Value, ...]:
    """linalg_eig(Tensor self) -> (Tensor eigenvalues, Tensor eigenvectors)"""
    return call_many("ops.eig", 2, self)


@lowers("aten._linalg_eigvals", "aten.linalg_eigvals")
def eigvals(self: Value) -> Value:
    """linalg_eigvals(Tensor self) -> Tensor"""
    return call("ops.eigvals", self)


@lowers("aten.geqrf.default")
def geqrf(self: Value) -> tuple[Value, ...]:
    """geqrf(Tensor self) -> (Tensor a, Tensor tau)"""
    return call_many("ops.geqrf", 2, self)


@lowers("aten.linalg_qr.default")
def qr(A: Value, mode: str = "reduced") -> tuple[Value, ...]:
    """linalg_qr(Tensor A, str mode="reduced") -> (Tensor Q, Tensor R)"""
    return call_many("ops.qr", 2, A, mode)


@lowers("aten.ormqr")
def ormqr(
    self: Value, input2: Value, input3: Value, left: bool = True, transpose: bool = False
) -> Value:
    """ormqr(Tensor self, Tensor input2, Tensor input3, bool left=True, bool transpose=False)
    -> Tensor"""
    return call("ops.ormqr", self, input2, input3, left, transpose)


def _check_pivot(pivot: bool) -> None:
    if not pivot:
        raise Unsupported("an LU factorisation without pivoting; ask for pivot=True")


@lowers("aten.linalg_lu.default")
def lu(A: Value, pivot: bool = True) -> tuple[Value, ...]:
    """linalg_lu(Tensor A, *, bool pivot=True) -> (Tensor P, Tensor L, Tensor U)"""
    _check_pivot(pivot)
    return call_many(for_dtype("lu", A), 3, A)


@lowers("aten.linalg_lu_factor_ex.default")
def lu_factor_ex(A: Value, pivot: bool = True, check_errors: bool = False) -> tuple[Value, ...]:
    """linalg_lu_factor_ex(Tensor A, *, bool pivot=True, bool check_errors=False)
    -> (Tensor LU, Tensor pivots, Tensor info)"""
    _check_pivot(pivot)
    return *call_many(for_dtype("lu_factor", A), 2, A), info_codes(A)


@lowers("aten.linalg_lu_solve")
def lu_solve(LU: Value, pivots: Value, B: Value, left: bool = True, adjoint: bool = False) -> Value:
    """linalg_lu_solve(Tensor LU, Tensor pivots, Tensor B, *, bool left=True, bool adjoint=False)
    -> Tensor"""
    return call(for_dtype("lu_solve", LU), LU, pivots, B, left, adjoint)


@lowers("aten.lu_unpack.default")
def lu_unpack(
    LU_data: Value, LU_pivots: Value, unpack_data: bool = True, unpack_pivots: bool = True
) -> tuple[Value, ...]:
    """lu_unpack(Tensor LU_data, Tensor LU_pivots, bool unpack_data=True, bool unpack_pivots=True)
    -> (Tensor P, Tensor L, Tensor U)"""
    p, lower, upper = call_many("ops.lu_unpack", 3, LU_data, LU_pivots)
    empty = _nothing(LU_data)
    return (
        p if unpack_pivots else empty,
        lower if unpack_data else empty,
        upper if unpack_data else empty,
    )


@lowers("aten.triangular_solve.default")
def triangular_solve(
    self: Value,
    A: Value,
    upper: bool = True,
    transpose: bool = False,
    unitriangular: bool = False,
) -> tuple[Value, Value]:
    """triangular_solve(Tensor self, Tensor A, bool upper=True, bool transpose=False,
    bool unitriangular=False) -> (Tensor solution, Tensor cloned_coefficient)"""
    matrix, above = A, upper
    if transpose:
        matrix, above = call("mx.swapaxes", A, -1, -2), not upper
    solution = call(for_dtype("solve_triangular", A), matrix, self, above, True, unitriangular)
    batch = broadcast(self.dims[:-2], A.dims[:-2])
    return solution, call("mx.broadcast_to", A, (*batch, *A.dims[-2:]))


@lowers("aten.linalg_lstsq.default", "p2m.lstsq")
def lstsq(
    self: Value, b: Value, rcond: float | None = None, driver: str | None = None
) -> tuple[Value, ...]:
    """linalg_lstsq(Tensor self, Tensor b, float? rcond=None, *, str? driver=None)
    -> (Tensor solution, Tensor residuals, Tensor rank, Tensor singular_values)"""
    return call_many("ops.lstsq", 4, self, b, rcond, driver or "gelsy")


@lowers("aten._linalg_det.default")
def det(A: Value) -> tuple[Value, ...]:
    """_linalg_det(Tensor A) -> (Tensor result, Tensor LU, Tensor pivots)"""
    return call(for_dtype("det", A), A), *call_many(for_dtype("lu_factor", A), 2, A)


@lowers("aten._linalg_slogdet.default")
def slogdet(A: Value) -> tuple[Value, ...]:
    """_linalg_slogdet(Tensor A) -> (Tensor sign, Tensor logabsdet, Tensor LU, Tensor pivots)"""
    return *call_many(for_dtype("slogdet", A), 2, A), *call_many(for_dtype("lu_factor", A), 2, A)


@lowers("aten._linalg_solve_ex.default")
def solve_ex(
    A: Value, B: Value, left: bool = True, check_errors: bool = False
) -> tuple[Value, ...]:
    """_linalg_solve_ex(Tensor A, Tensor B, *, bool left=True, bool check_errors=False)
    -> (Tensor result, Tensor LU, Tensor pivots, Tensor info)"""
    result = call(for_dtype("solve", A), A, B, **({} if left else {"left": False}))
    return result, *call_many(for_dtype("lu_factor", A), 2, A), info_codes(A)
