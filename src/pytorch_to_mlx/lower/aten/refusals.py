"""Errors that the source raises where sizes or data decide, as ``raise`` in the emitted model; and
conditions of sizes among those of data.
"""

from __future__ import annotations

from typing import Any

from pytorch_to_mlx.graph import Node, Value, call, current_builder
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.ir import RAISE
from pytorch_to_mlx.lower.aten import lowers


@lowers("p2m.raise_if", "p2m.raise_if_size")
def raise_if(condition: Any, message: str, values: tuple[Any, ...]) -> None:
    """raise_if(Tensor condition, str message, SymInt[] values) -> ()

    ``message`` has a ``{}`` for each of ``values``. A condition that data decide is evaluated,
    which waits for the device.
    """
    if condition is False:
        return
    builder = current_builder()
    args = (condition, message, tuple(values))
    builder.add(Node(RAISE, args, scope=builder.scope, origin=builder.origin))


@lowers("p2m.truth")
def truth(condition: Any) -> Value:
    """truth(SymBool condition) -> Tensor"""
    value: Value = call("mx.array", condition, dtype=DType("bool"))
    return value


@lowers("aten._assert_async.msg")
def assert_async(self: Value, assert_msg: str) -> None:
    """_assert_async.msg(Tensor self, str assert_msg) -> ()"""
    wrong = call("mx.logical_not", self if self.dtype == "bool" else call("mx.not_equal", self, 0))
    raise_if(wrong, assert_msg.replace("{", "{{").replace("}", "}}"), ())
