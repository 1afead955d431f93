"""Foreign arrays as MLX arrays."""

from __future__ import annotations

import os
import subprocess
import sys

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


def test_an_empty_axis_that_moved_can_be_reduced() -> None:
    """A transposed one cannot: such sums never end, or give what is in memory (glibc fills it)."""
    code = """
import mlx.core as mx
from pytorch_to_mlx.ops.ordering import axes_last
mx.set_default_device(mx.cpu)
for _ in range(20):
    moved = axes_last(mx.exp(mx.zeros((2, 0, 4))), (1,))
    assert not mx.any(mx.sum(moved, axis=2)).item()
"""
    env = {**os.environ, "MALLOC_PERTURB_": "1"}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, timeout=60)
