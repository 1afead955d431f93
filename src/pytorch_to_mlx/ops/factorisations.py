"""Matrix factorisations as LAPACK packs them. Those of MLX run on the CPU stream everywhere."""

from __future__ import annotations

import mlx.core as mx

from pytorch_to_mlx.ops.linalg import (
    adjoint,
    householder_product,
    lu_unpack,
    pinv,
    solve_triangular,
    svdvals,
)


def eig(x: mx.array) -> tuple[mx.array, mx.array]:
    """``torch.linalg.eig`` of [..., n, n]: complex64 values [..., n] and columns of length 1.

    MLX 0.32 gives the conjugates of a complex matrix's eigenvectors: those that fit are taken.
    """
    values, vectors = mx.linalg.eig(x, stream=mx.cpu)
    if x.dtype != mx.complex64:
        return values, vectors
    errors = []
    for candidate in (vectors, mx.conj(vectors)):
        error = x @ candidate - candidate * mx.expand_dims(values, -2)
        errors.append(mx.sum(mx.square(mx.abs(error)), axis=(-2, -1), keepdims=True))
    return values, mx.where(errors[0] <= errors[1], vectors, mx.conj(vectors))


def geqrf(x: mx.array) -> tuple[mx.array, mx.array]:
    """``torch.geqrf``: R above and Householder vectors below the diagonal, and their factors.

    [..., m, n] -> [..., m, n], [..., min(m, n)]; LAPACK's conventions (Golub, Van Loan, 5.2).
    """
    m, n = x.shape[-2:]
    rows = mx.arange(m)
    weights = []
    for i in range(min(m, n)):
        column = x[..., i]
        alpha = column[..., i : i + 1]
        below = mx.where(rows > i, column, mx.zeros_like(column))
        rest = mx.sum(mx.square(mx.abs(below)), axis=-1, keepdims=True)
        real = mx.real(alpha)
        length = mx.sqrt(mx.square(mx.abs(alpha)) + rest)
        beta = mx.where(real > 0, -length, length)
        # Nothing below the diagonal and a real entry on it: no reflection.
        idle = (rest == 0) & (alpha == real)
        safe = mx.where(idle, mx.ones_like(beta), beta)
        tau = mx.where(idle, mx.zeros_like(alpha), (safe - alpha) / safe)
        divisor = mx.where(idle, mx.ones_like(alpha), alpha - safe)
        v = mx.where(rows == i, mx.ones_like(column), below / divisor)
        reflected = (
            mx.conj(tau)[..., None]
            * mx.expand_dims(v, -1)
            @ (mx.conj(mx.expand_dims(v, -2)) @ x[..., i:])
        )
        packed = mx.where(rows > i, v, mx.zeros_like(v))
        right = x[..., i:] - reflected
        first = mx.where(rows[:, None] > i, packed[..., None], right[..., :1])
        x = mx.concatenate([x[..., :i], first, right[..., 1:]], axis=-1)
        weights.append(tau)
    batch = x.shape[:-2]
    tau = mx.concatenate(weights, axis=-1) if weights else mx.zeros((*batch, 0), dtype=x.dtype)
    return x, tau


def square_q(x: mx.array, tau: mx.array) -> mx.array:
    """The whole [..., m, m] orthogonal matrix of packed reflections [..., m, n]."""
    m, n = x.shape[-2:]
    x = x[..., : min(m, n)]
    missing = mx.zeros((*x.shape[:-1], m - x.shape[-1]), dtype=x.dtype)
    return householder_product(mx.concatenate([x, missing], axis=-1), tau)


def qr(x: mx.array, mode: str = "reduced") -> tuple[mx.array, mx.array]:
    """``torch.linalg.qr`` of [..., m, n] by Householder reflections; "r" gives an empty Q."""
    m, n = x.shape[-2:]
    packed, tau = geqrf(x)
    if mode == "complete":
        return square_q(packed, tau), mx.triu(packed)
    k = min(m, n)
    r = mx.triu(packed[..., :k, :])
    if mode == "r":
        return mx.zeros((0,), dtype=x.dtype), r
    return householder_product(packed[..., :k], tau), r


def ormqr(
    x: mx.array, tau: mx.array, other: mx.array, left: bool = True, transpose: bool = False
) -> mx.array:
    """``torch.ormqr``: ``Q @ other`` (``other @ Q`` if not ``left``), Q of packed reflections."""
    q = square_q(x, tau)
    q = adjoint(q) if transpose else q
    return q @ other if left else other @ q


def svd_full(x: mx.array) -> tuple[mx.array, mx.array, mx.array]:
    """``torch.linalg.svd``: U [..., m, m], S [..., min(m, n)], Vh [..., n, n]."""
    return mx.linalg.svd(x, stream=mx.cpu)


def lu_factor(x: mx.array) -> tuple[mx.array, mx.array]:
    """``torch.linalg.lu_factor`` of [..., m, n]: packed L and U, int32 pivots counted from 1."""
    if x.size == 0:
        return x, mx.zeros((*x.shape[:-2], min(x.shape[-2:])), dtype=mx.int32)
    packed, pivots = mx.linalg.lu_factor(x, stream=mx.cpu)
    return packed, pivots.astype(mx.int32) + 1


def lu(x: mx.array) -> tuple[mx.array, mx.array, mx.array]:
    """``torch.linalg.lu`` of [..., m, n]: P, L and U with ``x = P @ L @ U``."""
    return lu_unpack(*lu_factor(x))


def lu_solve(
    packed: mx.array, pivots: mx.array, b: mx.array, left: bool = True, adjoint_of: bool = False
) -> mx.array:
    """``torch.linalg.lu_solve``: ``A @ x = b`` (``x @ A = b`` if not ``left``) from A's factors.

    ``adjoint_of`` takes the conjugate transpose of A for A.
    """
    if not left:
        return adjoint(lu_solve(packed, pivots, adjoint(b), adjoint_of=not adjoint_of))
    p, lower, upper = lu_unpack(packed, pivots)
    if adjoint_of:
        half = solve_triangular(adjoint(upper), b, upper=False)
        return p @ solve_triangular(adjoint(lower), half, upper=True, unitriangular=True)
    half = solve_triangular(lower, mx.swapaxes(p, -1, -2) @ b, upper=False, unitriangular=True)
    return solve_triangular(upper, half, upper=True)


def lstsq(
    a: mx.array, b: mx.array, rtol: float | None = None, driver: str = "gelsy"
) -> tuple[mx.array, mx.array, mx.array, mx.array]:
    """``torch.linalg.lstsq``: solution, residuals, int64 rank, singular values.

    Residuals only where ``m > n`` and every matrix has full rank (which is evaluated) and never for
    "gelsy", the rank not
    for the driver "gels", singular values for "gelsd" and "gelss" only; what is left out is empty.
    """
    m, n = a.shape[-2:]
    vector = a.ndim - 1 == b.ndim and a.shape[:-1] == b.shape
    right = mx.expand_dims(b, -1) if vector else b
    cut = max(m, n) * mx.finfo(a.dtype).eps if rtol is None else rtol
    values = svdvals(a)
    solution = pinv(a, cut) @ right
    rank = mx.sum((values > values[..., :1] * cut).astype(mx.int64), axis=-1)
    residuals = mx.zeros((0,), dtype=values.dtype)
    if m > n and (driver == "gels" or (driver != "gelsy" and bool(mx.all(rank == n)))):
        residuals = mx.sum(mx.square(mx.abs(a @ solution - right)), axis=-2)
    if driver == "gels":
        rank = mx.zeros((0,), dtype=mx.int64)
    if driver not in ("gelsd", "gelss"):
        values = mx.zeros((0,), dtype=values.dtype)
    return solution[..., 0] if vector else solution, residuals, rank, values
