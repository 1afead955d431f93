"""A copy of a module, and its inputs, in another floating precision."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx import memory
from pytorch_to_mlx.capture.recast import caster, every_float

if TYPE_CHECKING:
    import torch

    from pytorch_to_mlx.sources.detect import OpenedSource


def cast_source(
    opened: OpenedSource, args: tuple[Any, ...], kwargs: dict[str, Any], dtype: str
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Turns the opened source into a copy of the wanted precision, and the floating example inputs
    with it.
    """
    program = opened.exported_program
    if opened.module is not None:
        tensors = [*opened.module.parameters(), *opened.module.buffers()]
    else:
        assert program is not None
        tensors = list(program.state_dict.values())
    copied = sum(t.numel() for t in tensors) * (4 if dtype == "float32" else 2)
    memory.require(
        copied,
        f"a copy of the weights in {dtype}",
        "free some memory, or convert on a larger machine",
    )
    if opened.module is not None:
        opened.module = cast_module(opened.module, dtype)
    elif program is not None:
        opened.exported_program, notes = cast_program(program, dtype)
        opened.notes += notes
    return cast_inputs(tuple(args), dtype), cast_inputs(dict(kwargs), dtype)


def cast_module(module: torch.nn.Module, dtype: str) -> torch.nn.Module:
    """A copy whose floating parameters and buffers have ``dtype``; the user's module stays as it
    is.
    """
    import torch

    # Copied in the wanted precision at once: a model may be half of the memory there is.
    cast = caster(every_float(getattr(torch, dtype)))
    tensors = [*module.parameters(), *module.buffers()]
    memo = {id(t): cast(t) for t in tensors if cast(t) is not t}
    # torch copies no tensor that autograd made: an old weight norm leaves its weight as one.
    attributes = [v for sub in module.modules() for v in vars(sub).values()]
    made = [v for v in attributes if isinstance(v, torch.Tensor) and not v.is_leaf]
    memo.update({id(t): cast(t.detach().clone()) for t in made})
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
