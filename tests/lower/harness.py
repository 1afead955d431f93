"""Captures a small module, lowers it, runs the graph node by node, and compares with torch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx
import numpy as np
import torch
from torch.export import Dim

from pytorch_to_mlx.capture.program import Captured
from pytorch_to_mlx.graph import Graph, Tree, Value
from pytorch_to_mlx.graph.dims import evaluate, is_static
from pytorch_to_mlx.graph.dtypes import DType, adopted, dtype_of, mlx_dtype
from pytorch_to_mlx.graph.ir import RETURN, Node, map_arg
from pytorch_to_mlx.graph.probe import resolve
from pytorch_to_mlx.lower.aten import load_families
from pytorch_to_mlx.lower.aten._decompose import decompose_unknown
from pytorch_to_mlx.lower.aten._program import lower_program

torch.set_num_threads(1)

_WIDER = {torch.float64: torch.float32, torch.complex128: torch.complex64}


class Wrapped(torch.nn.Module):
    """A function as a module."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, *args: Any) -> Any:
        return self.fn(*args)


def to_mlx(tensor: torch.Tensor) -> mx.array:
    tensor = tensor.detach().to(_WIDER.get(tensor.dtype, tensor.dtype)).contiguous()
    if tensor.dtype == torch.bfloat16:
        return mx.array(tensor.float().numpy()).astype(mx.bfloat16)
    return adopted(mx.array(tensor.resolve_conj().resolve_neg().numpy()))


def to_numpy(array: mx.array) -> np.ndarray[Any, Any]:
    return np.array(array.astype(mx.float32) if array.dtype == mx.bfloat16 else array)


class _Run:
    """The values and size symbols of one evaluation."""

    def __init__(self) -> None:
        self.values: dict[Value, Any] = {}
        self.sizes: dict[Any, int] = {}

    def bind(self, value: Value, given: Any) -> None:
        self.values[value] = given
        if value.symbol is not None:
            self.sizes[value.symbol] = given
        for size, actual in zip(value.shape or (), getattr(given, "shape", ()), strict=False):
            if getattr(size, "is_Symbol", False):
                self.sizes.setdefault(size, int(actual))

    def arg(self, a: Any) -> Any:
        if isinstance(a, Value):
            return self.values[a]
        if isinstance(a, DType):
            return mlx_dtype(a)
        return evaluate(a, self.sizes)

    def node(self, node: Node) -> None:
        args, kwargs = map_arg(node.args, self.arg), map_arg(node.kwargs, self.arg)
        if node.target == "getitem":
            out = args[0][args[1]]
        elif node.target == "host.item":
            out = args[0].item()
        else:
            out = resolve(node.target)(*args, **kwargs)
        outs = list(out) if isinstance(out, (tuple, list)) else [out]
        assert len(outs) == len(node.outputs), (
            f"{node.target} gave {len(outs)} arrays, the graph has {len(node.outputs)}"
        )
        for value, got in zip(node.outputs, outs, strict=True):
            self.bind(value, got)
            if isinstance(got, mx.array) and value.kind == "array":
                self._check(node, value, got)

    def _check(self, node: Node, value: Value, got: mx.array) -> None:
        if value.dtype is not None:
            assert dtype_of(got) == value.dtype, (
                f"{node.target}: graph says {value.dtype}, MLX gives {dtype_of(got)}"
            )
        if value.shape is not None:
            want = tuple(evaluate(d, self.sizes) for d in value.shape)
            # A size that only the data decides is learned here, not checked.
            known = all(is_static(d) for d in want)
            assert not known or tuple(got.shape) == want, (
                f"{node.target}: graph says {want}, MLX gives {got.shape}"
            )


def run_graph(graph: Graph, inputs: Sequence[Any], tensors: dict[str, torch.Tensor]) -> list[Any]:
    """The results on real arrays; each node must have the shape and dtype that the graph says."""
    run = _Run()
    for value, given in zip(graph.inputs, inputs, strict=True):
        run.bind(value, to_mlx(given) if isinstance(given, torch.Tensor) else given)
    for path, param in graph.params.items():
        run.bind(param.value, to_mlx(tensors[path]))
    for node in graph.nodes:
        if node.target == RETURN:
            return [run.arg(a) if a is not None else None for a in node.args]
        run.node(node)
    raise AssertionError("the graph has no return")


def capture(fn: Any, *inputs: Any, dynamic: bool = True) -> Captured:
    """Exports with torch alone, so that these tests fail for faults of lowering only."""
    module = fn if isinstance(fn, torch.nn.Module) else Wrapped(fn)
    spec = None
    if dynamic:
        axes = [
            {a: Dim.AUTO for a, s in enumerate(i.shape) if s > 1}
            if isinstance(i, torch.Tensor)
            else None
            for i in inputs
        ]
        parameters = inspect.signature(module.forward).parameters
        several = any(p.kind is p.VAR_POSITIONAL for p in parameters.values())
        spec = (tuple(axes),) if several else tuple(axes)
    with torch.no_grad():
        program = torch.export.export(module.eval(), inputs, dynamic_shapes=spec, strict=False)
    for entry in program.module_call_graph:
        if entry.fqn:
            entry.signature = None
    table = load_families()
    program = program.run_decompositions({})
    program = decompose_unknown(program, lambda name: table.find(name) is not None)
    tensors = {**program.state_dict, **program.constants}
    tree = Tree("tuple")
    names = list(program.graph_signature.user_inputs)
    return Captured(program, "Model", tensors, tree, tree, [str(n) for n in names])


def lower(fn: Any, *inputs: Any, dynamic: bool = True) -> tuple[Captured, Graph]:
    captured = capture(fn, *inputs, dynamic=dynamic)
    return captured, lower_program(captured)


def targets(fn: Any, *inputs: Any, dynamic: bool = True) -> list[str]:
    """The calls that an op becomes, in order."""
    return [n.target for n in lower(fn, *inputs, dynamic=dynamic)[1].nodes[:-1]]


def compare(want: Any, got: Any, atol: float, rtol: float = 1e-5) -> None:
    """Shape, dtype, where values are not finite, then values."""
    if not isinstance(want, torch.Tensor):
        assert want == got or abs(want - got) <= atol, f"{got} instead of {want}"
        return
    assert isinstance(got, mx.array), f"{got!r} instead of an array"
    assert tuple(got.shape) == tuple(want.shape), (
        f"shape {got.shape} instead of {tuple(want.shape)}"
    )
    expected = to_mlx(want)
    assert got.dtype == expected.dtype, f"dtype {got.dtype} instead of {expected.dtype}"
    a, b = to_numpy(expected), to_numpy(got)
    if a.dtype.kind in "fc":
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b), "NaN elsewhere")
        np.testing.assert_array_equal(np.isinf(a), np.isinf(b), "infinite elsewhere")
        np.testing.assert_array_equal(np.where(np.isinf(a), a, 0), np.where(np.isinf(b), b, 0))
        low = {mx.float16: 2e-3, mx.bfloat16: 1.6e-2}.get(got.dtype, 0.0)
        finite = np.isfinite(a)
        np.testing.assert_allclose(b[finite], a[finite], atol=max(atol, low), rtol=max(rtol, low))
    else:
        np.testing.assert_array_equal(b, a)


def check_op(
    fn: Any,
    *inputs: Any,
    atol: float = 1e-6,
    rtol: float = 1e-5,
    dynamic: bool = True,
    values: bool = True,
) -> Graph:
    """Lowers a function or module and compares it with torch, at the traced and at another size.

    ``values=False`` compares count, shapes and dtypes only (random ops, uninitialised memory).
    """
    captured, graph = lower(fn, *inputs, dynamic=dynamic)
    tensors = {**captured.tensors}
    cases = [inputs]
    if dynamic:
        grown = tuple(grow(i, captured, n) for n, i in enumerate(inputs))
        if any(a is not b for a, b in zip(inputs, grown, strict=True)):
            cases.append(grown)
    for case in cases:
        with torch.no_grad():
            want = fn(*case)
        flat = torch.utils._pytree.tree_leaves(want)
        leaves = [
            i for i in torch.utils._pytree.tree_leaves(list(case)) if isinstance(i, torch.Tensor)
        ]
        got = run_graph(graph, leaves, tensors)
        assert len(got) == len(flat), f"{len(got)} results instead of {len(flat)}"
        for w, g in zip(flat, got, strict=True):
            if values:
                compare(w, g, atol, rtol)
            else:
                assert tuple(g.shape) == tuple(w.shape)
                assert dtype_of(g) == str(w.dtype).removeprefix("torch.")
    return graph


def grow(given: Any, captured: Captured, position: int) -> Any:
    """An input with every dynamic dimension one larger, by repeating its first elements."""
    if not isinstance(given, torch.Tensor):
        return given
    placeholders = [n for n in captured.program.graph.nodes if n.op == "placeholder"]
    names = captured.program.graph_signature.user_inputs
    node = next(n for n in placeholders if n.name == names[position])
    sizes = {}
    for axis, size in enumerate(node.meta["val"].shape):
        if isinstance(size, torch.SymInt):
            expr = size.node.expr
            if not expr.is_Symbol:
                return given
            sizes[axis] = given.shape[axis] + 1
    out = given
    for axis, size in sizes.items():
        pick = torch.arange(size) % given.shape[axis]
        more = out.index_select(axis, pick)
        # No ties: torch leaves open which of two equal elements a top-k names.
        if more.is_floating_point():
            more.narrow(axis, size - 1, 1).add_(0.01)
        out = more
    return out
