"""Sources: what a user names as the model and its inputs, opened safely, told apart by content."""

from __future__ import annotations

from pytorch_to_mlx.sources.arrays import load_arrays, load_tensors
from pytorch_to_mlx.sources.detect import OpenedSource, file_hash, open_source
from pytorch_to_mlx.sources.dynamic import (
    complete_dynamic_shapes,
    parse_dynamic,
    to_dynamic_shapes,
)
from pytorch_to_mlx.sources.nest import nest, split_positional
from pytorch_to_mlx.sources.specs import InputSpec, draw_arrays, draw_tensors, notes, parse_shapes

__all__ = [
    "InputSpec",
    "OpenedSource",
    "complete_dynamic_shapes",
    "draw_arrays",
    "draw_tensors",
    "file_hash",
    "load_arrays",
    "load_tensors",
    "nest",
    "notes",
    "open_source",
    "parse_dynamic",
    "parse_shapes",
    "split_positional",
    "to_dynamic_shapes",
]
