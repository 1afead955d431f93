"""torch's own wrappers around a whole model, taken off: what is inside computes the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def unwrapped(module: nn.Module) -> tuple[nn.Module, list[str]]:
    """The model inside ``torch.compile``, ``DataParallel`` and ``DistributedDataParallel``, and
    notes that say which were taken off. Anything else is returned as it is.
    """
    import torch

    inner = {
        torch._dynamo.eval_frame.OptimizedModule: "_orig_mod",
        torch.nn.DataParallel: "module",
        torch.nn.parallel.DistributedDataParallel: "module",
    }
    notes: list[str] = []
    while (attribute := inner.get(type(module))) is not None:
        notes.append(f"{type(module).__name__} was taken off: the model inside is converted")
        module = getattr(module, attribute)
    return module, notes
