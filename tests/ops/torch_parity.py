"""Shared by the tests of the semantics library: torch tensors to mlx arrays, and comparison."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
import torch

from pytorch_to_mlx.graph.dtypes import adopted

torch.set_num_threads(1)

DTYPES = {
    torch.float32: mx.float32,
    torch.float16: mx.float16,
    torch.bfloat16: mx.bfloat16,
    torch.float64: mx.float32,
    torch.int64: mx.int64,
    torch.int32: mx.int32,
    torch.int16: mx.int16,
    torch.int8: mx.int8,
    torch.uint8: mx.uint8,
    torch.bool: mx.bool_,
    torch.complex64: mx.complex64,
    torch.complex128: mx.complex64,
}
RTOL = {torch.float16: 2e-3, torch.bfloat16: 1.6e-2}


def to_mx(x: Any) -> Any:
    """A tensor, or a list, tuple or dict of them, as mlx arrays of the same dtype."""
    if isinstance(x, torch.Tensor):
        x = x.detach()
        if x.dtype is torch.bfloat16:
            return mx.array(x.float().numpy()).astype(mx.bfloat16)
        return adopted(mx.array(x.resolve_conj().resolve_neg().numpy())).astype(DTYPES[x.dtype])
    if isinstance(x, (list, tuple)):
        return type(x)(to_mx(item) for item in x)
    if isinstance(x, dict):
        return {key: to_mx(item) for key, item in x.items()}
    return x


def _host(got: mx.array) -> np.ndarray:
    return np.array(got.astype(mx.float32) if got.dtype == mx.bfloat16 else got)


def assert_same(got: Any, want: Any, rtol: float | None = None, note: str = "") -> None:
    """Structure, shape, dtype, non-finite positions, then values to ``rtol`` of the scale."""
    if isinstance(want, (list, tuple)):
        assert isinstance(got, (list, tuple)), note
        assert len(got) == len(want), note
        for g, w in zip(got, want, strict=True):
            assert_same(g, w, rtol, note)
        return
    assert isinstance(got, mx.array), (type(got), note)
    assert tuple(got.shape) == tuple(want.shape), (got.shape, tuple(want.shape), note)
    assert got.dtype == DTYPES[want.dtype], (got.dtype, want.dtype, note)
    if rtol is None:
        rtol = RTOL.get(want.dtype, 1e-5)
    a = _host(got)
    want = want.detach().resolve_conj()
    b = (want.float() if want.dtype is torch.bfloat16 else want).numpy()
    if want.dtype is torch.bool or not (want.is_floating_point() or want.is_complex()):
        np.testing.assert_array_equal(a, b, err_msg=note)
        return
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b), err_msg=f"NaN positions {note}")
    np.testing.assert_array_equal(np.isinf(a), np.isinf(b), err_msg=f"inf positions {note}")
    infinite = np.isinf(b)
    np.testing.assert_array_equal(a[infinite], b[infinite].astype(a.dtype), err_msg=note)
    finite = np.isfinite(b)
    if finite.any():
        scale = float(np.abs(b[finite]).max()) or 1.0
        error = float(np.abs(a[finite].astype(np.complex128) - b[finite]).max())
        assert error <= rtol * scale, f"error {error} of scale {scale} {note}\n{a}\n{b}"
