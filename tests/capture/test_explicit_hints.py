"""Explicit Dims that torch refuses over guards which always hold, and over guards which do not."""

from __future__ import annotations

import pytest
import torch

from pytorch_to_mlx.capture.export import capture_module
from pytorch_to_mlx.errors import CaptureError


class Always(torch.nn.Module):
    """Branches on a truth about whole numbers that torch cannot prove."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n = x.shape[0]
        return x + 1 if (n * n) % 2 == n % 2 else x * 2


class Sometimes(torch.nn.Module):
    """Branches on something that only some sizes fulfil."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1 if (x.shape[0] * x.shape[0]) % 3 == 1 else x * 2


def shapes() -> dict[str, dict[int, torch.export.Dim]]:
    return {"x": {0: torch.export.Dim("n", min=1, max=4096)}}


def test_torch_refuses_a_guard_that_always_holds() -> None:
    with pytest.raises(torch._dynamo.exc.UserError, match="onstraints violated"):
        torch.export.export(Always(), (torch.ones(5, 3),), dynamic_shapes=shapes())


def test_a_guard_that_always_holds_is_no_obstacle() -> None:
    captured = capture_module(Always(), (torch.ones(5, 3),), dynamic_shapes=shapes())
    (symbol,) = captured.dims["symbols"].values()
    assert symbol["max"] == 4096
    assert [entry["where"] for entry in captured.dims["static"]] == ["x:1"]


def test_a_guard_that_some_size_breaks_is_refused() -> None:
    with pytest.raises(CaptureError, match="ties together or fixes"):
        capture_module(Sometimes(), (torch.ones(5, 3),), dynamic_shapes=shapes())
