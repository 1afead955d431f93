"""ops.grid_sample against torch."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import pytest
import torch
import torch.nn.functional as F

from pytorch_to_mlx.ops import grid_sample as gs
from tests.ops.layouts import drawn, last, torch_last
from tests.ops.torch_parity import assert_same, to_mx

FUNCTIONS: dict[str, Any] = {
    "bilinear": gs.grid_sample_linear,
    "nearest": gs.grid_sample_nearest,
    "bicubic": gs.grid_sample_cubic,
}
PADDINGS = ["zeros", "border", "reflection"]
CASES = [(mode, rank) for mode in FUNCTIONS for rank in (2, 3) if (mode, rank) != ("bicubic", 3)]


@pytest.mark.parametrize("mode, rank", CASES)
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("batch", [1, 2])
def test_grid_sample(mode: str, rank: int, padding: str, align: bool, batch: int) -> None:
    for seed, sizes in enumerate([(6, 5, 7), (1, 3, 2), (4, 4, 4)]):
        x = drawn(batch, 3, *sizes[:rank], seed=seed)
        grid = drawn(batch, *(8, 9, 3)[:rank], rank, seed=seed) * 1.4
        want = F.grid_sample(x, grid, mode, padding, align)
        got = FUNCTIONS[mode](last(x), to_mx(grid), padding, align)
        # Positions carry float32 rounding of the grid times the size: about 1e-6 of a pixel.
        assert_same(got, torch_last(want), rtol=3e-5)


@pytest.mark.parametrize("mode", list(FUNCTIONS))
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("align", [False, True])
def test_exact_positions(mode: str, padding: str, align: bool) -> None:
    # Corners, edges, centres and ties of an image whose positions are exact in float32.
    size = 5 if align else 4
    x = drawn(1, 2, size, size)
    line = torch.arange(-12, 13) / 8
    grid = torch.stack(torch.meshgrid(line, line, indexing="ij"), dim=-1)[None]
    want = F.grid_sample(x, grid, mode, padding, align)
    assert_same(FUNCTIONS[mode](last(x), to_mx(grid), padding, align), torch_last(want))


@pytest.mark.parametrize("mode, rank", CASES)
def test_far_and_infinite_grids_stay_in_memory(mode: str, rank: int) -> None:
    x = drawn(1, 2, *(4, 5, 3)[:rank])
    grid = torch.full((1, *(2,) * rank, rank), 1e30)
    grid.view(-1)[0], grid.view(-1)[1] = float("nan"), float("inf")
    for padding in PADDINGS:
        got = FUNCTIONS[mode](last(x), to_mx(grid), padding, False)
        mx.eval(got)
        assert got.shape == (1, *(2,) * rank, 2)
    far = torch.full((1, *(2,) * rank, rank), 1e6)
    for padding in ("zeros", "border"):
        want = F.grid_sample(x, far, mode, padding, False)
        assert_same(FUNCTIONS[mode](last(x), to_mx(far), padding, False), torch_last(want))


def test_a_pixel_that_is_not_a_number_stays_local() -> None:
    x = drawn(1, 1, 6, 6)
    x[0, 0, 2, 3] = float("nan")
    grid = drawn(1, 9, 9, 2)
    want = F.grid_sample(x, grid, align_corners=False)
    assert_same(gs.grid_sample_linear(last(x), to_mx(grid)), torch_last(want), rtol=3e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types(dtype: torch.dtype) -> None:
    x, grid = drawn(1, 2, 5, 6, dtype=dtype), drawn(1, 4, 4, 2, dtype=dtype)
    for mode, function in FUNCTIONS.items():
        want = F.grid_sample(x.float(), grid.float(), mode, align_corners=False).to(dtype)
        assert_same(function(last(x), to_mx(grid)), torch_last(want))


@pytest.mark.filterwarnings("ignore:Since version 1.3.0")  # about sizes of one, tested here
@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("size", [(4, 5), (1, 3), (3, 4, 5), (2, 1, 1)])
@pytest.mark.parametrize("batch", [1, 3])
def test_affine_grid(align: bool, size: tuple[int, ...], batch: int) -> None:
    rank = len(size)
    theta = drawn(batch, rank, rank + 1)
    want = F.affine_grid(theta, [batch, 2, *size], align)
    assert_same(gs.affine_grid(to_mx(theta), size, align), want)


def test_inside_compile() -> None:
    x, grid = drawn(2, 3, 6, 5), drawn(2, 4, 4, 2)
    want = F.grid_sample(x, grid, "bilinear", "reflection", False)
    f = mx.compile(lambda a, g: gs.grid_sample_linear(a, g, "reflection"))
    assert_same(f(last(x), to_mx(grid)), torch_last(want), rtol=3e-5)
