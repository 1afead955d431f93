"""A copy of a module, and its inputs, in another floating precision."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def cast_module(module: torch.nn.Module, dtype: str) -> torch.nn.Module:
    """A copy whose floating parameters and buffers have ``dtype``; the user's module stays as it
    is.
    """
    import torch

    return copy.deepcopy(module).to(getattr(torch, dtype))


def cast_inputs(tree: Any, dtype: str) -> Any:
    """Floating tensors of a nest of inputs in ``dtype``; everything else as it is."""
    import torch

    wanted = getattr(torch, dtype)
    return torch.utils._pytree.tree_map(
        lambda x: x.to(wanted) if isinstance(x, torch.Tensor) and x.is_floating_point() else x, tree
    )
