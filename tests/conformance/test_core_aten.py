"""Core ATen: every forward op has a lowering, and samples of it pass."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
import torch

from pytorch_to_mlx.cli.coverage import coverage
from tests.conformance.compare import check_distribution, check_values
from tests.conformance.convert import convert
from tests.conformance.samples import entries

RECORD = Path(__file__).resolve().parents[2] / "docs" / "op-conformance.json"

# OpInfo entries whose samples run an op that goes by another name there.
ELSEWHERE = {
    "_cdist_forward": ["cdist"],
    "_fft_c2r": ["fft_irfft", "fft_irfft2", "fft_irfftn"],
    "_fft_r2c": ["fft_rfft", "fft_rfft2", "fft_rfftn"],
    "_local_scalar_dense": ["item"],
    "_native_batch_norm_legit_no_training": ["nn_functional_batch_norm"],
    "_pdist_forward": ["nn_functional_pdist"],
    "_to_copy": ["to", "float", "long"],
    "convolution": ["nn_functional_conv1d", "nn_functional_conv2d", "nn_functional_conv3d"],
    "index": ["__getitem__"],
    "max_pool2d_with_indices": ["nn_functional_max_pool2d"],
    "max_pool3d_with_indices": ["nn_functional_max_pool3d"],
    "native_dropout": ["nn_functional_dropout"],
    "reflection_pad1d": ["nn_functional_pad_reflect"],
    "reflection_pad2d": ["nn_functional_pad_reflect"],
    "reflection_pad3d": ["nn_functional_pad_reflect"],
    "replication_pad2d": ["nn_functional_pad_replicate"],
    "replication_pad3d": ["nn_functional_pad_replicate"],
    "upsample_bilinear2d": ["nn_functional_interpolate_bilinear"],
    "upsample_nearest2d": ["nn_functional_interpolate_nearest"],
}

# Ops that no OpInfo entry samples: run here, on values other than the traced ones.
HERE: dict[str, Callable[..., Any]] = {
    "alias": lambda x: torch.ops.aten.alias.default(x) + 1,
    "col2im": lambda x: torch.nn.functional.fold(x.T[None].repeat(1, 4, 1), (4, 3), (2, 2)),
    "copy": lambda x: torch.ops.aten.copy.default(x, x[:1].long()),
    "rand": lambda x: x * 0 + torch.rand(x.shape),
    "randperm": lambda x: torch.randperm(x.shape[0]),
}

# Entries that share an op's name and sample something else besides it.
FAILING = {
    "as_strided_partial_views": "reads an input's storage beyond the view that it is given",
    "sparse_mm_reduce": "takes sparse CSR tensors",
}


@cache
def core() -> list[str]:
    """Names without overloads."""
    from pytorch_to_mlx.cli.coverage import _core_ops

    return sorted({name.split(".")[1] for name in _core_ops()})


@cache
def sampled() -> dict[str, list[str]]:
    """OpInfo entries by the names of the ops that they sample."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, op in entries().items():
        for key in {op.aten_name, op.name.rpartition(".")[2]}:
            found[key].append(name)
    return found


def entries_of(op: str) -> list[str]:
    return ELSEWHERE.get(op) or sampled().get(op) or sampled().get(op.lstrip("_")) or []


def test_every_core_op_has_a_lowering() -> None:
    found = coverage()["core"]
    assert found["missing"] == []
    assert found["total"] == found["lowered"] > 150


def test_every_core_op_is_sampled_and_passes() -> None:
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    silent = [op for op in core() if not entries_of(op) and op not in HERE]
    assert not silent, "no sample runs them"
    failing = {e for op in core() for e in entries_of(op) if record[e] != "pass"}
    assert failing == set(FAILING)


@pytest.mark.parametrize("op", sorted(HERE))
def test_ops_without_an_entry(op: str) -> None:
    class Module(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return HERE[op](x)

    module, given = Module().eval(), torch.randn(6, 3)
    emitted = convert(module, (torch.randn(6, 3),))
    if op == "randperm":
        (got,) = emitted(given)
        assert sorted(got.tolist()) == list(range(6))
        assert got.dtype == mx.int64
    elif emitted.random:
        check_distribution(lambda: [module(given)], lambda: emitted(given))
    else:
        check_values([module(given)], emitted(given))
