"""The parts of a benchmark: comparing outputs, trees, meters, and what describes the machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
import torch

from pytorch_to_mlx.benchmark import machine, memory, state, trees
from pytorch_to_mlx.benchmark.check import difference
from pytorch_to_mlx.benchmark.load import OtherLoad
from pytorch_to_mlx.benchmark.run import ratios
from pytorch_to_mlx.benchmark.sides import MLXModel, MLXTimed, TorchModel, TorchTimed
from pytorch_to_mlx.blas import load_blas

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("actual", "expected", "reason"),
    [
        ([1.0, 2.0], [1.0, 2.0], ""),
        ([1.0, 2.0001], [1.0, 2.0], ""),
        ([1.0, 2.001], [1.0, 2.0], "differs"),
        ([1.0], [1.0, 2.0], "shape"),
        ([NAN, 2.0], [1.0, 2.0], "finite"),
        ([1.0, 2.0], [NAN, 2.0], "finite"),
        ([NAN, 2.0], [NAN, 2.0], ""),
        ([INF, 2.0], [INF, 2.0], ""),
        ([-INF, 2.0], [INF, 2.0], "infinities"),
        ([NAN, 2.0], [INF, 2.0], "infinities"),
        ([1e-30], [0.0], "differs"),
        ([1 + 1j], [1 + 2j], "differs"),
        ([], [], ""),
    ],
)
def test_difference(actual: list[complex], expected: list[complex], reason: str) -> None:
    found = difference(np.array(actual), np.array(expected), 1e-4)
    assert reason in found if reason else found == ""


def test_same_outputs_are_told_on_the_device() -> None:
    a = {"y": np.array([[1.0, NAN], [0.0, 2.0]], np.float32), "n": np.array([1, 2])}
    others = [
        {**a, "y": a["y"] + 1e-3},
        {**a, "y": a["y"].T},
        {"y": a["y"]},
        {**a, "n": a["n"] + 1},
    ]
    others += [{**a, "y": a["y"].ravel()}, {**a, "n": a["n"].astype(np.int32)}]
    mlx = MLXTimed(MLXModel(lambda: abs), (), compiled=False)
    torch_side = TorchTimed(TorchModel(lambda: abs), (), compiled=False)
    for side, made in ((mlx, mx.array), (torch_side, torch.from_numpy)):
        first = {k: made(v) for k, v in a.items()}
        again = {k: made(v.copy()) for k, v in a.items()}
        assert side.same(first, side.kept(again))
        for other in others:
            assert not side.same(first, {k: made(v.copy()) for k, v in other.items()})


def test_without_tolerance_only_shapes_are_compared() -> None:
    assert difference(np.zeros(2), np.ones(2), None) == ""
    assert "shape" in difference(np.zeros(3), np.ones(2), None)


def test_flatten_names_leaves_by_path() -> None:
    @dataclass
    class Output:
        logits: int
        hidden: tuple[int, int] | None = None

    pair = namedtuple("pair", "a b")
    assert trees.flatten(7) == [("output", 7)]
    assert trees.flatten(Output(1, (2, 3))) == [("logits", 1), ("hidden.0", 2), ("hidden.1", 3)]
    assert trees.flatten({"k": pair(1, None)}) == [("k.a", 1)]


def test_batched_inputs_can_be_named() -> None:
    inputs = {"x": np.ones((4, 2)), "table": np.ones((4, 9)), "y": np.ones((4,))}
    assert trees.batched_inputs(inputs, None) == (4, frozenset({"x", "table", "y"}))
    assert trees.batched_inputs(inputs, ["x", "y"]) == (4, frozenset({"x", "y"}))
    resized = trees.with_batch(inputs, ["x", "y"], 6)
    assert trees.sizes(resized) == {"x": [6, 2], "table": [4, 9], "y": [6]}
    with pytest.raises(ValueError, match="is called z"):
        trees.batched_inputs(inputs, ["z"])


def test_with_batch_repeats_rows_in_order() -> None:
    (out,) = trees.with_batch((np.arange(3),), ["0"], 5)
    assert out.tolist() == [0, 1, 2, 0, 1]


def test_ratios_compare_equal_sizes_only() -> None:
    def row(name: str, n: int, ms: float) -> dict[str, Any]:
        return {"name": name, "sizes": {"x": [n]}, "median_ms": ms}

    rows = [row("torch eager", 1, 6.0), row("mlx eager", 1, 2.0), row("mlx eager", 2, 1.0)]
    assert ratios(rows) == [
        {"name": "mlx eager", "against": "torch eager", "sizes": {"x": [1]}, "speedup": 3.0}
    ]


def test_state_in_containers_is_seen_and_put_back() -> None:
    class Holds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cache: list[Any] = [mx.zeros(2), {"n": 0}]

    module = Holds()
    before = state.snapshot(module)
    assert not state.differs(module, before)
    module.cache[1]["n"] = 1
    assert state.differs(module, before)
    state.restore(before)
    assert module.cache[1]["n"] == 0
    module.cache[0][0] = 5.0
    assert state.differs(module, before)
    state.restore(before)
    assert module.cache[0].tolist() == [0.0, 0.0]


def test_mlx_meter_sees_temporaries() -> None:
    x = mx.ones((256, 256))
    mx.eval(x)
    with memory.MLXMeter(1000) as meter:
        mx.eval(x @ x)
    assert meter.peak_bytes is not None
    assert meter.peak_bytes >= 1000 + x.nbytes


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can reset a process's peak")
def test_resident_meter_sees_what_was_freed_again() -> None:
    size = 64 << 20
    with memory.ResidentMeter(0) as meter:
        np.ones(size, np.uint8)
    if meter.peak_bytes is not None:  # a container may forbid the reset
        assert meter.peak_bytes > size // 2


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/stat")
def test_another_process_that_spins_is_seen() -> None:
    code = "import time; end = time.time() + 0.6\nwhile time.time() < end: pass"
    with OtherLoad() as others:
        child = subprocess.Popen([sys.executable, "-c", code])
        time.sleep(0.4)
    child.wait()
    assert others.cpus is not None
    assert others.cpus > 0.3


def test_the_package_needs_no_torch() -> None:
    code = "import sys, pytorch_to_mlx.benchmark; assert 'torch' not in sys.modules"
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": "src"}
    )


def test_the_machine_is_described_without_torch() -> None:
    facts = machine.describe(None)
    assert facts["device"]["torch"] is None
    assert facts["device"]["mlx"] in ("cpu", "metal", "cuda")
    assert "torch" not in facts["versions"]
    assert facts["blas"] == load_blas()


def test_matmul_probe_without_torch() -> None:
    probe = machine.matmul_gflops("float32", None)
    assert probe.keys() >= {"mlx"}
    assert min(probe.values()) > 0
