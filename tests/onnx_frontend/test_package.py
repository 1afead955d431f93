"""ONNX models through the whole of ``convert``: package, proof, weights of another file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

import pytorch_to_mlx as p2m
from pytorch_to_mlx.capture.onnx.recast import recast_model
from tests.onnx_frontend.conftest import build, helper, onnx

pytest.importorskip("onnxruntime")
rng = np.random.default_rng(0)


def classifier(seed: int = 0) -> Any:
    """Token ids to class scores: a table, a hidden layer, a head."""
    draw = np.random.default_rng(seed)
    weights = {
        "emb.weight": draw.standard_normal((20, 12)).astype("f"),
        "onnx::MatMul_9": draw.standard_normal((12, 24)).astype("f"),
        "fc.bias": draw.standard_normal(24).astype("f"),
        "head.weight": draw.standard_normal((3, 24)).astype("f"),
        "head.bias": draw.standard_normal(3).astype("f"),
    }
    nodes = [
        helper.make_node("Gather", ["emb.weight", "ids"], ["e"], "/emb/Gather"),
        helper.make_node("MatMul", ["e", "onnx::MatMul_9"], ["m"], "/fc/MatMul"),
        helper.make_node("Add", ["fc.bias", "m"], ["a"], "/fc/Add"),
        helper.make_node("Relu", ["a"], ["r"], "/Relu"),
        helper.make_node("ReduceMean", ["r"], ["p"], "/ReduceMean", axes=[1], keepdims=0),
        helper.make_node("Gemm", ["p", "head.weight", "head.bias"], ["y"], "/head/Gemm", transB=1),
    ]
    return build(
        nodes,
        {"ids": ("i", ["batch", "time"])},
        {"y": ("f", ["batch", 3])},
        weights,
        opset=17,
        name="classifier",
    )


def environment() -> dict[str, str]:
    """That of a process that imports the package under test."""
    return {**os.environ, "PYTHONPATH": str(Path(p2m.__file__).parents[1])}


def test_a_file_becomes_a_proven_package(tmp_path: Path) -> None:
    onnx.save(classifier(), tmp_path / "m.onnx")
    converted = p2m.convert(tmp_path / "m.onnx", output=tmp_path / "out")
    proof = p2m.validate(converted)
    assert proof.passed, proof.summary()
    assert proof.perturbation["failed"] == []
    assert proof.perturbation["checked"] >= 4
    assert {c.sizes["time"] for c in proof.cases} > {1}
    assert "self.emb = nn.Embedding(20, 12)" in converted.code
    assert "self.fc = nn.Linear(12, 24)" in converted.code
    assert "self.head = nn.Linear(24, 3)" in converted.code
    assert converted.config["dims"]["symbols"].keys() == {"batch", "time"}


def test_a_model_in_memory_at_given_inputs() -> None:
    ids = rng.integers(0, 20, (3, 5))
    converted = p2m.convert(classifier(), (ids,))
    want = ReferenceEvaluator(classifier()).run(None, {"ids": ids})[0]
    np.testing.assert_allclose(np.array(converted(mx.array(ids))), want, atol=1e-5)


def test_no_torch_is_imported(tmp_path: Path) -> None:
    onnx.save(classifier(), tmp_path / "m.onnx")
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "import pytorch_to_mlx as p2m\n"
        f"c = p2m.convert({str(tmp_path / 'm.onnx')!r}, output={str(tmp_path / 'out')!r})\n"
        "assert p2m.validate(c).passed\n"
        f"p2m.analyze({str(tmp_path / 'm.onnx')!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment()
    )
    assert done.returncode == 0, done.stderr


def test_a_loaded_package_is_compared_with_the_file(tmp_path: Path) -> None:
    onnx.save(classifier(), tmp_path / "m.onnx")
    p2m.convert(tmp_path / "m.onnx", output=tmp_path / "out")
    proof = p2m.validate(p2m.load(tmp_path / "out"), tmp_path / "m.onnx", quick=True)
    assert proof.passed, proof.summary()


def test_another_file_of_the_same_architecture(tmp_path: Path) -> None:
    p2m.convert(classifier(), output=tmp_path / "out")
    onnx.save(classifier(1), tmp_path / "tuned.onnx")
    command = [sys.executable, tmp_path / "out" / "convert_weights.py", tmp_path / "tuned.onnx"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ids = rng.integers(0, 20, (2, 4))
    want = ReferenceEvaluator(classifier(1)).run(None, {"ids": ids})[0]
    got = p2m.load(tmp_path / "out")(mx.array(ids))
    np.testing.assert_allclose(np.array(got), want, atol=1e-5)


def test_fixed_sizes() -> None:
    converted = p2m.convert(classifier(), (np.zeros((2, 4), np.int64),), dynamic_shapes=None)
    assert converted.config["inputs"][0]["shape"] == [2, 4]


def test_inputs_that_do_not_fit_are_named() -> None:
    with pytest.raises(p2m.ConversionError, match="takes no input 'x'"):
        p2m.convert(classifier(), (), {"x": np.zeros(3)})
    with pytest.raises(p2m.ConversionError, match="must have shape"):
        p2m.convert(classifier(), (np.zeros(3, np.int64),))


def test_a_model_in_half_precision_is_proven_beside_onnxruntime() -> None:
    half = recast_model(classifier(), "float16")
    converted = p2m.convert(half)
    assert converted.config["dtype"] == "float16"
    proof = p2m.validate(converted)
    assert proof.passed, proof.summary()
    assert proof.low_precision["dtype"] == "float16"


def test_weights_changed_in_a_folded_constant_are_noticed(tmp_path: Path) -> None:
    """A bias that an exporter reshapes stays a weight, whatever its size."""
    bias = rng.standard_normal(12).astype("f")
    nodes = [
        helper.make_node("Reshape", ["bias", "shape"], ["b"], "/Reshape"),
        helper.make_node("Add", ["x", "b"], ["y"], "/Add"),
    ]
    weights = {"bias": bias, "shape": np.array([1, 3, 4])}
    model = build(nodes, {"x": ("f", ["n", 3, 4])}, {"y": ("f", ["n", 3, 4])}, weights)
    proof = p2m.validate(p2m.convert(model))
    assert proof.passed, proof.summary()
    assert proof.perturbation["checked"] == 1


def test_the_command_line(tmp_path: Path) -> None:
    onnx.save(classifier(), tmp_path / "m.onnx")
    main = [sys.executable, "-m", "pytorch_to_mlx"]
    convert = [*main, "convert", "--input", tmp_path / "m.onnx", "-o", tmp_path / "out"]
    shapes = ["--shapes", "ids=2x6:int64[0,20)"]
    block = {**environment(), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*convert, *shapes, "--validate", "--json"], capture_output=True, text=True, env=block
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "proven"
    again = [*main, "validate", tmp_path / "out", "--input", tmp_path / "m.onnx", "--json"]
    done = subprocess.run(again, capture_output=True, text=True, env=block)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = [*main, "analyze", "--input", tmp_path / "m.onnx", "--json"]
    done = subprocess.run(shown, capture_output=True, text=True, env=block)
    assert json.loads(done.stdout)["unsupported"] == []


def test_a_benchmark_times_the_package() -> None:
    section = p2m.benchmark(p2m.convert(classifier()), min_time_s=0.01)
    assert any(r["name"].startswith("mlx") for r in section["rows"])


def test_double_precision_is_kept(tmp_path: Path) -> None:
    double = recast_model(classifier(), "float64")
    converted = p2m.convert(double, output=tmp_path / "out")
    proof = p2m.validate(converted, tolerance=1e-12)
    assert proof.passed, proof.summary()
    ids = rng.integers(0, 20, (2, 4))
    want = ReferenceEvaluator(double).run(None, {"ids": ids})[0]
    with mx.stream(mx.cpu):
        got = np.array(p2m.load(tmp_path / "out")(mx.array(ids)))
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-14)
    onnx.save(recast_model(classifier(1), "float64"), tmp_path / "tuned.onnx")
    command = [sys.executable, tmp_path / "out" / "convert_weights.py", tmp_path / "tuned.onnx"]
    done = subprocess.run([*command, tmp_path / "new"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name, array in mx.load(str(tmp_path / "out" / "model.safetensors")).items():
        new = mx.load(str(tmp_path / "new" / "model.safetensors"))[name]
        assert (new.dtype, new.shape) == (array.dtype, array.shape)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path / "out"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout
