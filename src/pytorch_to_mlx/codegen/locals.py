"""Names of local variables: the source's own where its line is known, else by what made the value."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

from pytorch_to_mlx.codegen.names import argument
from pytorch_to_mlx.codegen.source_names import assigned_names
from pytorch_to_mlx.graph import Node, Value

_SHORT = {"hidden_states": "x", "hidden_state": "x", "inputs_embeds": "x", "input": "x", "inputs": "x", "output": "x"}
_SHORT |= {"outputs": "x", "tensor": "x", "out": "out", "residual": "x", "embeddings": "x", "embedding_output": "x"}
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
}
_GENERIC_ATTRIBUTE = re.compile(r"^(m|out|o|c|fc|lin|linear|dense|conv|norm|ln|bn|layer|layernorm|layer_norm|proj|output|\d+)?_?\d*$")


def base_name(value: Value, producer: Node | None, argument_names: Mapping[Value, str]) -> str:
    """A name for a value, before conflicts are resolved."""
    if producer is None:
        return argument_names.get(value) or shorten(value.hint) or "x"
    named = _from_source(value, producer)
    if named:
        return named
    if value.dtype == "bool":
        return "mask"
    if producer.is_layer:
        return _by_attribute(producer, value)
    by_target = _BY_TARGET.get(producer.target)
    if by_target:
        return by_target
    return ""


def shorten(name: str) -> str:
    """``query_states`` -> ``query``, ``hidden_states`` -> ``x``; trace numbering goes."""
    name = re.sub(r"_\d+$", "", name.lower())
    if name in _SHORT:
        return _SHORT[name]
    return argument(_SUFFIX.sub("", name)) if name else ""


def _from_source(value: Value, producer: Node) -> str:
    """The variable assigned at the value's source line, when the value leaves that statement."""
    origin = producer.origin
    if not origin.file:
        return ""
    names = assigned_names(origin.file, origin.line)
    if not names:
        return ""
    users = value.users
    same = [u for u in users if (u.origin.file, u.origin.line) == (origin.file, origin.line)]
    if same and len(same) == len(users):
        return ""
    if len(producer.outputs) > 1:
        return shorten(names[value.index]) if len(names) == len(producer.outputs) else ""
    if len(names) == 1:
        return shorten(names[0])
    return ""


def _by_attribute(producer: Node, value: Value) -> str:
    if producer.label:
        return shorten(producer.label)
    weight = next(iter(producer.params.values()), None)
    attribute = (weight.hint if weight is not None else "").rpartition(".")[0].rpartition(".")[2]
    text = re.sub(r"_(proj|layer|linear|projection)$", "", attribute)
    return "" if _GENERIC_ATTRIBUTE.match(text) else shorten(text)


class Allocator:
    """Gives final names to placeholders so that a name is reused only when its value is dead."""

    def __init__(self, reserved: set[str]) -> None:
        self.reserved = set(reserved)

    def allocate(
        self, statements: list[ast.stmt], arguments: dict[str, str], wanted: dict[str, str], live_out: set[str]
    ) -> dict[str, str]:
        """Placeholder to name. ``arguments`` are named already; ``live_out`` placeholders are used at the end."""
        last_use = _last_uses(statements, live_out)
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
                name = self._pick(wanted.get(placeholder) or "x", free_from, holder, last_use)
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


def _is_simple(statement: ast.stmt) -> bool:
    """A name whose last use is inside a compound statement stays taken through all of it."""
    return not isinstance(statement, (ast.If, ast.While, ast.For))


def _candidates(wanted: str) -> Iterator[str]:
    yield wanted
    if wanted == "x":
        yield from ("h", "y", "z")
    n = 2
    while True:
        yield f"{wanted}{n}"
        n += 1


def _last_uses(statements: list[ast.stmt], live_out: set[str]) -> dict[str, int]:
    last: dict[str, int] = {}
    for i, statement in enumerate(statements):
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and node.id.startswith("_v") and isinstance(node.ctx, ast.Load):
                last[node.id] = i
    for placeholder in live_out:
        last[placeholder] = len(statements)
    return last


def _defined(statement: ast.stmt) -> list[str]:
    return [
        node.id
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and node.id.startswith("_v") and isinstance(node.ctx, ast.Store)
    ]


class Substitute(ast.NodeTransformer):
    """Replaces placeholder names."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self.names.get(node.id, node.id), node.ctx)
