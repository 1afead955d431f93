"""Sizes that change from round to round of a loop: see ``sources/torchscript/unsized.py``."""

from __future__ import annotations

from typing import Any

from pytorch_to_mlx.graph import Value
from pytorch_to_mlx.lower.aten import lowers


@lowers("p2m.unsized")
def unsized(x: Value, dims: tuple[int, ...]) -> Value:
    """unsized(Tensor x, int[] dims) -> Tensor

    Of a loop's result, it is that with the sizes that it has after the loop; before the loop it is
    its argument, whose own sizes are known.
    """
    if x.node is not None and x.node.subgraphs:
        x.shape = None
    return x


@lowers("p2m.sized_like")
def sized_like(x: Value, like: Any) -> Value:
    """sized_like(Tensor x, Tensor like) -> Tensor"""
    return x
