"""Loops whose count is a size or is decided by data, as torch's own control flow.

A ``for`` that picks along an axis by its index and appends to lists is a scan: the converted model
then has a plain Python ``for``. Others become ``while``.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from pytorch_to_mlx.sources.torchscript.appended import Appended
from pytorch_to_mlx.sources.torchscript.block import Env
from pytorch_to_mlx.sources.torchscript.carry import Carry, Plan, apart, fresh, settled
from pytorch_to_mlx.sources.torchscript.frames import FRAMES
from pytorch_to_mlx.sources.torchscript.operands import Operands, copied
from pytorch_to_mlx.sources.torchscript.truth import as_tensor

if TYPE_CHECKING:
    from pytorch_to_mlx.sources.torchscript.control import Loop


class Pick(NamedTuple):
    """``result = tensor.select(axis, index)`` in a loop's body; ``name`` is the tensor's there."""

    result: str
    name: str
    tensor: Any
    axis: int


class Round(NamedTuple):
    """What one round of a loop's body gives: whether to go on, and all that it carries."""

    proceed: Any
    values: list[Any]


def traced(loop: Loop, env: Env, i: Any, proceed: Any, carried: list[Any]) -> list[Any]:
    """The carried values after the loop; what it changes of others is changed.

    Raises:
        ValueError: it changes what torch's control flow cannot carry.
    """
    counted = proceed is True and loop.body.always
    trial = _scan if counted and not _of_data(env[loop.names[0]], i) else _while
    return list(settled(lambda plan: trial(loop, env, i, proceed, carried, plan)))


def _of_data(*numbers: Any) -> bool:
    """Whether data decide how many rounds there are: perhaps none, which torch's scan refuses."""
    from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols

    return any(free_unbacked_symbols(n) for n in numbers)


class _Body:
    """The body of a loop with its operands."""

    def __init__(self, loop: Loop, env: Env, without: tuple[str, ...] = ()) -> None:
        self.loop = loop
        self.operands = Operands([loop.body], env, without, carried=True)
        self.count = len(loop.body.inputs) - 1

    def initial(self, carried: list[Any]) -> list[Any]:
        values, stores = self.operands.changes
        return [*carried, *values, *stores]

    def run(self, values: list[Any], index: Any, outer: Any, given: Env) -> Round:
        """One round; ``given`` are values that stand in the environment for other reasons."""
        body, operands = self.loop.body, self.operands
        inner, frame = operands.inside(outer)
        carried, changed, stores = self.parts(values)
        carried = [
            copied(v) if n in body.writes | body.mutates | set(body.appends) else v
            for n, v in zip(body.inputs[1:], carried, strict=True)
        ]
        operands.own(inner, changed)
        operands.own_attributes(frame, stores)
        inner.update(given)
        inner.update(zip(body.inputs, [index, *carried], strict=True))
        FRAMES.append(frame)
        try:
            proceed, *results = body.run(inner)
            now, state = operands.results(inner)
        finally:
            FRAMES.pop()
        return Round(proceed, [*results, *now, *state])

    def parts(self, values: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """Carried, changed, and stored values."""
        end = self.count + len(self.operands.changed)
        return values[: self.count], values[self.count : end], values[end:]

    def finish(self, values: list[Any]) -> list[Any]:
        """Puts back what it changed; the carried values."""
        carried, changed, stores = self.parts(values)
        self.operands.put_back(changed, stores)
        return carried


def _scan(loop: Loop, env: Env, i: Any, proceed: Any, carried: list[Any], plan: Plan) -> list[Any]:
    import torch

    count = env[loop.names[0]]
    stacked = [
        n
        for n, times in loop.body.appends.items()
        if times == 1 and n not in loop.body.uses and isinstance(env.get(n), list)
    ]
    picks = _picks(loop, env, i, count)
    indexed = loop.body.uses_index or len(picks) < len(loop.body.picks) or not picks
    picked = Counter(p.name for p in picks)
    only = {n for n, times in picked.items() if times == loop.body.times[n]}
    body = _Body(loop, env, without=(*stacked, *only))
    carry = Carry(body.initial(carried), plan, integers=False)
    slices = [p.tensor.movedim(p.axis, 0) for p in picks]
    slices = [torch.arange(i, count), *slices] if indexed else slices
    initial = carry.initial
    width, depth = len(initial), len(initial) + len(slices)

    def step(*given: Any) -> Any:
        values = carry.inside(given[:width])
        named: Env = {n: [] for n in stacked}
        index = _number(given[width]) if indexed else None
        rows = given[width + indexed : depth]
        named.update(zip((p.result for p in picks), rows, strict=True))
        made = body.run(values, index, given[depth:], named)
        after = carry.after(made.values, given[:width])
        return (*after, *(fresh(named[n][0]) for n in stacked))

    skip = ({p.result for p in picks} | only) & loop.body.made_by.keys()
    with loop.body.without(skip):
        start, axes, others = apart(initial, slices, body.operands.flat)
        flat = torch.ops.higher_order.scan(step, list(start), list(axes), others)
    results = body.finish(carry.finished(flat[:width]))
    for name, rest in zip(stacked, flat[width:], strict=True):
        env[name] = Appended(env[name], rest)
    return results


def _number(position: Any) -> Any:
    """The number of a round."""
    import torch

    index = position.item()
    torch._check(index >= 0)
    return index


def _picks(loop: Loop, env: Env, i: Any, count: Any) -> list[Pick]:
    """Each ``x.select(axis, i)`` of the body whose index runs over a whole axis of what the body
    does not change.
    """
    import torch
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    found = []
    for result, name, axis in loop.body.picks if i == 0 else ():
        changes = loop.body.writes | loop.body.mutates
        tensor = None if _root(loop, name) in changes else _before(loop, dict(env), name)
        tensor = tensor.stacked() if isinstance(tensor, Appended) else tensor
        if isinstance(tensor, torch.Tensor) and statically_known_true(tensor.shape[axis] == count):
            found.append(Pick(result, name, tensor, axis))
    return found


def _root(loop: Loop, name: str) -> str:
    """What a slice that the body makes is a slice of."""
    while loop.body.views.get(name):
        name = loop.body.views[name][0]
    return name


def _before(loop: Loop, env: Env, name: str) -> Any | None:
    """A value that the body uses, if it is known before the loop: from outside, or a slice of such
    (``x[:, i]`` slices all of the first axis in every round).
    """
    if name not in env:
        if any(_before(loop, env, n) is None for n in loop.body.views.get(name, [name])[:1]):
            return None
        for other in loop.body.views.get(name, [])[1:]:
            _before(loop, env, other)
        if name not in loop.body.views:
            return None
        loop.body.made_by[name](env)
    return env.get(name)


def _while(loop: Loop, env: Env, i: Any, proceed: Any, carried: list[Any], plan: Plan) -> list[Any]:
    import torch

    count = env[loop.names[0]]
    body = _Body(loop, env)
    carry = Carry(body.initial(carried), plan, integers=True)
    endless = isinstance(count, int) and count >= 2**62
    go = (as_tensor(proceed),) if not loop.body.always else ()
    index = () if endless and not loop.body.uses_index else (i,)
    bound = () if isinstance(count, int) else (count,)
    initial = carry.initial
    cuts = (len(go), len(go) + len(index), len(go) + len(index) + len(initial))

    def parts(given: Any) -> tuple[Any, Any, Any, Any]:
        return (
            given[: cuts[0]],
            given[cuts[0] : cuts[1]],
            given[cuts[1] : cuts[2]],
            given[cuts[2] :],
        )

    def condition(*given: Any) -> Any:
        flags, at, _, rest = parts(given)
        more = at[0] < (rest[0] if bound else count) if at and not endless else True
        if not flags:
            return more
        return flags[0].clone() if more is True else flags[0] & as_tensor(more)

    def round_(*given: Any) -> Any:
        _, at, moving, rest = parts(given)
        if at:
            torch._check(at[0] >= 0)
        values = carry.inside(moving)
        made = body.run(values, at[0] if at else 0, rest[len(bound) :], {})
        after = carry.after(made.values, moving)
        flags = (as_tensor(made.proceed).clone(),) if go else ()
        return (*flags, *(number + 1 for number in at), *after)

    start, operands = apart((*go, *index, *initial), (*bound, *body.operands.flat))
    flat = torch.ops.higher_order.while_loop(condition, round_, start, operands)
    return body.finish(carry.finished(flat[cuts[1] :]))
