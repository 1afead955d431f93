"""One step of an optimizer for one tensor, as training graphs of ONNX hold them.

``rate`` is the learning rate and ``step`` the number of steps done; both are scalars.
"""

from __future__ import annotations

import mlx.core as mx


def momentum_step(
    rate: mx.array,
    step: mx.array,
    x: mx.array,
    gradient: mx.array,
    velocity: mx.array,
    alpha: float,
    beta: float,
    norm_coefficient: float,
    nesterov: bool,
) -> tuple[mx.array, mx.array]:
    """``x`` and its velocity after a step. Source: the ONNX standard, ``Momentum``."""
    gradient = norm_coefficient * x + gradient
    velocity = alpha * velocity + mx.where(step > 0, beta, 1.0) * gradient
    move = gradient + alpha * velocity if nesterov else velocity
    return x - rate * move, velocity


def adagrad_step(
    rate: mx.array,
    step: mx.array,
    x: mx.array,
    gradient: mx.array,
    squares: mx.array,
    norm_coefficient: float,
    decay_factor: float,
    epsilon: float,
) -> tuple[mx.array, mx.array]:
    """``x`` and its summed squares after a step. Source: the ONNX standard, ``Adagrad``."""
    gradient = norm_coefficient * x + gradient
    squares = squares + mx.square(gradient)
    rate = rate / (1 + step.astype(x.dtype) * decay_factor)
    return x - rate * gradient / (mx.sqrt(squares) + epsilon), squares


def adam_step(
    rate: mx.array,
    step: mx.array,
    x: mx.array,
    gradient: mx.array,
    velocity: mx.array,
    squares: mx.array,
    alpha: float,
    beta: float,
    epsilon: float,
    norm_coefficient: float,
    norm_coefficient_post: float,
) -> tuple[mx.array, mx.array, mx.array]:
    """``x``, its velocity and mean square after a step. Source: the ONNX standard, ``Adam``."""
    gradient = norm_coefficient * x + gradient
    velocity = alpha * velocity + (1 - alpha) * gradient
    squares = beta * squares + (1 - beta) * mx.square(gradient)
    steps = step.astype(x.dtype)
    unbiased = rate * mx.sqrt(1 - mx.power(beta, steps)) / (1 - mx.power(alpha, steps))
    rate = mx.where(step > 0, unbiased, rate)
    x = x - rate * velocity / (mx.sqrt(squares) + epsilon)
    return (1 - norm_coefficient_post) * x, velocity, squares
