"""What a traced loop carries from round to round, found by trying.

A first trial assumes that only the values of tensors change. Where a round shows more (a size, a
number, a list that becomes longer), the next trial expects that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pytorch_to_mlx.sources.torchscript.appended import Appended, Item
from pytorch_to_mlx.sources.torchscript.operands import flatten, unflatten
from pytorch_to_mlx.sources.torchscript.truth import DataBool, as_tensor
from pytorch_to_mlx.sources.torchscript.unsized import sized_like, unsized

_TRIALS = 6


@dataclass
class Plan:
    """What is known to change: sizes of leaves by dim, leaves that are numbers, and lists (by their
    place among the values) that become longer."""

    sizes: dict[int, set[int]] = field(default_factory=dict)
    numbers: set[int] = field(default_factory=set)
    lists: dict[int, Item] = field(default_factory=dict)


class Unsettled(Exception):
    """A trial showed that more changes than its plan says."""

    def __init__(self, plan: Plan) -> None:
        super().__init__("the loop changes more than was expected")
        self.plan = plan


def settled(trial: Callable[[Plan], Any]) -> Any:
    """The result of the first trial whose plan holds."""
    plan = Plan()
    for _ in range(_TRIALS):
        try:
            return trial(plan)
        except Unsettled as found:
            plan = found.plan
    raise ValueError("what it carries does not settle")


class Carry:
    """The values of a loop (or of the branches of an ``if``) as a flat tuple of tensors."""

    def __init__(self, values: list[Any], plan: Plan, *, integers: bool) -> None:
        """``integers``: whether Python integers may be among the tensors."""
        self.plan = plan
        self.integers = integers
        values = [
            Appended.grown(v, plan.lists[i]) if i in plan.lists else v for i, v in enumerate(values)
        ]
        self.leaves, self.spec = flatten(values)
        self.moving = [i for i, leaf in enumerate(self.leaves) if self._moves(i, leaf)]

    def _moves(self, i: int, leaf: Any) -> bool:
        import torch

        if i in self.plan.numbers or isinstance(leaf, (torch.Tensor, DataBool)):
            return True
        if isinstance(leaf, torch.SymInt):
            return True
        return self.integers and type(leaf) is int

    def packed(self, i: int, leaf: Any) -> Any:
        """A leaf as torch carries it."""
        import torch

        if isinstance(leaf, torch.Tensor):
            return leaf
        if isinstance(leaf, (bool, DataBool, torch.SymBool)):
            return as_tensor(leaf)
        if self.integers and isinstance(leaf, (int, torch.SymInt)) and i not in self.plan.numbers:
            return leaf
        integer = isinstance(leaf, (int, torch.SymInt))
        return torch.scalar_tensor(leaf, dtype=torch.int64 if integer else torch.float64)

    def unpacked(self, i: int, value: Any) -> Any:
        """The leaf that a carried value stands for."""
        import torch

        leaf = self.leaves[i]
        if isinstance(leaf, torch.Tensor) or not isinstance(value, torch.Tensor):
            return value
        return DataBool(value) if value.dtype == torch.bool else value.item()

    @property
    def initial(self) -> list[Any]:
        """The values before the first round."""
        packed = [(i, self.packed(i, self.leaves[i])) for i in self.moving]
        return [unsized(x, self.plan.sizes[i]) if i in self.plan.sizes else x for i, x in packed]

    def inside(self, given: Any) -> list[Any]:
        """The values of a round."""
        return self._values(dict(zip(self.moving, given, strict=True)))

    def after(self, values: list[Any], given: Any) -> list[Any]:
        """What a round hands to the next one.

        Raises:
            Unsettled: it changed more than the plan says.
            ValueError: it changed what cannot be carried.
        """
        found, spec = flatten(values)
        if spec != self.spec:
            raise Unsettled(self._with_lists(values))
        plan = self._with_leaves(found, given)
        if plan is not None:
            raise Unsettled(plan)
        results = []
        for i, like in zip(self.moving, given, strict=True):
            x = self.packed(i, found[i])
            results.append(sized_like(x, like) if i in self.plan.sizes else fresh(x))
        return results

    def finished(self, given: Any) -> list[Any]:
        """The values after the last round."""
        pairs = zip(self.moving, given, strict=True)
        return self._values(
            {i: unsized(x, self.plan.sizes[i]) if i in self.plan.sizes else x for i, x in pairs}
        )

    def _values(self, moving: dict[int, Any]) -> list[Any]:
        leaves = [self.unpacked(i, moving[i]) if i in moving else v for i, v in self._numbered()]
        return list(unflatten(leaves, self.spec))

    def _numbered(self) -> list[tuple[int, Any]]:
        return list(enumerate(self.leaves))

    # -- what a round showed ------------------------------------------------------------------

    def _with_lists(self, values: list[Any]) -> Plan:
        """The plan in which lists that became longer may do so."""
        before = unflatten(self.leaves, self.spec)
        lists = dict(self.plan.lists)
        for i, (old, new) in enumerate(zip(before, values, strict=True)):
            if isinstance(old, list) and isinstance(new, Appended):
                lists[i] = new.item
            elif isinstance(old, list) and isinstance(new, list) and len(old) != len(new):
                lists[i] = Item.of((new or old)[-1])
            elif flatten([old])[1] != flatten([new])[1]:
                raise ValueError("it changes the structure of what it carries")
        return Plan(lists=lists)

    def _with_leaves(self, found: list[Any], given: Any) -> Plan | None:
        """The plan in which leaves change as they did, or None where nothing is new."""
        import torch

        sizes = {i: set(dims) for i, dims in self.plan.sizes.items()}
        numbers = set(self.plan.numbers)
        carried = dict(zip(self.moving, given, strict=True))
        for i, new in enumerate(found):
            if i not in carried:
                if not same(new, self.leaves[i]):
                    numbers.add(i)
                continue
            old, new = carried[i], self.packed(i, new)
            if not isinstance(old, torch.Tensor):
                continue
            if new.ndim != old.ndim or new.dtype != old.dtype:
                raise ValueError(f"it turns {_text(old)} into {_text(new)}")
            changed = {d for d in range(old.ndim) if not same_size(old.shape[d], new.shape[d])}
            if changed - sizes.get(i, set()):
                sizes[i] = sizes.get(i, set()) | changed
        if sizes == self.plan.sizes and numbers == self.plan.numbers:
            return None
        return Plan(sizes, numbers, self.plan.lists)


def fresh(x: Any) -> Any:
    """A result that is none of its operands, as torch wants it."""
    import torch

    return x.clone() if isinstance(x, torch.Tensor) else x


def apart(*groups: Any) -> list[tuple[Any, ...]]:
    """Operands none of which is a view of another's memory, as torch's control flow wants them."""
    import torch

    taken: set[int] = set()
    result = []
    for group in groups:
        own = []
        for x in group:
            if isinstance(x, torch.Tensor):
                memory = x.untyped_storage()._cdata
                x = x.clone() if memory in taken else x
                taken.add(memory)
            own.append(x)
        result.append(tuple(own))
    return result


def same(a: Any, b: Any) -> bool:
    """Whether two values that no tensor holds are the same.

    Raises:
        ValueError: they are of kinds that no tensor can hold.
    """
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    if symbolic(a) or symbolic(b):
        if all(_is_number(v) for v in (a, b)) and statically_known_true(a == b):
            return True
    elif type(a) is type(b) and a == b:
        return True
    if not all(_is_number(v) for v in (a, b)):
        raise ValueError(f"it changes {_text(b)} to {_text(a)}")
    return False


def symbolic(value: Any) -> bool:
    import torch

    return isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool))


def _is_number(value: Any) -> bool:
    import torch

    return isinstance(
        value, (bool, int, float, DataBool, torch.SymInt, torch.SymBool, torch.SymFloat)
    )


def same_size(a: Any, b: Any) -> bool:
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    return bool(statically_known_true(a == b))


def _text(value: Any) -> str:
    import torch

    if isinstance(value, torch.Tensor):
        return f"a tensor of {value.dtype} with {value.ndim} dims"
    return "nothing" if value is None else f"the {type(value).__name__} {value}"
