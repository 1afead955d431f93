"""Linear layers, embeddings, dropout, experts and quantised pairs against torch."""

from __future__ import annotations

import mlx.core as mx
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pytorch_to_mlx.graph import Value
from pytorch_to_mlx.graph.infer import RULES
from pytorch_to_mlx.lower.aten import Unsupported, load_families
from pytorch_to_mlx.ops.registry import functions
from tests.lower.harness import check_op, run_graph, targets

X = torch.randn(3, 5, 4)
IDS = torch.tensor([[1, 4, 2], [0, 6, 2]])
aten = torch.ops.aten


def test_linear() -> None:
    check_op(nn.Linear(4, 6), X, atol=1e-5)
    check_op(nn.Linear(4, 6, bias=False), X[0, 0], atol=1e-5, dynamic=False)
    assert targets(nn.Linear(4, 6), X, dynamic=False) == ["ops.linear"]
    rows = torch.arange(12).reshape(3, 4)
    check_op(F.linear, rows, rows[:2] - 5, rows[0, :2], dynamic=False)


def test_bilinear() -> None:
    check_op(nn.Bilinear(4, 4, 3), X, X + 1, atol=1e-5, dynamic=False)


def test_embedding() -> None:
    check_op(nn.Embedding(7, 3, padding_idx=2), IDS)
    assert targets(nn.Embedding(7, 3), IDS, dynamic=False) == ["ops.embedding"]


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_embedding_bag(mode: str) -> None:
    check_op(nn.EmbeddingBag(7, 3, mode=mode, padding_idx=2), IDS, dynamic=False)
    weight, offsets = torch.randn(7, 3), torch.tensor([0, 2, 2])
    check_op(lambda i: F.embedding_bag(i, weight, offsets, mode=mode), IDS[0], dynamic=False)
    check_op(
        lambda i: F.embedding_bag(i, weight, offsets, mode=mode, padding_idx=-2),
        IDS[0],
        dynamic=False,
    )


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_rows_that_are_too_long_are_shrunk(p: float) -> None:
    check_op(lambda i, w: aten.embedding_renorm(w, i, 1.0, p), IDS, torch.randn(9, 3) / 2)


def test_weighted_bags() -> None:
    weight, scale = torch.randn(7, 3), torch.rand(2, 3)
    check_op(
        lambda i, s: F.embedding_bag(i, weight, per_sample_weights=s, mode="sum"),
        IDS,
        scale,
        dynamic=False,
    )


def test_dropout_is_nothing_in_eval() -> None:
    check_op(nn.Dropout(0.5), X, dynamic=False)
    check_op(lambda x: aten.native_dropout(x, 0.5, False), X, dynamic=False)


def test_dropout_that_is_on_keeps_and_scales() -> None:
    graph = check_op(lambda x: aten.native_dropout(x, 0.5, True), X, dynamic=False, values=False)
    kept = run_graph(graph, [torch.ones(X.shape)], {})
    assert mx.array_equal(kept[0], kept[1].astype(mx.float32) * 2)
    assert 0 < mx.mean(kept[0]).item() < 2


def test_dropout_of_features_that_is_on_is_refused() -> None:
    lowering = load_families().find("aten.alpha_dropout.default")
    assert lowering is not None
    with pytest.raises(Unsupported, match=r"call eval\(\)"):
        lowering(Value((3, 4), "float32"), 0.5, True)


def test_grouped_matmul() -> None:
    pytest.importorskip("transformers.integrations.moe")
    weight, offsets = torch.randn(3, 4, 6), torch.tensor([2, 2, 4], dtype=torch.int32)
    check_op(
        lambda x, o: torch.ops.transformers.grouped_mm_fallback(x, weight, o),
        X[0],
        offsets,
        atol=1e-5,
        dynamic=False,
    )


@pytest.mark.parametrize("kind", ["rows", "inner", "columns", "batch"])
def test_grouped_mm(kind: str) -> None:
    offsets = torch.tensor([8, 24, 32], dtype=torch.int32)
    rows, experts = torch.randn(32, 16), torch.randn(3, 16, 32)
    a, b, given = {
        "rows": (rows, experts, offsets),
        "inner": (rows.T.contiguous().T.t(), torch.randn(32, 16), offsets),
        "columns": (torch.randn(3, 32, 16), torch.randn(16, 32), offsets),
        "batch": (torch.randn(3, 32, 16), experts, None),
    }[kind]
    a, b = a.bfloat16(), b.bfloat16()
    # bfloat16 keeps 8 bits: one ulp is 3e-2 at the sums' size of 4 to 8.
    check_op(lambda a, b: aten._grouped_mm(a, b, given), a, b, atol=5e-2, dynamic=False)


SCALES, POINTS = torch.rand(5) * 0.1 + 0.05, torch.tensor([0, 3, -2, 1, 0], dtype=torch.int32)


def test_fake_quantisation() -> None:
    check_op(lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 3, 0, 255), X, dynamic=False)
    check_op(
        lambda x: torch.fake_quantize_per_channel_affine(x, SCALES, POINTS, 1, -128, 127),
        X,
        dynamic=False,
    )
    check_op(
        lambda x: aten.fake_quantize_per_tensor_affine_cachemask(x, 0.01, 0, -128, 127),
        X,
        dynamic=False,
    )
    odd = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.3])
    check_op(
        lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 3, -10, 127), odd, dynamic=False
    )


def test_quantise_and_dequantise() -> None:
    import torch.ao.quantization.fx._decomposed

    ops = torch.ops.quantized_decomposed

    def per_tensor(x: torch.Tensor) -> torch.Tensor:
        q = ops.quantize_per_tensor(x, 0.05, 3, -128, 127, torch.int8)
        return ops.dequantize_per_tensor(q, 0.05, 3, -128, 127, torch.int8)

    def per_channel(x: torch.Tensor) -> torch.Tensor:
        q = ops.quantize_per_channel(x, SCALES, POINTS, 1, -128, 127, torch.int8)
        return ops.dequantize_per_channel(q, SCALES, POINTS, 1, -128, 127, torch.int8)

    check_op(per_tensor, X, dynamic=False)
    check_op(per_channel, X, dynamic=False)


def test_one_hot() -> None:
    check_op(lambda i: F.one_hot(i, 8), IDS, dynamic=False)


def test_every_called_function_of_ops_exists() -> None:
    load_families()
    missing = [t for t in RULES if t.startswith("ops.") and t[4:] not in functions()]
    assert not missing
