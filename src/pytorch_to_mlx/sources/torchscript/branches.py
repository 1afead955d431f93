"""``if`` whose condition sizes or data decide, as ``torch.cond``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytorch_to_mlx.sources.torchscript.appended import Appended, Item
from pytorch_to_mlx.sources.torchscript.block import Block, Env
from pytorch_to_mlx.sources.torchscript.carry import Plan, Unsettled, apart, fresh, same, settled
from pytorch_to_mlx.sources.torchscript.frames import FRAMES
from pytorch_to_mlx.sources.torchscript.operands import Operands, flatten, unflatten
from pytorch_to_mlx.sources.torchscript.truth import DataBool, as_tensor


def traced(condition: Any, then: Block, other: Block, env: Env) -> list[Any]:
    """What the ``if`` gives; what its branches change of others is changed after it.

    Raises:
        ValueError: the branches give what one value cannot be.
    """
    return list(settled(lambda plan: _trial(condition, then, other, env, plan)))


def _trial(condition: Any, then: Block, other: Block, env: Env, plan: Plan) -> list[Any]:
    import torch

    operands = Operands([then, other], env)
    sides: dict[int, Side] = {}

    def runs(block: Block) -> Any:
        def run(*given: Any) -> Any:
            inner, frame = operands.inside(given)
            FRAMES.append(frame)
            try:
                values = block.run(inner)
                changed, stores = operands.results(inner)
            finally:
                FRAMES.pop()
            side = Side.of([*values, *changed, *stores], plan, given)
            sides[id(block)] = side
            if len(sides) == 2:
                sides[id(then)].agrees(sides[id(other)], plan)
            return tuple(fresh(side.packed(i)) for i in side.moving(plan))

        return run

    if isinstance(condition, DataBool):
        condition = condition.tensor
    (given,) = apart(operands.flat)
    flat = torch.ops.higher_order.cond(condition, runs(then), runs(other), given)
    values = sides[id(then)].merged(flat, plan, sides[id(other)], operands.flat)
    count = len(then.outputs)
    stores = values[count + len(operands.changed) :]
    operands.put_back(values[count : count + len(operands.changed)], stores)
    return values[:count]


@dataclass
class Side:
    """What a branch gives and changes, as leaves."""

    values: list[Any]
    leaves: list[Any]
    spec: Any
    given: list[int | None]  # for each leaf, which operand it is

    @staticmethod
    def of(values: list[Any], plan: Plan, operands: tuple[Any, ...]) -> Side:
        values = [
            Appended.grown(v, plan.lists[i]) if i in plan.lists else v for i, v in enumerate(values)
        ]
        leaves, spec = flatten(values)
        places = {id(x): i for i, x in enumerate(operands)}
        return Side(values, leaves, spec, [places.get(id(leaf)) for leaf in leaves])

    def moving(self, plan: Plan) -> list[int]:
        """The leaves that the branch hands on as tensors."""
        import torch

        return [
            i
            for i, leaf in enumerate(self.leaves)
            if i in plan.numbers or isinstance(leaf, (torch.Tensor, DataBool))
        ]

    def packed(self, i: int) -> Any:
        """A leaf as a tensor."""
        import torch

        leaf = self.leaves[i]
        if isinstance(leaf, torch.Tensor):
            return leaf
        if isinstance(leaf, (bool, DataBool, torch.SymBool)):
            return as_tensor(leaf)
        integer = isinstance(leaf, (int, torch.SymInt))
        return torch.scalar_tensor(leaf, dtype=torch.int64 if integer else torch.float64)

    def agrees(self, other: Side, plan: Plan) -> None:
        """Raises what the plan must say for both branches to give the same kinds of values.

        Raises:
            Unsettled, or ValueError: they cannot.
        """
        import torch

        if self.spec != other.spec:
            raise Unsettled(Plan(lists=plan.lists | self._lists(other)))
        numbers = set(plan.numbers)
        for i, (a, b) in enumerate(zip(self.leaves, other.leaves, strict=True)):
            tensors = [isinstance(v, torch.Tensor) for v in (a, b)]
            if all(tensors):
                if a.dtype != b.dtype or a.ndim != b.ndim:
                    raise ValueError(
                        f"one gives {a.dtype} with {a.ndim} dims, the other {b.dtype} with {b.ndim}"
                    )
            elif any(tensors):
                raise ValueError("one gives a tensor where the other gives none")
            elif not same(a, b):
                numbers.add(i)
        if numbers != plan.numbers:
            raise Unsettled(Plan(numbers=numbers, lists=plan.lists))

    def _lists(self, other: Side) -> dict[int, Item]:
        """The lists of which the branches give different numbers of items."""
        found: dict[int, Item] = {}
        for i, (a, b) in enumerate(zip(self.values, other.values, strict=True)):
            if all(isinstance(v, (list, Appended)) for v in (a, b)):
                items = [v for v in (a, b) if isinstance(v, Appended)]
                known = next((v for v in (a, b) if isinstance(v, list) and v), None)
                if items:
                    found[i] = items[0].item
                elif known and flatten([a])[1] != flatten([b])[1]:
                    found[i] = Item.of(known[-1])
            elif flatten([a])[1] != flatten([b])[1]:
                raise ValueError("they give values of different structure")
        return found

    def merged(self, flat: Any, plan: Plan, other: Side, operands: tuple[Any, ...]) -> list[Any]:
        """The values after the ``if``: an operand that both branches hand on is that."""
        import torch

        leaves = list(self.leaves)
        for i, x in zip(self.moving(plan), flat, strict=True):
            number = not isinstance(leaves[i], torch.Tensor)
            leaves[i] = (DataBool(x) if x.dtype == torch.bool else x.item()) if number else x
            kept = self.given[i]
            if kept is not None and kept == other.given[i]:
                leaves[i] = operands[kept]
        return list(unflatten(leaves, self.spec))
