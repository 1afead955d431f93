"""What the machine allows: measured matmul speed and memory bandwidth, and a model's demands."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import mlx.core as mx
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pytorch_to_mlx.benchmark.machine import matmul_gflops, mlx_backend
from pytorch_to_mlx.benchmark.sides import torch_on

PROBE_SECONDS = 0.3


def measured_limits(dtype: str, torch_device: str) -> dict[str, Any]:
    """Best GFLOP/s of a large ``dtype`` matmul and best GB/s of a copy, by library.

    A copy counts the bytes read and the bytes written.
    """
    return {
        "matmul_gflops": matmul_gflops(dtype, torch_on(torch_device)),
        "copy_gb_s": copy_bandwidth(torch_device),
    }


def copy_bandwidth(torch_device: str) -> dict[str, float]:
    """GB/s, read and written together, of negating a large float32 array."""
    count = 1 << (24 if mlx_backend() == "cpu" else 28)
    a = mx.ones((count,))
    mx.eval(a)
    out = {"mlx": _best(lambda: mx.eval(-a), 8 * count)}
    b = torch.ones(count, device=torch_device)

    def negate() -> None:
        torch.neg(b)
        if torch_device == "cuda":
            torch.cuda.synchronize()

    out["torch"] = _best(negate, 8 * count)
    return out


def _best(function: Callable[[], object], byte_count: int) -> float:
    function()
    best, spent = float("inf"), 0.0
    while spent < PROBE_SECONDS:
        start = time.perf_counter()
        function()
        seconds = time.perf_counter() - start
        best, spent = min(best, seconds), spent + seconds
    return byte_count / best / 1e9


def counted_flops(module: nn.Module, args: tuple[torch.Tensor, ...]) -> int:
    """Operations of the matmuls, convolutions and attentions of one call (no LSTM's).

    Attention counts as its two matmuls: torch's count of fused ones refuses grouped queries.
    """
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH), torch.inference_mode():
        module(*args)
    return int(counter.get_total_flops())


def least_bytes(module: nn.Module, arrays: list[torch.Tensor]) -> int:
    """Bytes that any implementation moves: the weights once, the inputs, the outputs.

    A table that is only looked up is left out.
    """
    looked_up = {m.weight.data_ptr() for m in module.modules() if isinstance(m, nn.Embedding)}
    multiplied = {m.weight.data_ptr() for m in module.modules() if isinstance(m, nn.Linear)}
    weights = {t.data_ptr(): t for t in (*module.parameters(), *module.buffers())}
    moved = [t for p, t in weights.items() if p not in looked_up or p in multiplied]
    return sum(t.numel() * t.element_size() for t in [*moved, *arrays])


def limit_ms(flops: int, byte_count: int, limits: dict[str, dict[str, float]]) -> tuple[float, str]:
    """The least time that the measured speeds allow, and which of the two sets it."""
    compute = flops / max(limits["matmul_gflops"].values()) / 1e6
    memory = byte_count / max(limits["copy_gb_s"].values()) / 1e6
    return (compute, "matmul") if compute >= memory else (memory, "bandwidth")
