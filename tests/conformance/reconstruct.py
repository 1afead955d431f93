"""Factorisations are free in sign, order or basis: judged by what they must satisfy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from tests.conformance.compare import TOLERANCE, Mismatch

Tensors = Sequence[torch.Tensor]
Check = Callable[[Tensors, Tensors, Tensors], None]
# Products of computed factors carry their errors twice.
_LOOSE = 2 * TOLERANCE


def _near(what: str, a: torch.Tensor, b: torch.Tensor) -> None:
    if a.shape != b.shape:
        raise Mismatch(f"{what}: shape {tuple(a.shape)} instead of {tuple(b.shape)}")
    if a.numel() == 0:
        return
    scale = max(float(b.abs().max()), 1e-2)
    error = float((a - b).abs().max())
    if not error <= _LOOSE * scale:
        raise Mismatch(f"{what} is off by {error:.2g} at a scale of {scale:.2g}")


def _orthonormal(what: str, q: torch.Tensor) -> None:
    eye = torch.eye(q.shape[-1], dtype=q.dtype).expand(*q.shape[:-2], -1, -1)
    _near(f"{what}: columns are not orthonormal; their product", q.mH @ q, eye)


def _svd(transposed: bool) -> Check:
    def check(inputs: Tensors, want: Tensors, got: Tensors) -> None:
        (a,) = inputs[:1]
        u, s, v = got
        _near("singular values", s, want[1])
        vh = v if transposed else v.mH
        if bool((want[0] == 0).all()) and want[0].numel():  # torch.svd(compute_uv=False)
            _near("u", u, want[0])
            return
        k = s.shape[-1]
        _near("u s v", (u[..., :k] * s.unsqueeze(-2).to(u.dtype)) @ vh[..., :k, :], a)
        _orthonormal("u", u)
        _orthonormal("v", vh.mH)

    return check


def _low_rank(inputs: Tensors, want: Tensors, got: Tensors) -> None:
    """The product of factors, as torch's is: both are exact for the rank asked for."""
    u, s, v = got
    wu, ws, wv = want
    _near("singular values", s, ws)
    _near("u s v", u @ torch.diag_embed(s) @ v.mH, wu @ torch.diag_embed(ws) @ wv.mH)


def _eig(inputs: Tensors, want: Tensors, got: Tensors) -> None:
    values, vectors = got
    a = inputs[0].to(vectors.dtype)
    _near("a v = v w", a @ vectors, vectors * values.unsqueeze(-2))
    _near("lengths", vectors.norm(dim=-2), torch.ones_like(vectors.norm(dim=-2)))
    _sorted_values(inputs, want[:1], got[:1])


def _eigh(inputs: Tensors, want: Tensors, got: Tensors) -> None:
    values, vectors = got
    _near("eigenvalues", values, want[0])
    product = (vectors * values.unsqueeze(-2)) @ vectors.mH
    reference = (want[1] * want[0].unsqueeze(-2)) @ want[1].mH
    _near("v w v^H", product, reference)
    _orthonormal("v", vectors)


def _sorted_values(inputs: Tensors, want: Tensors, got: Tensors) -> None:
    """Eigenvalues in any order: each has a partner among the others."""
    w, g = want[0], got[0]
    if w.shape != g.shape:
        raise Mismatch(f"eigenvalues: shape {tuple(g.shape)} instead of {tuple(w.shape)}")
    if w.numel() == 0:
        return
    gap = (w.unsqueeze(-1) - g.unsqueeze(-2)).abs()
    worst = max(float(gap.amin(-1).max()), float(gap.amin(-2).max()))
    if not worst <= _LOOSE * max(float(w.abs().max()), 1e-2):
        raise Mismatch(f"an eigenvalue is off by {worst:.2g}")


def _qr(inputs: Tensors, want: Tensors, got: Tensors) -> None:
    a, (q, r) = inputs[0], got
    _near("r below the diagonal", r.tril(-1), torch.zeros_like(r))
    if want[0].numel() == 0 and a.numel():  # mode "r"
        _near("|r|", r.abs(), want[1].abs())
        return
    _near("q r", q @ r, a)
    _orthonormal("q", q)


CHECKS: dict[str, Check] = {
    "svd": _svd(False),
    "linalg_svd": _svd(True),
    "svd_lowrank": _low_rank,
    "pca_lowrank": _low_rank,
    "linalg_eig": _eig,
    "linalg_eigvals": _sorted_values,
    "linalg_eigh": _eigh,
    "qr": _qr,
    "linalg_qr": _qr,
}


def find(name: str) -> Check | None:
    return CHECKS.get(name)


def tensors(outputs: Sequence[Any]) -> list[torch.Tensor]:
    """MLX arrays as tensors."""
    from tests.conformance.compare import numpy

    return [torch.from_numpy(numpy(o)) for o in outputs]
