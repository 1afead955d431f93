"""Calls of an op while the original runs: real arguments, and other ones made from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.capture.dispatch import handing

if TYPE_CHECKING:
    import torch

    from pytorch_to_mlx.capture.program import Captured

_CALLS = 64  # kept of each op, no two alike in shapes, dtypes and settings
_ELEMENTS = 1 << 24  # of one array: larger variations would prove nothing more


@dataclass(frozen=True)
class Call:
    """Arguments of one call of an op, and what they are: captured, drawn, sizes, edge."""

    kind: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def programs_ops(captured: Captured) -> dict[str, Any]:
    """The op overloads that a program calls, by name."""
    import torch

    found: dict[str, Any] = {}
    for module in captured.program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                if isinstance(node.target, torch._ops.OpOverload):
                    found[str(node.target)] = node.target
    return found


def recorded(captured: Captured, ops: set[Any]) -> dict[Any, list[Call]]:
    """What each op was called with while the original ran on the example inputs.

    Of calls that agree in shapes, dtypes and settings the first is kept.
    """
    import torch
    from torch.utils._pytree import tree_map_only

    calls: dict[Any, dict[str, Call]] = {op: {} for op in ops}

    def record(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        kept = calls.get(op)
        kind = tree_map_only(torch.Tensor, lambda t: (t.shape, t.dtype), (args, kwargs))
        if kept is not None and len(kept) < _CALLS and repr(kind) not in kept:
            copy = tree_map_only(torch.Tensor, lambda t: t.detach().clone(), (args, kwargs))
            kept[repr(kind)] = Call("captured", copy[0], copy[1])
        return op(*args, **kwargs)

    reference = captured.reference()
    with handing(record):
        reference({})
    return {op: list(kept.values()) for op, kept in calls.items()}


def variations(call: Call, seed: int) -> Iterator[Call]:
    """Calls made from a captured one: drawn values, other sizes, edges. The original decides which
    of them are legal; integers stay within the range that was seen.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)

    def every(kind: str, change: Any) -> Call:
        from torch.utils._pytree import tree_map_only

        args, kwargs = tree_map_only(torch.Tensor, change, (call.args, call.kwargs))
        return Call(kind, args, kwargs)

    for scale in (1.0, 3.0, 0.1):
        yield every("drawn", lambda t, s=scale: _drawn(t, t.shape, s, generator))
    for kind, size in (
        ("sizes", lambda n: 2 * n),
        ("sizes", lambda n: n + 1),
        ("size one", lambda n: 1),
    ):
        for axis in _axes(call):
            yield every(kind, lambda t, a=axis, f=size: _resized(t, a, f, generator))
        yield every(kind, lambda t, f=size: _resized(t, None, f, generator))
    for value in (0.0, 1.0, -1.0, 1e-6, -30.0, 30.0):
        yield every("edge", lambda t, v=value: torch.full_like(t, v) if _floats(t) else t)


def _floats(t: torch.Tensor) -> bool:
    return t.is_floating_point() or t.is_complex()


def _axes(call: Call) -> list[int]:
    """The distinct sizes of the arguments: each varies wherever it occurs."""
    import torch
    from torch.utils._pytree import tree_leaves

    tensors = [t for t in tree_leaves((call.args, call.kwargs)) if isinstance(t, torch.Tensor)]
    return sorted({n for t in tensors for n in t.shape})[:4]


def _resized(
    t: torch.Tensor, only: int | None, change: Any, generator: torch.Generator
) -> torch.Tensor:
    shape = tuple(change(n) if only is None or n == only else n for n in t.shape)
    return _drawn(t, shape, 1.0, generator)


def _drawn(
    t: torch.Tensor, shape: tuple[int, ...], scale: float, generator: torch.Generator
) -> torch.Tensor:
    import math

    import torch

    if math.prod(shape) > _ELEMENTS:
        return t
    if _floats(t):
        wide = torch.complex64 if t.is_complex() else torch.float32
        return (scale * torch.randn(shape, generator=generator, dtype=wide)).to(t.dtype)
    if t.dtype is torch.bool:
        return torch.randint(0, 2, shape, generator=generator).to(torch.bool)
    low, high = (int(t.min()), int(t.max())) if t.numel() else (0, 0)
    return torch.randint(low, high + 1, shape, generator=generator).to(t.dtype)
