"""Lowers an exported program: walks the FX graph and calls each op's lowering.

Every result is checked against the metadata that torch recorded: its rank must agree and its dtype
is
brought to torch's where MLX promotes differently.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import sympy

from pytorch_to_mlx.errors import LoweringError, UnsupportedOp
from pytorch_to_mlx.graph import Builder, Frame, Graph, Node, Origin, Param, Value
from pytorch_to_mlx.graph.build import attach_outputs
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.ir import RETURN
from pytorch_to_mlx.lower.aten import load_families
from pytorch_to_mlx.lower.aten._empty import empties, is_empty
from pytorch_to_mlx.lower.aten._given import lowering_to, stub_of
from pytorch_to_mlx.lower.aten._origin import source_stack
from pytorch_to_mlx.lower.aten._symbols import to_expr
from pytorch_to_mlx.lower.registry import Lowering, Unsupported

if TYPE_CHECKING:
    import torch
    import torch.fx as fx

    from pytorch_to_mlx.capture.program import Captured

DROPPED_KWARGS = {
    "layout",
    "device",
    "pin_memory",
    "memory_format",
    "non_blocking",
    "requires_grad",
}
ASSERTIONS = (
    "aten._assert_tensor_metadata",
    "aten._assert_scalar",
    "aten._assert_async.default",
    "aten.sym_constrain_range",
    "aten.sym_constrain_range_for_size",
    "aten._functional_assert_async",
    "aten._functional_sym_constrain_range",
    "aten._functional_sym_constrain_range_for_size",
    "aten._functional_assert_scalar",
)


def lower_program(captured: Captured) -> Graph:
    """The graph of MLX calls of an exported program.

    Raises:
        LoweringError: with every op that cannot be lowered, each with module path and source line.
    """
    return _Lowering(captured).run()


class _Lowering:
    def __init__(self, captured: Captured) -> None:
        self.captured = captured
        self.graph = Graph(name=captured.name)
        self.graph.classes = dict(captured.classes)
        self.graph.signatures = dict(captured.signatures)
        self.table = load_families()
        self.unsupported: list[UnsupportedOp] = []
        self.truths: dict[Any, Value] = {}

    def run(self) -> Graph:
        program = self.captured.program
        env: dict[fx.Node, Any] = {}
        self._inputs(env)
        with Builder(self.graph) as builder:
            self.lower_nodes(program.graph_module, env, builder)
            if self.unsupported:
                raise LoweringError(_summary(self.unsupported), ops=self.unsupported)
            self._outputs(env, builder)
        self._bound_arguments(env)
        return self.graph

    def _bound_arguments(self, env: dict[fx.Node, Any]) -> None:
        """Which value each argument of each module call was."""
        by_name = {n.name: v for n, v in env.items() if isinstance(v, Value)}
        for key, arguments in self.captured.bound.items():
            found = [(name, by_name[node]) for name, node in arguments if node in by_name]
            self.graph.bound[key] = found

    # -- inputs and outputs -------------------------------------------------------------------

    def _inputs(self, env: dict[fx.Node, Any]) -> None:
        from torch.export.graph_signature import InputKind

        program = self.captured.program
        placeholders = [n for n in program.graph.nodes if n.op == "placeholder"]
        specs = program.graph_signature.input_specs
        user = 0
        for node, spec in zip(placeholders, specs, strict=True):
            val = node.meta.get("val")
            if spec.kind == InputKind.USER_INPUT:
                if _is_tensor(val):
                    value = self._value(val, hint=self.captured.input_names[user])
                    env[node] = value
                    self.graph.inputs.append(value)
                elif _is_symbolic(val):
                    value = Value(
                        (), None, kind=_host_kind(val), hint=self.captured.input_names[user]
                    )
                    value.symbol = to_expr(val)
                    env[node] = value.symbol
                    self.graph.inputs.append(value)
                else:
                    env[node] = spec.arg.value if hasattr(spec.arg, "value") else val
                user += 1
                continue
            if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
                path = self.captured.canonical(spec.target)
                if path not in self.graph.params:
                    kind = {InputKind.PARAMETER: "parameter", InputKind.BUFFER: "buffer"}.get(
                        spec.kind, "constant"
                    )
                    param = Param(path, self._value(val, hint=path), kind, sources=(path,))
                    param.persistent = path in self.captured.persistent
                    self.graph.params[path] = param
                env[node] = self.graph.params[path].value
            else:
                env[node] = None
        self.graph.in_tree = self.captured.in_tree

    def _outputs(self, env: dict[fx.Node, Any], builder: Builder) -> None:
        from torch.export.graph_signature import OutputKind

        program = self.captured.program
        out_node = next(n for n in program.graph.nodes if n.op == "output")
        results: list[Any] = []
        states: dict[str, Any] = {}
        for spec, arg in zip(program.graph_signature.output_specs, out_node.args[0], strict=True):
            value = env.get(arg, arg)
            value = self.truths.get(value, value) if isinstance(value, sympy.Eq) else value
            if spec.kind == OutputKind.USER_OUTPUT:
                results.append(value)
            elif spec.kind == OutputKind.BUFFER_MUTATION:
                states[self.captured.canonical(spec.target)] = value
            elif spec.kind == OutputKind.USER_INPUT_MUTATION:
                self.graph.notes.append(
                    f"the source changes its input {spec.target!r} in place; "
                    "the converted model does not"
                )
            elif spec.kind != OutputKind.TOKEN:
                raise LoweringError(
                    f"an output of kind {spec.kind.name} cannot be converted", op=spec.kind.name
                )
        self.graph.out_tree = self.captured.out_tree
        for path in states:
            self.graph.states[path] = len(results) + len(self.graph.states)
        node = Node(RETURN, (*results, *states.values()), scope=builder.scope)
        builder.add(node)

    # -- nodes ---------------------------------------------------------------------------------

    def lower_nodes(self, module: Any, env: dict[fx.Node, Any], builder: Builder) -> None:
        for node in module.graph.nodes:
            if node.op in ("placeholder", "output"):
                continue
            if node.op == "get_attr":
                env[node] = getattr(module, str(node.target))
                continue
            scope, origin = self._scope(node), self._origin(node)
            with builder.at(scope, origin):
                env[node] = self._lower_node(node, env, builder)

    def _lower_node(self, node: fx.Node, env: dict[fx.Node, Any], builder: Builder) -> Any:
        import torch

        val = node.meta.get("val")
        if node.target is operator.getitem:
            source = self._resolve(node.args[0], env)
            return None if source is None else source[node.args[1]]
        if not isinstance(node.target, torch._ops.OpOverload):
            if isinstance(node.target, torch._ops.HigherOrderOperator):
                return self._higher_order(node, env, builder)
            if _is_symbolic(val) or isinstance(val, (int, float, bool)):
                return to_expr(val)
            return self._refuse(node, f"the call {node.target} is no ATen op")
        name = op_name(node.target)
        if name.startswith(ASSERTIONS):
            return None
        if (
            (_is_symbolic(val) or isinstance(val, (int, float, bool)))
            and "item" not in name
            and "_local_scalar_dense" not in name
        ):
            return to_expr(val)
        lowering = self._given(node.target, val) or self.table.find(name)
        if is_empty(val) and not node.meta.get("unbacked_bindings"):  # else it tells a size
            return self._stamp(empties(val), val, node, builder)
        if lowering is None:
            return self._refuse(node, "no lowering is known for this op", stub_of(node))
        try:
            args, kwargs = self._bind(node, env)
            if args is _FAILED or any(a is _FAILED for a in (*args, *kwargs.values())):
                return _FAILED
            if _is_symbolic(val) or isinstance(val, (int, float, bool)):
                return self._host(lowering(*args, **kwargs), val)
            return self._stamp(lowering(*args, **kwargs), val, node, builder)
        except Unsupported as error:
            return self._refuse(node, str(error))
        except LoweringError as error:
            return self._refuse(node, error.message)

    def _given(self, op: Any, val: Any) -> Lowering | None:
        """The lowering to a function that came with the request, where there is one."""
        function = self.captured.custom.get(str(op))
        return None if function is None else lowering_to(function, op, val)

    def _higher_order(self, node: fx.Node, env: dict[fx.Node, Any], builder: Builder) -> Any:
        from pytorch_to_mlx.lower.aten._control import lower_higher_order

        try:
            return lower_higher_order(self, node, env, builder)
        except Unsupported as error:
            return self._refuse(node, str(error))

    def _host(self, value: Any, val: Any) -> Any:
        """A host value that the data decides: its symbol is bound to the node that makes it."""
        expr = to_expr(val)
        if not isinstance(value, Value):
            return expr
        if isinstance(expr, sympy.Symbol):
            value.symbol = expr
            value.kind = _host_kind(val)
        elif isinstance(expr, sympy.Eq) and isinstance(expr.lhs, sympy.Symbol) and expr.rhs == 1:
            value.symbol = expr.lhs  # torch has a truth value as a number that equals 1
            value.kind = "bool"
            self.truths[expr] = value
        return expr

    def _bind(self, node: fx.Node, env: dict[fx.Node, Any]) -> tuple[Any, dict[str, Any]]:
        """Positional arguments as given; keyword arguments without those that only torch cares
        about.
        """
        args = self._resolve(node.args, env)
        kwargs = {
            k: self._resolve(a, env) for k, a in node.kwargs.items() if k not in DROPPED_KWARGS
        }
        return args, kwargs

    def _resolve(self, arg: Any, env: dict[fx.Node, Any]) -> Any:
        import torch
        import torch.fx as fx

        if isinstance(arg, fx.Node):
            return env[arg]
        if isinstance(arg, (list, tuple)):
            resolved = tuple(self._resolve(a, env) for a in arg)
            return _FAILED if any(r is _FAILED for r in resolved) else resolved
        if isinstance(arg, slice):
            return slice(*(self._resolve(a, env) for a in (arg.start, arg.stop, arg.step)))
        if isinstance(arg, dict):
            return {k: self._resolve(a, env) for k, a in arg.items()}
        if isinstance(arg, torch.dtype):
            return torch_dtype(arg)
        if isinstance(arg, (torch.SymInt, torch.SymFloat, torch.SymBool)):
            return to_expr(arg)
        return arg

    def _stamp(self, result: Any, val: Any, node: fx.Node, builder: Builder) -> Any:
        """Brings results to torch's dtypes and records the shapes that torch found."""
        if isinstance(val, (list, tuple)):
            results = result if isinstance(result, (list, tuple)) else (result,)
            if len(results) != len(val):
                raise LoweringError(
                    f"the lowering gives {len(results)} results where torch gives {len(val)}"
                )
            return tuple(
                self._stamp(r, v, node, builder) for r, v in zip(results, val, strict=True)
            )
        if not _is_tensor(val) or not isinstance(result, Value):
            return result
        shape = tuple(to_expr(d) for d in val.shape)
        dtype = torch_dtype(val.dtype)
        if result.shape is not None and len(result.shape) != len(shape):
            raise LoweringError(
                f"the lowering gives rank {len(result.shape)} where torch has "
                f"shape {tuple(val.shape)}"
            )
        if result.dtype is None:
            result.dtype = dtype
        if result.shape is None:
            result.shape = shape
        if result.dtype != dtype:
            result = result.astype(dtype)
        if result.node is not None and result.node.origin is builder.origin:
            result.shape = shape
        result.hint = result.hint or node.name
        return result

    # -- bookkeeping ---------------------------------------------------------------------------

    def _value(self, val: torch.Tensor, hint: str) -> Value:
        return Value(tuple(to_expr(d) for d in val.shape), torch_dtype(val.dtype), hint=hint)

    def _refuse(self, node: fx.Node, reason: str, stub: str = "") -> Any:
        scope, origin = self._scope(node), self._origin(node)
        self.unsupported.append(
            UnsupportedOp(
                op=origin.op,
                module_path=scope[-1].path if scope else "",
                origin=str(origin),
                reason=reason,
                stub=stub,
            )
        )
        return _FAILED

    def _scope(self, node: fx.Node) -> tuple[Frame, ...]:
        frames = [Frame("", self.captured.classes.get("", self.graph.name))]
        for key, (path, cls) in (node.meta.get("nn_module_stack") or {}).items():
            if not path or path.startswith("_empty_nn_module_stack"):
                continue
            name = cls if isinstance(cls, str) else cls.__name__
            call = key.rsplit("@", 1)[1] if "@" in key else "0"
            path = self.captured.module_path(path.rsplit("@", 1)[0])
            frames.append(Frame(path, name.rsplit(".", 1)[-1], int(call) if call.isdigit() else 0))
            self.graph.classes.setdefault(path, name.rsplit(".", 1)[-1])
        return tuple(frames)

    def _origin(self, node: fx.Node) -> Origin:
        op = op_name(node.target) if not isinstance(node.target, str) else node.target
        file, line, text = self.captured.source_line(node.meta.get("stack_trace"))
        return Origin(op, node.name, file, line, text, source_stack(node.meta.get("stack_trace")))


class _Failed:
    """Stands for the result of an op that could not be lowered, so that all such ops are found in
    one run.
    """

    __iter__ = None  # it has no length: unpacking it must fail, not run for ever

    def __getitem__(self, index: Any) -> _Failed:
        return self


_FAILED = _Failed()


def op_name(target: Any) -> str:
    """``aten.add.Tensor`` for an overload; the plain name for other callables."""
    text = str(target)
    return text if "." in text and " " not in text else getattr(target, "__name__", text)


def torch_dtype(dtype: torch.dtype) -> DType:
    """MLX's name of a torch dtype.

    float64 becomes float32 and complex128 complex64 (MLX cannot store the former and lacks the
    latter).

    Raises:
        Unsupported: MLX has no such dtype (quantized, float8, ...).
    """
    name = str(dtype).removeprefix("torch.")
    name = {"float64": "float32", "complex128": "complex64", "complex32": "complex64"}.get(
        name, name
    )
    from pytorch_to_mlx.graph.dtypes import NAMES

    if name not in NAMES:
        raise Unsupported(
            f"MLX has no dtype {name}; convert the tensor to a floating or integer type first"
        )
    return DType(name)


def _is_tensor(val: Any) -> bool:
    import torch

    return isinstance(val, torch.Tensor)


def _is_symbolic(val: Any) -> bool:
    import torch

    return isinstance(val, (torch.SymInt, torch.SymFloat, torch.SymBool))


def _host_kind(val: Any) -> str:
    import torch

    if isinstance(val, (torch.SymBool, bool)):
        return "bool"
    return "float" if isinstance(val, (torch.SymFloat, float)) else "int"


def _summary(ops: list[UnsupportedOp]) -> str:
    names = sorted({o.op for o in ops})
    return f"{len(names)} op(s) cannot be converted: {', '.join(names)}"


def new_host(kind: str, symbol: sympy.Symbol | None = None) -> Value:
    return Value((), None, kind=kind, symbol=symbol)


__all__ = ["attach_outputs", "lower_program", "new_host", "op_name", "torch_dtype"]
