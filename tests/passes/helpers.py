"""Builds small graphs, runs passes over them, and checks that they still compute the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mlx.core as mx
import numpy as np
import torch

from pytorch_to_mlx.graph import Builder, Graph, Node, Param, Value, symbol
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.ir import RETURN
from pytorch_to_mlx.passes import evaluate
from pytorch_to_mlx.passes.base import Pass, PassReport
from tests.lower.harness import lower, run_graph, to_mlx, to_numpy

torch.set_num_threads(1)

Spec = tuple[str, Sequence[Any]]


def dims(shape: Sequence[Any]) -> tuple[Any, ...]:
    """Sizes; a name stands for a symbol."""
    return tuple(symbol(d) if isinstance(d, str) else d for d in shape)


def build(
    fn: Callable[..., Any],
    *inputs: Spec,
    weights: Mapping[str, torch.Tensor] | None = None,
    buffers: Mapping[str, torch.Tensor] | None = None,
) -> Graph:
    """The graph of ``fn(*inputs, **weights, **buffers)``; a spec is (dtype, shape)."""
    graph = Graph()
    graph.inputs = [Value(dims(shape), DType(dtype)) for dtype, shape in inputs]
    named = {}
    for kind, tensors in (("parameter", weights or {}), ("buffer", buffers or {})):
        for path, t in tensors.items():
            value = Value(tuple(t.shape), DType(str(t.dtype).removeprefix("torch.")), hint=path)
            graph.params[path] = Param(path, value, kind, sources=(path,))
            named[path] = value
    with Builder(graph) as builder:
        out = fn(*graph.inputs, **named)
        outs = out if isinstance(out, tuple) else (out,)
        builder.add(Node(RETURN, outs))
    return graph


def body(graph: Graph) -> str:
    """The printed nodes, without the inputs' line and without types."""
    from pytorch_to_mlx.graph.text import to_text

    return "\n".join(line.strip() for line in to_text(graph, types=False).splitlines()[1:])


def targets(graph: Graph) -> list[str]:
    return [n.target for n in graph.nodes[:-1]]


def run_pass(
    graph: Graph, *passes: Pass, tensors: Mapping[str, torch.Tensor] | None = None
) -> PassReport:
    """Runs passes in order with the weights at hand; one report for all."""
    report = PassReport("test")
    with evaluate.weights(lambda path: to_mlx((tensors or {})[path])):
        for p in passes:
            p(graph, report)
    return report


def outputs(
    graph: Graph, inputs: Sequence[Any], tensors: Mapping[str, torch.Tensor] | None = None
) -> list[np.ndarray[Any, Any]]:
    given = [torch.from_numpy(x) if isinstance(x, np.ndarray) else x for x in inputs]
    results = run_graph(graph, given, dict(tensors or {}))
    return [to_numpy(r) for r in results if isinstance(r, mx.array)]


def check(
    graph: Graph,
    passes: Sequence[Pass],
    inputs: Sequence[Any],
    *,
    tensors: Mapping[str, torch.Tensor] | None = None,
    rtol: float = 0.0,
) -> PassReport:
    """Runs the passes; the results must be the same (up to ``rtol`` of the largest value)."""
    before = outputs(graph, inputs, tensors)
    report = run_pass(graph, *passes, tensors=tensors)
    after = outputs(graph, inputs, tensors)
    for a, b in zip(before, after, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        scale = float(np.abs(a).max()) if a.size and a.dtype.kind == "f" else 0.0
        np.testing.assert_allclose(b, a, rtol=0, atol=rtol * max(scale, 1.0))
    return report


def exported(module: torch.nn.Module, *inputs: Any) -> tuple[Graph, dict[str, torch.Tensor]]:
    """The lowered graph of a module and its tensors."""
    captured, graph = lower(module, *inputs)
    return graph, dict(captured.tensors)
