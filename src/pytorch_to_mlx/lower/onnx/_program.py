"""Lowers an ONNX model: walks its nodes in order and calls each op's lowering.

An op without a lowering is replaced by the function body that its schema defines, where it has one.
Results are compared with the types that the model or ONNX's shape inference states.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from pytorch_to_mlx.capture.onnx.tensors import SETTING, constant_name
from pytorch_to_mlx.errors import LoweringError, UnsupportedOp
from pytorch_to_mlx.graph import Builder, Frame, Graph, Node, Origin, Tree, Value
from pytorch_to_mlx.graph.dims import dims_equal, is_static
from pytorch_to_mlx.graph.ir import RETURN
from pytorch_to_mlx.lower.onnx import load_families
from pytorch_to_mlx.lower.onnx._angles import mark_angles
from pytorch_to_mlx.lower.onnx._attributes import attributes_of
from pytorch_to_mlx.lower.onnx._bind import bind
from pytorch_to_mlx.lower.onnx._common import array, fresh, new_param, param_kind
from pytorch_to_mlx.lower.onnx._context import Declared, NodeContext, lowering_node
from pytorch_to_mlx.lower.onnx._decisions import bound_windows
from pytorch_to_mlx.lower.onnx._dtypes import STORAGE, storage
from pytorch_to_mlx.lower.onnx._functions import function_body
from pytorch_to_mlx.lower.onnx._host import fold
from pytorch_to_mlx.lower.onnx._names import mark_sequences, origin_of, scope_of
from pytorch_to_mlx.lower.onnx._registry import plain_domain
from pytorch_to_mlx.lower.onnx._values import Known, Stacked
from pytorch_to_mlx.lower.registry import Unsupported

if TYPE_CHECKING:
    from pytorch_to_mlx.capture.onnx.program import OnnxProgram
    from pytorch_to_mlx.capture.program import Captured

Env = ChainMap[str, Any]
#: Digits up to which a constant of several numbers is taken for a setting (a mean of colours, say).
WRITTEN_DIGITS = 5


class _Failed:
    """Stands for what could not be lowered, so that one run finds all such ops."""


FAILED = _Failed()

#: What a lowering raises on inputs and attributes that its op cannot have.
DAMAGE = (
    ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError,
    RuntimeError, MemoryError,
)  # fmt: skip


def lower_model(captured: Captured) -> Graph:
    """The graph of MLX calls of a captured ONNX model.

    Raises:
        LoweringError: with every op that cannot be lowered, each with its node's name.
    """
    return OnnxLowering(captured).run()


class OnnxLowering:
    """The state of one lowering: names in scope, weights made so far, element types."""

    def __init__(self, captured: Captured) -> None:
        self.captured = captured
        self.program: OnnxProgram = captured.program
        self.graph = Graph(name=captured.name)
        self.graph.classes = dict(captured.classes)
        self.table = load_families()
        self.opsets: Mapping[str, int] = self.program.opsets
        self.declared: dict[str, Declared] = {}
        self.elements: dict[Value, str] = {}
        self.arrays: dict[Known, Value] = {}
        self.symbols: dict[str, Any] = dict(self.program.symbols)
        self.unsupported: list[UnsupportedOp] = []
        self.depth = 0
        self.undecided = 0  # how many conditions that only the running model knows are around
        self.required: dict[Any, bool] = {}  # relations of sizes, as the code asks for them

    def run(self) -> Graph:
        proto = self.program.model.graph
        env: Env = ChainMap({})
        self._inputs(env)
        with Builder(self.graph) as builder, builder.at(self.root_scope(), Origin()):
            self.nodes(proto, env, builder)
            if self.unsupported:
                raise LoweringError(_summary(self.unsupported), ops=self.unsupported)
            self._outputs(proto, env, builder)
        mark_sequences(self.graph)
        mark_angles(self.graph)
        with lowering_node(NodeContext(self, "", "", "", 1)):
            bound_windows(self.graph)
        self.captured.element_types = self.output_elements  # what numpy dtypes to give back
        return self.graph

    def root_scope(self) -> tuple[Frame, ...]:
        return (Frame("", self.captured.classes.get("", self.graph.name)),)

    # -- inputs and outputs ------------------------------------------------------------------------

    def _inputs(self, env: Env) -> None:
        for spec in self.program.inputs:
            env[spec.name] = self._input(spec.tree, spec)
        for name, tensor in self.program.initializers.items():
            env[name] = Known(tensor.array, tensor.element, tensor.path, name)
        self.graph.in_tree = self.captured.in_tree

    def _input(self, tree: Tree, spec: Any) -> Any:
        if tree.kind == "none":
            return None
        if tree.kind == "list":
            return [self._input(child, spec) for child in tree.children]
        element, dims = spec.leaves[tree.index]
        try:
            held = storage(element)
        except Unsupported as error:
            raise LoweringError(f"the input {spec.name!r}: {error}", origin=spec.name) from error
        value = Value(tuple(dims), held, hint=spec.argument)
        if element in STORAGE:
            self.elements[value] = element
        self.graph.inputs.append(value)
        return value

    def _outputs(self, proto: onnx.GraphProto, env: Env, builder: Builder) -> None:
        leaves: list[Value] = []
        self.output_elements: list[str] = []

        output_names: list[str] = []  # as the reference names them

        def tree_of(value: Any, name: str) -> Tree:
            if value is None:
                return Tree("none")
            if isinstance(value, list):
                parts = (tree_of(v, f"{name}.{i}") for i, v in enumerate(value))
                return Tree("list", children=tuple(parts))
            if isinstance(value, Stacked):
                raise LoweringError(
                    f"the output {name!r} is a sequence whose length only the running model knows",
                    origin=name,
                    hint="give out its concatenation (ConcatFromSequence)",
                )
            with lowering_node(NodeContext(self, "Identity", "", name, 1)):
                try:
                    leaf = array(value)
                except Unsupported as error:
                    raise LoweringError(f"the output {name!r}: {error}", origin=name) from error
            element = self.elements.get(leaf, str(leaf.dtype))
            self.output_elements.append(element)
            if not leaf.hint:
                leaf.hint = name
            output_names.append(name)
            leaves.append(leaf)
            return Tree("leaf", index=len(leaves) - 1)

        names = [o.name for o in proto.output]
        trees = [tree_of(self._look_up(n, env), n) for n in names]
        outer = Tree("dict", tuple(names), tuple(trees))
        self.graph.out_tree = trees[0] if len(trees) == 1 else outer
        self.captured.out_tree = self.graph.out_tree
        self.captured.output_names = output_names
        builder.add(Node(RETURN, tuple(leaves), scope=builder.scope))

    def _look_up(self, name: str, env: Env) -> Any:
        if name not in env:
            raise LoweringError(f"nothing makes the value {name!r}", origin=name)
        return env[name]

    # -- nodes -------------------------------------------------------------------------------------

    def nodes(self, proto: Any, env: Env, builder: Builder) -> None:
        """Lowers the nodes of a graph or function body; results go into ``env``."""
        self._declare(getattr(proto, "value_info", ()), getattr(proto, "output", ()))
        used = _used_names(proto)
        for n in proto.node:
            scope = scope_of(n, self.captured, self.graph) if self.depth == 0 else builder.scope
            with builder.at(scope, origin_of(n) if self.depth == 0 else builder.origin):
                results = self._node(n, env, builder, used)
            for name, result in zip(n.output, results, strict=False):
                if name:
                    env[name] = result

    def subgraph(self, proto: onnx.GraphProto, env: Env, builder: Builder) -> list[Any]:
        """Lowers a body in place with outer values in scope; returns its outputs."""
        inner = env.new_child()
        for t in (*proto.initializer, *proto.sparse_initializer):
            name, tensor = self.program.read_tensor(t)
            inner[name] = self._held(Known(tensor.array, tensor.element, tensor.path), name)
        self.nodes(proto, inner, builder)
        return [self._look_up(o.name, inner) for o in proto.output]

    def _declare(self, infos: Iterable[Any], outputs: Iterable[Any]) -> None:
        for info in (*infos, *(o for o in outputs if not isinstance(o, str))):
            declared = self.program.declared(info, self.symbols)
            if declared is not None:
                self.declared[info.name] = Declared(*declared)

    def _node(self, n: onnx.NodeProto, env: Env, builder: Builder, used: set[str]) -> Sequence[Any]:
        try:
            inputs = [self._look_up(name, env) if name else None for name in n.input]
            if any(v is FAILED for v in inputs):
                return [FAILED] * len(n.output)
            return self._lowered(n, inputs, env, builder, used)
        except Unsupported as error:
            return self._refuse(n, str(error))
        except LoweringError as error:
            return self._refuse(n, error.message)
        except DAMAGE as error:
            return self._refuse(n, f"{type(error).__name__}: {error}")

    def _lowered(
        self, n: onnx.NodeProto, inputs: list[Any], env: Env, builder: Builder, used: set[str]
    ) -> Sequence[Any]:
        domain = plain_domain(n.domain)
        opset = self.opsets.get(domain) or self.opsets.get(n.domain) or 1
        stated = tuple(self.declared.get(o) if self.depth == 0 else None for o in n.output)
        wanted = tuple(bool(o) and o in used for o in n.output)
        context = NodeContext(self, n.op_type, domain, n.name, opset, wanted, stated, env)
        with lowering_node(context):
            attributes = attributes_of(n)
            folded = fold(domain, n.op_type, opset, inputs, attributes)
            if folded is not None:
                return [self._named(f, o) for f, o in zip(folded, n.output, strict=False)]
            lowering = self.table.find(domain, n.op_type, opset)
            if lowering is None:
                body = function_body(n, opset, inputs, self.opsets)
                if body is None:
                    raise Unsupported(_unknown(n, domain, opset))
                return self._call_function(body, n, inputs, attributes, builder)
            args, kwargs = bind(lowering, inputs, attributes)
            result = lowering(*args, **kwargs)
            results = result if isinstance(result, tuple) else (result,)
            return [
                self._stamp(r, o, d) for r, o, d in zip(results, n.output, stated, strict=False)
            ]

    def _call_function(
        self,
        body: onnx.FunctionProto,
        n: onnx.NodeProto,
        inputs: list[Any],
        attributes: Mapping[str, Any],
        builder: Builder,
    ) -> Sequence[Any]:
        """The results of a schema's own function body, lowered in place."""
        inner: Env = ChainMap({})
        for name, value in zip(body.input, [*inputs, *([None] * len(body.input))], strict=False):
            inner[name] = value
        saved = self.opsets
        own = {plain_domain(i.domain): i.version for i in body.opset_import}
        self.opsets, self.depth = {**saved, **own}, self.depth + 1
        failed = len(self.unsupported)
        try:
            self.nodes(body, inner, builder)
        finally:
            self.opsets, self.depth = saved, self.depth - 1
        if len(self.unsupported) > failed:
            inside = ", ".join(sorted({o.op for o in self.unsupported[failed:]}))
            reasons = "; ".join(dict.fromkeys(o.reason for o in self.unsupported[failed:]))
            del self.unsupported[failed:]
            raise Unsupported(f"within its function body {inside}: {reasons}")
        results = [self._look_up(o, inner) if o in inner else None for o in body.output]
        return [
            self._stamp(r, o, self.declared.get(o) if self.depth == 0 else None)
            for r, o in zip(results, n.output, strict=False)
        ]

    # -- results -----------------------------------------------------------------------------------

    def _named(self, result: Any, name: str) -> Any:
        if isinstance(result, Known) and not result.name and not result.symbolic:
            result.name = self.program.path_of(constant_name(name))
            self._held(result, name)
        return result

    def _held(self, x: Known, name: str) -> Known:
        """Notes where the file has a constant; one of many elements is a weight."""
        if name in self.program.held:
            x.constant = name
            x.source = name if x.array.size > SETTING or _learned(x.array) else ""
        return x

    def _stamp(self, result: Any, name: str, stated: Declared | None) -> Any:
        """Names a result and brings it to the stated element type and shape."""
        if isinstance(result, Known):
            return self._named(result, name)
        if not isinstance(result, Value) or result.kind != "array":
            return result
        if result.dtype is None:
            result.dtype = storage(stated.element) if stated else None
        if stated is not None:
            result = self._typed(result, stated.element)
            self._shaped(result, stated.dims)
        if result.shape is None or result.dtype is None:
            raise Unsupported("the rank of its result is not known")
        if not result.hint and self.depth == 0:
            result.hint = name
        return result

    def _typed(self, result: Value, element: str) -> Value:
        if element == "string":
            raise Unsupported("tensors of strings")
        held = storage(element)
        if result.dtype != held:
            result = result.astype(held)
        if element in STORAGE:
            self.elements[result] = element
        return result

    def _shaped(self, result: Value, dims: tuple[Any, ...] | None) -> None:
        """Takes over sizes that the model states and the rules could not tell."""
        if dims is None:
            return
        if result.shape is None:
            result.shape = tuple(fresh() if d is None else d for d in dims)
        elif len(result.shape) != len(dims):
            raise Unsupported(
                f"the lowering gives rank {len(result.shape)}, the model states {len(dims)}"
            )
        for have, want in zip(result.shape, dims, strict=True):
            if want is None or not is_static(want) or not is_static(have):
                continue
            if not dims_equal(have, want):
                raise Unsupported(f"its result has shape {result.shape}, the model states {dims}")

    # -- weights -----------------------------------------------------------------------------------

    def weight(self, x: Known, stored: np.ndarray, dtype: str) -> Value:
        """The array of a constant: a weight of the model, made once."""
        wish = x.name or "constant"
        path, n = wish, 2
        while path in self.graph.params:
            path, n = f"{wish}_{n}", n + 1
        value = Value(tuple(int(d) for d in stored.shape), dtype, hint=path)
        source = x.source or x.constant or path
        x.source, kind = source, param_kind(x, stored)
        self.graph.params[path] = new_param(path, x, value, kind)
        self.program.tensors.setdefault(source, stored)
        return value

    def _refuse(self, n: onnx.NodeProto, reason: str) -> Sequence[Any]:
        name = n.op_type if not n.domain else f"{n.domain}.{n.op_type}"
        self.unsupported.append(UnsupportedOp(name, "", n.name or ", ".join(n.output), reason))
        return [FAILED] * len(n.output)


def _learned(array: np.ndarray) -> bool:
    """Whether some numbers are none that anybody wrote: they have too many digits."""
    digits = (re.sub(r"e.*|\D", "", str(v)).strip("0") for v in array.reshape(-1).astype("float32"))
    return array.ndim == 1 and array.size > 1 and any(len(d) > WRITTEN_DIGITS for d in digits)


def _used_names(proto: Any) -> set[str]:
    """Names that anything in a graph (its bodies included) takes, and its outputs."""
    used = {o if isinstance(o, str) else o.name for o in proto.output}
    for n in proto.node:
        used.update(n.input)
        for a in n.attribute:
            for sub in (a.g, *a.graphs) if a.HasField("g") or a.graphs else ():
                used |= _used_names(sub)
    return used


def _unknown(n: onnx.NodeProto, domain: str, opset: int) -> str:
    return f"no lowering is known for {domain or 'ai.onnx'}.{n.op_type} in opset {opset}"


def _summary(ops: list[UnsupportedOp]) -> str:
    names = sorted({o.op for o in ops})
    return f"{len(names)} op(s) cannot be converted: {', '.join(names)}"
