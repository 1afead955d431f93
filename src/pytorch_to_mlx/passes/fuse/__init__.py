"""Fusion passes: groups of calls that one MLX call or layer does.

:data:`FUSE` lists them in the order they run in; each expects :data:`~..clean.CLEAN` before it.
"""

from __future__ import annotations

from pytorch_to_mlx.passes.base import Pass
from pytorch_to_mlx.passes.fuse import (
    activation,
    causal_mask,
    grouped_query,
    layer_norm,
    linear,
    rms_norm,
    rope,
    sdpa,
)

FUSE: list[tuple[str, Pass]] = [
    ("linear", linear.run),
    ("activation", activation.run),
    ("layer_norm", layer_norm.run),
    ("rms_norm", rms_norm.run),
    ("rope", rope.run),
    ("sdpa", sdpa.run),
    ("grouped_query", grouped_query.run),
    ("causal_mask", causal_mask.run),
]
