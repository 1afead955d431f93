"""Control flow, constants and other ops that make no calculation of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from pytorch_to_mlx.lower.onnx import Unsupported, lowers
from pytorch_to_mlx.lower.onnx._control import branch, loop
from pytorch_to_mlx.lower.onnx._scan import batched_scan
from pytorch_to_mlx.lower.onnx._scan import scan as scan_loop
from pytorch_to_mlx.lower.onnx._values import Known


@lowers("Identity")
def identity(input: Any) -> Any:
    """Identity(V input) -> V output"""
    return input


@lowers("Constant")
def constant(
    value: Any = None,
    sparse_value: Any = None,
    value_float: float | None = None,
    value_floats: tuple[float, ...] | None = None,
    value_int: int | None = None,
    value_ints: tuple[int, ...] | None = None,
    value_string: str | None = None,
    value_strings: tuple[str, ...] | None = None,
) -> Known:
    """Constant() -> T output"""
    if value is not None:
        return Known(value.array, value.element)
    if sparse_value is not None:
        return Known(sparse_value.array, sparse_value.element)
    for number in (value_float, value_floats):
        if number is not None:
            return Known(np.array(number, np.float32), "float32")
    for number in (value_int, value_ints):
        if number is not None:
            return Known(np.array(number, np.int64), "int64")
    return Known(
        np.array(value_strings if value_string is None else value_string, object), "string"
    )


@lowers("If")
def if_(cond: Any, then_branch: onnx.GraphProto, else_branch: onnx.GraphProto) -> Any:
    """If(B cond, graph then_branch, graph else_branch) -> V outputs..."""
    return branch(cond, then_branch, else_branch)


@lowers("Loop")
def loop_(M: Any, cond: Any, *v_initial: Any, body: onnx.GraphProto) -> Any:
    """Loop(I? M, B? cond, V v_initial..., graph body) -> V v_final_and_scan_outputs..."""
    return loop(M, cond, v_initial, body)


@lowers("Scan", since=9)
def scan(
    *initial_state_and_scan_inputs: Any,
    body: onnx.GraphProto,
    num_scan_inputs: int,
    scan_input_axes: tuple[int, ...] = (),
    scan_input_directions: tuple[int, ...] = (),
    scan_output_axes: tuple[int, ...] = (),
    scan_output_directions: tuple[int, ...] = (),
) -> Any:
    """Scan(V initial_state_and_scan_inputs..., graph body, int num_scan_inputs) -> V outputs..."""
    states = len(initial_state_and_scan_inputs) - num_scan_inputs
    outputs = len(body.output) - states
    return scan_loop(
        initial_state_and_scan_inputs[:states],
        initial_state_and_scan_inputs[states:],
        body,
        scan_input_axes or (0,) * num_scan_inputs,
        scan_input_directions or (0,) * num_scan_inputs,
        scan_output_axes or (0,) * outputs,
        scan_output_directions or (0,) * outputs,
    )


@lowers("Scan", since=8)
def scan_8(
    sequence_lens: Any,
    *initial_state_and_scan_inputs: Any,
    body: onnx.GraphProto,
    num_scan_inputs: int,
    directions: tuple[int, ...] = (),
) -> Any:
    """Scan(I? sequence_lens, V initial_state_and_scan_inputs..., graph body, int num_scan_inputs,
    ints directions) -> V outputs..."""
    if sequence_lens is not None:
        raise Unsupported("Scan of opset 8 over sequences of several lengths")
    backwards = directions or (0,) * num_scan_inputs
    return batched_scan(initial_state_and_scan_inputs, body, backwards)
