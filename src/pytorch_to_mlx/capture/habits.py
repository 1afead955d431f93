"""Habits of models that torch.export trips over, each put right while it traces.

- ``forward(x, **kwargs)``: torch loses the dynamic shapes of all arguments once a keyword arrives
  in ``kwargs``. While traced, forward's signature names those keywords.
- ``self.head = self.head.to(dtype)`` inside forward: torch cannot swap the parameters of a module
  that it traces, and a module that has that dtype already needs no swapping.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn


def shapes_collection(leaves: list[Any], shapes: Mapping[tuple[int, int], Any]) -> Any:
    """torch's collection of what is asked of each ``(leaf, dim)``."""
    import torch

    collection = torch.export.ShapesCollection()
    per_leaf: dict[int, dict[int, Any]] = {}
    for (leaf, dim), entry in shapes.items():
        per_leaf.setdefault(leaf, {})[dim] = entry
    for leaf, entries in per_leaf.items():
        collection[leaves[leaf]] = entries
    return collection


@contextmanager
def traceable(module: nn.Module, kwargs: Mapping[str, Any]) -> Iterator[None]:
    """Within, the module, called with these keywords, has none of those habits."""
    with _named_keywords(module, kwargs), _idle_casts():
        yield


@contextmanager
def _named_keywords(module: nn.Module, kwargs: Mapping[str, Any]) -> Iterator[None]:
    signature = inspect.signature(module.forward)
    parameters = list(signature.parameters.values())
    loose = [k for k in kwargs if k not in signature.parameters]
    if not loose:
        yield
        return
    named = [p for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD]
    named += [inspect.Parameter(k, inspect.Parameter.KEYWORD_ONLY) for k in loose]
    before = module.__dict__.get("forward")  # where another method stands for forward
    inner = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        return inner(*args, **kwargs)

    forward.__signature__ = signature.replace(parameters=named)  # type: ignore[attr-defined]
    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        del module.__dict__["forward"]
        if before is not None:
            module.__dict__["forward"] = before


@contextmanager
def _idle_casts() -> Iterator[None]:
    """Within, ``module.to`` is left out where it would change nothing."""
    import torch
    from torch import nn

    plain = nn.Module.to

    def to(self: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        device, dtype, _, layout = torch._C._nn._parse_to(*args, **kwargs)
        tensors = [*self.parameters(), *self.buffers()]
        if layout is None and all(_is_already(t, device, dtype) for t in tensors):
            return self
        return plain(self, *args, **kwargs)

    nn.Module.to = to
    try:
        yield
    finally:
        nn.Module.to = plain


def _is_already(tensor: torch.Tensor, device: Any, dtype: Any) -> bool:
    changes = tensor.is_floating_point() or tensor.is_complex()  # `to` leaves integers as they are
    return device in (None, tensor.device) and (not changes or dtype in (None, tensor.dtype))
