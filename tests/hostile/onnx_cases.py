"""ONNX models that are broken, that lie, or that would take all time and memory there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, TensorProto, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
node, info = helper.make_node, helper.make_tensor_value_info

Case = TypeVar("Case", bound=Callable[[], Any])

CASES: dict[str, Callable[[], ModelProto | bytes]] = {}
#: Those that only a process of their own may run.
BOMBS: set[str] = set()
#: Those that are odd, but mean something: they must be converted, and right.
HARMLESS = set(
    "sizes_that_double_as_expressions sizes_that_square a_loop_of_negative_count "
    "branches_nested_28_deep two_thousand_functions an_output_there_twice a_graph_without_inputs "
    "a_chain_of_three_thousand_nodes an_attribute_that_refers_to_nothing an_axis_far_away "
    "a_division_by_zero an_input_of_negative_size".split()
)


def case(fn: Case) -> Case:
    CASES[fn.__name__] = fn
    return fn


def bomb(fn: Case) -> Case:
    BOMBS.add(fn.__name__)
    return case(fn)


def model(
    nodes: Sequence[Any] = (),
    weights: Sequence[Any] = (),
    *,
    shape: Sequence[Any] = (2, 3),
    out: int = FLOAT,
    rank: int | None = None,
    opset: int = 21,
    functions: Sequence[Any] = (),
    domains: Sequence[str] = (),
) -> ModelProto:
    """``y`` of ``x``; ``weights`` are tensors or arrays, which are then called ``w0``, ``w1``."""
    held = [
        w if isinstance(w, TensorProto) else numpy_helper.from_array(np.asarray(w), f"w{i}")
        for i, w in enumerate(weights)
    ]
    graph = helper.make_graph(
        list(nodes) or [node("Relu", ["x"], ["y"])],
        "hostile",
        [info("x", FLOAT, list(shape))],
        [info("y", out, [None] * (len(shape) if rank is None else rank))],
        held,
    )
    opsets = [helper.make_operatorsetid("", opset)]
    opsets += [helper.make_operatorsetid(d, 1) for d in domains]
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=10)


def good() -> ModelProto:
    """A small model with weights, a constant, a loop-free body and arithmetic of sizes."""
    rng = np.random.default_rng(0)
    w, b = rng.standard_normal((3, 4)), rng.standard_normal(4)
    nodes = [
        node("MatMul", ["x", "w0"], ["h"], name="/fc/MatMul"),
        node("Add", ["h", "w1"], ["a"], name="/fc/Add"),
        node("Shape", ["a"], ["s"]),
        node("Reshape", ["a", "s"], ["r"]),
        node("Softmax", ["r"], ["y"], axis=-1),
    ]
    return model(nodes, [w.astype("f"), b.astype("f")], shape=["batch", 3])


def function(name: str, nodes: Sequence[Any], output: str = "y") -> onnx.FunctionProto:
    opsets = [helper.make_operatorsetid("", 21), helper.make_operatorsetid("f", 1)]
    return helper.make_function("f", name, ["x"], [output], list(nodes), opsets)


def body(nodes: Sequence[Any], outputs: Sequence[Any], inputs: Sequence[Any] = ()) -> Any:
    return helper.make_graph(list(nodes), "body", list(inputs), list(outputs))


# -- tensors that lie ------------------------------------------------------------------------------


def claims(dims: Sequence[int], data: bytes = b"", kind: int = FLOAT) -> ModelProto:
    return model(
        [node("Add", ["x", "w"], ["y"])],
        [TensorProto(name="w", dims=dims, data_type=kind, raw_data=data)],
    )


@case
def a_tensor_of_2_to_the_40_without_data() -> ModelProto:
    return claims([1 << 20, 1 << 20])


@case
def a_tensor_whose_size_overflows() -> ModelProto:
    return claims([1 << 62, 4])


@case
def a_tensor_of_negative_size() -> ModelProto:
    return claims([-1, 3], bytes(12))


@case
def a_tensor_with_half_its_data() -> ModelProto:
    return claims([2, 3], bytes(12))


@case
def a_tensor_of_rank_9000() -> ModelProto:
    return claims([1] * 9000, bytes(4))


@case
def a_tensor_of_no_type() -> ModelProto:
    return claims([3], bytes(12), 0)


@case
def a_tensor_of_an_unknown_type() -> ModelProto:
    return claims([3], bytes(12), 999)


@case
def a_tensor_of_strings() -> ModelProto:
    t = TensorProto(name="w", dims=[3], data_type=TensorProto.STRING, string_data=[b"a", b"\xff"])
    return model([node("Add", ["x", "w"], ["y"])], [t])


@case
def a_constant_without_data() -> ModelProto:
    value = TensorProto(dims=[1 << 15, 1 << 15, 1 << 15], data_type=FLOAT)
    return model([node("Constant", [], ["c"], value=value), node("Add", ["x", "c"], ["y"])])


@case
def a_sparse_tensor_of_2_to_the_50() -> ModelProto:
    m = model([node("Add", ["x", "w"], ["y"])])
    sparse = m.graph.sparse_initializer.add()
    sparse.dims.extend([1 << 25, 1 << 25])
    sparse.values.CopyFrom(numpy_helper.from_array(np.ones(1, "f"), "w"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.zeros(1, np.int64)))
    return m


@case
def a_sparse_tensor_of_2_to_the_33() -> ModelProto:
    m = a_sparse_tensor_of_2_to_the_50()
    m.graph.sparse_initializer[0].dims[:] = [1 << 33]
    return m


@case
def a_sparse_constant_of_2_to_the_40() -> ModelProto:
    sparse = onnx.SparseTensorProto(dims=[1 << 20, 1 << 20])
    sparse.values.CopyFrom(numpy_helper.from_array(np.ones(1, "f"), "w"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.zeros(1, np.int64)))
    return model([node("Constant", [], ["c"], sparse_value=sparse), node("Add", ["x", "c"], ["y"])])


# -- graphs ----------------------------------------------------------------------------------------


@case
def a_cycle() -> ModelProto:
    return model(
        [node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Neg", ["b"], ["y"])]
    )


@case
def a_node_that_feeds_itself() -> ModelProto:
    return model([node("Add", ["x", "y"], ["y"])])


@case
def a_dangling_input() -> ModelProto:
    return model([node("Add", ["x", "nowhere"], ["y"])])


@case
def a_dangling_output() -> ModelProto:
    return model([node("Relu", ["x"], ["z"])])


@case
def a_dangling_input_in_a_body() -> ModelProto:
    branch = body([node("Add", ["x", "nowhere"], ["v"])], [info("v", FLOAT, None)])
    made = node("If", ["w0"], ["y"], then_branch=branch, else_branch=branch)
    return model([made], [np.array(True)])


@case
def a_name_made_twice() -> ModelProto:
    return model([node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["y"])])


@case
def an_output_called_as_the_input() -> ModelProto:
    return model([node("Relu", ["x"], ["x"]), node("Neg", ["x"], ["y"])])


@case
def a_weight_there_twice() -> ModelProto:
    first = numpy_helper.from_array(np.zeros(3, "f"), "w")
    second = numpy_helper.from_array(np.ones(3, "f"), "w")
    return model([node("Add", ["x", "w"], ["y"])], [first, second])


@case
def a_weight_without_name() -> ModelProto:
    return model([node("Add", ["x", ""], ["y"])], [numpy_helper.from_array(np.ones(3, "f"), "")])


@case
def an_input_there_twice() -> ModelProto:
    m = model()
    m.graph.input.append(m.graph.input[0])
    return m


@case
def an_output_there_twice() -> ModelProto:
    m = model()
    m.graph.output.append(m.graph.output[0])
    return m


@case
def an_input_without_type() -> ModelProto:
    m = model()
    m.graph.input[0].ClearField("type")
    return m


@case
def an_input_of_an_unknown_type() -> ModelProto:
    m = model()
    m.graph.input[0].type.tensor_type.elem_type = 999
    return m


@case
def an_input_of_strings() -> ModelProto:
    m = model()
    m.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    return m


@case
def an_output_of_the_wrong_type() -> ModelProto:
    return model(out=INT64)


@case
def types_that_do_not_go_together() -> ModelProto:
    return model([node("Add", ["x", "w0"], ["y"])], [np.arange(3)])


@case
def shapes_that_do_not_go_together() -> ModelProto:
    return model([node("MatMul", ["x", "w0"], ["y"])], [np.ones((5, 7), "f")])


@case
def no_graph() -> ModelProto:
    m = model()
    m.ClearField("graph")
    return m


@case
def an_empty_graph() -> ModelProto:
    m = model()
    m.graph.Clear()
    return m


@case
def a_graph_without_outputs() -> ModelProto:
    m = model()
    del m.graph.output[:]
    return m


@case
def a_graph_without_inputs() -> ModelProto:
    m = model([node("Identity", ["w0"], ["y"])], [np.ones(3, "f")])
    del m.graph.input[:]
    return m


@case
def a_chain_of_three_thousand_nodes() -> ModelProto:
    nodes = [node("Neg", [f"v{i}"], [f"v{i + 1}"]) for i in range(3000)]
    first, last = node("Identity", ["x"], ["v0"]), node("Identity", ["v3000"], ["y"])
    return model([first, *nodes, last])


# -- ops and attributes ----------------------------------------------------------------------------


@case
def an_op_of_another_domain() -> ModelProto:
    return model([node("Evil", ["x"], ["y"], domain="../../etc")], domains=["../../etc"])


@case
def an_op_of_a_domain_that_is_not_imported() -> ModelProto:
    return model([node("Evil", ["x"], ["y"], domain="com.evil")])


@case
def an_op_called_as_code() -> ModelProto:
    return model([node("__import__('os').system('true')", ["x"], ["y"])])


@case
def an_attribute_of_the_wrong_kind() -> ModelProto:
    return model([node("Softmax", ["x"], ["y"], axis="minus one")])


@case
def an_attribute_there_twice() -> ModelProto:
    made = node("Softmax", ["x"], ["y"], axis=0)
    made.attribute.append(helper.make_attribute("axis", 1))
    return model([made])


@case
def an_attribute_that_nobody_knows() -> ModelProto:
    return model([node("Relu", ["x"], ["y"], evil=1)])


@case
def an_attribute_of_no_kind() -> ModelProto:
    made = node("Softmax", ["x"], ["y"])
    kind = AttributeProto.FromString(b"\x0a\x04axis\xa0\x01\x4d")  # type 77
    made.attribute.append(kind)
    return model([made])


@case
def an_attribute_that_refers_to_nothing() -> ModelProto:
    made = node("Softmax", ["x"], ["y"])
    made.attribute.append(
        AttributeProto(name="axis", ref_attr_name="axis", type=AttributeProto.INT)
    )
    return model([made])


@case
def an_axis_far_away() -> ModelProto:
    return model([node("Softmax", ["x"], ["y"], axis=2**62)])


@case
def a_permutation_that_is_none() -> ModelProto:
    return model([node("Transpose", ["x"], ["y"], perm=[0, 0])])


@case
def a_million_strides() -> ModelProto:
    made = node("MaxPool", ["x"], ["y"], kernel_shape=[1] * 10**6, strides=[1] * 10**6)
    return model([made], shape=[1, 1, 4, 4])


@case
def a_kernel_of_2_to_the_40() -> ModelProto:
    return model(
        [node("MaxPool", ["x"], ["y"], kernel_shape=[1 << 40, 1 << 40])], shape=[1, 1, 4, 4]
    )


@case
def a_stride_of_zero() -> ModelProto:
    made = node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[0, 0])
    return model([made], shape=[1, 1, 4, 4])


@case
def a_convolution_of_no_groups() -> ModelProto:
    weights = [np.ones((2, 1, 3), "f")]
    return model([node("Conv", ["x", "w0"], ["y"], group=0)], weights, shape=[1, 2, 5])


@case
def a_division_by_zero() -> ModelProto:
    nodes = [node("Div", ["w0", "w1"], ["d"]), node("Cast", ["d"], ["f"], to=FLOAT)]
    nodes.append(node("Add", ["x", "f"], ["y"]))
    return model(nodes, [np.array([5]), np.array([0])])


@case
def an_index_past_the_end() -> ModelProto:
    return model([node("Gather", ["x", "w0"], ["y"], axis=0)], [np.array([10**9])])


@case
def an_op_with_too_many_inputs() -> ModelProto:
    return model([node("Relu", ["x"] * 1000, ["y"])])


@case
def an_op_without_inputs() -> ModelProto:
    return model([node("Relu", [], ["y"])])


@case
def an_op_with_too_many_outputs() -> ModelProto:
    return model([node("Relu", ["x"], ["y", *(f"z{i}" for i in range(1000))])])


@case
def an_equation_that_is_none() -> ModelProto:
    return model([node("Einsum", ["x"], ["y"], equation="ij->" + "k" * 100)])


# -- versions --------------------------------------------------------------------------------------


@case
def no_opset() -> ModelProto:
    m = model()
    del m.opset_import[:]
    return m


@case
def an_opset_of_the_future() -> ModelProto:
    return model(opset=10**6)


@case
def a_negative_opset() -> ModelProto:
    return model(opset=-1)


@case
def two_opsets() -> ModelProto:
    m = model()
    m.opset_import.append(helper.make_operatorsetid("", 9))
    return m


@case
def a_format_of_the_future() -> ModelProto:
    m = model()
    m.ir_version = 10**9
    return m
