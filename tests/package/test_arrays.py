"""Foreign arrays as MLX arrays."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
import torch

from pytorch_to_mlx.package.arrays import to_mlx


@pytest.mark.parametrize("kind", ["numpy", "torch"])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 0, 3)])
def test_an_empty_array_can_be_reduced(kind: str, shape: tuple[int, ...]) -> None:
    """An adopted one cannot: one of a few dozen such sums never ended."""
    axis = shape.index(0)
    want = np.zeros(shape[:axis] + shape[axis + 1 :])
    for _ in range(100):
        # Leaves numbers where the reduction's plan would lie.
        mx.eval(mx.sum(mx.random.normal((7, 5, 3)).transpose(2, 0, 1)[:, 1:], axis=(0, 1)))
        empty = np.zeros(shape, np.float32)
        total = mx.sum(to_mlx(empty if kind == "numpy" else torch.from_numpy(empty)), axis=axis)
        np.testing.assert_array_equal(np.array(total), want)
