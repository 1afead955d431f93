"""Ops that a user provides in MLX: marked, checked, proven against the original, carried along."""

from __future__ import annotations

from pytorch_to_mlx.custom.marks import implements

__all__ = ["implements"]
