"""Steps of optimizers for training graphs: all x come first, then all gradients, then all state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytorch_to_mlx.graph import Value
from pytorch_to_mlx.lower.onnx import Unsupported, lowers
from pytorch_to_mlx.lower.onnx._common import call_as
from pytorch_to_mlx.ops.optimizers import adagrad_step, adam_step, momentum_step

TRAINING = "ai.onnx.preview.training"


def _steps(
    fn: Callable[..., Any], kinds: int, r: Value, t: Value, inputs: tuple[Value, ...], *args: Any
) -> tuple[Value, ...]:
    """A step for each tensor; ``kinds`` counts x, the gradient and each state. The results are all
    new x, then each new state.

    Raises:
        Unsupported: the inputs are not that many for each tensor.
    """
    if not inputs or len(inputs) % kinds:
        raise Unsupported(f"{len(inputs)} tensors where each needs {kinds}")
    count = len(inputs) // kinds
    stepped = []
    for i in range(count):
        given = inputs[i::count]
        results = [(v.dims, str(v.dtype)) for v in (given[0], *given[2:])]
        stepped.append(call_as(fn, results, r, t, *given, *args))
    return tuple(v for kind in zip(*stepped, strict=True) for v in kind)


@lowers("Momentum", domain=TRAINING)
def momentum(
    R: Value,
    T: Value,
    *inputs: Value,
    alpha: float,
    beta: float,
    mode: str,
    norm_coefficient: float,
) -> tuple[Value, ...]:
    """Momentum(T1 R, T2 T, T3 inputs..., float alpha, float beta, string mode,
    float norm_coefficient) -> T3 outputs..."""
    given = (alpha, beta, norm_coefficient, mode == "nesterov")
    return _steps(momentum_step, 3, R, T, inputs, *given)


@lowers("Adagrad", domain=TRAINING)
def adagrad(
    R: Value,
    T: Value,
    *inputs: Value,
    decay_factor: float = 0.0,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
) -> tuple[Value, ...]:
    """Adagrad(T1 R, T2 T, T3 inputs..., float decay_factor=0, float epsilon=0,
    float norm_coefficient=0) -> T3 outputs..."""
    given = (norm_coefficient, decay_factor, epsilon)
    return _steps(adagrad_step, 3, R, T, inputs, *given)


@lowers("Adam", domain=TRAINING)
def adam(
    R: Value,
    T: Value,
    *inputs: Value,
    alpha: float = 0.9,
    beta: float = 0.999,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
    norm_coefficient_post: float = 0.0,
) -> tuple[Value, ...]:
    """Adam(T1 R, T2 T, T3 inputs..., float alpha=0.9, float beta=0.999, float epsilon=0,
    float norm_coefficient=0, float norm_coefficient_post=0) -> T3 outputs..."""
    given = (alpha, beta, epsilon, norm_coefficient, norm_coefficient_post)
    return _steps(adam_step, 4, R, T, inputs, *given)
