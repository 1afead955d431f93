"""Numbers that a module keeps as buffers of rank 0, while it is traced: as numbers.

Some models hold strides and kernel sizes as tensors and compute paddings from them. To torch.export
these are unknown data, so every use as a size is refused. A buffer that no checkpoint holds and
that forward leaves alone is a constant; so within :func:`host_scalars` each is a
:class:`HostScalar`, which computes with sizes as Python does and answers torch's functions.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

Place = tuple[str, str]  # the module's path and the buffer's name


class HostScalar:
    """A number (or a symbolic one) in place of an integer tensor of rank 0.

    Sums with sizes and numbers are again such scalars; comparisons give plain truth values. What
    it has no rule for is asked of a constant tensor of its value.
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return apply(function, args, kwargs or {})

    def __getattr__(self, name: str) -> Any:
        import torch

        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(torch.tensor(self.value), name)

    def to(self, *args: Any, **kwargs: Any) -> HostScalar:
        """As ``Tensor.to``; a dtype rounds towards zero where it holds integers."""
        import torch

        wanted = [a for a in (*args, *kwargs.values()) if isinstance(a, torch.dtype)]
        if not wanted or wanted[0].is_floating_point or wanted[0].is_complex:
            return self
        return HostScalar(_whole(self.value))

    def long(self) -> HostScalar:
        return HostScalar(_whole(self.value))

    int = long

    def item(self) -> Any:
        return self.value

    def ceil(self) -> HostScalar:
        return HostScalar(math.ceil(self.value))

    def floor(self) -> HostScalar:
        return HostScalar(math.floor(self.value))

    def __index__(self) -> Any:
        return operator.index(self.value)

    def __int__(self) -> Any:
        return int(self.value)

    def __float__(self) -> Any:
        return float(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __neg__(self) -> HostScalar:
        return HostScalar(-self.value)

    def __hash__(self) -> Any:
        return id(self)


def _whole(value: Any) -> Any:
    import torch

    if isinstance(value, (int, torch.SymInt)):
        return value
    return math.trunc(value)


def plain(value: Any) -> Any:
    """Nested arguments with numbers in place of host scalars."""
    if isinstance(value, HostScalar):
        return value.value
    if type(value) in (tuple, list):
        return type(value)(plain(v) for v in value)
    if isinstance(value, slice):
        return slice(plain(value.start), plain(value.stop), plain(value.step))
    return value


def apply(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Calls one of torch's functions; rounding of a scalar gives a scalar."""
    rounding = {"ceil": HostScalar.ceil, "floor": HostScalar.floor}.get(function.__name__)
    if rounding is not None and len(args) == 1 and isinstance(args[0], HostScalar):
        return rounding(args[0])
    return function(*plain(tuple(args)), **{k: plain(v) for k, v in kwargs.items()})


def _binary(compute: Callable[[Any, Any], Any], *, swapped: bool, keeps: bool) -> Any:
    def method(self: HostScalar, other: Any) -> Any:
        import torch

        numbers = (int, float, torch.SymInt, torch.SymFloat)
        a, b = self.value, plain(other)
        if swapped:
            a, b = b, a
        out = compute(a, b)
        return HostScalar(out) if keeps and isinstance(plain(other), numbers) else out

    return method


def _install() -> None:
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod"):
        compute = getattr(operator, name)
        setattr(HostScalar, f"__{name}__", _binary(compute, swapped=False, keeps=True))
        setattr(HostScalar, f"__r{name}__", _binary(compute, swapped=True, keeps=True))
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        compare = _binary(getattr(operator, name), swapped=False, keeps=False)
        setattr(HostScalar, f"__{name}__", compare)


_install()


def fixed_scalars(module: nn.Module, changed: set[str]) -> dict[Place, int]:
    """Integer buffers of rank 0 that no checkpoint holds and that are not among the ``changed``."""
    found: dict[Place, int] = {}
    for path, sub in module.named_modules():
        for name, buffer in sub._buffers.items():
            full = f"{path}.{name}" if path else name
            if name in sub._non_persistent_buffers_set and full not in changed and _number(buffer):
                assert buffer is not None
                found[path, name] = int(buffer)
    return found


def _number(buffer: torch.Tensor | None) -> bool:
    if buffer is None or buffer.ndim or buffer.is_meta:
        return False
    return not (buffer.is_floating_point() or buffer.is_complex())


@contextmanager
def host_scalars(module: nn.Module, scalars: dict[Place, int]) -> Iterator[None]:
    """Within, these buffers are plain attributes that hold host scalars."""
    from torch.overrides import TorchFunctionMode

    if not scalars:
        yield
        return

    class Unwrap(TorchFunctionMode):
        """Finds scalars where torch looks for none: in lists of sizes, in slices."""

        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            return apply(function, args, kwargs or {})

    taken: list[tuple[nn.Module, str, Any, list[str]]] = []
    try:
        for (path, name), value in scalars.items():
            sub = module.get_submodule(path)
            order = list(sub._buffers)
            taken.append((sub, name, sub._buffers.pop(name), order))
            sub.__dict__[name] = HostScalar(value)
        with Unwrap():
            yield
    finally:
        for sub, name, buffer, order in reversed(taken):
            sub.__dict__.pop(name, None)
            restored = {**sub._buffers, name: buffer}
            sub._buffers.clear()
            sub._buffers.update({n: restored[n] for n in order})
