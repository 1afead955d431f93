"""Tensors that were made in ``torch.inference_mode``, which nothing may write to outside of it.

A model that was built or loaded there holds such tensors. Here they are taken for ordinary tensors
over the same memory, so that nothing is copied and a change of one is seen through the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn


def ordinary(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, or one over its memory that may be written to outside of inference mode."""
    import torch

    if not tensor.is_inference() or tensor.layout is not torch.strided:
        return tensor
    with torch.inference_mode(False), torch.no_grad():
        plain = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        place = (tensor.storage_offset(), tensor.shape, tensor.stride())
        plain.set_(tensor.untyped_storage(), *place)
        if isinstance(tensor, torch.nn.Parameter):
            plain = torch.nn.Parameter(plain, requires_grad=False)
    return plain


@contextmanager
def ordinary_tensors(module: nn.Module) -> Iterator[None]:
    """Within, inference mode is off, and the module's parameters, buffers and attributes are
    :func:`ordinary`; its own come back after.
    """
    import torch

    changed: list[tuple[dict[str, Any], str, Any, Any]] = []
    made: dict[int, Any] = {}
    with torch.inference_mode(False):
        try:
            for sub in module.modules():
                for store in (sub._parameters, sub._buffers, sub.__dict__):
                    for name, value in list(store.items()):
                        if not isinstance(value, torch.Tensor) or not value.is_inference():
                            continue
                        plain = made.setdefault(id(value), ordinary(value))
                        changed.append((store, name, value, plain))
                        store[name] = plain
            yield
        finally:
            for store, name, value, plain in changed:
                if store.get(name) is plain:  # else the model itself has put another in its place
                    store[name] = value
