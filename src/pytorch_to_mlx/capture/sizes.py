"""Example inputs at other sizes, and which sizes the original model accepts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.capture.explain import first_line
from pytorch_to_mlx.capture.fake import without_data
from pytorch_to_mlx.capture.structure import Arguments
from pytorch_to_mlx.capture.tree import named_leaves
from pytorch_to_mlx.errors import CaptureError

if TYPE_CHECKING:
    from torch import nn

Axis = tuple[int, int]  # (leaf, dimension)
Sizes = dict[Axis, int]

_SLOW = 0.5  # seconds of one call from which fake tensors are tried first
_TRACE_AT = (3, 5, 2, 4, 7)  # for those that are asked to be dynamic, within their limits
_TRACE_SIZES = (3, 5, 7, 11, 13)  # for dims that the example has at 1; primes collide least


class Example:
    """Example arguments as flat, named leaves; dims are ``(leaf, dimension)``."""

    def __init__(self, arguments: Arguments) -> None:
        import torch
        import torch.utils._pytree as pytree

        self.arguments = arguments
        self.leaves, self.spec = pytree.tree_flatten(arguments.values())
        self.names = [n for n, _ in named_leaves(arguments.by_name())]
        if len(self.names) != len(self.leaves):  # a pytree node that is no plain container
            self.names = [f"input_{i}" for i in range(len(self.leaves))]
        self.tensors = {i: t for i, t in enumerate(self.leaves) if isinstance(t, torch.Tensor)}

    def axes(self) -> list[Axis]:
        return [(i, d) for i, t in self.tensors.items() for d in range(t.ndim)]

    def size(self, axis: Axis) -> int:
        return int(self.tensors[axis[0]].shape[axis[1]])

    def where(self, axis: Axis) -> str:
        return f"{self.names[axis[0]]}:{axis[1]}"

    def resized(self, sizes: Mapping[Axis, int]) -> Arguments:
        """Fresh arguments (no tensor is shared with the example) with some dims at other sizes."""
        import torch.utils._pytree as pytree

        leaves = list(self.leaves)
        for i, tensor in self.tensors.items():
            value = tensor.detach()
            for d in range(tensor.ndim):
                value = resize(value, d, sizes.get((i, d), value.shape[d]))
            leaves[i] = value.clone()
        return self.arguments.with_values(pytree.tree_unflatten(leaves, self.spec))


def resize(tensor: Any, dim: int, size: int) -> Any:
    """A tensor cut to ``size`` along ``dim``, or continued by repeating what it holds there.

    Values stay those of the example (indices in range, masks boolean, probabilities positive).
    """
    import torch

    old = tensor.shape[dim]
    if size == old:
        return tensor
    if old == 0:
        shape = [*tensor.shape[:dim], size, *tensor.shape[dim + 1 :]]
        return tensor.new_zeros(shape)
    index = torch.arange(size, device=tensor.device) % old
    return tensor.index_select(dim, index)


@dataclass
class Prober:
    """Tries the original at other sizes; ``call(arguments, mode)`` raises for those it refuses.

    A slow model (``seconds`` for one call) is tried on fake tensors first, which finds what its
    shapes refuse. Real calls are made within ``budget`` seconds, none that takes a tenth of them;
    otherwise fake ones are believed, and where those are impossible sizes count as accepted: a slow
    model loses no dynamic dim.
    """

    example: Example
    call: Callable[[Arguments, AbstractContextManager[Any]], Any]
    budget: float = 60.0
    seconds: float = 0.0
    spent: float = 0.0
    untried: bool = False  # some sizes were accepted unseen
    seen: dict[tuple[tuple[Axis, int], ...], str] = field(default_factory=dict)

    def refusal(self, sizes: Mapping[Axis, int]) -> str:
        """Why the original refuses these sizes; empty when it accepts them."""
        key = tuple(sorted(sizes.items()))
        if key not in self.seen:
            self.seen[key] = self._refusal(sizes)
        return self.seen[key]

    def _refusal(self, sizes: Mapping[Axis, int]) -> str:
        if min(sizes.values(), default=0) < 0:  # one follows from another: 12 * n - 48
            return "another size would be below 0"
        arguments = self.example.resized(sizes)
        if self.seconds > _SLOW and self._works_fake:
            if refused := self._refused_without_data(arguments):
                return refused
            cost = self.seconds * self._growth(arguments)
            if cost > self.budget / 10 or self.spent + cost > self.budget:
                return ""
        elif self.spent > self.budget:
            self.untried = True
            return ""
        start = time.perf_counter()
        refused = _raises(lambda: self.call(arguments, nullcontext()))
        self.spent += time.perf_counter() - start
        return refused

    def affords(self, arguments: Arguments, calls: int = 2) -> bool:
        """Whether there is time for some real calls with these arguments."""
        cost = calls * self.seconds * self._growth(arguments)
        return cost <= self.budget / 10 and self.spent + cost <= self.budget

    @cached_property
    def _works_fake(self) -> bool:
        """Whether the model runs on fake tensors at all: at the example's own sizes."""
        return not self._refused_without_data(self.example.resized({}))

    def _refused_without_data(self, arguments: Arguments) -> str:
        mode, fakes = without_data(arguments)
        return _raises(lambda: self.call(fakes, mode))

    def _growth(self, arguments: Arguments) -> float:
        """How many times larger than the example the inputs are, at least 1."""
        now = Example(arguments).tensors.values()
        before = sum(t.numel() for t in self.example.tensors.values())
        return max(1.0, sum(t.numel() for t in now) / max(before, 1))

    def notes(self) -> list[str]:
        """A warning where sizes were not tried for want of time."""
        if not self.untried:
            return []
        return [f"the model is slow: after {self.spent:.0f} s no more sizes were tried"]

    def refuses_others(self, axes: Iterable[Axis], base: Mapping[Axis, int]) -> str:
        """Why the original refuses these (equal) dims at any other size together; or empty."""
        axes = list(axes)
        size = base.get(axes[0], self.example.size(axes[0]))
        reason = ""
        for other in (size + 1, size * 2, size + 2):
            refusal = self.refusal({**base, **dict.fromkeys(axes, other)})
            if not refusal:
                return ""
            reason = reason or refusal
        return reason


def _raises(call: Callable[[], Any]) -> str:
    """The first line of what it raises; empty for nothing."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whatever the user's model raises is its refusal
        return first_line(error) or type(error).__name__
    return ""


@dataclass
class Plan:
    """Sizes to trace at, dims that move together, and dims that stay fixed with the reason.

    ``moved`` are dims that torch fixes at the example's size, and why, of those traced at another.
    """

    sizes: Sizes = field(default_factory=dict)
    groups: list[list[Axis]] = field(default_factory=list)
    static: dict[Axis, str] = field(default_factory=dict)
    moved: dict[Axis, str] = field(default_factory=dict)


def make_plan(example: Example, prober: Prober) -> Plan:
    """Sizes above 1 for every dim that the model accepts there, then dims of equal size grouped."""
    plan = Plan()
    _enlarge(example, prober, plan)
    classes: dict[int, list[Axis]] = {}
    for axis in example.axes():
        if axis not in plan.static:
            classes.setdefault(plan.sizes.get(axis, example.size(axis)), []).append(axis)
    for members in classes.values():
        if len({leaf for leaf, _ in members}) > 1:
            plan.groups.extend(_split(members, prober, plan.sizes))
    return plan


def _enlarge(example: Example, prober: Prober, plan: Plan) -> None:
    """Dims of size 1 (which torch would freeze) get another size, together by position first."""
    ones = [a for a in example.axes() if example.size(a) <= 1]
    used = {example.size(a) for a in example.axes()}
    free = [n for n in _TRACE_SIZES if n not in used] or [max(used) + 1]
    for number, dim in enumerate(sorted({d for _, d in ones})):
        same = [a for a in ones if a[1] == dim]
        size = free[min(number, len(free) - 1)]
        if _accepts(prober, plan.sizes, same, size):
            plan.sizes.update(dict.fromkeys(same, size))
            continue
        for axis in same:
            if len(same) > 1 and _accepts(prober, plan.sizes, [axis], size):
                plan.sizes[axis] = size
            else:
                refusal = prober.refusal({**plan.sizes, axis: size})
                plan.static[axis] = f"the model refuses other sizes: {refusal}"


def _accepts(prober: Prober, base: Sizes, axes: list[Axis], size: int) -> bool:
    """Both at ``size`` and at 2: one alone may fit by chance (heads that a mask broadcasts to)."""
    return not any(prober.refusal({**base, **dict.fromkeys(axes, other)}) for other in (size, 2))


def _split(members: list[Axis], prober: Prober, base: Sizes) -> list[list[Axis]]:
    """Equal-sized dims move together, unless those in one position can move without the others."""
    by_dim: dict[int, list[Axis]] = {}
    for axis in members:
        by_dim.setdefault(axis[1], []).append(axis)
    parts = list(by_dim.values())
    if len(parts) == 1 and prober.refuses_others(members, base):
        parts = [[axis] for axis in members]
    if len(parts) == 1:
        return [members]
    alone = [part for part in parts if not prober.refuses_others(part, base)]
    rest = [axis for part in parts if part not in alone for axis in part]
    if rest and prober.refuses_others(rest, base):
        rest = []  # dims that are fixed, or free one by one
    return [group for group in (*alone, rest) if len(group) > 1]


def rungs(shapes: Mapping[Axis, Any]) -> list[tuple[str, dict[Axis, Any], bool]]:
    """What to trace with, each time less: in words, the dynamic dims, whether in strict mode."""
    batch = {axis: entry for axis, entry in shapes.items() if axis[1] == 0}
    found: list[tuple[str, dict[Axis, Any], bool]] = [("", dict(shapes), False)]
    if 0 < len(batch) < len(shapes):
        found.append(("only the first dimension of each input dynamic", batch, False))
    if shapes:
        found.append(("every size fixed", {}, False))
    found.append(("torch.export's strict mode", dict(shapes), True))
    if shapes:
        found.append(("torch.export's strict mode and every size fixed", {}, True))
    return found


def sizes_above_one(example: Example, prober: Prober, wanted: Mapping[Axis, Any]) -> Sizes:
    """Other sizes for dims to be dynamic that are 1 in the example; one Dim, one size.

    Raises:
        CaptureError: the model refuses other sizes there.
    """
    ones = [axis for axis in wanted if example.size(axis) <= 1]
    sizes: Sizes = {}
    for axis in ones:
        name = getattr(wanted[axis], "__name__", None)
        limit = getattr(wanted[axis], "max", None)
        size = next((n for n in _TRACE_AT if limit is None or n <= limit), 1)
        same = [a for a in ones if name and getattr(wanted[a], "__name__", None) == name]
        sizes.update(dict.fromkeys([axis, *same], size))
    if sizes and (refusal := prober.refusal(sizes)):
        places = ", ".join(example.where(a) for a in sizes)
        raise CaptureError(
            f"{places} cannot be dynamic: the model refuses other sizes than 1: {refusal}",
            hint="Give example inputs with sizes above 1 there, or leave them out of "
            "dynamic_shapes",
        )
    return sizes


@contextmanager
def tied(module: nn.Module, groups: list[list[Axis]]) -> Iterator[None]:
    """Within, tracing the module notes that the dims of each group are equal.

    torch gives equal-sized dims of two inputs two symbols. Comparing them while it traces makes
    them one.
    """
    import torch.utils._pytree as pytree

    def compare(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        leaves = pytree.tree_leaves([*args, *kwargs.values()])
        for (leaf, dim), *others in groups:
            for other, other_dim in others:
                bool(leaves[leaf].shape[dim] == leaves[other].shape[other_dim])

    handle = module.register_forward_pre_hook(compare, with_kwargs=True, prepend=True)
    try:
        yield
    finally:
        handle.remove()
