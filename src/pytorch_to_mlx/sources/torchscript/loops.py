"""Loops whose count is a size or is decided by data, as torch's own control flow.

A ``for`` that carries tensors, picks along an axis by its index and appends to lists is a scan: the
converted model then has a plain Python ``for`` over the slices. Others become ``while``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pytorch_to_mlx.sources.torchscript.appended import Appended
from pytorch_to_mlx.sources.torchscript.frames import FRAMES, get_attribute, set_attribute
from pytorch_to_mlx.sources.torchscript.interpret import Env
from pytorch_to_mlx.sources.torchscript.truth import as_tensor

if TYPE_CHECKING:
    from pytorch_to_mlx.sources.torchscript.control import Loop


class Pick(NamedTuple):
    """``result = tensor.select(axis, index)`` in a loop's body; ``name`` is the tensor's there."""

    result: str
    name: str
    tensor: Any
    axis: int


def traced(loop: Loop, env: Env, i: Any, proceed: Any, carried: list[Any]) -> list[Any]:
    """The carried values after the loop; the environment's lists have what it appended.

    Raises:
        ValueError: it changes what torch's control flow cannot carry.
    """
    count = env[loop.names[0]]
    lists = [n for n in loop.body.appends if isinstance(env.get(n), list)]
    others = [n for n in loop.body.free if isinstance(env.get(n), list) and n not in lists]
    if any(n in loop.body.mutates for n in others) or loop.body.raises:
        raise ValueError("it changes a list in other ways than by appending to it")
    if _counts(proceed, loop) and all(loop.body.appends[n] == 1 for n in lists):
        return _scan(loop, env, i, count, carried, lists)
    if lists:
        raise ValueError("it appends to a list as often as data decides")
    return _while(loop, env, i, count, proceed, carried)


def _counts(proceed: Any, loop: Loop) -> bool:
    """Whether it is a ``for``: no condition but its count."""
    return proceed is True and loop.body.always


def _run(loop: Loop, inner: Env, frame: Any, i: Any, values: list[Any], written: Any) -> Any:
    inner.update(zip(loop.body.inputs, [i, *values], strict=True))
    FRAMES.append(frame)
    try:
        proceed, *results = loop.body.run(inner)
        state = [get_attribute(owner, name) for owner, name in written]
    finally:
        FRAMES.pop()
    return proceed, results, state


def _scan(
    loop: Loop, env: Env, i: Any, count: Any, carried: list[Any], lists: list[str]
) -> list[Any]:
    import torch
    import torch.utils._pytree as pytree

    from pytorch_to_mlx.sources.torchscript.control import Operands

    picks = _picks(loop, env, i, count)
    operands = Operands([loop.body], env, without=(*lists, *(p.name for p in picks or ())))
    state = [get_attribute(owner, name) for owner, name in operands.written]
    initial, spec = pytree.tree_flatten((carried, state))
    if not all(isinstance(x, torch.Tensor) for x in initial):
        raise ValueError("it carries a number")
    slices = [p.tensor.movedim(p.axis, 0) for p in picks or ()]
    slices = slices or [torch.arange(i, count)]
    width, depth = len(initial), len(initial) + len(slices)

    def step(*given: Any) -> Any:
        values, kept = pytree.tree_unflatten(list(given[:width]), spec)
        inner, frame = operands.inside(given[depth:])
        frame.writes.update(
            ((id(o), n), v) for (o, n), v in zip(operands.written, kept, strict=True)
        )
        inner.update({n: [] for n in lists})
        index: Any = None
        if picks:
            inner.update(zip((p.result for p in picks), given[width:depth], strict=True))
        else:
            index = given[width].item()
            torch._check(index >= 0)
        _, results, after = _run(loop, inner, frame, index, values, operands.written)
        leaves = pytree.tree_leaves((results, after))
        made = [inner[n][0] for n in lists]
        return tuple(x.clone() for x in (*leaves, *made))

    skip = {n for p in picks or () for n in (p.result, p.name) if n in loop.body.made_by}
    with loop.body.without(skip):
        flat = torch.ops.higher_order.scan(step, initial, slices, operands.flat)
    values, kept = pytree.tree_unflatten(list(flat[:width]), spec)
    for (owner, name), value in zip(operands.written, kept, strict=True):
        set_attribute(owner, name, value)
    for name, rest in zip(lists, flat[width:], strict=True):
        env[name] = Appended(env[name], rest)
    return list(values)


def _picks(loop: Loop, env: Env, i: Any, count: Any) -> list[Pick] | None:
    """Each ``x.select(axis, i)`` of the body, if the index does nothing else and runs over the
    whole axis.
    """
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    found = []
    for result, name, axis in loop.body.picks if i == 0 else ():
        tensor = _before(loop, dict(env), name)
        if tensor is None or not statically_known_true(tensor.shape[axis] == count):
            return None
        found.append(Pick(result, name, tensor, axis))
    return found or None


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


def _while(loop: Loop, env: Env, i: Any, count: Any, proceed: Any, carried: list[Any]) -> list[Any]:
    import torch
    import torch.utils._pytree as pytree

    from pytorch_to_mlx.sources.torchscript.control import Operands

    operands = Operands([loop.body], env)
    state = [get_attribute(owner, name) for owner, name in operands.written]
    endless = isinstance(count, int) and count >= 2**62
    go = () if _counts(proceed, loop) else (as_tensor(proceed),)
    index = () if endless and not loop.body.uses_index else (i,)
    leaves, spec = pytree.tree_flatten((carried, state))
    moving = [k for k, x in enumerate(leaves) if _carries(x)]
    initial = (*go, *index, *(leaves[k] for k in moving))
    bound = () if endless or isinstance(count, int) else (count,)

    def parts(given: Any) -> tuple[Any, Any, Any, Any, Any]:
        flags, given = given[: len(go)], given[len(go) :]
        at, given = given[: len(index)], given[len(index) :]
        inside = list(leaves)
        for k, value in zip(moving, given[: len(moving)], strict=True):
            inside[k] = value
        rest = given[len(moving) :]
        return flags, at, inside, rest[: len(bound)], rest[len(bound) :]

    def condition(*given: Any) -> Any:
        flags, at, _, limit, _ = parts(given)
        more = at[0] < (limit[0] if limit else count) if at and not endless else True
        if not flags:
            return more
        return flags[0].clone() if more is True else flags[0] & as_tensor(more)

    def body(*given: Any) -> Any:
        _, at, inside, _, outer = parts(given)
        values, kept = pytree.tree_unflatten(inside, spec)
        inner, frame = operands.inside(outer)
        frame.writes.update(
            ((id(o), n), v) for (o, n), v in zip(operands.written, kept, strict=True)
        )
        more, results, after = _run(
            loop, inner, frame, at[0] if at else 0, values, operands.written
        )
        found = pytree.tree_leaves((results, after))
        if len(found) != len(leaves) or any(
            not _carries(a) and a != b for a, b in zip(found, leaves, strict=True)
        ):
            raise ValueError("it changes the structure of what it carries")
        kept_leaves = [found[k] for k in moving]
        fresh = [x.clone() if isinstance(x, torch.Tensor) else x for x in kept_leaves]
        flags = (as_tensor(more).clone(),) if go else ()
        return (*flags, *(at_i + 1 for at_i in at), *fresh)

    flat = torch.ops.higher_order.while_loop(condition, body, initial, (*bound, *operands.flat))
    out = list(leaves)
    for k, value in zip(moving, flat[len(go) + len(index) :], strict=True):
        out[k] = value
    values, kept = pytree.tree_unflatten(out, spec)
    for (owner, name), value in zip(operands.written, kept, strict=True):
        set_attribute(owner, name, value)
    return list(values)


def _carries(leaf: Any) -> bool:
    import torch

    if isinstance(leaf, (torch.Tensor, torch.SymInt)):
        return True
    return isinstance(leaf, int) and not isinstance(leaf, bool)
