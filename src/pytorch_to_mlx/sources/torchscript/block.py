"""A compiled graph or block: its steps, and what it does to values that are not its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pytorch_to_mlx.sources.torchscript.raising import Refused, Text, message_of

Env = dict[str, Any]
Step = Callable[[Env], None]

#: Ops of lists and dicts that change them, beside ``append``.
_MUTATING = frozenset(
    f"aten::{name}"
    for name in "extend insert pop popitem remove clear reverse sort _set_item Delete".split()
)

#: Ops whose result is a part of their first input, or the same seen otherwise.
_VIEWS = frozenset(
    f"aten::{name}"
    for name in (
        "select slice narrow view view_as reshape unsqueeze squeeze transpose permute t expand "
        "expand_as flatten unflatten diagonal detach alias unbind chunk split split_with_sizes "
        "__getitem__ swapaxes movedim real imag"
    ).split()
) | {"prim::ListUnpack", "prim::unchecked_cast", "prim::unchecked_unwrap_optional"}


@dataclass
class Block:
    """A compiled graph or nested block: inputs and outputs are names in the environment."""

    inputs: list[str]
    outputs: list[str]
    steps: list[Step]
    reads: set[str] = field(default_factory=set)  # names used here, nested blocks included
    times: Counter[str] = field(default_factory=Counter)  # how many nodes read each of them
    makes: set[str] = field(default_factory=set)
    attributes: set[tuple[str, str, bool]] = field(default_factory=set)  # owner, name, written
    calls: set[tuple[str, str]] = field(default_factory=set)  # owner, method
    module_names: dict[tuple[str, str], str] = field(default_factory=dict)  # (owner, name) -> value
    raises: bool = False  # whether it ends in an error, whatever it is given
    appends: dict[str, int] = field(default_factory=dict)  # list -> how many items each run adds
    mutates: set[str] = field(default_factory=set)  # lists and dicts that it changes otherwise
    uses: set[str] = field(default_factory=set)  # names used otherwise than by appending to them
    roots: dict[str, Any] = field(default_factory=dict)  # values of torch's graph that it changes
    writes: set[str] = field(default_factory=set)  # tensors that it writes in place
    in_place: set[tuple[str, str]] = field(default_factory=set)  # owner, attribute: written so
    always: bool = False  # of a loop's body: its condition is the constant True
    picks: list[tuple[str, str, int]] = field(default_factory=list)  # selects by its index
    uses_index: bool = False  # whether the index does anything else
    made_by: dict[str, Step] = field(default_factory=dict)
    views: dict[str, list[str]] = field(default_factory=dict)  # constants and slices: their inputs

    def run(self, env: Env) -> list[Any]:
        for step in self.steps:
            step(env)
        return [env[name] for name in self.outputs]

    @property
    def pure(self) -> bool:
        """Whether running it changes nothing but its own values."""
        return not (self.raises or self.acts)

    @property
    def acts(self) -> bool:
        """Whether it changes what is not its own, or calls what may do so."""
        writes = any(written for _, _, written in self.attributes)
        return bool(self.calls or self.appends or self.mutates or writes)

    def refusal(self, env: Env) -> Text:
        """What a block that raises says."""
        if not self.acts:
            try:
                self.run(dict(env))
            except Refused as refused:
                return refused.text
        return Refused(message_of([])).text

    @contextmanager
    def without(self, names: set[str]) -> Iterator[None]:
        """Within, the steps that make these values are left out: they are given."""
        skipped = {id(self.made_by[n]) for n in names}
        before = self.steps
        self.steps = [s for s in before if id(s) not in skipped]
        try:
            yield
        finally:
            self.steps = before

    @property
    def free(self) -> set[str]:
        """Names that must be in the environment before it runs."""
        return (self.reads | set(self.outputs)) - self.makes - set(self.inputs)

    @property
    def writes_outside(self) -> set[str]:
        """Tensors that it is given and writes in place."""
        return self.writes & (self.free | set(self.inputs))

    # -- while compiling --------------------------------------------------------------------------

    def note(self, node: Any) -> None:
        """Takes down what a node changes; its results are not yet among those made here."""
        kind = node.kind()
        used = [v.debugName() for v in node.inputs()]
        target = next(iter(node.inputs()), None)
        if kind == "aten::append" or _adds_one_item(node):
            name = self._root(target)
            if name == used[0] and name not in self.makes:
                self.appends[name] = self.appends.get(name, 0) + 1
            else:
                self.mutates.add(name)
            used = used[1:]
        elif kind in _MUTATING or (writes_in_place(kind) and _is_list(target)):
            self.mutates.add(self._root(target))
        elif writes_in_place(kind):
            self._write(target)
        self.uses.update(used)

    def note_inner(self, inner: Block) -> None:
        """Takes down what a nested block reads and changes."""
        self.reads |= inner.reads | set(inner.outputs)
        self.times.update(inner.times)
        self.times.update(inner.outputs)
        self.makes |= inner.makes | set(inner.inputs)
        self.attributes |= inner.attributes
        self.in_place |= inner.in_place
        self.calls |= inner.calls
        self.module_names |= inner.module_names
        self.uses |= inner.uses | set(inner.outputs)
        self.mutates |= {self._root(inner.roots[n]) for n in inner.mutates | set(inner.appends)}
        for name in inner.writes:
            self._write(inner.roots[name])
        inner.roots.clear()

    def _write(self, value: Any) -> None:
        self.writes.add(self._root(value))
        while value.node().kind() in _VIEWS:
            value = next(iter(value.node().inputs()))
        if value.node().kind() == "prim::GetAttr":
            owner = next(iter(value.node().inputs()))
            self.in_place.add((owner.debugName(), value.node().s("name")))

    def _root(self, value: Any) -> str:
        """What a view made here is a view of, as far as it was made here."""
        while value.debugName() in self.makes and value.node().kind() in _VIEWS:
            value = next(iter(value.node().inputs()))
        name = str(value.debugName())
        self.roots[name] = value
        return name


def _is_list(value: Any) -> bool:
    return bool(value.type().kind() == "ListType")


def _adds_one_item(node: Any) -> bool:
    """Whether a node is ``items += [item]``."""
    if node.kind() != "aten::add_" or not all(_is_list(v) for v in node.inputs()):
        return False
    maker = list(node.inputs())[1].node()
    return maker.kind() == "prim::ListConstruct" and maker.inputsSize() == 1


def writes_in_place(kind: str) -> bool:
    """Whether an op changes the tensor that is its first input."""
    name = kind.partition("::")[2]
    return (
        kind.startswith("aten::")
        and name.endswith("_")
        and not name.endswith("__")
        and (name != "requires_grad_")
    )
