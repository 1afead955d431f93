"""ONNX models that would take all time and memory there is: by sizes, loops, nesting, functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper

from tests.hostile.onnx_cases import FLOAT, INT64, body, bomb, case, function, info, model, node

# -- sizes -----------------------------------------------------------------------------------------


def sized(op: str, values: Sequence[int], inputs: Sequence[str], **attributes: Any) -> ModelProto:
    nodes = [node(op, list(inputs), ["z"], **attributes)]
    nodes.append(node("ReduceMax", ["z"], ["y"], keepdims=0))
    return model(nodes, [np.array(values, np.int64)], rank=0)


@bomb
def constant_of_shape_of_a_terabyte() -> ModelProto:
    return sized("ConstantOfShape", [1 << 19, 1 << 19], ["w0"])


@bomb
def constant_of_shape_of_12_gigabytes() -> ModelProto:
    return sized("ConstantOfShape", [3 << 20, 1 << 10], ["w0"])


@bomb
def constant_of_shape_that_overflows() -> ModelProto:
    return sized("ConstantOfShape", [1 << 40, 1 << 40], ["w0"])


@case
def constant_of_negative_shape() -> ModelProto:
    return sized("ConstantOfShape", [-3, 2], ["w0"])


@bomb
def expand_to_a_terabyte() -> ModelProto:
    return sized("Expand", [1 << 35, 2, 3], ["x", "w0"])


@bomb
def tiles_of_a_terabyte() -> ModelProto:
    return sized("Tile", [1 << 20, 1 << 15], ["x", "w0"])


@bomb
def padding_of_a_terabyte() -> ModelProto:
    return sized("Pad", [1 << 20, 1 << 20, 0, 0], ["x", "w0"])


@bomb
def a_range_of_a_trillion() -> ModelProto:
    nodes = [node("Range", ["w0", "w1", "w2"], ["z"]), node("ReduceMax", ["z"], ["m"], keepdims=0)]
    nodes.append(node("Cast", ["m"], ["y"], to=FLOAT))
    return model(nodes, [np.int64(0), np.int64(10**12), np.int64(1)], rank=0)


@case
def a_range_without_step() -> ModelProto:
    nodes = [node("Range", ["w0", "w1", "w2"], ["z"]), node("ReduceMax", ["z"], ["m"], keepdims=0)]
    nodes.append(node("Cast", ["m"], ["y"], to=FLOAT))
    return model(nodes, [np.int64(0), np.int64(5), np.int64(0)], rank=0)


@bomb
def resizing_a_million_times() -> ModelProto:
    nodes = [node("Resize", ["x", "", "w0"], ["y"], mode="nearest")]
    return model(nodes, [np.array([1, 1, 1e6, 1e6], "f")], shape=[1, 1, 2, 2])


@bomb
def one_hot_of_a_trillion() -> ModelProto:
    nodes = [
        node("Cast", ["x"], ["i"], to=INT64),
        node("OneHot", ["i", "w0", "w1"], ["z"]),
        node("ReduceMax", ["z"], ["y"], keepdims=0),
    ]
    return model(nodes, [np.int64(10**12), np.array([0, 1], "f")], rank=0)


@bomb
def random_numbers_of_a_terabyte() -> ModelProto:
    nodes = [node("RandomNormal", [], ["z"], shape=[1 << 20, 1 << 18])]
    return model([*nodes, node("ReduceMax", ["z"], ["y"], keepdims=0)], rank=0)


@bomb
def an_outer_product_of_outer_products() -> ModelProto:
    """Each step squares the number of elements."""
    nodes, last = [node("Reshape", ["x", "w0"], ["v0"])], "v0"
    for i in range(8):
        nodes += [
            node("Unsqueeze", [last, "w1"], [f"c{i}"]),
            node("Mul", [f"c{i}", last], [f"m{i}"]),
            node("Reshape", [f"m{i}", "w0"], [f"v{i + 1}"]),
        ]
        last = f"v{i + 1}"
    nodes.append(node("ReduceMax", [last], ["y"], keepdims=0))
    return model(nodes, [np.array([-1]), np.array([1])], rank=0)


@bomb
def doubling_sixty_times() -> ModelProto:
    nodes = [node("Concat", [f"v{i}", f"v{i}"], [f"v{i + 1}"], axis=0) for i in range(60)]
    first = node("Identity", ["x"], ["v0"])
    return model([first, *nodes, node("ReduceMax", ["v60"], ["y"])])


@bomb
def an_input_of_a_terabyte() -> ModelProto:
    return model(shape=[1 << 20, 1 << 18])


@bomb
def an_input_whose_size_overflows() -> ModelProto:
    return model(shape=[1 << 62, 1 << 62])


@case
def an_input_of_negative_size() -> ModelProto:
    return model(shape=[-5, 3])


@case
def a_gather_whose_rank_is_a_negative_size() -> ModelProto:
    """onnx's shape inference ends the process over it."""
    m = model([node("Cast", ["x"], ["i"], to=INT64), node("GatherND", ["x", "i"], ["y"])])
    m.graph.value_info.append(info("i", INT64, [2, -2147483647]))
    return m


@case
def names_that_are_no_text() -> bytes:
    return model().SerializeToString().replace(b"hostile", b"\xff\xfe\xfdtile")


@case
def an_equation_that_is_a_list() -> ModelProto:
    made = node("Einsum", ["x"], ["y"], equation=["i", "j"])
    evil = node("Evil", ["y"], ["z"], domain="evil")  # the checker stops at it
    return model([evil, made], domains=["evil"])


@case
def a_type_where_a_number_belongs() -> ModelProto:
    made = node("LeakyRelu", ["x"], ["y"])
    made.attribute.append(helper.make_attribute("alpha", onnx.TypeProto()))
    return model([made])


@case
def strings_as_output() -> ModelProto:
    made = node("Constant", [], ["y"], value_strings=["a", "b"])
    return model([made], out=TensorProto.STRING, rank=1)


@case
def heads_of_no_size() -> ModelProto:
    """Attention over zero heads."""
    nodes = [node("Attention", ["x", "w0", "w0"], ["y"])]
    return model(nodes, [np.zeros((2, 0, 4, 3), "f")], shape=[2, 4, 4, 3], opset=23)


@case
def split_sizes_of_2_to_the_40() -> ModelProto:
    """Each would be read from the device by a statement of its own."""
    m = model([node("Split", ["x", "s"], ["y", "z"])])
    m.graph.input.append(info("s", INT64, [1 << 40]))
    return m


@case
def a_vocabulary_of_2_to_the_40() -> ModelProto:
    made = node(
        "TfIdfVectorizer", ["i"], ["y"], domain="", mode="TF", min_gram_length=1,
        max_gram_length=1, max_skip_count=0, ngram_counts=[0], ngram_indexes=[1 << 40],
        pool_int64s=[1],
    )  # fmt: skip
    return model([node("Cast", ["x"], ["i"], to=INT64), made])


@case
def sizes_that_double_as_expressions() -> ModelProto:
    """A size of which the tree of its formula has 2**60 leaves."""
    nodes = [node("Shape", ["x"], ["s0"], start=0, end=1)]
    for i in range(60):
        nodes += [
            node("Mod", [f"s{i}", "w0"], [f"a{i}"]),
            node("Div", [f"s{i}", "w1"], [f"b{i}"]),
            node("Add", [f"a{i}", f"b{i}"], [f"s{i + 1}"]),
        ]
    nodes.append(node("Expand", ["x", "s60"], ["y"]))
    return model(nodes, [np.array([7]), np.array([3])], shape=["n"])


@case
def sizes_that_square() -> ModelProto:
    nodes = [node("Shape", ["x"], ["s0"], start=0, end=1)]
    for i in range(40):
        nodes += [
            node("Add", [f"s{i}", "w0"], [f"a{i}"]),
            node("Mul", [f"a{i}", f"s{i}"], [f"s{i + 1}"]),
        ]
    nodes += [node("Mod", ["s40", "w0"], ["m"]), node("Cast", ["m"], ["f"], to=FLOAT)]
    nodes.append(node("Add", ["x", "f"], ["y"]))
    return model(nodes, [np.array([3])], shape=["n"])


# -- time ------------------------------------------------------------------------------------------


def loop(count: int, nodes: Sequence[Any]) -> ModelProto:
    inner = body(
        [node("Identity", ["c_in"], ["c_out"]), *nodes],
        [info("c_out", TensorProto.BOOL, []), info("v_out", FLOAT, None)],
        [info("i", INT64, []), info("c_in", TensorProto.BOOL, []), info("v_in", FLOAT, None)],
    )
    weights = [np.array(count, np.int64), np.array(True)]
    return model([node("Loop", ["w0", "w1", "x"], ["y"], body=inner)], weights)


@bomb
def a_loop_that_never_ends() -> ModelProto:
    return loop(2**62, [node("Neg", ["v_in"], ["v_out"])])


@bomb
def a_loop_that_doubles() -> ModelProto:
    return loop(60, [node("Concat", ["v_in", "v_in"], ["v_out"], axis=0)])


@case
def a_loop_of_negative_count() -> ModelProto:
    return loop(-1, [node("Neg", ["v_in"], ["v_out"])])


# -- nesting ---------------------------------------------------------------------------------------


def nested(depth: int) -> ModelProto:
    inner = [node("Relu", ["x"], ["v0"])]
    for i in range(depth):
        branch = body(inner, [info(f"v{i}", FLOAT, [None, None])])
        other = body([node("Neg", ["x"], [f"e{i}"])], [info(f"e{i}", FLOAT, [None, None])])
        inner = [node("If", ["c"], [f"v{i + 1}"], then_branch=branch, else_branch=other)]
    condition = [node("ReduceMax", ["x"], ["m"], keepdims=0), node("Greater", ["m", "w0"], ["c"])]
    end = node("Identity", [f"v{depth}"], ["y"])
    return model([*condition, *inner, end], [np.float32(0)])


@case
def branches_nested_28_deep() -> ModelProto:
    return nested(28)


@case
def a_type_nested_30_deep() -> ModelProto:
    m = model()
    inner = m.graph.input[0].type
    inner.Clear()
    for _ in range(30):
        inner = inner.sequence_type.elem_type
    inner.tensor_type.elem_type = FLOAT
    return m


@case
def a_message_nested_2000_deep() -> bytes:
    """Deeper than parsers go: sequences of sequences."""
    data = b""
    for _ in range(2000):  # TypeProto.sequence_type (4) of Sequence.elem_type (1)
        data = b"\x0a" + _varint(len(data)) + data
        data = b"\x22" + _varint(len(data)) + data
    value = b"\x0a\x01x\x12" + _varint(len(data)) + data
    graph = b"\x5a" + _varint(len(value)) + value
    return b"\x08\x0a\x3a" + _varint(len(graph)) + graph


def _varint(n: int) -> bytes:
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


# -- functions -------------------------------------------------------------------------------------


@case
def a_function_that_calls_itself() -> ModelProto:
    f = function("F", [node("F", ["x"], ["y"], domain="f")])
    return model([node("F", ["x"], ["y"], domain="f")], functions=[f], domains=["f"])


@case
def functions_that_call_each_other() -> ModelProto:
    f = function("F", [node("G", ["x"], ["y"], domain="f")])
    g = function("G", [node("F", ["x"], ["y"], domain="f")])
    return model([node("F", ["x"], ["y"], domain="f")], functions=[f, g], domains=["f"])


def laughs(levels: int, calls: int) -> ModelProto:
    functions = [function("F0", [node("Relu", ["x"], ["y"])])]
    for i in range(1, levels):
        nodes = [node(f"F{i - 1}", ["x"], ["h0"], domain="f")]
        for k in range(1, calls):
            nodes.append(node(f"F{i - 1}", [f"h{k - 1}"], [f"h{k}"], domain="f"))
        functions.append(function(f"F{i}", nodes, f"h{calls - 1}"))
    top = node(f"F{levels - 1}", ["x"], ["y"], domain="f")
    return model([top], functions=functions, domains=["f"])


@bomb
def a_billion_laughs() -> ModelProto:
    return laughs(30, 2)


@bomb
def ten_to_the_12_laughs() -> ModelProto:
    return laughs(13, 10)


@bomb
def two_thousand_functions_deep() -> ModelProto:
    return laughs(2000, 1)


@case
def two_thousand_functions() -> ModelProto:
    functions = [function(f"F{i}", [node("Relu", ["x"], ["y"])]) for i in range(2000)]
    nodes = [node(f"F{i}", [f"v{i}"], [f"v{i + 1}"], domain="f") for i in range(50)]
    nodes = [node("Identity", ["x"], ["v0"]), *nodes, node("Identity", ["v50"], ["y"])]
    return model(nodes, functions=functions, domains=["f"])


@case
def a_function_that_is_defined_twice() -> ModelProto:
    f = function("F", [node("Relu", ["x"], ["y"])])
    g = function("F", [node("Neg", ["x"], ["y"])])
    return model([node("F", ["x"], ["y"], domain="f")], functions=[f, g], domains=["f"])


@case
def a_function_in_place_of_an_op() -> ModelProto:
    f = function("Relu", [node("Neg", ["x"], ["y"])])
    f.domain = ""
    return model(functions=[f])
