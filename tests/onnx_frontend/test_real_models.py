"""ONNX files of real architectures, by both of torch's exporters and onnxruntime's quantizer: each
is converted, proven, run at other sizes, and its code is structured by module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

import pytorch_to_mlx as p2m

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
from tests.onnx_frontend import real_models
from tests.onnx_frontend.real_models import export, quantized, run_onnx, with_suppression

#: Model, opset, whether torch's newer exporter writes it, and lines that its code must have.
CASES: list[tuple[str, int, bool, list[str]]] = [
    (
        "bert",
        13,
        False,
        [
            "self.position_embeddings(mx.arange(sequence_length))",
            "self.layer = [Block() for _ in range(2)]",
            "return self.LayerNorm(self.dense(x) + h)",
            "mx.fast.scaled_dot_product_attention(",
        ],
    ),
    (
        "bert",
        18,
        True,
        [
            "class BertSelfAttention(nn.Module)",
            "self.position_embeddings(mx.arange(sequence_length))",
            "self.layer = [BertLayer() for _ in range(2)]",
            "(attention_mask != 0)[:, None, None]",
            "return nn.gelu(self.dense(x))",
        ],
    ),
    ("vit", 17, False, ["self.projection = nn.Conv2d(3, 32, 8, stride=8)", "class Mlp("]),
    ("vit", 20, True, ["class ViTLayer(", "x = self.attention(self.layernorm_before(x)) + x"]),
    (
        "llama",
        20,
        True,
        [
            "self.layers = [LlamaDecoderLayer() for _ in range(2)]",
            "self.rope = nn.RoPE(16)",
            "x = x + self.self_attn(self.input_layernorm(x))",
            'mask="causal",',
        ],
    ),
    ("whisper_encoder", 17, False, ["x = nn.gelu(self.conv2(nn.gelu(self.conv1(x)))) + self.bias"]),
    ("whisper_encoder", 20, True, ["class WhisperEncoderLayer(", "scale=8**-0.5"]),
    (
        "tagger",
        13,
        False,
        ["for layer in self.layers:", "self.head = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), "],
    ),
    (
        "tagger",
        21,
        True,
        [
            "x, _, _ = layer(x)",
            "nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 7))",
        ],
    ),
    (
        "unet",
        13,
        False,
        [
            "self.down1 = nn.Sequential(MaxPool((2, 2)), Block(8, 16))",
            "mx.repeat(mx.repeat(x, 2, axis=1), 2",
        ],
    ),
    ("unet", 20, True, ["self.inc = DoubleConv(3, 8)", "ConvTransposeTiles(32, 16, (2, 2))"]),
    ("detector", 17, False, ["self.stage1 = Stage()", "non_max_suppression(", "x[..., 8:]"]),
    ("detector", 20, True, ["self.stage1 = CrossStage()", "class ConvBlock(", "= self.nms("]),
]


@pytest.mark.parametrize("name, opset, newer, lines", CASES, ids=lambda v: str(v)[:20])
def test_exported(name: str, opset: int, newer: bool, lines: list[str], tmp_path: Path) -> None:
    source = getattr(real_models, name)()
    path = export(source, tmp_path / f"{name}.onnx", opset, newer=newer)
    if newer:
        assert (tmp_path / f"{name}.onnx.data").exists()
    if name == "detector":
        path = with_suppression(path)
    converted = p2m.convert(path)
    proof = p2m.validate(converted)
    assert proof.passed, proof.summary()
    assert proof.perturbation["checked"] >= 8
    for line in lines:
        assert line in converted.code, converted.code
    at_other_sizes(converted, path, source)


def at_other_sizes(converted: Any, path: Path, source: Any) -> None:
    """The package beside onnxruntime, at sizes and values that conversion never saw."""
    draw = np.random.default_rng(7)
    grown: dict[str, int] = {}
    feed = {}
    for name, tensor in source.inputs.items():
        shape = list(tensor.shape)
        for axis, size in source.dynamic[name].items():
            shape[axis] = grown.setdefault(size, shape[axis] + 4 * (1 + len(grown)))
        if name == "images":  # whose maps of two resolutions are joined
            shape[2], shape[3] = 40, 64
        given = tensor.numpy()
        if given.dtype.kind == "i":
            feed[name] = draw.integers(0, int(given.max()) + 1, shape)
        else:
            feed[name] = draw.standard_normal(shape).astype(np.float32)
    if "attention_mask" in feed:
        feed["attention_mask"][:, 0] = 1
    got = converted(**{k: mx.array(v) for k, v in feed.items()})
    found = list(got.values()) if isinstance(got, dict) else [got]
    want = run_onnx(path, feed)
    assert len(found) == len(want)
    for a, b in zip(found, want, strict=True):
        array = np.array(a)
        assert (array.shape, array.dtype) == (b.shape, b.dtype)
        assert np.isfinite(b).all()
        np.testing.assert_allclose(array, b, rtol=0, atol=1e-4 * max(float(np.abs(b).max()), 1e-3))


@pytest.mark.parametrize("opset, newer, per_channel", [(13, False, True), (21, True, False)])
def test_quantized_by_onnxruntime(
    opset: int, newer: bool, per_channel: bool, tmp_path: Path
) -> None:
    source = real_models.classifier()
    path = export(source, tmp_path / "m.onnx", opset, newer=newer, external=False)
    path = quantized(path, per_channel=per_channel)
    converted = p2m.convert(path)
    proof = p2m.validate(converted)
    assert proof.passed, proof.summary()
    assert proof.perturbation["checked"] >= 8
    assert "self.stem = " in converted.code
    assert "self.block = " in converted.code
    assert "nn.Conv2d(" in converted.code
    assert "self.fc = nn.Linear(8, 5)" in converted.code
    at_other_sizes(converted, path, source)
