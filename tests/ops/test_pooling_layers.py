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

CASES = [  # kernel, stride, padding; sizes that the windows do and do not fill
    ((2,), (2,), (0,), (9,)),
    ((3,), (2,), (1,), (8,)),
    ((2, 2), (2, 2), (0, 0), (6, 7)),
    ((3, 3), (2, 2), (1, 1), (8, 9)),
    ((2, 1), (2, 1), (0, 0), (6, 1)),
    ((4, 5), (1, 3), (2, 0), (4, 8)),
    ((8, 3), (8, 1), (0, 1), (8, 3)),
    ((2, 2, 2), (2, 2, 2), (0, 0, 0), (4, 5, 4)),
]


@pytest.mark.parametrize(("kernel", "stride", "padding", "size"), CASES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_max_pool(kernel, stride, padding, size, dtype) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size).to(dtype)
    x[0, 0].view(-1)[1] = float("nan")
    function = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(kernel) - 1]
    want = to_mx(function(x, kernel, stride, padding).movedim(1, -1).contiguous())
    got = MaxPool(kernel, stride, padding)(to_mx(x.movedim(1, -1).contiguous()))
    assert got.dtype == want.dtype
    assert mx.array_equal(got, want, equal_nan=True).item()


@pytest.mark.parametrize(("kernel", "padding"), [(2, 0), (3, 1), (9, 0)])
def test_emitted_by_the_size_of_the_window(kernel: int, padding: int) -> None:
    """Small windows as slices, large ones by ``nn.MaxPool2d``: a slice each would be too many."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.MaxPool2d(kernel, 2, padding), torch.nn.Conv2d(4, 2, 1)
    ).eval()
    x = torch.randn(2, 3, 14, 15)
    emitted = convert(module, (x,))
    assert ("nn.MaxPool2d(" in emitted.code.text) == (kernel > 8)
    (got,) = emitted(x)
    assert mx.abs(got - to_mx(run_torch(module, x))).max().item() < 1e-5
