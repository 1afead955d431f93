"""Linear algebra that MLX lacks or restricts. Factorisations run on the CPU stream everywhere."""

from __future__ import annotations

import math

import mlx.core as mx

from pytorch_to_mlx.ops.reductions import vector_norm


def matmul(x: mx.array, y: mx.array) -> mx.array:
    """``torch.matmul``, of integers too (MLX multiplies matrices of floats only)."""
    if mx.issubdtype(x.dtype, mx.inexact):
        return x @ y
    left = mx.expand_dims(x, 0) if x.ndim == 1 else x
    right = mx.expand_dims(y, 1) if y.ndim == 1 else y
    # [.., n, k, 1] * [.., 1, k, m] summed over k, in the integers' own dtype.
    product = mx.expand_dims(left, -1) * mx.expand_dims(right, -3)
    total = mx.sum(product, axis=-2).astype(x.dtype)
    total = total[..., 0, :] if x.ndim == 1 else total
    return total[..., 0] if y.ndim == 1 else total


def einsum(equation: str, *operands: mx.array) -> mx.array:
    """``torch.einsum``, of integers too: those are multiplied and summed as they are, so that they
    wrap in their dtype.
    """
    if mx.issubdtype(operands[0].dtype, mx.inexact):
        return mx.einsum(equation, *operands)
    inputs, arrow, out = equation.replace(" ", "").replace("...", ".").partition("->")
    terms = inputs.split(",")
    # The axes of "..." are named by digits, the last ones in operands that have fewer.
    free = [x.ndim - len(t.replace(".", "")) for t, x in zip(terms, operands, strict=True)]
    digits = "0123456789"[: max(free)]
    if not arrow:
        out = "." + "".join(c for c in sorted(set(inputs) - {",", "."}) if inputs.count(c) == 1)
    out = out.replace(".", digits)
    letters = out + "".join(sorted((set(inputs) | set(digits)) - set(out) - {",", "."}))
    total = mx.array(1, dtype=operands[0].dtype)
    for term, n, x in zip(terms, free, operands, strict=True):
        term = term.replace(".", digits[len(digits) - n :])
        for c in sorted(set(term)):
            while term.count(c) > 1:
                first, second = term.index(c), term.rindex(c)
                x = mx.diagonal(x, axis1=first, axis2=second)
                term = term[:first] + term[first + 1 : second] + term[second + 1 :] + c
        x = x.transpose([term.index(c) for c in letters if c in term])
        places = [i for i, c in enumerate(letters) if c not in term]
        total = total * mx.expand_dims(x, places)
    summed = tuple(range(len(out), len(letters)))
    return mx.sum(total, axis=summed).astype(operands[0].dtype) if summed else total


def addmm(c: mx.array, a: mx.array, b: mx.array, beta: float = 1.0, alpha: float = 1.0) -> mx.array:
    """``torch.addmm`` and ``baddbmm``: ``beta * c + alpha * a @ b``; with beta 0, c is ignored."""
    product = matmul(a, b)
    if alpha != 1:
        product = product * alpha
    if beta == 0:
        return product
    return product + (c if beta == 1 else c * beta)


def vecdot(x: mx.array, y: mx.array, axis: int = -1) -> mx.array:
    """``torch.linalg.vecdot``: sum of ``conj(x) * y`` along ``axis``."""
    return mx.sum((mx.conj(x) if x.dtype == mx.complex64 else x) * y, axis=axis)


def cross(x: mx.array, y: mx.array, axis: int = -1) -> mx.array:
    """``torch.linalg.cross`` of 3-vectors along ``axis``; the other axes broadcast."""
    x, y = mx.broadcast_arrays(x, y)
    x, y = mx.moveaxis(x, axis, 0), mx.moveaxis(y, axis, 0)
    parts = [
        x[1] * y[2] - x[2] * y[1],
        x[2] * y[0] - x[0] * y[2],
        x[0] * y[1] - x[1] * y[0],
    ]
    return mx.moveaxis(mx.stack(parts), 0, axis)


def multi_dot(matrices: list[mx.array]) -> mx.array:
    """``torch.linalg.multi_dot``: product of a chain, in the cheapest order."""
    count = len(matrices)
    first = matrices[0][None] if matrices[0].ndim == 1 else matrices[0]
    last = matrices[-1][:, None] if matrices[-1].ndim == 1 else matrices[-1]
    chain = [first, *matrices[1:-1], last]
    sizes = [m.shape[0] for m in chain] + [chain[-1].shape[1]]
    cost = [[0] * count for _ in range(count)]
    split = [[0] * count for _ in range(count)]
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            options = [
                (cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            ]
            cost[i][j], split[i][j] = min(options)
    product = chain_product(chain, split, 0, count - 1)
    product = product[0] if matrices[0].ndim == 1 else product
    return product[..., 0] if matrices[-1].ndim == 1 else product


def chain_product(chain: list[mx.array], split: list[list[int]], i: int, j: int) -> mx.array:
    """Product of ``chain[i..j]``, parted where ``split`` says."""
    if i == j:
        return chain[i]
    k = split[i][j]
    return chain_product(chain, split, i, k) @ chain_product(chain, split, k + 1, j)


def matrix_power(x: mx.array, n: int) -> mx.array:
    """``torch.linalg.matrix_power`` of [..., n, n], by squaring; negative powers invert."""
    if n < 0:
        x, n = mx.linalg.inv(x, stream=mx.cpu), -n
    result = mx.broadcast_to(mx.eye(x.shape[-1], dtype=x.dtype), x.shape)
    while n:
        if n % 2:
            result = result @ x
        x, n = x @ x, n // 2
    return result


def matrix_exp(x: mx.array) -> mx.array:
    """``torch.linalg.matrix_exp`` of [..., n, n]: Taylor, after scaling by a fixed 2**-s.

    ``s`` follows from the largest norm of the batch, which is evaluated.
    """
    if x.size == 0:
        return x
    norm = float(mx.max(mx.sum(mx.abs(x), axis=-2)))
    squarings = max(0, math.ceil(math.log2(norm)) + 1) if norm > 0 else 0
    x = x / 2**squarings
    term = mx.broadcast_to(mx.eye(x.shape[-1], dtype=x.dtype), x.shape)
    total = term
    for k in range(1, 13):  # 0.5**13 / 13! is far below float32's epsilon
        term = term @ x / k
        total = total + term
    for _ in range(squarings):
        total = total @ total
    return total


def det(x: mx.array) -> mx.array:
    """``torch.linalg.det`` of [..., n, n]."""
    return mx.linalg.det(x, stream=mx.cpu)


def slogdet(x: mx.array) -> tuple[mx.array, mx.array]:
    """``torch.linalg.slogdet`` of [..., n, n]: sign and log of the absolute determinant."""
    return mx.linalg.slogdet(x, stream=mx.cpu)


def logdet(x: mx.array) -> mx.array:
    """``torch.logdet`` of [..., n, n]: NaN where the determinant is negative."""
    sign, size = slogdet(x)
    return mx.where(sign < 0, mx.nan, size)


def adjoint(x: mx.array) -> mx.array:
    """``torch.Tensor.mH``: the conjugate transpose of the last two axes."""
    return mx.conj(mx.swapaxes(x, -1, -2))


def inv(x: mx.array) -> mx.array:
    """``torch.linalg.inv`` of [..., n, n]."""
    if x.size == 0:  # LAPACK's wrapper divides by the size
        return x
    return mx.linalg.inv(x, stream=mx.cpu)


def solve(a: mx.array, b: mx.array, left: bool = True) -> mx.array:
    """``torch.linalg.solve``: ``x`` with ``a @ x = b`` (``x @ a = b`` if not ``left``).

    ``b`` is [..., n, k], or a batch of vectors [..., n] where its shape says so, as in torch.
    """
    vector = b.ndim == 1 or (a.ndim - 1 == b.ndim and a.shape[:-1] == b.shape)
    right = mx.expand_dims(b, -1) if vector else b
    if not left:
        return mx.swapaxes(
            solve_columns(mx.swapaxes(a, -1, -2), mx.swapaxes(right, -1, -2)), -1, -2
        )
    x = solve_columns(a, right)
    return x[..., 0] if vector else x


def solve_columns(a: mx.array, b: mx.array) -> mx.array:
    """``a @ x = b`` for [..., n, n] and [..., n, k], batches broadcast."""
    batch = mx.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a = mx.broadcast_to(a, tuple(batch) + a.shape[-2:])
    b = mx.broadcast_to(b, tuple(batch) + b.shape[-2:])
    if b.size == 0:
        return b
    return mx.linalg.solve(a, b, stream=mx.cpu)


def solve_triangular(
    a: mx.array, b: mx.array, upper: bool, left: bool = True, unitriangular: bool = False
) -> mx.array:
    """``torch.linalg.solve_triangular``: only the named triangle of ``a`` is read."""
    a = mx.triu(a) if upper else mx.tril(a)
    if unitriangular:
        eye = mx.eye(a.shape[-1], dtype=a.dtype)
        a = a * (1 - eye) + eye
    if not left:
        x = solve_triangular(mx.swapaxes(a, -1, -2), mx.swapaxes(b, -1, -2), not upper)
        return mx.swapaxes(x, -1, -2)
    batch = tuple(mx.broadcast_shapes(a.shape[:-2], b.shape[:-2]))
    a = mx.broadcast_to(a, batch + a.shape[-2:])
    b = mx.broadcast_to(b, batch + b.shape[-2:])
    if b.size == 0:
        return b
    return mx.linalg.solve_triangular(a, b, upper=upper, stream=mx.cpu)


def cholesky(x: mx.array, upper: bool = False) -> mx.array:
    """``torch.linalg.cholesky`` of [..., n, n]."""
    return mx.linalg.cholesky(x, upper=upper, stream=mx.cpu)


def cholesky_solve(b: mx.array, factor: mx.array, upper: bool = False) -> mx.array:
    """``torch.cholesky_solve``: ``A x = b`` from the Cholesky factor of ``A``."""
    lower = adjoint(factor) if upper else factor
    half = solve_triangular(lower, b, upper=False)
    return solve_triangular(adjoint(lower), half, upper=True)


def cholesky_inverse(factor: mx.array, upper: bool = False) -> mx.array:
    """``torch.cholesky_inverse``: inverse of ``A`` from its Cholesky factor."""
    eye = mx.broadcast_to(mx.eye(factor.shape[-1], dtype=factor.dtype), factor.shape)
    return cholesky_solve(eye, factor, upper)


def svd_reduced(x: mx.array) -> tuple[mx.array, mx.array, mx.array]:
    """``torch.linalg.svd(full_matrices=False)``: U [..., m, k], S [..., k], Vh [..., k, n]."""
    u, s, vh = mx.linalg.svd(x, stream=mx.cpu)
    k = s.shape[-1]
    return u[..., :k], s, vh[..., :k, :]


def svdvals(x: mx.array) -> mx.array:
    """``torch.linalg.svdvals``: singular values [..., k], falling."""
    return svd_reduced(x)[1]


def pinv(x: mx.array, rtol: float | None = None, atol: float = 0.0) -> mx.array:
    """``torch.linalg.pinv``: singular values up to ``max(atol, rtol * largest)`` count as zero."""
    u, s, vh = svd_reduced(x)
    if rtol is None:
        rtol = max(x.shape[-2:]) * mx.finfo(s.dtype).eps if atol == 0 else 0.0
    cut = mx.maximum(s[..., :1] * rtol, atol)
    inverse = mx.where(s > cut, 1 / mx.where(s > cut, s, 1.0), 0.0)
    v, uh = mx.conj(mx.swapaxes(vh, -1, -2)), mx.conj(mx.swapaxes(u, -1, -2))
    return (v * mx.expand_dims(inverse, -2)) @ uh


def matrix_rank(x: mx.array, rtol: float | None = None, atol: float = 0.0) -> mx.array:
    """``torch.linalg.matrix_rank``: int64 count of singular values above the tolerance."""
    s = svdvals(x)
    if rtol is None:
        rtol = max(x.shape[-2:]) * mx.finfo(s.dtype).eps if atol == 0 else 0.0
    cut = mx.maximum(s[..., :1] * rtol, atol)
    return mx.sum((s > cut).astype(mx.int64), axis=-1)


def matrix_norm(x: mx.array, ord: float | str = "fro", keepdims: bool = False) -> mx.array:
    """``torch.linalg.matrix_norm`` over the last two axes: "fro", "nuc", ±1, ±2, ±inf."""
    if ord == "fro":
        return vector_norm(x, 2, (-2, -1), keepdims)
    if ord in ("nuc", 2, -2):
        s = svdvals(x)
        value = mx.sum(s, -1) if ord == "nuc" else mx.max(s, -1) if ord == 2 else mx.min(s, -1)
    else:
        sums = mx.sum(mx.abs(x), axis=-2 if ord in (1, -1) else -1)
        value = mx.max(sums, -1) if float(ord) > 0 else mx.min(sums, -1)
    return mx.expand_dims(value, (-2, -1)) if keepdims else value


def cond(x: mx.array, p: float | str | None = None) -> mx.array:
    """``torch.linalg.cond``: norm times the inverse's norm (2 by default)."""
    if p is None or p in (2, -2):
        s = svdvals(x)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    return matrix_norm(x, p) * matrix_norm(inv(x), p)


def householder_product(x: mx.array, tau: mx.array) -> mx.array:
    """``torch.linalg.householder_product``: first columns of the product of reflections."""
    m, n = x.shape[-2:]
    q = mx.broadcast_to(mx.eye(m, n, dtype=x.dtype), x.shape)
    rows = mx.arange(m)
    for i in range(tau.shape[-1] - 1, -1, -1):
        v = mx.where(rows > i, x[..., i], (rows == i).astype(x.dtype))
        weight = tau[..., i, None, None]
        q = q - weight * mx.expand_dims(v, -1) @ (mx.conj(mx.expand_dims(v, -2)) @ q)
    return q


def lu_unpack(lu: mx.array, pivots: mx.array) -> tuple[mx.array, mx.array, mx.array]:
    """``torch.lu_unpack``: P, L, U from the packed factors and LAPACK's pivots (from 1)."""
    m, n = lu.shape[-2:]
    k = min(m, n)
    lower = mx.tril(lu[..., :k], -1) + mx.eye(m, k, dtype=lu.dtype)
    upper = mx.triu(lu[..., :k, :])
    order = mx.broadcast_to(mx.arange(m), lu.shape[:-2] + (m,))
    for i in range(pivots.shape[-1]):  # row i was swapped with row pivots[i] - 1
        other = pivots[..., i : i + 1].astype(mx.int32) - 1
        here, there = order[..., i : i + 1], mx.take_along_axis(order, other, axis=-1)
        places = mx.arange(m)
        order = mx.where(places == i, there, mx.where(places == other, here, order))
    permutation = (mx.expand_dims(order, -2) == mx.arange(m)[:, None]).astype(lu.dtype)
    return permutation, lower, upper


def eigvals(x: mx.array) -> mx.array:
    """``torch.linalg.eigvals``: complex64 [..., n], in no particular order."""
    return mx.linalg.eigvals(x, stream=mx.cpu)


def eigh(x: mx.array, uplo: str = "L") -> tuple[mx.array, mx.array]:
    """``torch.linalg.eigh``: eigenvalues [..., n] rising, and eigenvectors as columns."""
    values, vectors = mx.linalg.eigh(x, UPLO=uplo, stream=mx.cpu)
    return values, vectors
