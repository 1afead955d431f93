"""Activation functions against torch, at ordinary and at extreme arguments."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import pytorch_to_mlx as p2m
from tests.lower.harness import check_op, targets

X = torch.cat([torch.linspace(-30, 30, 25), torch.linspace(-1, 1, 11)]).reshape(4, 9)
PRELU = torch.nn.PReLU(9)
torch.nn.init.uniform_(PRELU.weight)

ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "mish": F.mish,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "hardtanh": F.hardtanh,
    "hardtanh bounds": lambda x: F.hardtanh(x, -0.5, 2.0),
    "leaky_relu": F.leaky_relu,
    "leaky_relu steep": lambda x: F.leaky_relu(x, 2.0),
    "leaky_relu negative": lambda x: F.leaky_relu(x, -0.5),
    "elu": F.elu,
    "elu alpha": lambda x: F.elu(x, 0.7),
    "elu scales": lambda x: torch.ops.aten.elu(x, 1.5, 0.5, 2.0),
    "selu": F.selu,
    "celu": F.celu,
    "celu alpha": lambda x: F.celu(x, 0.7),
    "softplus": F.softplus,
    "softplus beta": lambda x: F.softplus(x, 2.0),
    "softplus threshold": lambda x: F.softplus(x, 2.0, 1.0),
    "logsigmoid": F.logsigmoid,
    "log_sigmoid_forward": lambda x: torch.ops.aten.log_sigmoid_forward(x)[0],
    "hardshrink": F.hardshrink,
    "hardshrink lambd": lambda x: F.hardshrink(x, 0.2),
    "softshrink": F.softshrink,
    "softshrink lambd": lambda x: F.softshrink(x, 0.2),
    "tanhshrink": F.tanhshrink,
    "softsign": F.softsign,
    "threshold": lambda x: F.threshold(x, 0.1, 2.0),
    "prelu": PRELU,
    "prelu one": torch.nn.PReLU(),
    "rrelu": F.rrelu,
    "glu": lambda x: F.glu(x[:, :8]),
    "glu first axis": lambda x: F.glu(x, 0),
    "softmax": lambda x: F.softmax(x, -1),
    "softmax first axis": lambda x: F.softmax(x, 0),
    "softmax to float": lambda x: F.softmax(x, 1, dtype=torch.float32),
    "softmax of a scalar": lambda x: F.softmax(x[0, 0], 0),
    "log_softmax": lambda x: F.log_softmax(x, -1),
    "log_softmax of a scalar": lambda x: F.log_softmax(x[0, 0], 0),
    "softmin": lambda x: F.softmin(x, 1),
    "_softmax": lambda x: torch.ops.aten._softmax(x, 1, False),
    "_log_softmax": lambda x: torch.ops.aten._log_softmax(x, 0, False),
    "_safe_softmax": lambda x: torch.ops.aten._safe_softmax(x, 1),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name: str) -> None:
    check_op(ACTIVATIONS[name], X, atol=1e-6, dynamic=False)


@pytest.mark.parametrize("name", ["gelu", "silu", "softmax", "log_softmax", "softplus", "relu"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(name: str, dtype: torch.dtype) -> None:
    check_op(ACTIVATIONS[name], (X / 8).to(dtype), dynamic=False)


def test_safe_softmax_of_a_masked_row() -> None:
    x = X.clone()
    x[1] = -float("inf")
    check_op(lambda x: torch.ops.aten._safe_softmax(x, 1), x, dynamic=False)


def test_at_another_size() -> None:
    check_op(lambda x: F.softmax(F.gelu(x), -1), X)


def test_not_a_number_passes_through() -> None:
    x = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0])
    for name in ("relu", "relu6", "hardtanh", "leaky_relu", "hardshrink", "threshold"):
        check_op(ACTIVATIONS[name], x, dynamic=False)


def test_common_ones_are_one_call() -> None:
    wanted = {"relu": "nn.relu", "silu": "nn.silu", "gelu": "nn.gelu", "softmax": "mx.softmax"}
    for name, target in wanted.items():
        assert targets(ACTIVATIONS[name], X, dynamic=False) == [target]


def test_log_softmax_at_many_sizes() -> None:
    """MLX's own ``nn.log_softmax`` ends the process at the second or third size."""
    module = torch.nn.LogSoftmax(-1)
    converted = p2m.convert(module, (torch.randn(3, 4),))
    for rows, columns in itertools.product(range(1, 9), range(1, 9)):
        x = torch.randn(rows, columns)
        np.testing.assert_allclose(np.array(converted(x)), module(x).numpy(), atol=1e-5)
