"""Results without any element: whatever the op, there is nothing to compute."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph.build import call
from pytorch_to_mlx.lower.aten._symbols import to_expr


def is_empty(val: Any) -> bool:
    """Whether torch's results, a tensor or several, all have a size that is 0."""
    import torch

    if isinstance(val, (list, tuple)):
        return bool(val) and all(is_empty(v) for v in val)
    return isinstance(val, torch.Tensor) and any(isinstance(d, int) and d == 0 for d in val.shape)


def empties(val: Any) -> Any:
    """Arrays of the same shapes and dtypes."""
    from pytorch_to_mlx.lower.aten._program import torch_dtype

    if isinstance(val, (list, tuple)):
        return tuple(empties(v) for v in val)
    return call(mx.zeros, tuple(to_expr(d) for d in val.shape), dtype=torch_dtype(val.dtype))
