"""What traced branches and loops take from outside, and what they change there.

torch's control flow runs its parts on operands and takes only their results. So what a part
changes (attributes of modules, lists and dicts, tensors that it writes in place) is made its own,
returned beside its results, and put back afterwards.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pytorch_to_mlx.sources.torchscript.appended import Appended
from pytorch_to_mlx.sources.torchscript.block import Block, Env
from pytorch_to_mlx.sources.torchscript.frames import FRAMES, Frame, get_attribute, set_attribute


class Attribute(NamedTuple):
    """A tensor (or list ...) of a module that a block reaches."""

    owner: Any
    name: str
    assigned: bool
    in_place: bool

    @property
    def written(self) -> bool:
        return self.assigned or self.in_place

    @property
    def key(self) -> tuple[int, str]:
        return id(self.owner), self.name


class Operands:
    """The tensors and sizes that blocks use from outside, as one flat tuple that torch carries."""

    def __init__(
        self,
        blocks: list[Block],
        env: Env,
        without: tuple[str, ...] = (),
        *,
        carried: bool = False,
    ) -> None:
        """``without`` are names that are given otherwise; ``carried``: what is changed is, too.

        torch carries no symbolic float: one goes in as a tensor.
        """
        import torch

        free: set[str] = set().union(*(b.free for b in blocks))
        names = sorted((free & env.keys()) - set(without))
        self.outer = env
        self.carried = carried
        self.modules = {n: env[n] for n in names if is_module(env[n])}
        self.names = [n for n in names if n not in self.modules]
        self.attributes = attributes_of(blocks, env)
        self.written = [a for a in self.attributes if a.written]
        self.changed = self._changed(blocks)
        stores = [get_attribute(a.owner, a.name) for a in self.attributes]
        given = {id(env[n]) for n in self.changed} if carried else set()
        values = [None if id(env[n]) in given else env[n] for n in self.names]
        if carried:
            stores = [
                None if a.written else v for a, v in zip(self.attributes, stores, strict=True)
            ]
        leaves, self.spec = flatten((values, stores))
        self._check_views()
        self.at = [i for i, leaf in enumerate(leaves) if moves(leaf)]
        self.floats = [isinstance(leaves[i], torch.SymFloat) for i in self.at]
        self.leaves = leaves

    def _check_views(self) -> None:
        """Inside, what is changed is a copy, of which a view from outside would know nothing.

        Raises:
            ValueError: there is such a view.
        """
        import torch

        tensors = [v for v in map(self.outer.get, self.names) if isinstance(v, torch.Tensor)]
        for name in self.changed:
            mine = self.outer[name]
            if isinstance(mine, torch.Tensor) and any(
                v is not mine and torch._C._is_alias_of(mine, v) for v in tensors
            ):
                raise ValueError("it writes to a tensor of which it also uses a view made before")

    def _changed(self, blocks: list[Block]) -> list[str]:
        """Lists, dicts and tensors that the blocks change, each by one of its names."""
        changes = set().union(*(b.mutates | b.writes | set(b.appends) for b in blocks))
        found: dict[int, str] = {}
        for name in self.names:
            if name in changes and _changeable(self.outer[name]):
                found.setdefault(id(self.outer[name]), name)
        return list(found.values())

    @property
    def flat(self) -> tuple[Any, ...]:
        import torch

        return tuple(
            torch.scalar_tensor(self.leaves[i], dtype=torch.float64) if number else self.leaves[i]
            for i, number in zip(self.at, self.floats, strict=True)
        )

    @property
    def changes(self) -> tuple[list[Any], list[Any]]:
        """What is changed, as it is now: values by name, and attributes."""
        values = [self.outer[n] for n in self.changed]
        return values, [get_attribute(a.owner, a.name) for a in self.written]

    def inside(self, given: Any) -> tuple[Env, Frame]:
        """The environment and attributes of a part whose operands are ``given``."""
        leaves = list(self.leaves)
        for i, number, value in zip(self.at, self.floats, given, strict=True):
            leaves[i] = value.item() if number else value
        values, stores = unflatten(leaves, self.spec)
        env = {**self.modules, **dict(zip(self.names, values, strict=True))}
        reads = {a.key: v for a, v in zip(self.attributes, stores, strict=True)}
        frame = Frame(reads)
        if not self.carried:
            self.own(env, [env[n] for n in self.changed])
            self.own_attributes(frame, [reads[a.key] for a in self.written])
        return env, frame

    def own(self, env: Env, values: list[Any]) -> None:
        """Sets what is changed to these values, under all the names that it has."""
        for name, value in zip(self.changed, values, strict=True):
            value = copied(value)
            for other in self.names:
                if self.outer[other] is self.outer[name]:
                    env[other] = value

    def own_attributes(self, frame: Frame, values: list[Any]) -> None:
        for attribute, value in zip(self.written, values, strict=True):
            frame.writes[attribute.key] = copied(value) if attribute.in_place else value

    def results(self, env: Env) -> tuple[list[Any], list[Any]]:
        """What a part that ran has made of all that it changes; its frame is still the last."""
        values = [env[n] for n in self.changed]
        return values, [get_attribute(a.owner, a.name) for a in self.written]

    def put_back(self, values: list[Any], stores: list[Any]) -> None:
        """Changes what is outside."""
        for name, value in zip(self.changed if values else (), values, strict=True):
            self.change(self.outer[name], value)
        for attribute, value in zip(self.written, stores, strict=True):
            if attribute.in_place and not attribute.assigned and not FRAMES:
                get_attribute(attribute.owner, attribute.name).copy_(value)
            else:
                set_attribute(attribute.owner, attribute.name, value)

    def change(self, old: Any, new: Any) -> None:
        """Gives a list, dict or tensor other contents."""
        if isinstance(old, list) and isinstance(new, list):
            old[:] = new
        elif isinstance(old, dict):
            old.clear()
            old.update(new)
        elif isinstance(old, Appended):
            old.first, old.rest = new.first, new.rest
        elif isinstance(old, list):  # it has become one of unknown length
            for other in [n for n, v in self.outer.items() if v is old]:
                self.outer[other] = new
        else:
            old.copy_(new)


class Saved:
    """Lists and attributes that blocks change, as they are now."""

    def __init__(self, blocks: list[Block], env: Env) -> None:
        self.env = env
        self.operands = Operands(blocks, env)
        self.stores = self.operands.changes[1]
        same = [(n, env[n]) for n in self.operands.names]
        self.values = [
            ([n for n, v in same if v is env[name]], env[name], copied(env[name]))
            for name in self.operands.changed
        ]

    def restore(self) -> None:
        """Makes them what they were."""
        for names, value, before in self.values:
            self.env.update(dict.fromkeys(names, value))
            self.operands.change(value, copied(before))
        self.operands.put_back([], self.stores)


class Parts(NamedTuple):
    """A list of unknown length while it is taken apart into tensors."""

    first: list[Any]
    rest: Any
    numbers: tuple[bool]


def flatten(tree: Any) -> tuple[list[Any], Any]:
    """Leaves and structure, lists of unknown length included."""
    import torch.utils._pytree as pytree

    def taken_apart(value: Any) -> Any:
        if isinstance(value, Appended):
            return Parts(value.first, value.rest, (value.numbers,))
        return value

    return pytree.tree_flatten(
        pytree.tree_map(taken_apart, tree, is_leaf=lambda v: isinstance(v, Appended))
    )


def unflatten(leaves: list[Any], spec: Any) -> Any:
    """The tree again; its lists are new ones."""
    import torch.utils._pytree as pytree

    def together(value: Any) -> Any:
        if isinstance(value, Parts):
            return Appended(list(value.first), value.rest, value.numbers[0])
        return value

    tree = pytree.tree_unflatten(leaves, spec)
    return pytree.tree_map(together, tree, is_leaf=lambda v: isinstance(v, Parts))


def copied(value: Any) -> Any:
    """A value that may be changed without changing the one given."""
    import torch
    import torch.utils._pytree as pytree

    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, Appended):
        return Appended(list(value.first), value.rest, value.numbers)
    return pytree.tree_map(lambda leaf: leaf, value)


def moves(leaf: Any) -> bool:
    """Whether torch must carry a leaf: its value is not known while tracing."""
    import torch

    return isinstance(leaf, (torch.Tensor, torch.SymInt, torch.SymFloat, torch.SymBool))


def _changeable(value: Any) -> bool:
    import torch

    return isinstance(value, (list, dict, Appended, torch.Tensor))


def is_module(value: Any) -> bool:
    import torch

    return isinstance(value, torch.nn.Module)


def reached(block: Block, env: Env) -> list[Block]:
    """The block, and those of the methods that it calls."""
    found = [block]
    modules = _modules(block, {n: v for n, v in env.items() if is_module(v)})
    for owner, method in sorted(block.calls):
        if owner in modules:
            inner = modules[owner].p2m_methods[method]
            found += reached(inner, {inner.inputs[0]: modules[owner]})
    return found


def attributes_of(blocks: list[Block], env: Env) -> list[Attribute]:
    """Every tensor attribute that blocks reach, those of submodules that they call included."""
    found: dict[tuple[int, str], Attribute] = {}

    def visit(block: Block, modules: Env) -> None:
        known = _modules(block, modules)
        for owner, name, assigned in sorted(block.attributes):
            if owner not in known or is_module(get_attribute(known[owner], name)):
                continue
            in_place = (owner, name) in block.in_place
            new = Attribute(known[owner], name, assigned, in_place)
            old = found.get(new.key, new)
            found[new.key] = Attribute(
                new.owner, name, assigned or old.assigned, in_place or old.in_place
            )
        for owner, method in sorted(block.calls):
            if owner in known:
                inner = known[owner].p2m_methods[method]
                visit(inner, {inner.inputs[0]: known[owner]})

    for block in blocks:
        visit(block, {n: v for n, v in env.items() if is_module(v)})
    return list(found.values())


def _modules(block: Block, modules: Env) -> Env:
    """The modules by their names in a block: those given, and what is read from them."""
    known = dict(modules)
    progress = True
    while progress:
        progress = False
        for owner, name, _ in sorted(block.attributes):
            value = get_attribute(known[owner], name) if owner in known else None
            target = block.module_names.get((owner, name))
            if target and is_module(value) and target not in known:
                known[target] = value
                progress = True
    return known
