"""Ops whose MLX form comes with the request, and the file to fill in for those that have none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.graph import Node, Value
from pytorch_to_mlx.graph.build import attach_outputs, current_builder, freeze
from pytorch_to_mlx.lower.aten._symbols import to_expr
from pytorch_to_mlx.lower.registry import Lowering

if TYPE_CHECKING:
    import torch.fx as fx

_DROPPED = {"layout", "device", "pin_memory", "memory_format", "requires_grad"}
_KINDS = {"float": "float", "int": "int", "SymInt": "int", "bool": "bool", "str": "str"}


def lowering_to(function: str, op: Any, val: Any) -> Lowering:
    """Calls ``ops.<function>`` with every argument of the op's schema, defaults filled in.

    Shapes and dtypes of the results are those that torch recorded (``val``), symbols included.
    """
    from pytorch_to_mlx.lower.aten._program import torch_dtype

    def lower(*args: Any, **kwargs: Any) -> Any:
        positional, named = schema_call(op, args, kwargs)
        builder = current_builder()
        node = Node(
            f"ops.{function}",
            tuple(freeze(a) for a in positional),
            {k: freeze(a) for k, a in named.items()},
            scope=builder.scope,
            origin=builder.origin,
        )
        many = isinstance(val, (tuple, list))
        results = [
            Value(tuple(to_expr(d) for d in v.shape), torch_dtype(v.dtype))
            for v in (val if many else [val])
        ]
        attach_outputs(node, results)
        builder.add(node)
        return tuple(results) if many else results[0]

    return lower


def schema_call(op: Any, args: Any, kwargs: Any) -> tuple[list[Any], dict[str, Any]]:
    """How the function of an op is called: its schema's arguments in order, keyword-only ones by
    name, those that only torch cares about left out.
    """
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for i, argument in enumerate(op._schema.arguments):
        if argument.name in _DROPPED:
            continue
        given = args[i] if i < len(args) else kwargs.get(argument.name, argument.default_value)
        if argument.kwarg_only:
            named[argument.name] = given
        else:
            positional.append(given)
    return positional, named


def stub_of(node: fx.Node) -> str:
    """A file that provides the op once its body is written, with a repro of the original below."""
    op: Any = node.target
    schema = op._schema
    name = f"{op.namespace}::{op._opname}"
    mark = name if op._overloadname == "default" else f"{name}.{op._overloadname}"
    function = re.sub(r"\W", "_", f"{op.namespace}_{op._opname}")
    result = "mx.array" if len(schema.returns) == 1 else "tuple[mx.array, ...]"
    facts = ", ".join(_described(a) for a in (*node.args, *node.kwargs.values()))
    gives = node.meta.get("val")
    given = ", ".join(_tensor(v) for v in (gives if isinstance(gives, (tuple, list)) else [gives]))
    values = [_example(a) for a in node.args]
    values += [f"{k}={_example(a)}" for k, a in node.kwargs.items() if k not in _DROPPED]
    return f'''import mlx.core as mx

from pytorch_to_mlx import implements


@implements("{mark}")
def {function}({_parameters(schema)}) -> {result}:
    """{schema}

    Here: {facts} -> {given}
    """
    raise NotImplementedError("write it in plain MLX")


# The original, for comparison:
#   import torch
#   torch.manual_seed(0)
#   print(torch.ops.{op.namespace}.{op._opname}({", ".join(values)}))
'''


def _parameters(schema: Any) -> str:
    written: list[str] = []
    starred = False
    for a in schema.arguments:
        if a.name in _DROPPED:
            continue
        if a.kwarg_only and not starred:
            written.append("*")
            starred = True
        text = f"{a.name}: {_annotation(str(a.type))}"
        if a.has_default_value():
            text += f" = {a.default_value!r}"
        written.append(text)
    return ", ".join(written)


def _annotation(kind: str) -> str:
    if kind.startswith("Optional["):
        return f"{_annotation(kind[9:-1])} | None"
    if kind.startswith("List["):
        return f"tuple[{_annotation(kind[5:-1])}, ...]"
    return _KINDS.get(kind, "mx.array" if kind == "Tensor" else "object")


def _described(arg: Any) -> str:
    import torch.fx as fx

    return _tensor(arg.meta.get("val")) if isinstance(arg, fx.Node) else repr(arg)


def _tensor(val: Any) -> str:
    if not hasattr(val, "dtype"):
        return str(val)
    return f"{str(val.dtype).removeprefix('torch.')}[{', '.join(str(d) for d in val.shape)}]"


def _example(arg: Any) -> str:
    """An argument as source: tensors drawn at the sizes of the example."""
    import torch
    import torch.fx as fx

    if isinstance(arg, (list, tuple)):
        return f"[{', '.join(_example(a) for a in arg)}]"
    val = arg.meta.get("val") if isinstance(arg, fx.Node) else arg
    if not isinstance(val, torch.Tensor):
        return str(_hint(val)) if isinstance(arg, fx.Node) else repr(arg)
    shape = [_hint(d) for d in val.shape]
    if val.is_floating_point() or val.is_complex():
        return f"torch.randn({shape}, dtype={val.dtype})"
    top = 2 if val.dtype == torch.bool else 10
    return f"torch.randint(0, {top}, {shape}).to({val.dtype})"


def _hint(size: Any) -> Any:
    """A size of the example; 4 where only the data decide it."""
    node = getattr(size, "node", None)
    if node is None:
        return size
    return node.hint if node.has_hint() else 4
