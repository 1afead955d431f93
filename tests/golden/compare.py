"""A package's outputs against torch's: structure, shape, dtype, non-finite places, then values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import mlx.core as mx
import numpy as np
import torch

# MLX computes float64 on a CPU only and stores none: packages give float32.
NARROWED = {"float64": "float32", "complex128": "complex64"}


def leaves(value: Any, name: str = "") -> dict[str, Any]:
    """Every leaf of a nest of outputs by its dotted place; ``None`` counts as absent."""
    if value is None:
        return {}
    if dataclasses.is_dataclass(value) and not isinstance(value, (type, Mapping)):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        items = [(str(k), v) for k, v in value.items()]
    elif isinstance(value, (tuple, list)):
        items = [(str(i), v) for i, v in enumerate(value)]
    else:
        return {name or "output": value}
    found: dict[str, Any] = {}
    for key, item in items:
        found.update(leaves(item, f"{name}.{key}" if name else key))
    return found


def assert_same(got: Any, want: Any, tolerance: float = 1e-4) -> None:
    """``got`` (MLX) equals ``want`` (torch) within ``tolerance`` of each output's scale."""
    ours, theirs = leaves(got), leaves(want)
    assert list(ours) == list(theirs), "other outputs"
    assert ours, "nothing was compared"
    for name, expected in theirs.items():
        assert_leaf(name, ours[name], expected, tolerance)


def assert_leaf(name: str, got: Any, want: Any, tolerance: float) -> None:
    if not isinstance(want, torch.Tensor):
        assert (type(got), got) == (type(want), want), name
        return
    assert isinstance(got, mx.array), f"{name} is a {type(got).__name__}"
    want = want.detach()
    assert tuple(got.shape) == tuple(want.shape), f"{name}: {got.shape}, expected {want.shape}"
    dtype = str(want.dtype).removeprefix("torch.")
    assert str(got.dtype).removeprefix("mlx.core.") == NARROWED.get(dtype, dtype), f"{name}: dtype"
    if got.size == 0:
        return
    if not (want.is_floating_point() or want.is_complex()):
        assert np.array_equal(np.array(got), want.numpy()), f"{name}: values differ"
        return
    if want.is_floating_point():
        a = np.array(got.astype(mx.float32), dtype=np.float64)
        b = want.double().numpy()
    else:
        a, b = np.array(got), want.numpy()
    for test in (np.isnan, np.isposinf, np.isneginf):
        if want.is_floating_point():
            assert np.array_equal(test(a), test(b)), f"{name}: non-finite values differ"
    finite = np.isfinite(b)
    if not finite.any():
        return
    scale = max(float(np.abs(b[finite]).max()), 1e-6)
    error = float(np.abs(a[finite] - b[finite]).max())
    assert error <= tolerance * scale, f"{name}: off by {error:.3g} at scale {scale:.3g}"


def run_torch(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
    """The original's outputs on copies of the inputs, without gradients."""

    def copy(value: Any) -> Any:
        return value.clone() if isinstance(value, torch.Tensor) else value

    with torch.no_grad():
        return module(*(copy(a) for a in args), **{k: copy(v) for k, v in kwargs.items()})
