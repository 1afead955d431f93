"""Names of local variables: the source's own where its line is known, else by what made the
value.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

from pytorch_to_mlx.codegen.names import argument
from pytorch_to_mlx.codegen.runs import find_runs
from pytorch_to_mlx.codegen.source_names import assigned_names
from pytorch_to_mlx.graph import Node, Value

_SHORT = {
    "hidden_states": "x",
    "hidden_state": "x",
    "inputs_embeds": "x",
    "input": "x",
    "inputs": "x",
    "output": "x",
}
_SHORT |= {
    "outputs": "x",
    "tensor": "x",
    "out": "out",
    "residual": "x",
    "embeddings": "x",
    "embedding_output": "x",
}
_UNREADABLE = frozenset("lo")  # look like digits
_SUFFIX = re.compile(r"(_states|_state|_layer|_tensor)$")
_BY_TARGET = {
    "mx.fast.scaled_dot_product_attention": "out",
    "mx.softmax": "weights",
    "mx.arange": "positions",
    "mx.mean": "mean",
    "mx.var": "var",
    "mx.cos": "cos",
    "mx.sin": "sin",
    "mx.where": "x",
    "mx.argmax": "index",
    "mx.argsort": "order",
}
#: Read out of the data.
_NUMBERS = {"int": "count", "float": "number", "bool": "flag"}
# A layer's results by what they are.
_RESULTS = {
    "ops.LSTMLayer": ("x", "hidden", "cell"),
    "ops.GRULayer": ("x", "hidden"),
    "ops.RNNLayer": ("x", "hidden"),
}
_MADE_FROM_NOTHING = {"mx.arange": "positions", "mx.zeros": "zeros", "mx.ones": "ones"}
_KEEPS_ROLE = frozenset("mx.reshape mx.transpose mx.expand_dims nn.RoPE mx.fast.rope".split())
_GENERIC_WORDS = frozenset(
    "m out o c fc lin linear dense conv convolution norm normalization ln bn layer layernorm proj "
    "projection output block head classifier pool pooler batchnorm dwconv pwconv conv1d conv2d "
    "rope".split()
)


def base_name(value: Value, producer: Node | None) -> str:
    """A name for a value, before conflicts are resolved; empty when nothing suggests one."""
    if producer is None:
        return shorten(value.hint) or "x"
    if (
        producer.target in _MADE_FROM_NOTHING
    ):  # merged from several statements: none of their names fits
        return _MADE_FROM_NOTHING[producer.target]
    named = _from_source(value, producer)
    if named and not (value.dtype == "bool" and len(named) == 1):  # what a mask was filled into
        return named
    if value.dtype == "bool" or any(u.kwargs.get("mask") is value for u in value.uses):
        return "mask"
    if producer.target in _RESULTS:
        return _RESULTS[producer.target][value.index]
    if any(u.kwargs.get("rhs_indices") is value for u in value.uses):
        return "experts"
    if producer.target == "mx.split":
        return _attends(value)
    if producer.is_layer:
        return _by_attribute(producer, value)
    by_target = _BY_TARGET.get(producer.target)
    if by_target:
        return by_target
    return _NUMBERS.get(value.kind, "")


def name_of_origin(value: Value, steps: int = 6) -> str:
    """A name for a value without one of its own: that of the integers it is computed from."""
    while steps and value.node is not None and value.dtype in ("int32", "int64"):
        sources = [v for v in value.node.inputs() if v.kind == "array" and v.dtype == value.dtype]
        if not sources:
            return ""
        value, steps = sources[0], steps - 1
        if named := base_name(value, value.node):
            return named
    return ""


def shorten(name: str) -> str:
    """``query_states`` -> ``query``, ``hidden_states`` -> ``x``; trace numbering goes."""
    name = re.sub(r"_\d+$", "", name.lower())
    if name in _UNREADABLE:
        return ""
    if name in _SHORT:
        return _SHORT[name]
    return argument(_SUFFIX.sub("", name)) if name else ""


def _from_source(value: Value, producer: Node) -> str:
    """The variable assigned at the value's source line, when the value leaves that statement."""
    origin = producer.origin
    if not origin.file or producer.merged:
        return ""
    names = assigned_names(origin.file, origin.line)
    if not names:
        return ""
    if not _leaves(value, producer):
        return ""
    if len(producer.outputs) > 1:
        return shorten(names[value.index]) if len(names) == len(producer.outputs) else ""
    if len(names) == 1:
        return shorten(names[0])
    together = _assigned_together(producer)
    return shorten(names[together.index(value)]) if len(together) == len(names) else ""


def _leaves(value: Value, producer: Node) -> bool:
    """Whether a value is used outside the statement that makes it."""
    line = (producer.origin.file, producer.origin.line)
    return not value.uses or any((u.origin.file, u.origin.line) != line for u in value.uses)


def _assigned_together(producer: Node) -> list[Value]:
    """Values of calls of one statement (``q, k = f(q, k)``) that leave it, in the order they were
    made.

    They are the producer's and those used beside its value by the same calls.
    """
    line = (producer.origin.file, producer.origin.line, producer.scope)
    found = {producer.output: None}
    for user in producer.output.uses:
        for v in user.inputs():
            node = v.node
            if (
                node is not None
                and (node.origin.file, node.origin.line, node.scope) == line
                and len(node.outputs) == 1
            ):
                found[v] = None
    return sorted(found, key=lambda v: v.node.id if v.node else 0)


def _attends(value: Value) -> str:
    """``q``, ``k`` or ``v`` for what reaches an attention through views and rotations alone."""
    while len(value.uses) == 1:
        (user,) = value.uses
        if user.target == "mx.fast.scaled_dot_product_attention":
            at = next((n for n, a in enumerate(user.args) if a is value), 3)
            return ("q", "k", "v", "")[at]
        if user.target not in _KEEPS_ROLE or len(user.outputs) != 1:
            break
        value = user.output
    return ""


def _by_attribute(producer: Node, value: Value) -> str:
    if producer.label:
        return shorten(producer.label)
    weight = next(iter(producer.params.values()), None)
    attribute = (weight.hint if weight is not None else "").rpartition(".")[0].rpartition(".")[2]
    text = re.sub(r"_(proj|layer|linear|projection)$", "", attribute)
    words = [w for w in re.split(r"[_\d]+", text.lower()) if w]
    return "" if all(w in _GENERIC_WORDS or "norm" in w for w in words) else shorten(text)


class Allocator:
    """Gives final names to placeholders so that a name is reused only when its value is dead.

    The result of ``self.layers[i](x)`` takes over the name of an ``x`` that dies there, so that a
    run of such calls
    reads (and folds) as a loop.
    """

    def __init__(self, reserved: set[str]) -> None:
        self.reserved = set(reserved)

    def allocate(
        self,
        statements: list[ast.stmt],
        arguments: dict[str, str],
        wanted: dict[str, str],
        live_out: set[str],
    ) -> dict[str, str]:
        """Placeholder to name. ``arguments`` are named already; ``live_out`` placeholders are used
        at the end. What all iterations of a run read keeps its name to their end: the last is to
        read like the others.
        """
        runs = find_runs(statements, list(arguments), wanted)
        last_use = _last_uses(statements, live_out)
        for run in runs:
            for placeholder in run.same & last_use.keys():
                last_use[placeholder] = max(last_use[placeholder], run.end)
        names = dict(arguments)
        holder: dict[str, str] = {n: p for p, n in arguments.items()}
        for i, statement in enumerate(statements):
            for placeholder in _defined(statement):
                if placeholder in names:
                    continue
                if placeholder not in last_use:
                    names[placeholder] = "_"
                    continue
                free_from = i if _is_simple(statement) else i - 1
                wish = (
                    _carried(statement, placeholder, names, last_use, i)
                    or wanted.get(placeholder)
                    or "x"
                )
                name = self._pick(wish, free_from, holder, last_use)
                names[placeholder] = name
                holder[name] = placeholder
        return names

    def _pick(self, wanted: str, at: int, holder: dict[str, str], last_use: dict[str, int]) -> str:
        for candidate in _candidates(wanted):
            if candidate in self.reserved:
                continue
            current = holder.get(candidate)
            if current is None or last_use.get(current, -1) <= at:
                return candidate
        raise AssertionError("no free name")


def _carried(
    statement: ast.stmt,
    placeholder: str,
    names: Mapping[str, str],
    last_use: Mapping[str, int],
    at: int,
) -> str:
    """The name of what a list element's call changes, when that is not needed afterwards.

    The call's result takes it over, or the first of several, where it alone is used.
    """
    if not isinstance(statement, ast.Assign):
        return ""
    call, target = statement.value, statement.targets[0]
    if isinstance(call, ast.Name) and last_use.get(call.id) == at:
        return names.get(call.id, "")
    passed = _passed_on(call)
    if isinstance(target, ast.Tuple):
        target, *others = target.elts
        if any(isinstance(o, ast.Name) and o.id in last_use for o in others):
            return ""
    if not isinstance(target, ast.Name) or target.id != placeholder:
        return ""
    return next((names.get(n, "") for n in passed if last_use.get(n) == at), "")


def _passed_on(e: ast.expr) -> list[str]:
    """What calls of list elements in an expression change: what is added to one of them, or else
    its first argument.
    """
    calls = [n for n in ast.walk(e) if isinstance(n, ast.Call) and n.args]
    firsts = [c.args[0] for c in calls if isinstance(c.func, ast.Subscript)]
    added = [e.left, e.right] if firsts and isinstance(e, ast.BinOp) else []
    return [a.id for a in (*added, *firsts) if isinstance(a, ast.Name)]


def _is_simple(statement: ast.stmt) -> bool:
    """A name whose last use is inside a compound statement stays taken through all of it."""
    compound = isinstance(statement, (ast.If, ast.While, ast.For))
    value = statement.value if isinstance(statement, ast.Assign) else None
    return not compound and not isinstance(value, ast.ListComp)


def _candidates(wanted: str) -> Iterator[str]:
    yield wanted
    if wanted not in _NUMBERS.values():
        yield from (n for n in ("x", "h", "y", "z") if n != wanted)
    n = 2
    while True:
        yield f"{wanted}{n}"
        n += 1


def _last_uses(statements: list[ast.stmt], live_out: set[str]) -> dict[str, int]:
    last: dict[str, int] = {}
    for i, statement in enumerate(statements):
        for node in ast.walk(statement):
            if (
                isinstance(node, ast.Name)
                and node.id.startswith("_v")
                and isinstance(node.ctx, ast.Load)
            ):
                last[node.id] = i
    for placeholder in live_out:
        last[placeholder] = len(statements)
    return last


def _defined(statement: ast.stmt) -> list[str]:
    return [
        node.id
        for node in ast.walk(statement)
        if isinstance(node, ast.Name)
        and node.id.startswith("_v")
        and isinstance(node.ctx, ast.Store)
    ]


class Substitute(ast.NodeTransformer):
    """Replaces placeholder names."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self.names.get(node.id, node.id), node.ctx)
