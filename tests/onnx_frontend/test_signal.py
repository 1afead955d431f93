"""Transforms against onnxruntime and numpy, random arrays by their distribution."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from onnx.helper import make_node  # noqa: E402

from pytorch_to_mlx import onnx_backend  # noqa: E402


def against_onnxruntime(m, feeds, atol):
    session = onnxruntime.InferenceSession(m.SerializeToString())
    rep = onnx_backend.prepare(m)
    for have, want in zip(rep.run(feeds), session.run(None, feeds), strict=True):
        assert (have.dtype, have.shape) == (want.dtype, want.shape)
        np.testing.assert_allclose(have, want, rtol=1e-4, atol=atol)
    return rep.declared.text


@pytest.mark.parametrize("length", [None, 6, 9])
@pytest.mark.parametrize(
    ("parts", "attributes"), [(1, {}), (1, {"onesided": 1}), (2, {}), (2, {"inverse": 1})]
)
def test_dft_of_any_length_and_axis(model, parts, attributes, length):
    x = np.random.default_rng(0).standard_normal((2, 7, 3, parts)).astype(np.float32)
    weights = {"axis": np.array(-3, np.int64)}
    if length is not None:
        weights["n"] = np.array(length, np.int64)
    node = make_node("DFT", ["x", "n" if length else "", "axis"], ["y"], **attributes)
    m = model([node], {"x": ("f", ["B", "T", 3, parts])}, {"y": ("f", ["B", None, 3, 2])}, weights,
              opset=20)  # fmt: skip
    (y,) = onnx_backend.prepare(m).run([x])
    z = x[..., 0] if parts == 1 else x[..., 0] + 1j * x[..., 1]
    want = (np.fft.ifft if "inverse" in attributes else np.fft.fft)(z, n=length, axis=1)
    if "onesided" in attributes:
        want = want[:, : want.shape[1] // 2 + 1]
    np.testing.assert_allclose(y, np.stack([want.real, want.imag], -1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("onesided", [0, 1])
def test_stft_with_a_window(model, onesided):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 50, 1)).astype(np.float32)
    weights = {"step": np.array(6, np.int64), "window": rng.random(16).astype(np.float32)}
    node = make_node("STFT", ["x", "step", "window"], ["y"], onesided=onesided)
    bins = 9 if onesided else 16
    m = model([node], {"x": ("f", ["B", "T", 1])}, {"y": ("f", ["B", None, bins, 2])}, weights,
              opset=17)  # fmt: skip
    text = against_onnxruntime(m, {"x": x}, 2e-5)
    assert ".item()" not in text


@pytest.mark.parametrize("sizes", [(8, 16, 8192, 0.0, 4096.0), (20, 512, 16000, 80.0, 7600.0)])
def test_mel_weights(model, sizes):
    names = ["mels", "n", "rate", "low", "high"]
    kinds = [np.int64] * 3 + [np.float32] * 2
    weights = {n: np.array(v, k) for n, v, k in zip(names, sizes, kinds, strict=True)}
    nodes = [make_node("MelWeightMatrix", names, ["w"]), make_node("MatMul", ["x", "w"], ["y"])]
    bins, mels = sizes[1] // 2 + 1, sizes[0]
    m = model(nodes, {"x": ("f", [2, bins])}, {"y": ("f", [2, mels])}, weights, opset=17)
    x = np.random.default_rng(2).random((2, bins)).astype(np.float32)
    against_onnxruntime(m, {"x": x}, 1e-5)


@pytest.mark.parametrize(("time", "batch"), [(0, 1), (1, 0)])
def test_sequences_are_turned_round_up_to_their_lengths(model, time, batch):
    node = make_node("ReverseSequence", ["x", "n"], ["y"], time_axis=time, batch_axis=batch)
    m = model([node], {"x": ("f", ["A", "B", 2]), "n": ("i", ["L"])}, {"y": ("f", ["A", "B", 2])})
    x = np.random.default_rng(3).standard_normal((4, 4, 2)).astype(np.float32)
    against_onnxruntime(m, {"x": x, "n": np.array([1, 4, 2, 3])}, 0)


def test_dropout_in_training_drops_a_share_and_scales_the_rest(model):
    weights = {"r": np.array(0.25, np.float32)}
    node = make_node("Dropout", ["x", "r", "t"], ["y", "kept"])
    outputs = {"y": ("f", [4000]), "kept": ("b", [4000])}
    m = model([node], {"x": ("f", [4000]), "t": ("b", [])}, outputs, weights)
    rep = onnx_backend.prepare(m)
    x = np.random.default_rng(4).standard_normal(4000).astype(np.float32)
    y, kept = rep.run([x, np.array(True)])
    assert 0.7 < kept.mean() < 0.8
    np.testing.assert_allclose(y, np.where(kept, x / 0.75, 0), rtol=1e-6)
    y, kept = rep.run([x, np.array(False)])
    assert kept.all()
    np.testing.assert_array_equal(y, x)


def test_random_arrays_have_their_distributions(model):
    nodes = [
        make_node("RandomUniform", [], ["u"], shape=[3000], low=2.0, high=4.0),
        make_node("RandomNormalLike", ["x"], ["n"], mean=1.0, scale=3.0, dtype=11),
        make_node("Bernoulli", ["p"], ["b"], dtype=7),
        make_node("Multinomial", ["logits"], ["m"], sample_size=2000, dtype=7),
    ]
    weights = {"p": np.full(3000, 0.3, np.float32), "logits": np.log([[0.2, 0.8]] * 2, dtype="f4")}
    outputs = {
        "u": ("f", [3000]), "n": ("d", [3000]), "b": ("i", [3000]), "m": ("i", [2, 2000])
    }  # fmt: skip
    m = model(nodes, {"x": ("f", [3000])}, outputs, weights)
    u, n, b, draws = onnx_backend.prepare(m).run([np.zeros(3000, np.float32)])
    assert [a.dtype for a in (u, n, b, draws)] == ["float32", "float64", "int64", "int64"]
    assert u.min() >= 2
    assert u.max() <= 4
    assert abs(u.mean() - 3) < 0.1
    assert abs(n.mean() - 1) < 0.3
    assert abs(n.std() - 3) < 0.3
    assert abs(b.mean() - 0.3) < 0.05
    assert draws.shape == (2, 2000)
    assert (abs(draws.mean(1) - 0.8) < 0.05).all()
