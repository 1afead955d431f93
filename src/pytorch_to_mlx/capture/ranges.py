"""``torch.linspace`` over a dynamic number of steps.

Its schema takes a plain integer, so that ``torch.export`` fixes a size that is passed for it. While
a model is traced, such a call is ``p2m::linspace``, which takes a symbolic one and is otherwise the
same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


@cache
def _register() -> Any:
    """Defines the op once a process; returns the library, which must stay alive."""
    import torch

    library = torch.library.Library("p2m", "FRAGMENT")
    library.define(
        "linspace(Scalar start, Scalar end, SymInt steps, *, ScalarType? dtype=None) -> Tensor"
    )
    plain = torch.linspace

    def real(start: Any, end: Any, steps: int, *, dtype: Any = None) -> Any:
        return plain(start, end, steps, dtype=dtype)

    def fake(start: Any, end: Any, steps: Any, *, dtype: Any = None) -> Any:
        return torch.empty((steps,), dtype=dtype)

    library.impl("linspace", real, "CompositeExplicitAutograd")
    torch.library.register_fake("p2m::linspace", fake, lib=library)
    return library


@contextmanager
def symbolic_linspace() -> Iterator[None]:
    """Within, ``torch.linspace`` keeps a symbolic number of steps; it is torch's own again after.

    A call between tensors, or onto a device that is no CPU, is left to torch.
    """
    import torch

    _register()
    plain = torch.linspace

    def linspace(start: Any, end: Any, steps: Any, **options: Any) -> Any:
        numbers = not isinstance(start, torch.Tensor) and not isinstance(end, torch.Tensor)
        on_cpu = torch.device(options.get("device") or "cpu").type == "cpu"
        known = options.keys() <= {"dtype", "device", "requires_grad"}
        if not (isinstance(steps, torch.SymInt) and numbers and on_cpu and known):
            return plain(start, end, steps, **options)
        return torch.ops.p2m.linspace(start, end, steps, dtype=options.get("dtype"))

    torch.linspace = linspace
    try:
        yield
    finally:
        torch.linspace = plain
