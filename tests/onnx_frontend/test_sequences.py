"""Sequences and optionals: their elements are all that is left in the code."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx.helper import (  # noqa: E402
    make_graph,
    make_model,
    make_node,
    make_operatorsetid,
    make_tensor_sequence_value_info,
    make_tensor_value_info,
)

from pytorch_to_mlx import onnx_backend  # noqa: E402
from pytorch_to_mlx.errors import LoweringError  # noqa: E402


def rows(count: int, *sizes: int) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.standard_normal((n, 2)).astype(np.float32) for n in sizes[:count]]


def test_split_and_join(model):
    nodes = [
        make_node("SplitToSequence", ["x", "two"], ["parts"], axis=0),
        make_node("SequenceAt", ["parts", "last"], ["tail"]),
        make_node("SequenceInsert", ["parts", "tail", "first"], ["more"]),
        make_node("SequenceErase", ["more", "last"], ["fewer"]),
        make_node("ConcatFromSequence", ["fewer"], ["y"], axis=0),
        make_node("SequenceLength", ["fewer"], ["n"]),
    ]
    weights = {n: np.array(v, np.int64) for n, v in (("two", 2), ("last", -1), ("first", 0))}
    m = model(
        nodes, {"x": ("f", [5, 2])}, {"y": ("f", [None, 2]), "n": ("i", [])}, weights, opset=17
    )
    (x,) = rows(1, 5)
    y, n = onnx_backend.prepare(m).run([x])
    np.testing.assert_array_equal(y, np.concatenate([x[4:], x[:2], x[2:4]]))
    assert n == 3


def test_a_choice_that_data_makes(model):
    nodes = [
        make_node("SequenceConstruct", ["x", "z"], ["pair"]),
        make_node("SequenceAt", ["pair", "i"], ["y"]),
    ]
    m = model(
        nodes, {"x": ("f", ["N", 2]), "z": ("f", ["N", 2]), "i": ("i", [])}, {"y": ("f", ["N", 2])}
    )
    x, z = rows(2, 3, 3)
    rep = onnx_backend.prepare(m)
    for i, want in ((0, x), (1, z), (-1, z)):
        np.testing.assert_array_equal(rep.run([x, z, np.array(i)])[0], want)


def growing(count: str) -> list[onnx.NodeProto]:
    """A loop that puts what its iteration number times x is behind a sequence."""
    body = make_graph(
        [
            make_node("Cast", ["i"], ["f"], to=1),
            make_node("Mul", ["x", "f"], ["scaled"]),
            make_node("SequenceInsert", ["s", "scaled"], ["t"]),
            make_node("Identity", ["c"], ["d"]),
        ],
        "body",
        [
            make_tensor_value_info("i", 7, []),
            make_tensor_value_info("c", 9, []),
            make_tensor_sequence_value_info("s", 1, None),
        ],
        [make_tensor_value_info("d", 9, []), make_tensor_sequence_value_info("t", 1, None)],
    )
    return [
        make_node("SequenceEmpty", [], ["none"]),
        make_node("Loop", [count, "", "none"], ["all"], body=body),
        make_node("ConcatFromSequence", ["all"], ["y"], axis=0, new_axis=1),
    ]


def test_a_loop_that_makes_a_sequence(model):
    m = model(
        growing("n"),
        {"x": ("f", [2])},
        {"y": ("f", [None, 2])},
        {"n": np.array(3, np.int64)},
        opset=17,
    )
    x = np.array([1.0, -2.0], np.float32)
    (y,) = onnx_backend.prepare(m).run([x])
    np.testing.assert_array_equal(y, np.arange(3)[:, None] * x)


def test_as_often_as_data_says(model):
    m = model(growing("n"), {"x": ("f", [2]), "n": ("i", [])}, {"y": ("f", [None, 2])}, opset=17)
    x = np.array([1.0, -2.0], np.float32)
    rep = onnx_backend.prepare(m)
    for n in (1, 4):
        np.testing.assert_array_equal(rep.run([x, np.array(n)])[0], np.arange(n)[:, None] * x)


def test_what_data_decides_about_a_sequence_is_refused(model):
    loop = growing("n")[:2]
    inputs = {"x": ("f", [2]), "n": ("i", [])}
    erased = [make_node("SequenceConstruct", ["x", "x"], ["s"]),
              make_node("SequenceErase", ["s", "n"], ["t"]),
              make_node("ConcatFromSequence", ["t"], ["y"], axis=0)]  # fmt: skip
    with pytest.raises(LoweringError) as refused:
        onnx_backend.prepare(model(erased, inputs, {"y": ("f", [2])}, opset=17))
    assert "a place in a sequence that only the running model knows" in refused.value.ops[0].reason
    graph = make_graph(
        loop,
        "g",
        [make_tensor_value_info("x", 1, [2]), make_tensor_value_info("n", 7, [])],
        [make_tensor_sequence_value_info("all", 1, None)],
    )
    m = make_model(graph, opset_imports=[make_operatorsetid("", 17)], ir_version=10)
    with pytest.raises(LoweringError, match="a sequence whose length only the running model knows"):
        onnx_backend.prepare(m)


def test_elements_of_an_input_have_their_own_sizes():
    nodes = [make_node("SequenceMap", ["s"], ["y"], body=make_graph(
        [make_node("Shape", ["e"], ["o"])], "body",
        [make_tensor_value_info("e", 1, ["H", 2])], [make_tensor_value_info("o", 7, [2])],
    ))]  # fmt: skip
    graph = make_graph(
        nodes,
        "g",
        [make_tensor_sequence_value_info("s", 1, ["H", 2])],
        [make_tensor_sequence_value_info("y", 7, [2])],
    )
    m = make_model(graph, opset_imports=[make_operatorsetid("", 17)], ir_version=10)
    (y,) = onnx_backend.prepare(m).run([rows(3, 1, 4, 2)])
    assert [list(v) for v in y] == [[1, 2], [4, 2], [2, 2]]


def test_branches_that_give_sequences(model):
    def branch(name: str, op: str) -> onnx.GraphProto:
        nodes = [
            make_node(op, ["x", "x"], [f"{name}_a"]),
            make_node("SequenceConstruct", [f"{name}_a", "x"], [name]),
        ]
        return make_graph(nodes, name, [], [make_tensor_sequence_value_info(name, 1, None)])

    branches = {"then_branch": branch("p", "Add"), "else_branch": branch("q", "Mul")}
    nodes = [
        make_node("If", ["c"], ["s"], **branches),
        make_node("ConcatFromSequence", ["s"], ["y"], axis=0),
    ]
    m = model(nodes, {"x": ("f", [2]), "c": ("b", [])}, {"y": ("f", [4])}, opset=17)
    x = np.array([3.0, 5.0], np.float32)
    rep = onnx_backend.prepare(m)
    np.testing.assert_array_equal(rep.run([x, np.array(True)])[0], [6, 10, 3, 5])
    np.testing.assert_array_equal(rep.run([x, np.array(False)])[0], [9, 25, 3, 5])


@pytest.mark.parametrize("new_axis", [0, 1])
def test_a_loop_that_puts_one_element_behind_each_time(model, new_axis):
    body = make_graph(
        [
            make_node("Gather", ["x", "i"], ["row"], axis=0),
            make_node("Add", ["h", "row"], ["next"]),
            make_node("SequenceInsert", ["s", "next"], ["t"]),
            make_node("Identity", ["true"], ["d"]),
        ],
        "body",
        [
            make_tensor_value_info("i", 7, []),
            make_tensor_value_info("c", 9, []),
            make_tensor_value_info("h", 1, [2]),
            make_tensor_sequence_value_info("s", 1, None),
        ],
        [
            make_tensor_value_info("d", 9, []),
            make_tensor_value_info("next", 1, [2]),
            make_tensor_sequence_value_info("t", 1, None),
        ],
    )
    nodes = [
        make_node("Shape", ["x"], ["n"], start=0, end=1),
        make_node("Squeeze", ["n"], ["trips"]),
        make_node("SequenceEmpty", [], ["none"]),
        make_node("Constant", [], ["true"], value=onnx.numpy_helper.from_array(np.array(True))),
        make_node("Loop", ["trips", "true", "h0", "none"], ["last", "all"], body=body),
        make_node("ConcatFromSequence", ["all"], ["y"], axis=0, new_axis=new_axis),
        make_node("SequenceAt", ["all", "end"], ["z"]),
        make_node("SequenceLength", ["all"], ["length"]),
    ]
    shape = [None, 2] if new_axis else [None]
    m = model(
        nodes,
        {"x": ("f", ["T", 2]), "h0": ("f", [2])},
        {"y": ("f", shape), "z": ("f", [2]), "length": ("i", []), "last": ("f", [2])},
        {"end": np.array(-1, np.int64)},
        opset=17,
    )
    rep = onnx_backend.prepare(m)
    for x in rows(3, 1, 4, 6):
        y, z, length, last = rep.run([x, np.ones(2, np.float32)])
        want = 1 + np.cumsum(x, 0)
        np.testing.assert_allclose(y, want if new_axis else want.reshape(-1), rtol=1e-5)
        np.testing.assert_array_equal(z, last)
        assert length == len(x)
