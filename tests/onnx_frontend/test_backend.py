"""The backend interface, by small models whose results are known."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx.helper import make_graph, make_node, make_tensor_value_info  # noqa: E402

from pytorch_to_mlx import onnx_backend  # noqa: E402
from pytorch_to_mlx.errors import LoweringError  # noqa: E402


def test_sizes_share_a_symbol_and_shapes_fold(model):
    nodes = [
        make_node("Shape", ["x"], ["s"]),
        make_node("Gather", ["s", "zero"], ["b"], axis=0),
        make_node("Concat", ["b", "rest"], ["target"], axis=0),
        make_node("Reshape", ["x", "target"], ["y"]),
    ]
    weights = {"zero": np.array([0], np.int64), "rest": np.array([-1], np.int64)}
    m = model(nodes, {"x": ("f", ["B", 3, 4])}, {"y": ("f", ["B", 12])}, weights)
    rep = onnx_backend.prepare(m)
    for batch in (1, 2, 5):
        x = np.random.default_rng(0).standard_normal((batch, 3, 4)).astype(np.float32)
        (y,) = rep.run([x])
        np.testing.assert_array_equal(y, x.reshape(batch, 12))
    assert ".item()" not in rep.declared.text


def test_a_shape_that_is_an_input_is_read_from_the_device(model):
    m = model(
        [make_node("Reshape", ["x", "shape"], ["y"])],
        {"x": ("f", [2, 6]), "shape": ("i", [3])},
        {"y": ("f", [None, None, None])},
    )
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    (y,) = onnx_backend.prepare(m).run([x, np.array([3, -1, 2])])
    np.testing.assert_array_equal(y, x.reshape(3, 2, 2))


def test_float64_computes_in_float64(model):
    m = model(
        [make_node("Add", ["x", "w"], ["z"]), make_node("Sqrt", ["z"], ["y"])],
        {"x": ("d", [3])},
        {"y": ("d", [3])},
        {"w": np.array([1e-12, 2.0, 1 / 3])},
    )
    x = np.array([1.0, 2.0, 3.0])
    (y,) = onnx_backend.prepare(m).run([x])
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, np.sqrt(x + [1e-12, 2.0, 1 / 3]), rtol=1e-15)


def test_functions_of_the_model_and_of_schemas_are_opened(model):
    domain = onnx.helper.make_operatorsetid("mine", 1)
    body = onnx.helper.make_function(
        "mine",
        "Twice",
        ["a"],
        ["c"],
        [make_node("Add", ["a", "a"], ["c"])],
        [onnx.helper.make_operatorsetid("", 21)],
    )
    nodes = [
        make_node("Twice", ["x"], ["t"], domain="mine"),
        make_node("MeanVarianceNormalization", ["t"], ["y"], axes=[0]),
    ]
    m = model(nodes, {"x": ("f", [4, 2])}, {"y": ("f", [4, 2])}, opsets=[domain], functions=[body])
    x = np.random.default_rng(1).standard_normal((4, 2)).astype(np.float32)
    (y,) = onnx_backend.prepare(m).run([x])
    np.testing.assert_allclose(y, (x - x.mean(0)) / x.std(0), rtol=1e-4)


def test_if_on_data_and_on_a_constant(model):
    def branch(name, op):
        out = make_tensor_value_info("o_" + name, 1, [2])
        return make_graph([make_node(op, ["x", "x"], ["o_" + name])], name, [], [out])

    node = make_node(
        "If", ["c"], ["y"], then_branch=branch("a", "Add"), else_branch=branch("b", "Mul")
    )
    inputs, outputs = {"x": ("f", [2])}, {"y": ("f", [2])}
    m = model([node], {**inputs, "c": ("b", [])}, outputs)
    x = np.array([1.0, 3.0], np.float32)
    rep = onnx_backend.prepare(m)
    np.testing.assert_array_equal(rep.run([x, np.array(True)])[0], x + x)
    np.testing.assert_array_equal(rep.run([x, np.array(False)])[0], x * x)
    fixed = model([node], inputs, outputs, {"c": np.array(False)})
    rep = onnx_backend.prepare(fixed)
    np.testing.assert_array_equal(rep.run([x])[0], x * x)
    assert "if " not in rep.declared.text


def test_a_loop_that_its_body_ends_gives_what_each_iteration_made(model):
    body = make_graph(
        [
            make_node("Add", ["s", "s"], ["next"]),
            make_node("ReduceMax", ["next"], ["top"], keepdims=0),
            make_node("Less", ["top", "limit"], ["go"]),
        ],
        "body",
        [
            make_tensor_value_info("i", 7, []),
            make_tensor_value_info("c", 9, []),
            make_tensor_value_info("s", 1, [2]),
        ],
        [
            make_tensor_value_info("go", 9, []),
            make_tensor_value_info("next", 1, [2]),
            make_tensor_value_info("top", 1, []),
        ],
    )
    m = model(
        [make_node("Loop", ["", "", "x"], ["last", "tops"], body=body)],
        {"x": ("f", [2])},
        {"last": ("f", [2]), "tops": ("f", [None])},
        {"limit": np.array(20, np.float32)},
    )
    last, tops = onnx_backend.prepare(m).run([np.array([1.0, 3.0], np.float32)])
    np.testing.assert_array_equal(last, [8.0, 24.0])
    np.testing.assert_array_equal(tops, [6.0, 12.0, 24.0])


def test_every_unknown_op_is_named_at_once(model):
    nodes = [
        make_node("Nope", ["x"], ["a"], name="first", domain="com.example"),
        make_node("Never", ["a"], ["b"], name="second", domain="com.example"),
        make_node("Nada", ["x"], ["y"], name="third", domain="com.example"),
    ]
    m = model(nodes, {"x": ("f", [2])}, {"y": ("f", [2])})
    m.opset_import.append(onnx.helper.make_operatorsetid("com.example", 1))
    with pytest.raises(LoweringError) as caught:
        onnx_backend.prepare(m)
    assert [o.op for o in caught.value.ops] == ["com.example.Nope", "com.example.Nada"]


def test_the_run_path_needs_neither_torch_nor_a_reference():
    script = """
        import sys
        import numpy as np, onnx
        from onnx.helper import make_graph, make_model, make_node, make_tensor_value_info

        class Block:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("torch", "onnxruntime") or name == "onnx.reference":
                    raise ImportError(f"{name} on the run path")
        sys.meta_path.insert(0, Block())
        from pytorch_to_mlx import onnx_backend
        info = [make_tensor_value_info(n, 1, [2, 3]) for n in ("x", "y")]
        m = make_model(make_graph([make_node("Gelu", ["x"], ["y"])], "g", info[:1], info[1:]))
        out = onnx_backend.prepare(m).run([np.ones((2, 3), np.float32)])
        assert abs(float(out[0][0, 0]) - 0.8413447) < 1e-6
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=120)


def test_sizes_of_an_array_that_would_be_written_inline_are_read_from_it(model):
    nodes = [
        make_node("Unique", ["x"], ["u"]),
        make_node("Neg", ["u"], ["n"]),
        make_node("Shape", ["n"], ["s"]),
        make_node("Cast", ["s"], ["c"], to=1),
        make_node("Div", ["n", "c"], ["y"]),
    ]
    m = model(nodes, {"x": ("f", ["N"])}, {"y": ("f", [None])})
    rep = onnx_backend.prepare(m)
    for x in (np.array([3, 1, 3], np.float32), np.array([2, 5, 7, 2, 1], np.float32)):
        (y,) = rep.run([x])
        distinct = np.unique(x)
        np.testing.assert_allclose(y, -distinct / len(distinct), rtol=1e-6)


def test_squeeze_without_axes_drops_what_is_known_to_be_one_or_says_so(model):
    m = model([make_node("Squeeze", ["x"], ["y"])], {"x": ("f", ["N", 1])}, {"y": ("f", [None])})
    rep = onnx_backend.prepare(m)
    x = np.arange(3, dtype=np.float32).reshape(3, 1)
    np.testing.assert_array_equal(rep.run([x])[0], x[:, 0])
    with pytest.raises(ValueError, match="squeeze to 0 axes"):
        rep.run([x[:1]])


def test_it_is_a_public_name() -> None:
    code = "import pytorch_to_mlx as p2m; assert p2m.onnx_backend.supports_device('CPU')"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
