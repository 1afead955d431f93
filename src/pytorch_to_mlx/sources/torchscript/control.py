"""``if`` and loops of TorchScript: chosen and unrolled where Python knows, traced where not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytorch_to_mlx.errors import CaptureError
from pytorch_to_mlx.sources.torchscript.frames import FRAMES, Frame, get_attribute, set_attribute
from pytorch_to_mlx.sources.torchscript.interpret import Block, Env
from pytorch_to_mlx.sources.torchscript.truth import DataBool, choose, decided_by_sizes, known

Place = tuple[str, int]

#: Rounds of one loop that are written out.
MOST_ROUNDS = 10_000


@dataclass
class If:
    """A choice. One that sizes or data decide becomes ``torch.cond``, unless a branch only raises:
    then the other one is what the model computes."""

    condition: str
    then: Block
    other: Block
    outputs: list[str]
    place: Place
    numbers: bool = False  # whether it only chooses among numbers

    def __call__(self, env: Env) -> None:
        chosen = known(env[self.condition])
        if chosen is None and self.then.raises != self.other.raises:
            chosen = self.other.raises
        if chosen is None:
            results = self._traced(env)
        else:
            results = (self.then if chosen else self.other).run(env)
        env.update(zip(self.outputs, results, strict=True))

    def _traced(self, env: Env) -> list[Any]:
        condition = env[self.condition]
        try:
            if self.numbers and self.then.pure and self.other.pure:
                pairs = zip(self.then.run(env), self.other.run(env), strict=True)
                return [choose(condition, a, b) for a, b in pairs]
            return branch(condition, self.then, self.other, env)
        except CaptureError:
            raise
        except Exception as error:
            if decided_by_sizes(condition):  # what the example's sizes choose holds for its range
                return (self.then if bool(condition) else self.other).run(env)
            file, line = self.place
            raise CaptureError(
                "an `if` that depends on data has branches of different kinds: "
                + (str(error).strip().splitlines() or [type(error).__name__])[0],
                origin=f"{file}:{line}" if file else "",
                hint="Give both branches tensors of one shape and dtype, or use torch.where",
            ) from error


@dataclass
class Loop:
    """A loop, unrolled where its count is known; else ``torch.while_loop``."""

    names: list[str]
    body: Block
    outputs: list[str]
    place: Place

    def __call__(self, env: Env) -> None:
        count, proceed, *carried = (env[n] for n in self.names)
        i = 0
        while True:
            go = known(proceed) if isinstance(count, int) else None
            more = known(i < count)
            if go is None or more is None:
                carried = self._traced(env, i, proceed, carried)
                break
            if not (go and more):
                break
            if i == MOST_ROUNDS and _tracing():
                raise self._too_long()
            env.update(zip(self.body.inputs, [i, *carried], strict=True))
            proceed, *carried = self.body.run(env)
            i += 1
        env.update(zip(self.outputs, carried, strict=True))

    def _traced(self, env: Env, i: int, proceed: Any, carried: list[Any]) -> list[Any]:
        from pytorch_to_mlx.sources.torchscript import loops

        try:
            return loops.traced(self, env, i, proceed, carried)
        except CaptureError:
            raise
        except Exception as error:
            count = env[self.names[0]]
            if known(proceed) and decided_by_sizes(i < count):
                return self._unrolled(env, i, int(count), carried)
            file, line = self.place
            raise CaptureError(
                "a loop that depends on data cannot be converted: "
                + (str(error).strip().splitlines() or [type(error).__name__])[0],
                origin=f"{file}:{line}" if file else "",
                hint="Keep the shapes and dtypes of what it carries the same in every round",
            ) from error

    def _too_long(self) -> CaptureError:
        file, line = self.place
        return CaptureError(
            f"a loop of more than {MOST_ROUNDS:,} rounds, each of which would be written out",
            origin=f"{file}:{line}" if file else "",
            hint="Let its count be a size of an input, or use an op for the whole tensor",
        )

    def _unrolled(self, env: Env, i: int, count: int, carried: list[Any]) -> list[Any]:
        """Every round written out; its count, a size of the example, is fixed by that."""
        proceed: Any = True
        while i < count and known(proceed):
            if i == MOST_ROUNDS:
                raise self._too_long()
            env.update(zip(self.body.inputs, [i, *carried], strict=True))
            proceed, *carried = self.body.run(env)
            i += 1
        return carried


def _tracing() -> bool:
    """Whether what runs is recorded; else rounds cost nothing but their time."""
    from torch.fx.experimental.proxy_tensor import get_proxy_mode

    return get_proxy_mode() is not None


class Operands:
    """The tensors and sizes that blocks use from outside, as one flat tuple that torch carries."""

    def __init__(self, blocks: list[Block], env: Env, without: tuple[str, ...] = ()) -> None:
        import torch.utils._pytree as pytree

        free: set[str] = set().union(*(b.free for b in blocks))
        names = sorted((free & env.keys()) - set(without))
        self.modules = {n: env[n] for n in names if is_module(env[n])}
        self.names = [n for n in names if n not in self.modules]
        self.keys = attributes_of(blocks, env)
        stores = [get_attribute(owner, name) for owner, name, _ in self.keys]
        leaves, self.spec = pytree.tree_flatten(([env[n] for n in self.names], stores))
        self.at = [i for i, leaf in enumerate(leaves) if _moves(leaf)]
        self.leaves = leaves

    @property
    def flat(self) -> tuple[Any, ...]:
        return tuple(self.leaves[i] for i in self.at)

    def inside(self, given: Any) -> tuple[Env, Frame]:
        """The environment and attributes of a branch whose operands are ``given``."""
        import torch.utils._pytree as pytree

        leaves = list(self.leaves)
        for i, value in zip(self.at, given, strict=True):
            leaves[i] = value
        values, stores = pytree.tree_unflatten(leaves, self.spec)
        env = {**self.modules, **dict(zip(self.names, values, strict=True))}
        reads = {(id(o), n): v for (o, n, _), v in zip(self.keys, stores, strict=True)}
        return env, Frame(reads)

    @property
    def written(self) -> list[tuple[Any, str]]:
        return [(owner, name) for owner, name, written in self.keys if written]


def _moves(leaf: Any) -> bool:
    import torch

    return isinstance(leaf, (torch.Tensor, torch.SymInt, torch.SymFloat, torch.SymBool))


def is_module(value: Any) -> bool:
    import torch

    return isinstance(value, torch.nn.Module)


def attributes_of(blocks: list[Block], env: Env) -> list[tuple[Any, str, bool]]:
    """Every tensor attribute that blocks reach, those of submodules that they call included."""
    found: dict[tuple[int, str], tuple[Any, str, bool]] = {}

    def visit(block: Block, modules: Env) -> None:
        reached = dict(modules)
        pending = sorted(block.attributes)
        progress = True
        while progress:
            progress = False
            for owner, name, _ in pending:
                value = get_attribute(reached[owner], name) if owner in reached else None
                target = block.module_names.get((owner, name))
                if target and is_module(value) and target not in reached:
                    reached[target] = value
                    progress = True
        for owner, name, written in pending:
            if owner in reached and not is_module(get_attribute(reached[owner], name)):
                key = (id(reached[owner]), name)
                before = found.get(key, (None, "", False))
                found[key] = (reached[owner], name, written or before[2])
        for owner, method in sorted(block.calls):
            if owner in reached:
                inner = reached[owner].p2m_methods[method]
                visit(inner, {inner.inputs[0]: reached[owner]})

    for block in blocks:
        visit(block, {n: v for n, v in env.items() if is_module(v)})
    return list(found.values())


def branch(condition: Any, then: Block, other: Block, env: Env) -> list[Any]:
    """``torch.cond`` over two blocks; the attributes that they set are set after it."""
    import torch
    import torch.utils._pytree as pytree

    operands = Operands([then, other], env)
    written = operands.written
    specs: list[Any] = []
    fixed: list[list[Any]] = []

    def runs(block: Block) -> Any:
        def run(*given: Any) -> Any:
            inner, frame = operands.inside(given)
            FRAMES.append(frame)
            try:
                results = block.run(inner)
                state = [get_attribute(owner, name) for owner, name in written]
            finally:
                FRAMES.pop()
            leaves, spec = pytree.tree_flatten((results, state))
            specs.append(spec)
            fixed.append(leaves)
            return tuple(x.clone() for x in leaves if isinstance(x, torch.Tensor))

        return run

    if isinstance(condition, DataBool):
        condition = condition.tensor
    flat = torch.ops.higher_order.cond(condition, runs(then), runs(other), operands.flat)
    first, second = fixed[0], fixed[-1]
    if any(spec != specs[0] for spec in specs):
        raise ValueError("they give values of different structure")
    arrays = iter(flat)
    leaves = []
    for a, b in zip(first, second, strict=True):
        if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
            leaves.append(next(arrays))
        elif type(a) is type(b) and not _moves(a) and a == b:
            leaves.append(a)
        else:
            raise ValueError("they give different numbers")
    results, state = pytree.tree_unflatten(leaves, specs[0])
    for (owner, name), value in zip(written, state, strict=True):
        set_attribute(owner, name, value)
    return list(results)
