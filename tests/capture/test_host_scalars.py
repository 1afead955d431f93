"""Strides and kernel sizes that a module keeps as tensors take part in sizes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

import pytorch_to_mlx as p2m
from pytorch_to_mlx.capture.export import capture_module
from pytorch_to_mlx.capture.host_scalars import HostScalar, apply, fixed_scalars, plain
from pytorch_to_mlx.errors import CaptureError


class Padded(nn.Module):
    """Pads to whole frames: how far is computed with tensors."""

    def __init__(self, persistent: bool = False, counts: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 2, 4, 3)
        self.counts = counts
        self.register_buffer("stride", torch.tensor(3), persistent=persistent)
        self.register_buffer("kernel", torch.tensor(4), persistent=persistent)
        self.register_buffer("total", torch.tensor(1), persistent=persistent)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        length = x.shape[-1]
        frames = (length - self.kernel + self.total) / self.stride + 1
        frames = torch.ceil(frames).to(torch.int64) - 1
        extra = frames * self.stride + self.kernel - self.total - length
        if length <= max(self.total, extra):
            x = nn.functional.pad(x, (0, 5))
        y = self.conv(nn.functional.pad(x, (self.total, extra), mode="reflect"))
        if self.counts:
            self.stride += 0
            self.total += 1
        return y[..., : y.shape[-1] - (self.total - 1)] * self.stride


def test_paddings_computed_with_tensors_follow_the_length() -> None:
    model = Padded().eval()
    converted = p2m.convert(model, (torch.randn(2, 1, 20),))
    for length in (7, 19, 20, 21, 50):
        x = torch.randn(2, 1, length)
        want = model(x).detach()
        got = torch.tensor(converted(x).tolist())
        assert got.shape == want.shape
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_the_module_is_left_as_it_was() -> None:
    model = Padded().eval()
    before = list(model.named_buffers())
    capture_module(model, (torch.randn(2, 1, 20),))
    after = list(model.named_buffers())
    assert [n for n, _ in before] == [n for n, _ in after]
    assert all(a is b for (_, a), (_, b) in zip(before, after, strict=True))


def test_what_a_checkpoint_holds_or_forward_changes_is_no_constant() -> None:
    assert fixed_scalars(Padded(persistent=True), set()) == {}
    assert set(fixed_scalars(Padded(), {"total"})) == {("", "stride"), ("", "kernel")}
    with pytest.raises(CaptureError):
        capture_module(Padded(persistent=True), (torch.randn(2, 1, 20),))


@pytest.mark.parametrize("length", [1, 6, 7, 22])
def test_scalars_compute_as_tensors_do(length: int) -> None:
    def compute(stride: Any) -> list[Any]:
        ratio = (length - stride) / stride
        return [
            torch.ceil(ratio).to(torch.int64),
            torch.floor(ratio).long(),
            ratio.to(torch.int64),
            -stride % 2,
            length // stride,
            2 * stride - 1,
        ]

    got, want = compute(HostScalar(3)), compute(torch.tensor(3))
    assert [int(g) for g in got] == [int(w) for w in want]
    assert math.isclose(float(length / HostScalar(3)), length / 3)


def test_scalars_in_nested_arguments_become_numbers() -> None:
    three = HostScalar(3)
    assert plain([(three, 1), slice(None, three)]) == [(3, 1), slice(None, 3)]
    assert apply(torch.Tensor.__getitem__, (torch.arange(9), slice(three, None)), {}).tolist() == [
        3, 4, 5, 6, 7, 8,
    ]  # fmt: skip
    assert (torch.ones(2) * three).tolist() == [3.0, 3.0]
    assert three.view(1).tolist() == [3]
