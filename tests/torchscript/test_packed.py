"""Scripts made for one processor, quantized ones, and those that fork."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pytorch_to_mlx as p2m
from pytorch_to_mlx.errors import CaptureError
from tests.torchscript.helpers import converts, scripted, traced


class Packed(nn.Module):
    """Convolutions with what torch hands to oneDNN around them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 1, groups=2)
        self.rows = nn.LayerNorm(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.first(x)))
        gate = F.hardsigmoid(self.second(F.adaptive_avg_pool2d(x, (1, 1))))
        x = self.second(F.hardswish(self.second(x)))
        x = self.rows(self.second(torch.clamp(x, -0.5, 0.5))) * 2.0
        return self.head((self.second(F.relu6(x)) + gate).mean((2, 3)))


def doubled(x: torch.Tensor, by: float) -> torch.Tensor:
    return x * by


class Forks(nn.Module):
    """Work in parallel: of a submodule, and of a function, kept in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = torch.jit.fork(self.inner, x)
        rest = [torch.jit.fork(doubled, x, 2.0) for _ in range(2)]
        y = torch.jit.wait(first)
        for future in rest:
            y = y + torch.jit.wait(future)
        return y


def test_what_was_optimized_for_inference():
    torch.manual_seed(0)
    script = torch.jit.optimize_for_inference(scripted(Packed()))
    kinds = {n.kind() for n in script.graph.nodes()}
    assert {"prim::mkldnn_convolution", "prim::BroadcastMKLDNNTensors"} <= kinds
    assert any(k.startswith("prim::MKLDNN") for k in kinds)
    converted = converts(script, (torch.randn(2, 3, 8, 8),), (torch.randn(1, 3, 8, 8),))
    assert "nn.Conv2d(3, 8, 3, padding=1)" in converted.code
    report = p2m.validate(converted, quick=True)
    assert report.passed, report.summary()


@pytest.mark.parametrize("trace", [False, True])
def test_forks_run_where_they_stand(trace: bool):
    x = torch.randn(3, 4)
    script = traced(Forks(), x) if trace else scripted(Forks())
    converted = converts(script, (x,), (torch.randn(5, 4),))
    assert "self.inner = nn.Linear(4, 4)" in converted.code


@pytest.mark.filterwarnings("ignore")
def test_quantized_scripts_are_refused_with_op_line_and_way_out():
    model = torch.ao.quantization.quantize_dynamic(
        nn.Sequential(nn.Linear(4, 4)).eval(), {nn.Linear}, dtype=torch.qint8
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(model)
    with pytest.raises(CaptureError) as caught:
        p2m.convert(script, (torch.randn(2, 4),))
    assert caught.value.op == "quantized::linear_dynamic"
    assert caught.value.origin.partition(":")[0].endswith("linear.py")
    assert "convert the model as it was before, and quantize the package" in str(caught.value)
