"""Control flow: higher-order ops to nodes with subgraphs, wrappers to their content.

- ``if``: ``args`` are the condition (a bool array or a host expression); subgraphs ``then`` and
  ``else`` use outer values directly and return the results.
- ``while``: ``args`` are the initial carried values; subgraphs ``condition`` (returns one bool) and
  ``body`` (returns the next carried values) have the carried values as inputs.
- ``for``: ``args`` are a tuple of initial carried values and a tuple of arrays, taken apart along
  their first axis; the subgraph ``body`` has the carried values, then one slice of each array, as
  inputs and returns the next carried values, then the results of this step. The node's outputs
  are the last carried values, then each step's results stacked along a new first axis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.graph import Builder, Graph, Node, Value
from pytorch_to_mlx.graph.build import attach_outputs
from pytorch_to_mlx.graph.ir import IF, RETURN, SCAN, WHILE
from pytorch_to_mlx.lower.aten import Unsupported
from pytorch_to_mlx.lower.aten._symbols import to_expr

if TYPE_CHECKING:
    import torch.fx as fx

WRAPPERS = {
    # name of the op: how many leading arguments come before the wrapped graph
    "wrap_with_set_grad_enabled": 1,
    "wrap_with_autocast": 4,
    "tag_activation_checkpoint": 0,
    "wrap_activation_checkpoint": 0,
    "wrap": 0,
    "hints_wrapper": 0,
    "strict_mode": 0,
    "invoke_subgraph": 0,
}


# Ops with no result that only raise; torch orders them by effect tokens.
CHECKS = frozenset({"aten._linalg_check_errors.default"})


def lower_higher_order(
    lowering: Any, node: fx.Node, env: dict[fx.Node, Any], builder: Builder
) -> Any:
    """The results of a higher-order op, as a tuple (of which ``getitem`` nodes pick).

    ``lowering`` is the running lowering of the program, whose ``lower_nodes`` lowers the bodies.

    Raises:
        Unsupported: the op is no control flow that can be written in Python.
    """
    name = node.target.name()
    if name == "cond":
        return _cond(lowering, node, env, builder)
    if name == "while_loop":
        return _while(lowering, node, env, builder)
    if name == "scan":
        return _scan(lowering, node, env, builder)
    if name == "map_impl":
        return _map(lowering, node, env, builder)
    if name == "with_effects" and str(node.args[1]) in CHECKS:
        return None  # MLX raises where the factorisation itself fails
    if name in WRAPPERS:
        return _inline(lowering, node, env, builder)
    raise Unsupported(
        f"the higher-order op {name}; rewrite this part of the model with plain tensor code"
    )


class _Body:
    """A branch or loop body being lowered: its graph module and its placeholders."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.placeholders = [n for n in module.graph.nodes if n.op == "placeholder"]

    def lower(
        self, lowering: Any, builder: Builder, operands: list[Any], carried: int = 0
    ) -> Graph:
        """The body as a graph: the first ``carried`` placeholders are inputs, others bound."""
        graph = Graph()
        env: dict[Any, Any] = {}
        given = iter(operands)
        for i, placeholder in enumerate(self.placeholders):
            if i < carried:
                env[placeholder] = self._input(lowering, graph, placeholder)
            else:
                env[placeholder] = next(given)
        with Builder(graph) as inner, inner.at(builder.scope, builder.origin):
            results = self.results(lowering, inner, env)
            inner.add(Node(RETURN, results, scope=builder.scope, origin=builder.origin))
        return graph

    def results(self, lowering: Any, builder: Builder, env: dict[Any, Any]) -> tuple[Any, ...]:
        """Lowers the nodes into the builder and resolves what the body returns."""
        lowering.lower_nodes(self.module, env, builder)
        (output,) = (n for n in self.module.graph.nodes if n.op == "output")
        returned = output.args[0]
        if not isinstance(returned, (tuple, list)):
            returned = (returned,)
        return tuple(env.get(r, r) for r in returned)

    def _input(self, lowering: Any, graph: Graph, placeholder: fx.Node) -> Any:
        """A carried value or a slice; a host integer is known inside by its symbol."""
        value = _value_like(lowering, placeholder.meta["val"], placeholder.name)
        graph.inputs.append(value)
        return value if value.kind == "array" else value.symbol


def _value_like(lowering: Any, val: Any, hint: str) -> Value:
    """An array or host value with the shape, dtype or symbol that torch recorded."""
    import torch

    if isinstance(val, torch.Tensor):
        return lowering._value(val, hint)
    kind = "bool" if isinstance(val, (bool, torch.SymBool)) else "int"
    if isinstance(val, (float, torch.SymFloat)):
        kind = "float"
    symbol = to_expr(val)
    if not getattr(symbol, "is_Symbol", False):
        raise Unsupported("a loop that carries a Python number of fixed value; carry a tensor")
    return Value((), None, kind=kind, symbol=symbol, hint=hint)


def _finish(lowering: Any, node: fx.Node, made: Node, builder: Builder) -> tuple[Any, ...]:
    """Adds the node; its outputs have the shapes and dtypes that torch recorded."""
    vals = node.meta["val"]
    vals = vals if isinstance(vals, (tuple, list)) else (vals,)
    attach_outputs(made, [_value_like(lowering, v, node.name) for v in vals])
    builder.add(made)
    return tuple(v if v.kind == "array" else v.symbol for v in made.outputs)


def _node(
    target: str, args: tuple[Any, ...], builder: Builder, subgraphs: dict[str, Graph]
) -> Node:
    return Node(target, args, scope=builder.scope, origin=builder.origin, subgraphs=subgraphs)


def _graph_argument(lowering: Any, arg: Any, env: dict[fx.Node, Any]) -> _Body:
    return _Body(lowering._resolve(arg, env))


def _cond(lowering: Any, node: fx.Node, env: dict[fx.Node, Any], builder: Builder) -> Any:
    condition, then, other = node.args[:3]
    operands = list(lowering._resolve(node.args[3] if len(node.args) > 3 else (), env))
    chosen = lowering._resolve(condition, env)
    if isinstance(chosen, bool):
        return _Body(lowering._resolve(then if chosen else other, env)).results(
            lowering,
            builder,
            _bound(_graph_argument(lowering, then if chosen else other, env), operands),
        )
    subgraphs = {
        "then": _graph_argument(lowering, then, env).lower(lowering, builder, operands),
        "else": _graph_argument(lowering, other, env).lower(lowering, builder, operands),
    }
    return _finish(lowering, node, _node(IF, (chosen,), builder, subgraphs), builder)


def _bound(body: _Body, operands: list[Any]) -> dict[Any, Any]:
    return dict(zip(body.placeholders, operands, strict=True))


def _while(lowering: Any, node: fx.Node, env: dict[fx.Node, Any], builder: Builder) -> Any:
    condition, body, carried = node.args[:3]
    initial = tuple(lowering._resolve(carried, env))
    outer = list(lowering._resolve(node.args[3] if len(node.args) > 3 else (), env))
    subgraphs = {
        key: _graph_argument(lowering, graph, env).lower(lowering, builder, outer, len(initial))
        for key, graph in (("condition", condition), ("body", body))
    }
    return _finish(lowering, node, _node(WHILE, initial, builder, subgraphs), builder)


def _scan(lowering: Any, node: fx.Node, env: dict[fx.Node, Any], builder: Builder) -> Any:
    body, initial, arrays = (lowering._resolve(a, env) for a in node.args[:3])
    outer = list(lowering._resolve(node.args[3] if len(node.args) > 3 else (), env))
    return _loop(lowering, node, builder, body, tuple(initial), tuple(arrays), outer)


def _map(lowering: Any, node: fx.Node, env: dict[fx.Node, Any], builder: Builder) -> Any:
    body, arrays, outer = (lowering._resolve(a, env) for a in node.args[:3])
    return _loop(lowering, node, builder, body, (), tuple(arrays), list(outer))


def _loop(
    lowering: Any,
    node: fx.Node,
    builder: Builder,
    body: Any,
    initial: tuple[Any, ...],
    arrays: tuple[Any, ...],
    outer: list[Any],
) -> Any:
    inside = _Body(body).lower(lowering, builder, outer, len(initial) + len(arrays))
    made = _node(SCAN, (initial, arrays), builder, {"body": inside})
    return _finish(lowering, node, made, builder)


def _inline(lowering: Any, node: fx.Node, env: dict[fx.Node, Any], builder: Builder) -> Any:
    """The content of a wrapper that only sets a mode of torch (gradients, autocast,
    checkpoints).
    """
    import torch

    args = [lowering._resolve(a, env) for a in node.args]
    at = next((i for i, a in enumerate(args) if isinstance(a, torch.fx.GraphModule)), None)
    if at is None:
        raise Unsupported(f"{node.target} without a graph of its own")
    body = _Body(args[at])
    operands = [a for a in args[at + 1 :] if not isinstance(a, str)]
    if len(operands) == 1 and isinstance(operands[0], tuple):
        operands = list(operands[0])
    results = body.results(lowering, builder, _bound(body, operands))
    val = node.meta.get("val")
    return results if isinstance(val, (tuple, list)) else results[0]
