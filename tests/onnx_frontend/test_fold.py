"""``quantize="source"``: products by 8-bit weights of an ONNX model as MLX's quantized layers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

import pytorch_to_mlx as p2m
from pytorch_to_mlx.errors import InputError
from tests.onnx_frontend.conftest import build, helper, onnx
from tests.package.processes import selftest
from tests.quantize.onnx_model import reader

ort = pytest.importorskip("onnxruntime")
node = helper.make_node
rng = np.random.default_rng(0)


class Calibration:
    """A few inputs, as onnxruntime's static quantization reads them."""

    def __init__(self) -> None:
        self.left = [{"ids": rng.integers(0, 96, (2, 6))} for _ in range(4)]

    def get_next(self) -> Any:
        return self.left.pop() if self.left else None


def quantized(folder: Path, kind: str) -> Path:
    """``reader`` with 8-bit weights, written by onnxruntime's own tools."""
    from onnxruntime import quantization

    onnx.save(reader(), folder / "plain.onnx")
    out = folder / f"{kind}.onnx"
    if kind == "dynamic":
        quantization.quantize_dynamic(folder / "plain.onnx", out, per_channel=True)
    else:
        quantization.quantize_static(
            folder / "plain.onnx",
            out,
            Calibration(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
        )
    return out


@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_what_onnxruntime_quantized_becomes_quantized_layers(kind: str, tmp_path: Path) -> None:
    path = quantized(tmp_path, kind)
    made = p2m.convert(path, quantize="source", output=tmp_path / "out")
    layers = [m for m in made.module.modules() if isinstance(m, nn.QuantizedLinear)]
    assert [layer.bits for layer in layers] == [8] * 7
    if kind == "dynamic":  # static ones bound the product before the bias is added
        assert isinstance(made.module.wide, nn.QuantizedLinear)
        assert "bias" in made.module.wide
    proof = p2m.validate(made)
    assert proof.passed, proof.summary()
    assert proof.quantization is not None
    (row,) = proof.quantization["outputs"]
    assert 0 < row["original"] < 0.15
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert len(config["folded"]["products"]) == 7
    assert any("7 products take the source's 8-bit weights" in w for w in made.report["warnings"])
    done = selftest(tmp_path / "out", tmp_path / "plugins")
    assert done.returncode == 0, done.stdout + done.stderr
    again = p2m.validate(p2m.load(tmp_path / "out"), path, quick=True)
    assert again.passed, again.summary()
    assert again.quantization is not None
    before = (tmp_path / "out" / "model.safetensors").read_bytes()
    script = [sys.executable, "convert_weights.py", str(path), "."]
    done = subprocess.run(script, cwd=tmp_path / "out", capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "convert it anew (--quantize source)" in done.stderr
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == before


def test_without_the_option_it_is_converted_as_written(tmp_path: Path) -> None:
    made = p2m.convert(quantized(tmp_path, "dynamic"))
    assert "QuantizedLinear" not in made.code
    assert "dynamic_quantize_linear" in made.code
    assert p2m.validate(made, quick=True).passed


def product(codes: np.ndarray, zero: np.ndarray, scale: np.ndarray, axis: int, rows: bool) -> Any:
    weights = {"w": codes, "s": scale, "z": zero, "b": rng.standard_normal(8).astype("f")}
    nodes = [node("DequantizeLinear", ["w", "s", "z"], ["d"], "/fc/Dequantize", axis=axis)]
    if rows:
        nodes.append(node("Gemm", ["x", "d", "b"], ["y"], "/fc/Gemm", transB=1))
    else:
        nodes.append(node("MatMul", ["x", "d"], ["y"], "/fc/MatMul"))
    return build(nodes, {"x": ("f", ["n", 64])}, {"y": ("f", ["n", 8])}, weights, opset=17)


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("rows", [False, True], ids=["MatMul", "Gemm"])
@pytest.mark.parametrize("channels", [False, True], ids=["one scale", "a scale a channel"])
def test_codes_are_kept_exactly(kind: str, rows: bool, channels: bool) -> None:
    bounds = np.iinfo(kind)
    codes = rng.integers(bounds.min, bounds.max + 1, (8, 64) if rows else (64, 8)).astype(kind)
    count = (8,) if channels else ()
    scale = (rng.random(count) / 50 + 0.01).astype("f")
    zero = np.asarray(rng.integers(bounds.min, bounds.max + 1, count)).astype(kind)
    model = product(codes, np.asarray(zero), np.asarray(scale), 0 if rows else 1, rows)
    made = p2m.convert(model, quantize="source")
    layer = made.module.fc
    assert isinstance(layer, nn.QuantizedLinear)
    x = rng.standard_normal((5, 64)).astype("f")
    wide = (codes.T if not rows else codes).astype("f")
    wide = (wide - zero.astype("f").reshape(-1, 1)) * scale.reshape(-1, 1)
    bias = onnx.numpy_helper.to_array(model.graph.initializer[3]) if rows else 0
    np.testing.assert_allclose(np.array(made(mx.array(x))), x @ wide.T + bias, rtol=1e-4, atol=1e-4)
    kept = mx.dequantize(layer.weight, layer.scales, layer.biases, group_size=64, bits=8)
    np.testing.assert_allclose(np.array(kept), wide, rtol=1e-5, atol=1e-5)
    assert ("bias" in layer) == rows


def test_what_does_not_fit_is_named() -> None:
    weights = {"w": rng.integers(-9, 9, (20, 8)).astype(np.int8), "s": np.array(0.1, "f")}
    nodes = [
        node("DequantizeLinear", ["w", "s"], ["d"], "/fc/Dequantize"),
        node("MatMul", ["x", "d"], ["y"], "/fc/MatMul"),
    ]
    model = build(nodes, {"x": ("f", ["n", 20])}, {"y": ("f", ["n", 8])}, weights, opset=17)
    with pytest.raises(InputError, match="its 20 inputs do not divide into groups of 32"):
        p2m.convert(model, quantize="source")


def test_other_sources_and_options_are_refused() -> None:
    with pytest.raises(InputError, match="for ONNX models"):
        p2m.convert(nn_module(), (mx.zeros((1, 4)),), quantize="source")
    with pytest.raises(InputError, match="group_size has no effect"):
        p2m.convert(reader(), quantize="source", quantize_options={"group_size": 32})


def nn_module() -> Any:
    import torch

    return torch.nn.Linear(4, 4)


def test_weights_in_blocks_are_a_quantized_layer() -> None:
    """``MatMulNBits`` needs no option: MLX has just this product."""
    codes = rng.integers(0, 256, (8, 2, 16)).astype(np.uint8)
    scales = (rng.random((8, 2)) / 10).astype("f")
    op = node(
        "MatMulNBits", ["x", "w", "s"], ["y"], "/fc/MatMul",
        domain="com.microsoft", K=64, N=8, bits=4, block_size=32,
    )  # fmt: skip
    opsets = [helper.make_operatorsetid("com.microsoft", 1)]
    shapes = {"x": ("f", ["n", 64])}, {"y": ("f", ["n", 8])}
    made = p2m.convert(build([op], *shapes, {"w": codes, "s": scales}, opsets=opsets))
    assert "nn.QuantizedLinear(64, 8, bias=False, group_size=32, bits=4)" in made.code
    proof = p2m.validate(made)
    assert proof.passed, proof.summary()


def test_the_command_line(tmp_path: Path) -> None:
    path = quantized(tmp_path, "dynamic")
    command = [sys.executable, "-m", "pytorch_to_mlx", "convert", "-i", path, "--validate"]
    done = subprocess.run(
        [*command, "--quantize", "source", "--json", "-o", tmp_path / "out"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(p2m.__file__).parents[1])},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["verdict"] == "proven"
    assert "nn.QuantizedLinear" in (tmp_path / "out" / "model.py").read_text(encoding="utf-8")
