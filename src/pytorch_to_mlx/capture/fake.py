"""Calling a model on fake tensors: shapes and dtypes are computed, no data."""

from __future__ import annotations

from contextlib import AbstractContextManager

from pytorch_to_mlx.capture.structure import Arguments


def without_data(arguments: Arguments) -> tuple[AbstractContextManager[object], Arguments]:
    """The arguments with every tensor fake, and the mode in which a module takes them.

    Within the mode a module's own tensors become fake in use, so a forward of a large model costs
    milliseconds. What depends on values (an index out of range, an assertion on data) is not seen;
    what needs values raises.
    """
    import torch
    import torch.utils._pytree as pytree
    from torch._subclasses.fake_tensor import FakeTensorMode

    leaves, spec = pytree.tree_flatten(arguments.values())
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    fakes = [mode.from_tensor(x) if isinstance(x, torch.Tensor) else x for x in leaves]
    return mode, arguments.with_values(pytree.tree_unflatten(fakes, spec))
