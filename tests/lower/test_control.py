"""Higher-order ops become nodes with subgraphs; wrappers disappear."""

from __future__ import annotations

import torch
from torch._higher_order_ops.map import map as torch_map
from torch._higher_order_ops.scan import scan
from torch._higher_order_ops.while_loop import while_loop

from pytorch_to_mlx.graph.ir import Graph, Node
from tests.lower.harness import Wrapped, check_op, lower

X = torch.randn(4, 3)
W = torch.randn(3, 3)


def only(graph: Graph, target: str) -> Node:
    (node,) = (n for n in graph.nodes if n.target == target)
    return node


def called(graph: Graph) -> list[str]:
    return [n.target for n in graph.nodes]


def test_cond() -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.sum() > 0, lambda x: torch.relu(x), lambda x: x - 1, (x,))

    _, graph = lower(fn, X)
    node = only(graph, "if")
    assert called(node.subgraphs["then"]) == ["nn.relu", "return"]
    assert called(node.subgraphs["else"]) == ["mx.subtract", "return"]
    assert node.subgraphs["then"].free_values() == [graph.inputs[0]]
    assert node.output.dims == graph.inputs[0].dims


def test_cond_on_a_known_size_is_the_branch() -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.shape[0] > 3, lambda x: torch.relu(x), lambda x: x - 1, (x,))

    check_op(fn, X, dynamic=False)
    assert called(lower(fn, X, dynamic=False)[1]) == ["nn.relu", "return"]


def test_while_loop() -> None:
    def fn(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        start = torch.zeros((), dtype=torch.int64)
        return while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x @ W), (start, x))

    node = only(lower(fn, X)[1], "while")
    assert len(node.args) == len(node.outputs) == 2
    assert called(node.subgraphs["condition"]) == ["mx.less", "return"]
    assert [len(g.inputs) for g in node.subgraphs.values()] == [2, 2]
    assert len(node.subgraphs["body"].ret.args) == 2
    assert [v.dtype for v in node.outputs] == ["int64", "float32"]


def test_scan() -> None:
    def fn(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return scan(lambda c, x: (c + x.relu(), c * 2), torch.zeros(3), x)

    _, graph = lower(fn, X)
    node = only(graph, "for")
    initial, arrays = node.args
    body = node.subgraphs["body"]
    assert (len(initial), len(arrays), len(body.inputs)) == (1, 1, 2)  # type: ignore[arg-type]
    assert [v.ndim for v in body.inputs] == [1, 1]
    assert [v.ndim for v in node.outputs] == [1, 2]


def test_map() -> None:
    def fn(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch_map(lambda row, y: row @ W + y, x, y)

    _, graph = lower(fn, X, torch.randn(3))
    node = only(graph, "for")
    assert node.args == ((), (graph.inputs[0],))
    assert graph.inputs[1] in node.subgraphs["body"].free_values()


def test_wrappers_are_inlined() -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            y = x * 2
        with torch.autocast("cpu", enabled=False):
            return torch.utils.checkpoint.checkpoint(torch.relu, y, use_reentrant=False)

    graph = check_op(Wrapped(fn), X)
    assert called(graph) == ["mx.multiply", "nn.relu", "return"]
