"""``dtype=`` for ONNX models: weights and computation in another precision, proven beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

import pytorch_to_mlx as p2m
from pytorch_to_mlx.capture.onnx.cast import cast_model
from pytorch_to_mlx.capture.onnx.load import prepared
from pytorch_to_mlx.capture.onnx.recast import recast_model
from tests.onnx_frontend.conftest import build, helper, onnx
from tests.validate.onnx_models import vision

ort = pytest.importorskip("onnxruntime")
node = helper.make_node


def positions() -> Any:
    """Rotations by positions, and scores hidden by a mask of the lowest float32."""
    rng = np.random.default_rng(0)
    weights = {
        "fc.weight": rng.standard_normal((8, 8)).astype("f"),
        "freq": (1 / 100 ** (np.arange(4) / 4)).astype("f").reshape(1, 4),
        "one": np.array(1, "f"),
        "lowest": np.array(np.finfo(np.float32).min, "f"),
        "last": np.array([-1]),
    }
    nodes = [
        node("MatMul", ["x", "fc.weight"], ["h"], "/fc/MatMul"),
        node("Cast", ["ids"], ["t"], "/rope/Cast", to=1),
        node("Unsqueeze", ["t", "last"], ["t1"], "/rope/Unsqueeze"),
        node("Mul", ["t1", "freq"], ["angle"], "/rope/Mul"),
        node("Cos", ["angle"], ["c"], "/rope/Cos"),
        node("Sin", ["angle"], ["s"], "/rope/Sin"),
        node("Concat", ["c", "s"], ["turn"], "/rope/Concat", axis=-1),
        node("Mul", ["h", "turn"], ["r"], "/Mul"),
        node("Cast", ["mask"], ["m"], "/mask/Cast", to=1),
        node("Sub", ["one", "m"], ["hidden"], "/mask/Sub"),
        node("Mul", ["hidden", "lowest"], ["bias"], "/mask/Mul"),
        node("Add", ["r", "bias"], ["z"], "/Add"),
        node("Softmax", ["z"], ["y"], "/Softmax", axis=-1),
    ]
    inputs = {"x": ("f", ["n", 8]), "ids": ("i", ["n"]), "mask": ("i", ["n", 8])}
    return build(nodes, inputs, {"y": ("f", ["n", 8])}, weights, opset=17)


def example() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    mask = np.ones((5, 8), np.int64)
    mask[1, 3:] = 0
    ids = np.array([0, 7, 301, 3001, 40003])
    return {"x": rng.standard_normal((5, 8)).astype("f"), "ids": ids, "mask": mask}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_model_in_half_precision_is_proven(dtype: str) -> None:
    converted = p2m.convert(positions(), (), example(), dtype=dtype)
    assert converted.config["dtype"] == dtype
    assert str(converted.module.fc.weight.dtype).endswith(dtype)
    proof = p2m.validate(converted)
    assert proof.passed, proof.summary()
    assert proof.low_precision is not None
    assert proof.low_precision["dtype"] == dtype
    assert proof.perturbation is not None
    assert any(c.name.startswith("float32: ") for c in proof.cases)


@pytest.mark.parametrize(("dtype", "most"), [("float16", 4e-3), ("bfloat16", 3e-2)])
def test_positions_are_counted_and_masks_hide(dtype: str, most: float) -> None:
    """Near to the original in float32, not only to its own cast self."""
    model = positions()
    want = ort.InferenceSession(model.SerializeToString()).run(None, example())[0]
    given = {k: mx.array(v) for k, v in example().items()}
    got = p2m.convert(model, (), example(), dtype=dtype)(**given)
    assert got.dtype == getattr(mx, dtype)
    np.testing.assert_allclose(np.array(got.astype(mx.float32)), want, atol=most)


def test_a_float32_package_of_a_half_precision_file() -> None:
    converted = p2m.convert(recast_model(positions(), "float16"), (), example(), dtype="float32")
    assert converted.config["dtype"] == "float32"
    assert p2m.validate(converted).passed


def test_what_is_of_the_dtype_already_stays_as_it_is() -> None:
    half = recast_model(positions(), "float16")
    plain, asked = p2m.convert(half), p2m.convert(half, dtype="float16")
    assert plain.code == asked.code


def test_ops_that_lack_the_precision_get_float32() -> None:
    cast = cast_model(prepared(vision())[0], "float16")
    onnx.checker.check_model(cast, full_check=True)
    ort.InferenceSession(cast.SerializeToString())
    (scales,) = [n.input[2] for n in cast.graph.node if n.op_type == "Resize"]
    (maker,) = [n for n in cast.graph.node if scales in n.output]
    assert maker.op_type == "Cast"
    proof = p2m.validate(p2m.convert(vision(), dtype="float16"))
    assert proof.passed, proof.summary()


def test_a_loaded_package_is_proven_against_the_float32_file(tmp_path: Path) -> None:
    onnx.save(positions(), tmp_path / "m.onnx")
    p2m.convert(tmp_path / "m.onnx", (), example(), dtype="float16", output=tmp_path / "out")
    package = p2m.load(tmp_path / "out")
    proof = p2m.validate(package, tmp_path / "m.onnx", quick=True)
    assert proof.passed, proof.summary()
    section = p2m.benchmark(package, tmp_path / "m.onnx", min_time_s=0.002)
    assert section["dtype"] == "float16"
    assert "onnxruntime" in {row["name"] for row in section["rows"]}
