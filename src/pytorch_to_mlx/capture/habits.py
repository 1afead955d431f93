"""Habits of models that torch.export trips over, each put right while it traces.

- ``forward(x, **kwargs)``: torch loses the dynamic shapes of all arguments once a keyword arrives
  in ``kwargs``. While traced, forward's signature names those keywords.
- ``self.head = self.head.to(dtype)`` inside forward: torch cannot swap the parameters of a module
  that it traces, and a module that has that dtype already needs no swapping.
- ``int(x.shape[0])``, ``int(height * 0.5)`` and ``len(x)``: Python wants a plain number of them,
  which fixes the size. Where the model's own code says so, it gets the symbolic size.
- ``torch.distributions`` checks the values of its parameters and samples, which no trace knows.
  The checks only raise; the calls on the example inputs have passed them.
- ``torch.linspace`` fixes its number of steps (see :mod:`~pytorch_to_mlx.capture.ranges`).
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.capture.program import is_foreign
from pytorch_to_mlx.capture.ranges import symbolic_linspace

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
def traceable(
    module: nn.Module, kwargs: Mapping[str, Any], met: list[str] | None = None
) -> Iterator[None]:
    """Within, the module, called with these keywords, has none of those habits.

    Sizes stay symbolic through ``int`` and ``len`` only if there is a list, to which is added
    whenever that happens.
    """
    with ExitStack() as stack:
        stack.enter_context(_named_keywords(module, kwargs))
        stack.enter_context(_idle_casts())
        stack.enter_context(_unchecked_distributions())
        stack.enter_context(symbolic_linspace())
        if met is not None:
            stack.enter_context(_symbolic_sizes(module, met))
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


@contextmanager
def _unchecked_distributions() -> Iterator[None]:
    from torch.distributions import Distribution

    checks = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(checks)


def _is_already(tensor: torch.Tensor, device: Any, dtype: Any) -> bool:
    changes = tensor.is_floating_point() or tensor.is_complex()  # `to` leaves integers as they are
    return device in (None, tensor.device) and (not changes or dtype in (None, tensor.dtype))


@contextmanager
def _symbolic_sizes(module: nn.Module, met: list[str]) -> Iterator[None]:
    """Within, ``int`` and ``len`` in the code of the model's packages leave sizes symbolic."""
    names = {"int": _symbolic_int(met), "len": _symbolic_len(met)}
    changed: list[tuple[dict[str, Any], str]] = []
    try:
        for code in _code_of(module):
            kept = {"int"} if _int_is_dtype(getattr(code, "__file__", None) or "") else set()
            for name in names.keys() - vars(code).keys() - kept:
                vars(code)[name] = names[name]
                changed.append((vars(code), name))
        yield
    finally:
        for table, name in changed:
            del table[name]


def _code_of(module: nn.Module) -> list[ModuleType]:
    """The loaded Python modules of the packages that the model's classes come from."""
    classes = {cls for m in module.modules() for cls in type(m).__mro__}
    packages = {c.__module__.partition(".")[0] for c in classes}
    found = []
    for name, code in list(sys.modules.items()):
        file = vars(code).get("__file__") if isinstance(code, ModuleType) else None
        own = name.partition(".")[0] in packages and name != "builtins"
        if own and not (file and is_foreign(file)):
            found.append(code)
    return found


@cache
def _int_is_dtype(file: str) -> bool:
    """Whether code hands ``int`` itself to torch as a dtype, which takes no stand-in for it."""
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    return re.search(r"dtype\s*=\s*int\b|\.(to|type)\(\s*int\s*\)", text) is not None


def _symbolic_int(met: list[str]) -> type:
    """A stand-in for ``int`` that leaves a symbolic size as it is; such a size is an ``int``."""
    import torch

    class Meta(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, (int, torch.SymInt))

        def __subclasscheck__(cls, other: type) -> bool:
            return issubclass(other, int)

        def __eq__(cls, other: object) -> bool:
            return other is int or other is cls

        def __hash__(cls) -> int:
            return hash(int)

    class Whole(int, metaclass=Meta):
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            if args and isinstance(args[0], (torch.SymInt, torch.SymFloat)):
                met.append("int")
                return torch.sym_int(args[0])
            return int(*args, **kwargs)

    return Whole


def _symbolic_len(met: list[str]) -> Any:
    import torch

    def length(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.ndim:
            met.append("len")
            return value.shape[0]
        return len(value)

    return length
