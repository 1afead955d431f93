"""ops.norms against torch; inputs go in channels last."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pytorch_to_mlx.ops import layers
from pytorch_to_mlx.ops import norms as nm
from tests.ops.torch_parity import assert_same, to_mx

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
SHAPES = [(4, 6, 5), (2, 6, 3, 4), (1, 6, 2, 3, 2)]


def last(x: torch.Tensor) -> torch.Tensor:
    return x.movedim(1, -1).contiguous()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_channel_norms(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = (torch.randn(shape) * 3 + 1).to(dtype)
    w, b = torch.randn(6).to(dtype), torch.randn(6).to(dtype)
    mean, var = torch.randn(6).to(dtype), torch.rand(6).to(dtype) + 0.5
    m, mw, mb, mm, mv = to_mx((last(x), w, b, mean, var))
    new_mean, new_var = mean.clone(), var.clone()
    want = F.batch_norm(x, new_mean, new_var, w, b, True, 0.2, 1e-3)
    got = nm.batch_norm_train(m, mw, mb, mm, mv, 0.2, 1e-3)
    assert_same(got, (last(want), new_mean, new_var))
    got = nm.batch_norm_train(m, eps=1e-3)
    assert got[1:] == (None, None)
    assert_same(got[0], last(F.batch_norm(x, None, None, training=True, eps=1e-3)))
    assert_same(nm.instance_norm(m, mw, mb), last(F.instance_norm(x, weight=w, bias=b)))
    assert_same(nm.instance_norm(m), last(F.instance_norm(x)))
    want = F.instance_norm(x, mean, var, w, b, use_input_stats=False)
    assert_same(nm.instance_norm(m, mw, mb, mm, mv, False), last(want))
    # torch pools bfloat16 and float16 volumes nowhere, and so has no such norm of them.
    for size in (1, 2, 3, 5, 9) if len(shape) == 3 or dtype is torch.float32 else ():
        want = last(F.local_response_norm(x, size, 0.3, 0.6, 1.5))
        assert_same(nm.local_response_norm(m, size, 0.3, 0.6, 1.5), want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_group_norm_over_much_space(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = (torch.randn(1, 8, 64, 64) * 8 + 16).to(dtype)
    w, b = torch.randn(8).to(dtype), torch.randn(8).to(dtype)
    want = last(F.group_norm(x, 2, w, b))
    assert_same(layers.group_norm(to_mx(last(x)), 2, *to_mx((w, b))), want)
    assert_same(layers.group_norm(to_mx(last(x)), 4), last(F.group_norm(x, 4)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_layer_norms(dims: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = (torch.randn(3, 4, 5) * 2 + 1).to(dtype)
    shape = x.shape[-dims:]
    w, b = torch.randn(shape).to(dtype), torch.randn(shape).to(dtype)
    m, mw, mb = to_mx((x, w, b))
    assert_same(nm.layer_norm_over(m, dims), F.layer_norm(x, shape))
    assert_same(nm.layer_norm_over(m, dims, mw, mb, 1e-3), F.layer_norm(x, shape, w, b, 1e-3))
    assert_same(nm.rms_norm_over(m, dims, mw, 1e-3), F.rms_norm(x, shape, w, 1e-3))
    assert_same(nm.rms_norm_over(m, dims), F.rms_norm(x, shape))


def test_tiny_rows_show_the_default_eps() -> None:
    x = torch.full((2, 4), 1e-4)
    assert_same(nm.rms_norm_over(to_mx(x), 1), F.rms_norm(x, (4,)))
    half = torch.full((2, 4), 1e-2, dtype=torch.bfloat16)
    assert_same(nm.rms_norm_over(to_mx(half), 1), F.rms_norm(half, (4,)))


def test_weights() -> None:
    v = torch.randn(4, 3, 5)
    for axis in (0, 1, 2, -1):
        g = torch.rand([v.shape[i] if i == axis else 1 for i in range(3)])
        assert_same(nm.weight_norm(*to_mx((v, g)), axis), torch._weight_norm(v, g, axis))
    for p in (1.0, 2.0, 3.0):
        for axis in (0, 1, -1):
            assert_same(nm.normalize(to_mx(v), p, axis), F.normalize(v, p, axis))
    assert_same(nm.normalize(to_mx(v * 0)), F.normalize(v * 0))
