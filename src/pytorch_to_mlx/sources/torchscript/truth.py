"""Conditions that are not known while tracing: of sizes (``SymBool``) and of data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True, eq=False)
class DataBool:
    """``bool(x)`` of a tensor whose values are not known: a 0-D bool tensor."""

    tensor: Any

    def __bool__(self) -> bool:
        return bool(self.tensor.item())

    def __and__(self, other: Any) -> DataBool:
        return DataBool(self.tensor & as_tensor(other))

    def __or__(self, other: Any) -> DataBool:
        return DataBool(self.tensor | as_tensor(other))

    __rand__, __ror__ = __and__, __or__

    def __invert__(self) -> DataBool:
        return DataBool(~self.tensor)


def of_tensor(x: Any) -> Any:
    """``bool(x)``: as Python knows it, or a :class:`DataBool` while torch traces."""
    import torch

    if type(x) in (torch.Tensor, torch.nn.Parameter):
        return bool(x.item())
    return DataBool((x if x.dtype == torch.bool else x != 0).reshape(()))


def as_condition(value: Any) -> Any:
    """What an ``if`` tests: a tensor by its truth, anything else as it is."""
    import torch

    if isinstance(value, torch.Tensor):
        return of_tensor(value)
    return value != 0 if isinstance(value, torch.SymInt) else value


def as_tensor(condition: Any) -> Any:
    """A condition of any kind as a 0-D bool tensor."""
    import torch

    if isinstance(condition, DataBool):
        return condition.tensor
    if isinstance(condition, torch.SymBool):
        register()
        return torch.ops.p2m.truth(condition)
    return torch.full((), bool(condition), dtype=torch.bool)


@cache
def register() -> Any:
    """Defines ``p2m::truth`` once a process; returns the library, which must stay alive."""
    import torch

    library = torch.library.Library("p2m", "FRAGMENT")
    library.define("truth(SymBool condition) -> Tensor")

    def truth(condition: Any) -> Any:
        return torch.tensor(bool(condition))

    library.impl("truth", truth, "CompositeExplicitAutograd")
    torch.library.register_fake(
        "p2m::truth", lambda _: torch.empty((), dtype=torch.bool), lib=library
    )
    return library


def negated(condition: Any) -> Any:
    import torch

    if isinstance(condition, DataBool):
        return ~condition
    return torch.sym_not(condition) if isinstance(condition, torch.SymBool) else not condition


def known(condition: Any) -> bool | None:
    """A condition as Python knows it, or ``None`` where sizes or data decide."""
    import torch
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    if isinstance(condition, torch.Tensor):
        condition = of_tensor(condition)
    if isinstance(condition, DataBool):
        return None
    if not isinstance(condition, (torch.SymBool, torch.SymInt)):
        return bool(condition)
    truth = condition != 0 if isinstance(condition, torch.SymInt) else condition
    if isinstance(truth, bool) or statically_known_true(truth):
        return bool(truth)
    return False if statically_known_true(torch.sym_not(truth)) else None


def decided_by_sizes(condition: Any) -> bool:
    """Whether the example's sizes decide it; what data decides has no value while tracing."""
    import torch

    if isinstance(condition, torch.SymBool):
        return bool(condition.node.has_hint())
    return isinstance(condition, (bool, int))


def choose(condition: Any, a: Any, b: Any) -> Any:
    """``a if condition else b`` of numbers or conditions."""
    import torch

    if isinstance(a, (bool, torch.SymBool, DataBool)):
        if isinstance(a, bool):
            return condition | b if a else _both(negated(condition), b)
        if isinstance(b, bool):
            return negated(condition) | a if b else _both(condition, a)
        return (condition & a) | (negated(condition) & b)
    if isinstance(a, int) and isinstance(b, int) and a == b:
        return a
    if isinstance(condition, DataBool):
        raise ValueError("data choose among numbers")
    return torch.sym_ite(condition, a, b)


def _both(a: Any, b: Any) -> Any:
    if isinstance(b, bool):
        return a if b else False
    return a & b
