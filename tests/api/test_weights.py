"""Weights that are shared, tied, normalised, cast; sources that are no modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pytorch_to_mlx as p2m
from tests.api.helpers import call, proven
from tests.golden.compare import assert_same, run_torch


def weight_names(module: mlx.nn.Module) -> set[str]:
    """Dotted names of an emitted module's weights, buffers included."""
    return {name for name, _ in weights_of(module)}


def weights_of(module: mlx.nn.Module) -> list[tuple[str, mx.array]]:
    """Names and arrays of an emitted module."""
    weights: Any = mlx.nn.utils.tree_flatten(module.parameters())
    return list(weights)


class Tied(nn.Module):
    """An embedding that is also the head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 4)
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.head = nn.Linear(4, 9, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.second(F.gelu(self.first(self.embedding(ids)))))


class Shared(nn.Module):
    """Two layers with one bias, and a weight that is used bare as well."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.bias = self.first.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(F.gelu(self.first(x))) @ self.first.weight


class Aliased(nn.Module):
    """One module under two names, and a list that holds it again."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
        self.alias = self.encoder
        self.items_ = nn.ModuleList([self.encoder, nn.Linear(3, 3), self.encoder[0]])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.alias(self.encoder(x))
        for layer in self.items_:
            x = layer(x)
        return x


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor, scale: float, flip: bool = False) -> torch.Tensor:
        x = self.linear(x) * scale
        return -x if flip else x


class Repeated(nn.Module):
    """A child called several times, with other constants and in other branches."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Scaled()
        self.other = Scaled()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.block(x, 0.5) + self.block(x, 2.0, flip=True)
        for i in range(3):
            x = self.other(x, float(i + 1))
        return self.block(x, 0.5)


class Normalised(nn.Module):
    """Both forms of weight norm, over several kinds of layers and dims."""

    def __init__(self) -> None:
        super().__init__()
        new = torch.nn.utils.parametrizations.weight_norm
        old = torch.nn.utils.weight_norm
        self.a = new(nn.Conv1d(3, 4, 3, padding=1))
        self.b = old(nn.Conv1d(4, 4, 3, padding=1))
        self.c = old(nn.ConvTranspose1d(4, 4, 4, stride=2, padding=1))
        self.d = new(nn.Linear(4, 5), dim=None)
        self.e = old(nn.Linear(5, 2), dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.c(F.leaky_relu(self.b(self.a(x)), 0.1)).transpose(1, 2)
        return self.e(torch.tanh(self.d(x)))


class Integers(nn.Module):
    """Integer and bool buffers, and a plain tensor attribute, are never cast."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("order", torch.tensor([2, 0, 1]))
        self.register_buffer("keep", torch.tensor([True, False, True]))
        self.register_buffer("codes", torch.tensor([1, -2, 3], dtype=torch.int8))
        self.big = torch.tensor([2**40, 1, 2])
        self.linear = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = torch.where(self.keep, self.linear(x)[:, self.order], 0.0)
        return x, self.order * 2, self.big + 1, self.codes + self.codes, self.keep


class Audio(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 4, 3)
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 3)
        self.register_buffer("offset", torch.ones(3))
        self.to(dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.conv(x))).mean(-1)
        return F.softmax(self.head(x) + self.offset, dim=-1)


class Methods(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(3, 5)
        self.decoder = nn.Linear(5, 3)

    def encode(self, signal: torch.Tensor, gain: float = 1.0) -> torch.Tensor:
        return torch.tanh(self.encoder(signal)) * gain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encode(x))


def seeded(module: nn.Module) -> nn.Module:
    """The module with every floating tensor drawn anew, the same at every call; in eval mode."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                low = 0.5 if name.endswith(("running_var", "_g", "original0")) else -0.5
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + low)
    return module.eval()


def test_tied_weights_are_stored_once(tmp_path: Path) -> None:
    ids = torch.arange(6).reshape(2, 3)
    loaded = proven(tmp_path, seeded(Tied()), call(ids), call(ids[:1, :1]))
    assert weight_names(loaded.module) == {
        f"{m}.{w}" for m in ("first", "second") for w in ("weight", "bias")
    } | {"embedding.weight"}
    assert "as_linear" in loaded.code


def test_shared_parameters_are_stored_once(tmp_path: Path) -> None:
    loaded = proven(tmp_path, seeded(Shared()), call(torch.ones(2, 4)), call(torch.randn(1, 4)))
    stored = mx.load(str(loaded.path / "model.safetensors"))
    assert set(stored) == {"first.weight", "first.bias", "second.weight"}


def test_modules_under_several_names(tmp_path: Path) -> None:
    loaded = proven(tmp_path, seeded(Aliased()), call(torch.ones(2, 3)), call(torch.randn(1, 3)))
    assert len(weight_names(loaded.module)) == 6


def test_modules_called_several_times(tmp_path: Path) -> None:
    loaded = proven(tmp_path, seeded(Repeated()), call(torch.ones(2, 3)), call(torch.randn(1, 3)))
    assert len(weight_names(loaded.module)) == 4


def test_weight_norms_are_folded(tmp_path: Path) -> None:
    calls = [call(torch.randn(2, 3, 8)), call(torch.randn(1, 3, 5))]
    loaded = proven(tmp_path, seeded(Normalised()), *calls)
    assert weight_names(loaded.module) == {f"{n}.{w}" for n in "abcde" for w in ("weight", "bias")}


@pytest.mark.parametrize("dtype", [None, "float16", "bfloat16"])
def test_integers_are_never_cast(tmp_path: Path, dtype: str | None) -> None:
    module = seeded(Integers())
    x = torch.tensor([[0.5, -1.0, 2.0], [1.5, 0.25, -0.125]])
    converted = p2m.convert(module, (x,), dtype=dtype)
    cast = getattr(torch, dtype or "float32")
    want = run_torch(seeded(Integers()).to(cast), x.to(cast))
    assert_same(converted(x), want, 1e-4 if dtype is None else 2e-2)
    assert_same(p2m.load(converted.save(tmp_path / "p"))(x), want, 1e-4 if dtype is None else 2e-2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("stored", [torch.float32, torch.float64])
def test_dtype_casts_floating_weights(tmp_path: Path, dtype: str, stored: torch.dtype) -> None:
    module = seeded(Audio(stored))
    calls = [call(torch.randn(n, 2, 9, dtype=stored)) for n in (2, 1)]
    converted = p2m.convert(module, *calls[0], dtype=dtype)
    assert next(module.parameters()).dtype is stored
    low = seeded(Audio(stored)).to(getattr(torch, dtype))
    for (x,), _ in calls:
        want = run_torch(low, x.to(getattr(torch, dtype)))
        assert_same(converted(x), want, 0.02 if dtype == "float16" else 0.06)
    assert {str(w.dtype) for _, w in weights_of(converted.module)} == {f"mlx.core.{dtype}"}
    saved = p2m.load(converted.save(tmp_path / "p"))
    assert mx.array_equal(saved(calls[0][0][0]), converted(calls[0][0][0])).item()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_dtype_of_weight_norm(dtype: str) -> None:
    """torch refuses to deepcopy these modules (never called, and called without gradients)."""
    x = torch.randn(2, 3, 8)
    fresh = p2m.convert(seeded(Normalised()), (x,), dtype=dtype)(x)
    module = seeded(Normalised())
    want = run_torch(module, x)
    assert_same(fresh.astype(mx.float32), want, 0.05)
    got = p2m.convert(module, (x,), dtype=dtype)(x)
    assert str(got.dtype) == f"mlx.core.{dtype}"
    assert_same(got.astype(mx.float32), want, 0.05)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_checkpoints_of_low_precision(tmp_path: Path, dtype: torch.dtype) -> None:
    x = torch.randn(2, 2, 9).to(dtype)
    # As the packages' own self-tests (package/writer.py, TOLERANCES): rounding adds up with depth.
    tolerance = 0.02 if dtype is torch.float16 else 0.06
    loaded = proven(tmp_path, seeded(Audio(dtype)), call(x), call(x[:1]), tolerance=tolerance)
    assert loaded.config["dtype"] == str(dtype).removeprefix("torch.")


def test_float64_becomes_float32(tmp_path: Path) -> None:
    calls = [call(torch.randn(n, 2, 9, dtype=torch.float64)) for n in (2, 1)]
    loaded = proven(tmp_path, seeded(Audio(torch.float64)), *calls)
    assert loaded.config["dtype"] == "float32"
    assert "float64" in " ".join(loaded.report["warnings"])


def exported(module: nn.Module) -> Any:
    dims = {"x": {0: torch.export.Dim("batch", max=64)}}
    return torch.export.export(module, (torch.randn(3, 2, 9),), dynamic_shapes=dims)


def test_exported_programs(tmp_path: Path) -> None:
    module = seeded(Audio(torch.float32))
    program = exported(module)
    x = torch.randn(5, 2, 9)
    for source in (program, _file(program, tmp_path)):
        converted = p2m.convert(source)
        for batch in (5, 1):
            assert_same(converted(x[:batch]), run_torch(module, x[:batch]))
        shape = converted.config["inputs"][0]["shape"]
        assert [type(size) for size in shape] == [str, int, int]
        loaded = p2m.load(converted.save(tmp_path / f"saved_{type(source).__name__}"))
        assert_same(loaded(x=x), run_torch(module, x))
        assert "class Audio(nn.Module)" in loaded.code
        assert "self.head" in loaded.code


def _file(program: Any, folder: Path) -> Path:
    torch.export.save(program, folder / "model.pt2")
    return folder / "model.pt2"


def test_exported_programs_take_a_dtype(tmp_path: Path) -> None:
    module = seeded(Audio(torch.float32))
    x = torch.randn(3, 2, 9)
    converted = p2m.convert(exported(module), dtype="float16")
    want = run_torch(seeded(Audio(torch.float32)).half(), x.half())
    assert_same(converted(x), want, 0.02)


def test_another_method(tmp_path: Path) -> None:
    module = seeded(Methods())
    x = torch.randn(2, 3)
    converted = p2m.convert(module, (x,), {"gain": 2.0}, method="encode")
    assert_same(converted(signal=x), run_torch(_Encode(module), x))
    loaded = p2m.load(converted.save(tmp_path / "p"))
    assert_same(loaded(x[:1]), run_torch(_Encode(module), x[:1]))
    assert weight_names(loaded.module) == {"encoder.weight", "encoder.bias"}
    assert_same(p2m.convert(module, (x,))(x), run_torch(module, x))


class _Encode(nn.Module):
    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.module.encode(x, gain=2.0)


def test_training_mode_is_switched_off_and_told() -> None:
    module = seeded(Audio(torch.float32)).train()
    x = torch.randn(3, 2, 9)
    converted = p2m.convert(module, (x,))
    assert module.training
    assert "eval" in " ".join(converted.report["warnings"])
    assert_same(converted(x), run_torch(module.eval(), x))


class Framed(nn.Module):
    """Rows of a fixed width from inputs of any length: the number of rows grows with the length."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * 2).reshape(-1, 4).sum(-1)


class PooledRows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.max_pool1d(x, 4).reshape(-1, 4))


@pytest.mark.parametrize("module, width", [(Framed(), 4), (seeded(PooledRows()), 16)])
def test_sizes_that_dims_allow_are_right(module: nn.Module, width: int) -> None:
    """What ``config.json`` calls dynamic is computed as torch does, wherever torch takes it."""
    converted = p2m.convert(module, (torch.randn(2, width),))
    free = {s["where"][0]: s for s in converted.config["dims"]["symbols"].values()}
    entry = free.get("x:1")
    for length in (width, 2 * width, width // 2, 3 * width, width + 2, width + 1, 1):
        inside = entry is not None and (
            length >= entry["min"]
            and (entry["max"] is None or length <= entry["max"])
            and length % (entry["multiple_of"] or 1) == 0
        )
        for batch in (1, 3, 4):
            x = torch.randn(batch, length)
            if inside or length == width:
                try:
                    want = run_torch(module, x)
                except RuntimeError:  # torch itself takes no such length
                    continue
                assert_same(converted(x), want)
