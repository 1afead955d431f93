"""Solvers of complex matrices, which MLX has for real ones only."""

from __future__ import annotations

import mlx.core as mx

from pytorch_to_mlx.ops.linalg import adjoint, inv, lu_unpack, solve_columns


def real_blocks(x: mx.array) -> mx.array:
    """The real matrix [..., 2n, 2m] that acts on real parts above imaginary ones as ``x`` does."""
    real, imaginary = mx.real(x), mx.imag(x)
    upper = mx.concatenate([real, -imaginary], axis=-1)
    return mx.concatenate([upper, mx.concatenate([imaginary, real], axis=-1)], axis=-2)


def upper_and_lower(x: mx.array) -> mx.array:
    """Complex [..., n, k] whose real parts are the upper half of ``x`` [..., 2n, k]."""
    half = x.shape[-2] // 2
    return x[..., :half, :] + 1j * x[..., half:, :]


def inv_complex(x: mx.array) -> mx.array:
    """``torch.linalg.inv`` of complex [..., n, n]."""
    return upper_and_lower(inv(real_blocks(x))[..., : x.shape[-1]])


def solve_columns_complex(a: mx.array, b: mx.array) -> mx.array:
    """``a @ x = b`` for complex [..., n, n] and [..., n, k], batches broadcast."""
    sides = mx.concatenate([mx.real(b), mx.imag(b)], axis=-2)
    return upper_and_lower(solve_columns(real_blocks(a), sides))


def solve_complex(a: mx.array, b: mx.array, left: bool = True) -> mx.array:
    """``torch.linalg.solve`` of complex matrices, or a batch of vectors where shapes say so."""
    vector = b.ndim == 1 or (a.ndim - 1 == b.ndim and a.shape[:-1] == b.shape)
    right = mx.expand_dims(b, -1) if vector else b
    if not left:
        turned = solve_columns_complex(mx.swapaxes(a, -1, -2), mx.swapaxes(right, -1, -2))
        return mx.swapaxes(turned, -1, -2)
    x = solve_columns_complex(a, right)
    return x[..., 0] if vector else x


def solve_triangular_complex(
    a: mx.array, b: mx.array, upper: bool, left: bool = True, unitriangular: bool = False
) -> mx.array:
    """``torch.linalg.solve_triangular`` of complex matrices: only that triangle is read."""
    a = mx.triu(a) if upper else mx.tril(a)
    if unitriangular:
        a = mx.where(mx.eye(a.shape[-1]) == 1, 1, a)
    if not left:
        turned = solve_columns_complex(mx.swapaxes(a, -1, -2), mx.swapaxes(b, -1, -2))
        return mx.swapaxes(turned, -1, -2)
    return solve_columns_complex(a, b)


def cholesky_complex(x: mx.array, upper: bool = False) -> mx.array:
    """``torch.linalg.cholesky`` of complex [..., n, n], a column at a time."""
    rest = adjoint(x) if upper else x
    size = x.shape[-1]
    if size == 0:
        return x
    columns = []
    for k in range(size):
        pivot = mx.sqrt(mx.real(rest[..., k, k]))
        below = mx.where(mx.arange(size) >= k, rest[..., :, k], 0) / mx.expand_dims(pivot, -1)
        columns.append(below)
        rest = rest - mx.expand_dims(below, -1) * mx.expand_dims(mx.conj(below), -2)
    lower = mx.stack(columns, axis=-1)
    return adjoint(lower) if upper else lower


def cholesky_product_complex(factor: mx.array, upper: bool = False) -> mx.array:
    """The matrix of a Cholesky factor, of which only that triangle is read."""
    lower = mx.tril(adjoint(factor) if upper else factor)
    return lower @ adjoint(lower)


def cholesky_solve_complex(b: mx.array, factor: mx.array, upper: bool = False) -> mx.array:
    """``torch.cholesky_solve`` of complex matrices."""
    return solve_columns_complex(cholesky_product_complex(factor, upper), b)


def cholesky_inverse_complex(factor: mx.array, upper: bool = False) -> mx.array:
    """``torch.cholesky_inverse`` of complex matrices."""
    return inv_complex(cholesky_product_complex(factor, upper))


def det_complex(x: mx.array) -> mx.array:
    """``torch.linalg.det`` of complex [..., n, n]: the product of the eigenvalues."""
    if x.shape[-1] == 0:
        return mx.ones(x.shape[:-2], dtype=x.dtype)
    return mx.prod(mx.linalg.eigvals(x, stream=mx.cpu), axis=-1)


def slogdet_complex(x: mx.array) -> tuple[mx.array, mx.array]:
    """``torch.linalg.slogdet`` of complex [..., n, n]: a unit, and the log of the size."""
    if x.shape[-1] == 0:
        return mx.ones(x.shape[:-2], dtype=x.dtype), mx.zeros(x.shape[:-2])
    values = mx.linalg.eigvals(x, stream=mx.cpu)
    sizes = mx.abs(values)
    units = mx.where(sizes == 0, 0, values / mx.where(sizes == 0, 1.0, sizes))
    return mx.prod(units, axis=-1), mx.sum(mx.log(sizes), axis=-1)


def logdet_complex(x: mx.array) -> mx.array:
    """``torch.logdet`` of complex [..., n, n]."""
    unit, size = slogdet_complex(x)
    return mx.log(unit) + size


def matrix_power_complex(x: mx.array, n: int) -> mx.array:
    """``torch.linalg.matrix_power`` of complex matrices to a negative power."""
    x = inv_complex(x)
    out = x
    for _ in range(-n - 1):
        out = out @ x
    return out


def lu_factor_complex(x: mx.array) -> tuple[mx.array, mx.array]:
    """``torch.linalg.lu_factor`` of complex [..., m, n], a column at a time.

    The pivot is what LAPACK takes: the largest sum of the sizes of both parts.
    """
    m, n = x.shape[-2:]
    rows, columns = mx.arange(m), mx.arange(n)
    pivots = [mx.zeros((*x.shape[:-2], 0), dtype=mx.int32)]
    for j in range(min(m, n)):
        column = x[..., j]
        size = mx.where(rows < j, -1, mx.abs(mx.real(column)) + mx.abs(mx.imag(column)))
        pivot = mx.argmax(size, axis=-1, keepdims=True).astype(mx.int32)
        pivots.append(pivot + 1)
        order = mx.where(rows == j, pivot, mx.where(rows == pivot, j, rows))
        x = mx.take_along_axis(x, mx.expand_dims(order, -1), axis=-2)
        row, column = x[..., j, :], x[..., j]
        first = row[..., j : j + 1]
        factors = mx.where(rows > j, column / mx.where(first == 0, 1, first), 0)
        rest = x - mx.expand_dims(factors, -1) * mx.expand_dims(mx.where(columns > j, row, 0), -2)
        inside = (columns == j) & (rows > j)[:, None]
        x = mx.where(inside, mx.expand_dims(factors, -1), rest)
    return x, mx.concatenate(pivots, axis=-1)


def lu_complex(x: mx.array) -> tuple[mx.array, mx.array, mx.array]:
    """``torch.linalg.lu`` of complex [..., m, n]: P, L and U with ``x = P @ L @ U``."""
    return lu_unpack(*lu_factor_complex(x))


def lu_solve_complex(
    packed: mx.array, pivots: mx.array, b: mx.array, left: bool = True, adjoint_of: bool = False
) -> mx.array:
    """``torch.linalg.lu_solve`` of complex matrices."""
    p, lower, upper = lu_unpack(packed, pivots)
    a = p @ lower @ upper
    a = adjoint(a) if adjoint_of else a
    if left:
        return solve_columns_complex(a, b)
    return adjoint(solve_columns_complex(adjoint(a), adjoint(b)))
