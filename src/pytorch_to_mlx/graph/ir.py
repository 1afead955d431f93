"""Data types of the graph.

A :class:`Graph` is a flat, topologically ordered list of :class:`Node`. A node calls one MLX
function
(``mx.add``), one ``nn`` function or layer (``nn.silu``, ``nn.Linear``) or one function of ``ops``
(``ops.max_pool2d``). A :class:`Value` is an array with known rank, dtype and (symbolic) shape, or a
*host* value (Python int, float or bool) that is bound to a symbol and used in sizes and scalars.
The last node of every graph is ``return``: its arguments are the outputs, so that uses are uniform.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import sympy

from pytorch_to_mlx.graph.dims import Dim, free_symbols

# An argument: a Value, a number, bool, string or None, a size (sympy.Expr), a DType, a slice, or a
# tuple or dict of these.
Arg = Any

RETURN = "return"
# Calls that only rearrange: when one is erased, what it made is known by the name of what it was
# made from.
_VIEWS = frozenset(
    f"mx.{n}" for n in "transpose swapaxes reshape expand_dims squeeze broadcast_to astype".split()
)
IF = "if"
WHILE = "while"
SCAN = "for"
RAISE = "raise"  # no result: args are a condition, a message with a {} a value, and these values


@dataclass(frozen=True)
class Frame:
    """One level of the module hierarchy: ``path`` in the source model, its class, and which call it
    is.
    """

    path: str
    cls: str
    call: int = 0

    @property
    def key(self) -> tuple[str, int]:
        return (self.path, self.call)


@dataclass(frozen=True)
class Origin:
    """Where a node came from: source op (``aten.add.Tensor``), its name in the source graph, file
    and line.
    """

    op: str = ""
    name: str = ""
    file: str = ""
    line: int = 0
    text: str = ""
    stack: tuple[tuple[str, int], ...] = ()  # (file, line) of the source's frames, outermost first

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file else self.name
        return place or "<unknown>"


class Value:
    """An array (``kind == "array"``) or host value (``"int"``, ``"float"``, ``"bool"``) of a
    graph.
    """

    _ids = itertools.count()

    def __init__(
        self,
        shape: tuple[Dim, ...] | None,
        dtype: str | None,
        *,
        hint: str = "",
        kind: str = "array",
        symbol: sympy.Symbol | None = None,
    ) -> None:
        self.id = next(Value._ids)
        self.shape = tuple(shape) if shape is not None else None
        self.dtype = dtype
        self.hint = hint
        self.kind = kind
        self.symbol = symbol
        self.node: Node | None = None
        self.index = 0
        self.uses: dict[Node, int] = {}

    @property
    def ndim(self) -> int:
        if self.shape is None:
            raise ValueError(f"{self} has no known rank")
        return len(self.shape)

    @property
    def dims(self) -> tuple[Dim, ...]:
        """The shape, which must be known."""
        if self.shape is None:
            raise ValueError(f"{self} has no known shape")
        return self.shape

    @property
    def users(self) -> list[Node]:
        return list(self.uses)

    def __repr__(self) -> str:
        return f"%{self.id}"

    # Operators build nodes; they are for lowerings and passes, inside a Builder.
    def _call(self, target: str, *args: Any, **kwargs: Any) -> Any:
        from pytorch_to_mlx.graph.build import call

        return call(target, *args, **kwargs)

    def __add__(self, other: Any) -> Value:
        return self._call("mx.add", self, other)

    def __radd__(self, other: Any) -> Value:
        return self._call("mx.add", other, self)

    def __sub__(self, other: Any) -> Value:
        return self._call("mx.subtract", self, other)

    def __rsub__(self, other: Any) -> Value:
        return self._call("mx.subtract", other, self)

    def __mul__(self, other: Any) -> Value:
        return self._call("mx.multiply", self, other)

    def __rmul__(self, other: Any) -> Value:
        return self._call("mx.multiply", other, self)

    def __truediv__(self, other: Any) -> Value:
        return self._call("mx.divide", self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return self._call("mx.divide", other, self)

    def __matmul__(self, other: Any) -> Value:
        return self._call("mx.matmul", self, other)

    def __neg__(self) -> Value:
        return self._call("mx.negative", self)

    def astype(self, dtype: str) -> Value:
        return self if dtype == self.dtype else self._call("mx.astype", self, dtype)

    def reshape(self, *shape: Dim) -> Value:
        return self._call("mx.reshape", self, tuple(shape))

    def transpose(self, *axes: int) -> Value:
        return self._call("mx.transpose", self, tuple(axes))


class Node:
    """One call. ``params`` (layers only) maps the layer's parameter names to weight values."""

    _ids = itertools.count()

    def __init__(
        self,
        target: str,
        args: tuple[Arg, ...] = (),
        kwargs: dict[str, Arg] | None = None,
        *,
        params: dict[str, Value] | None = None,
        scope: tuple[Frame, ...] = (),
        origin: Origin | None = None,
        subgraphs: dict[str, Graph] | None = None,
    ) -> None:
        self.id = next(Node._ids)
        self.target = target
        self.args: tuple[Arg, ...] = ()
        self.kwargs: dict[str, Arg] = {}
        self.params: dict[str, Value] = {}
        self.scope = scope
        self.origin = origin or Origin()
        self.outputs: list[Value] = []
        self.subgraphs: dict[str, Graph] = subgraphs or {}
        self.method = ""  # of a layer, where it is not __call__ (an embedding's as_linear)
        self.label = ""  # a name for a layer that has no module of its own in the source
        self.merged = False  # stands for calls of several source statements
        self.set_args(args, kwargs or {}, params)

    @property
    def is_layer(self) -> bool:
        """Whether the target is a layer class of ``nn`` or ``ops`` (constructed once, called many
        times).
        """
        room, _, name = self.target.partition(".")
        return room in ("nn", "ops") and name[:1].isupper()

    @property
    def output(self) -> Value:
        if len(self.outputs) != 1:
            raise ValueError(f"{self} has {len(self.outputs)} outputs")
        return self.outputs[0]

    def inputs(self) -> list[Value]:
        """Every value used, in order of appearance, without repeats; free values of subgraphs
        included.
        """
        found = dict.fromkeys(iter_values((self.args, self.kwargs, self.params)))
        for sub in self.subgraphs.values():
            found.update(dict.fromkeys(sub.free_values()))
        return list(found)

    def symbols(self) -> set[sympy.Symbol]:
        """Size symbols that the arguments (not the shapes of values) mention."""
        found = free_symbols(
            [a for a in iter_leaves((self.args, self.kwargs)) if isinstance(a, sympy.Basic)]
        )
        for sub in self.subgraphs.values():
            for node in sub.nodes:
                found |= node.symbols()
        return found

    def set_args(
        self,
        args: tuple[Arg, ...] | None = None,
        kwargs: dict[str, Arg] | None = None,
        params: dict[str, Value] | None = None,
    ) -> None:
        """Replaces arguments and keeps the use lists right."""
        for v in iter_values((self.args, self.kwargs, self.params)):
            v.uses.pop(self, None)
        self.args = self.args if args is None else tuple(args)
        self.kwargs = self.kwargs if kwargs is None else dict(kwargs)
        self.params = self.params if params is None else dict(params)
        for v in iter_values((self.args, self.kwargs, self.params)):
            v.uses[self] = v.uses.get(self, 0) + 1

    def replace_input(self, old: Value, new: Arg) -> None:
        def swap(a: Arg) -> Arg:
            return new if a is old else a

        self.set_args(
            tuple(map_arg(a, swap) for a in self.args),
            {k: map_arg(a, swap) for k, a in self.kwargs.items()},
            {k: swap(v) for k, v in self.params.items()},
        )

    def __repr__(self) -> str:
        return f"<{self.target} -> {self.outputs}>"


def iter_leaves(arg: Any) -> Iterator[Any]:
    """The leaves of nested tuples, lists, dicts and slices."""
    if isinstance(arg, (tuple, list)):
        for a in arg:
            yield from iter_leaves(a)
    elif isinstance(arg, dict):
        for a in arg.values():
            yield from iter_leaves(a)
    elif isinstance(arg, slice):
        yield from iter_leaves((arg.start, arg.stop, arg.step))
    else:
        yield arg


def iter_values(arg: Any) -> Iterator[Value]:
    return (a for a in iter_leaves(arg) if isinstance(a, Value))


def map_arg(arg: Any, fn: Callable[[Any], Any]) -> Any:
    """Applies ``fn`` to every leaf and rebuilds the nesting."""
    if isinstance(arg, tuple):
        return tuple(map_arg(a, fn) for a in arg)
    if isinstance(arg, list):
        return [map_arg(a, fn) for a in arg]
    if isinstance(arg, dict):
        return {k: map_arg(a, fn) for k, a in arg.items()}
    if isinstance(arg, slice):
        return slice(map_arg(arg.start, fn), map_arg(arg.stop, fn), map_arg(arg.step, fn))
    return fn(arg)


@dataclass
class Param:
    """A weight: a parameter, buffer or constant tensor that ships in ``model.safetensors``.

    ``path`` is its dotted name in the source; ``recipe`` (when the stored tensor is computed from
    source
    tensors: transposed for a convolution, weight norm folded, ...) is the graph that computes it,
        whose
    inputs are the ``sources`` in order.
    """

    path: str
    value: Value
    kind: str = "parameter"  # parameter | buffer | constant
    recipe: Graph | None = None
    sources: tuple[str, ...] = ()
    persistent: bool = True  # whether checkpoints of the source hold it


@dataclass
class Tree:
    """The nesting of inputs or outputs: leaves hold a position, constants hold their value.

    ``kind`` is ``leaf``, ``const``, ``tuple``, ``list``, ``dict`` (also dataclasses and
    ModelOutputs) or ``none``. ``spread`` marks the tuple of an argument such as ``*args``.
    """

    kind: str
    keys: tuple[str, ...] = ()
    children: tuple[Tree, ...] = ()
    index: int = -1
    value: Any = None
    spread: bool = False

    def leaves(self) -> Iterator[Tree]:
        if self.kind == "leaf":
            yield self
        for child in self.children:
            yield from child.leaves()


@dataclass(eq=False)
class Graph:
    """Nodes in execution order; ``nodes[-1]`` is the ``return``.

    ``inputs`` are the array (or host) inputs in forward's order; ``in_tree`` is a dict node whose
    keys are
    forward's argument names; ``out_tree`` nests positions of the return node's arguments.
    ``states`` maps a
    buffer's path to the position of its new value among the return node's arguments.
    """

    inputs: list[Value] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    params: dict[str, Param] = field(default_factory=dict)
    in_tree: Tree | None = None
    out_tree: Tree | None = None
    states: dict[str, int] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)  # module path -> source class
    signatures: dict[str, list[str]] = field(default_factory=dict)  # module path -> forward's names
    bound: dict[tuple[str, int], list[tuple[str, Value]]] = field(
        default_factory=dict
    )  # a call's arguments
    replaced: dict[Value, Value] = field(default_factory=dict)  # what passes put in a value's place
    name: str = "Model"
    notes: list[str] = field(default_factory=list)
    size_names: dict[str, str] = field(default_factory=dict)  # size symbol -> what it is called
    asked_sizes: set[str] = field(default_factory=set)  # those that the user named

    @property
    def ret(self) -> Node:
        return self.nodes[-1]

    def free_values(self) -> list[Value]:
        """Values used here but made outside (captured by a subgraph)."""
        inside = set(self.inputs) | {v for n in self.nodes for v in n.outputs}
        return list(dict.fromkeys(v for n in self.nodes for v in n.inputs() if v not in inside))

    def param_of(self) -> dict[Value, Param]:
        return {p.value: p for p in self.params.values()}

    def insert_before(self, anchor: Node, new: Iterable[Node]) -> None:
        if added := list(new):
            at = self.nodes.index(anchor)
            self.nodes[at:at] = added

    def replace(self, old: Value, new: Arg) -> None:
        """Every use of ``old`` (in subgraphs too) becomes a use of ``new``."""
        for user in old.users:
            user.replace_input(old, new)
        if isinstance(new, Value):
            self.replaced[old] = new

    def current(self, value: Value) -> Value:
        """The value that stands for ``value`` after all replacements."""
        while value in self.replaced:
            value = self.replaced[value]
        return value

    def erase(self, node: Node) -> None:
        if any(v.uses for v in node.outputs):
            raise ValueError(f"{node} is still used")
        if node.target in _VIEWS and isinstance(node.args[0], Value):
            self.replaced.setdefault(node.output, node.args[0])
        node.set_args((), {}, {})
        self.nodes.remove(node)

    def walk(self) -> Iterator[tuple[Graph, Node]]:
        """Every node, those of subgraphs included, with the graph that holds it."""
        for node in self.nodes:
            yield self, node
            for sub in node.subgraphs.values():
                yield from sub.walk()

    def __str__(self) -> str:
        from pytorch_to_mlx.graph.text import to_text

        return to_text(self)
