"""A copy of a module, and its inputs, in another floating precision."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.capture.recast import caster, every_float

if TYPE_CHECKING:
    import torch


def cast_module(module: torch.nn.Module, dtype: str) -> torch.nn.Module:
    """A copy whose floating parameters and buffers have ``dtype``; the user's module stays as it
    is.
    """
    import torch

    # Copied in the wanted precision at once: a model may be half of the memory there is.
    cast = caster(every_float(getattr(torch, dtype)))
    tensors = [*module.parameters(), *module.buffers()]
    memo = {id(t): cast(t) for t in tensors if cast(t) is not t}
    return copy.deepcopy(module, memo).to(getattr(torch, dtype))


def cast_program(program: Any, dtype: str) -> tuple[Any, list[str]]:
    """A copy of an exported program whose main floating dtype is ``dtype``, and what to tell.

    Tensors and steps of other dtypes (a norm that a half-precision program computes in float32)
    stay as they are.
    """
    import torch

    from pytorch_to_mlx.capture.recast import main_dtype, recast_program

    main, wanted = main_dtype(program), getattr(torch, dtype)
    if main is None or main is wanted:
        return program, []
    notes = []
    if main.itemsize > wanted.itemsize:
        name = str(main).removeprefix("torch.")
        notes.append(
            f"an exported program does not say which of its steps must stay {name}: all became "
            f"{dtype}; convert the module itself if it computes some of them in float32 on purpose"
        )
    return recast_program(program, {main: wanted}), notes


def cast_inputs(tree: Any, dtype: str) -> Any:
    """Floating tensors of a nest of inputs in ``dtype``; everything else as it is."""
    import torch

    wanted = getattr(torch, dtype)
    return torch.utils._pytree.tree_map(
        lambda x: x.to(wanted) if isinstance(x, torch.Tensor) and x.is_floating_point() else x, tree
    )
