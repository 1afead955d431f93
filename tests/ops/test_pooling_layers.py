"""ops.pooling_layers against torch."""

from __future__ import annotations

import mlx.core as mx
import pytest
import torch
from torch.nn import functional as F

from pytorch_to_mlx.ops.pooling_layers import MaxPool
from tests.conformance.convert import convert
from tests.golden.compare import run_torch
from tests.ops.torch_parity import to_mx

CASES = [  # kernel; sizes that the windows do and do not fill
    ((2,), (9,)),
    ((3,), (9,)),
    ((2, 2), (6, 7)),
    ((2, 1), (6, 1)),
    ((8, 3), (8, 3)),
    ((2, 2, 2), (4, 5, 4)),
]


@pytest.mark.parametrize(("kernel", "size"), CASES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_max_pool(kernel, size, dtype) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size).to(dtype)
    x[0, 0].view(-1)[1] = float("nan")
    function = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(kernel) - 1]
    want = to_mx(function(x, kernel).movedim(1, -1).contiguous())
    got = MaxPool(kernel)(to_mx(x.movedim(1, -1).contiguous()))
    assert got.dtype == want.dtype
    assert mx.array_equal(got, want, equal_nan=True).item()


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (2, 2, 1), (2, 1, 0), (9, 9, 0)]
)
def test_emitted_by_the_windows(kernel: int, stride: int, padding: int) -> None:
    """Small windows side by side as slices, others by ``nn.MaxPool2d``."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),
        torch.nn.MaxPool2d(kernel, stride, padding),
        torch.nn.Conv2d(4, 2, 1),
    ).eval()
    x = torch.randn(2, 3, 14, 15)
    emitted = convert(module, (x,))
    assert ("nn.MaxPool2d(" not in emitted.code.text) == ((kernel, stride, padding) == (2, 2, 0))
    (got,) = emitted(x)
    assert mx.abs(got - to_mx(run_torch(module, x))).max().item() < 1e-5
