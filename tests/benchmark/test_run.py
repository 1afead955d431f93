"""run_benchmark on small models: rows, checks, state, batch sizes, impossible figures."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
import torch

from pytorch_to_mlx.benchmark import BenchmarkError, run_benchmark

torch.set_num_threads(1)
QUICK: Any = {"min_time_s": 0.002}


class TorchMLP(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Linear(8, 16)
        self.second = torch.nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.second(torch.relu(self.first(x)))}


class MLXMLP(nn.Module):
    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.first = nn.Linear(8, 16)
        self.second = nn.Linear(16, 4)
        state = TorchMLP().state_dict()
        self.load_weights([(k, mx.array(v.numpy())) for k, v in state.items()])
        self.gain = gain

    def __call__(self, x: mx.array) -> dict[str, mx.array]:
        return {"logits": self.gain * self.second(nn.relu(self.first(x)))}


class TorchCounter(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.total += x
        return self.total


class MLXCounter(nn.Module):
    """In ``slices``, the state is written in place: the array object stays the same."""

    def __init__(self, slices: bool = False, step: float = 1.0) -> None:
        super().__init__()
        self.total = mx.zeros(3)
        self.slices, self.step = slices, step

    def __call__(self, x: mx.array) -> mx.array:
        if self.slices:
            self.total[:] = self.total + self.step * x
        else:
            self.total = self.total + self.step * x
        return self.total + 0


def batch(n: int = 2) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).standard_normal((n, 8)).astype(np.float32)}


def test_rows_cover_both_sides_eager_and_compiled() -> None:
    told: list[tuple[str, float]] = []
    section = run_benchmark(
        MLXMLP, TorchMLP, batch(), **QUICK, progress=lambda what, done: told.append((what, done))
    )
    assert [r["name"] for r in section["rows"]] == ["torch eager", "mlx eager", "mlx compiled"]
    for row in section["rows"]:
        assert row["sizes"] == {"x": [2, 8]}
        assert row["runs"] >= 5
        assert 0 < row["median_ms"] <= row["p95_ms"]
        assert row["throughput_per_s"] == pytest.approx(1e3 / row["median_ms"])
        assert row["load_ms"] > 0
    weights = 4 * (8 * 16 + 16 + 16 * 4 + 4)
    assert all(r["peak_memory_bytes"] >= weights for r in section["rows"])
    assert {(r["name"], r["against"]) for r in section["ratios"]} == {
        ("mlx eager", "torch eager"),
        ("mlx compiled", "torch eager"),
    }
    torch_row, mlx_row = section["rows"][:2]
    assert section["ratios"][0]["speedup"] == torch_row["median_ms"] / mlx_row["median_ms"]
    assert section["versions"]["torch"] == torch.__version__
    assert section["threads"]["torch"] == torch.get_num_threads()
    assert section["blas"]
    assert section["device"]["name"]
    assert told[0] == ("loading", 0.0)
    assert told[-1][1] == 1.0


def test_throughput_counts_items_over_batch_sizes() -> None:
    section = run_benchmark(
        lambda: lambda x, scale: x * scale,
        lambda: lambda x, scale: x * scale,
        (np.ones((2, 3), np.float32), np.ones(3, np.float32)),
        batch_sizes=[1, 5],
        **QUICK,
    )
    assert [r["batch"] for r in section["rows"]] == [1, 1, 1, 5, 5, 5]
    for row in section["rows"]:
        assert row["sizes"] == {"0": [row["batch"], 3], "1": [3]}
        assert row["throughput_per_s"] == pytest.approx(row["batch"] * 1e3 / row["median_ms"])
    assert len(section["ratios"]) == 4


def test_a_wrong_output_is_an_error_not_a_row() -> None:
    with pytest.raises(BenchmarkError, match="mlx eager: output 'logits' differs"):
        run_benchmark(lambda: MLXMLP(gain=1.01), TorchMLP, batch(), **QUICK)


def test_a_missing_output_is_an_error() -> None:
    with pytest.raises(BenchmarkError, match="outputs"):
        run_benchmark(lambda: lambda x: (x, x), lambda: lambda x: (x,), batch(), **QUICK)
    with pytest.raises(BenchmarkError, match="no output to check"):
        run_benchmark(lambda: lambda x: None, lambda: lambda x: None, batch(), **QUICK)


def test_a_later_wrong_call_is_caught() -> None:
    class Decays:
        calls = 0

        def __call__(self, x: mx.array) -> mx.array:
            self.calls += 1
            return x * (1.0 if self.calls < 6 else 2.0)

    with pytest.raises(BenchmarkError, match="mlx eager"):
        run_benchmark(Decays, lambda: lambda x: x * 1.0, batch(), **QUICK)


@pytest.mark.parametrize("slices", [False, True])
def test_a_stateful_model_is_timed_eagerly_and_in_step(slices: bool) -> None:
    section = run_benchmark(
        lambda: MLXCounter(slices), TorchCounter, (np.ones(3, np.float32),), **QUICK
    )
    assert [r["name"] for r in section["rows"]] == ["torch eager", "mlx eager"]
    assert any("own state" in note for note in section["notes"])
    runs = {r["runs"] for r in section["rows"]}
    assert len(runs) == 1


def test_a_stateful_model_that_drifts_is_caught() -> None:
    with pytest.raises(BenchmarkError):
        run_benchmark(
            lambda: MLXCounter(step=1.001), TorchCounter, (np.ones(3, np.float32),), **QUICK
        )


def test_bfloat16_parameters_cast_the_inputs_on_both_sides() -> None:
    def to_bfloat16() -> nn.Module:
        model = MLXMLP()
        model.set_dtype(mx.bfloat16)
        return model

    section = run_benchmark(to_bfloat16, lambda: TorchMLP().bfloat16(), batch(), **QUICK)
    assert section["dtype"] == "bfloat16"


def test_random_models_are_compared_by_shape_only() -> None:
    section = run_benchmark(
        lambda: lambda x: mx.random.normal(x.shape),
        lambda: torch.randn_like,
        (np.ones((2, 3), np.float32),),
        random=True,
        **QUICK,
    )
    assert any("random numbers" in note for note in section["notes"])


def test_a_model_that_cannot_compile_keeps_its_eager_row() -> None:
    def branches(x: mx.array) -> Any:
        return x * (2.0 if bool((x.sum() > 0).item()) else 3.0)

    section = run_benchmark(lambda: branches, None, (np.ones(3, np.float32),), **QUICK)
    assert [r["name"] for r in section["rows"]] == ["mlx eager"]
    assert section["ratios"] == []
    assert any(note.startswith("mlx compiled: not measured") for note in section["notes"])


def test_nested_inputs_and_plain_arguments_reach_both_sides() -> None:
    def by(library: Any) -> Any:
        return lambda pair, flag, k: (pair["a"] + pair["b"][0]) * (k if flag else library.nan)

    array = np.ones((2, 2), np.float32)
    inputs = {"pair": {"a": array, "b": (array, None)}, "flag": True, "k": 3}
    section = run_benchmark(lambda: by(mx), lambda: by(torch), inputs, **QUICK)
    assert section["rows"][0]["sizes"] == {"pair.a": [2, 2], "pair.b.0": [2, 2]}
    assert len(section["rows"]) == 3


def test_a_speed_beyond_the_machine_is_an_error() -> None:
    with pytest.raises(BenchmarkError, match="beyond this machine's limit"):
        run_benchmark(MLXMLP, None, batch(), flops=1e15, **QUICK)


def test_flops_give_a_rate_scaled_by_batch() -> None:
    section = run_benchmark(
        MLXMLP, None, batch(2), flops=2.0 * 2 * 192, batch_sizes=[2, 4], **QUICK
    )
    for row in section["rows"]:
        expected = 2.0 * row["batch"] * 192 / row["median_ms"] / 1e6
        assert row["gflops"] == pytest.approx(expected)
    assert section["matmul_gflops"]["mlx"] > 0


def test_batch_sizes_need_a_batch_dim() -> None:
    with pytest.raises(ValueError, match="no input has a batch dim"):
        run_benchmark(lambda: abs, None, (np.array(1.0, np.float32),), batch_sizes=[2], **QUICK)
    with pytest.raises(ValueError, match="1 or more"):
        run_benchmark(MLXMLP, None, batch(), batch_sizes=[0], **QUICK)


def test_torch_compile_is_a_row_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda f, dynamic: f)  # the real one takes a minute here
    section = run_benchmark(MLXMLP, TorchMLP, batch(), compile_torch=True, **QUICK)
    assert "torch compile" in [r["name"] for r in section["rows"]]
    assert ("mlx eager", "torch compile") in {(r["name"], r["against"]) for r in section["ratios"]}
