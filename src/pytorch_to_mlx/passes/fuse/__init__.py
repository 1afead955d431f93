"""Fusion passes: groups of calls that one MLX call or layer does.

:data:`FUSE` lists them in the order they run in; it expects ``clean.CLEAN`` before it. The clean-up
passes in between bring the results of one into the form that the next one looks for.
"""

from __future__ import annotations

from pytorch_to_mlx.passes.base import Pass
from pytorch_to_mlx.passes.clean import dead_code, identity, view_chains, views
from pytorch_to_mlx.passes.fuse import (
    activation,
    causal_mask,
    conv_batch_norm,
    experts,
    flat_rows,
    grouped_query,
    inverse_permutation,
    known_values,
    layer_norm,
    linear,
    linear_views,
    mask_shape,
    ranges,
    rms_norm,
    rope,
    rsqrt,
    sdpa,
    unfold_heads,
)

FUSE: list[tuple[str, Pass]] = [
    ("known_values", known_values.run),
    ("ranges", ranges.run),
    ("inverse_permutation", inverse_permutation.run),
    ("experts", experts.run),
    ("linear", linear.run),
    ("activation", activation.run),
    ("rsqrt", rsqrt.run),
    ("layer_norm", layer_norm.run),
    ("rms_norm", rms_norm.run),
    ("flat_rows", flat_rows.run),
    ("dead_code", dead_code.run),
    ("unfold_heads", unfold_heads.run),
    ("dead_code", dead_code.run),
    ("view_chains", view_chains.run),
    ("dead_code", dead_code.run),
    ("linear_views", linear_views.run),
    ("dead_code", dead_code.run),
    ("view_chains", view_chains.run),
    ("conv_batch_norm", conv_batch_norm.run),
    ("rope", rope.run),
    ("sdpa", sdpa.run),
    ("dead_code", dead_code.run),
    ("views", views.run),
    ("identity", identity.run),
    ("dead_code", dead_code.run),
    ("grouped_query", grouped_query.run),
    ("mask_shape", mask_shape.run),
    ("causal_mask", causal_mask.run),
    ("dead_code", dead_code.run),
]
