"""Quantize and dequantize at once, as a layer that holds scale and zero point.

Given::

    %1 = ops.quantize_linear(%x, @x_scale, @x_zero_point, -128, 127)
    %2 = mx.astype(%1, int8)
    %3 = ops.dequantize_linear(%2, @x_scale, @x_zero_point)

Result::

    %3 = ops.ThroughCodes(%x, lowest=-128, highest=127, scale=@x_scale, zero_point=@x_zero_point)

Only with one scale for all of ``x``, and where nothing else uses the codes.
"""

from __future__ import annotations

import re
from typing import Any

from pytorch_to_mlx.graph import Node, Value
from pytorch_to_mlx.passes.match import produced_by, single_use


def plan(
    node: Node, weights: set[Value]
) -> tuple[str, tuple[Any, ...], dict[str, Any], dict[str, Value], str] | None:
    """The layer in place of an ``ops.dequantize_linear``, if it is one (see ``passes.layers``)."""
    codes, scale, zero_point = node.args[:3] if len(node.args) == 3 else (None, None, None)
    if node.kwargs or scale not in weights or zero_point not in weights:
        return None
    if scale.dims != () or zero_point.dims != ():
        return None
    cast = produced_by(codes, "mx.astype")
    if cast is None or not single_use(cast.output):
        return None
    made = produced_by(cast.args[0], "ops.quantize_linear")
    if made is None or made.kwargs or len(made.args) != 5 or not single_use(made.output):
        return None
    x, its_scale, its_zero_point, lowest, highest = made.args
    if its_scale is not scale or its_zero_point is not zero_point:
        return None
    config = {"lowest": lowest, "highest": highest}
    params = {"scale": scale, "zero_point": zero_point}
    node.label = _name(scale.hint)
    return "ops.ThroughCodes", (x,), config, params, ""


def _name(scale: str) -> str:
    """``Relu_1_output_0_scale`` (of the value that is quantized) as ``relu_1_codes``."""
    name = re.sub(r"\W+", "_", scale.rpartition("/")[2].removesuffix("_scale"))
    return re.sub(r"_output(_0)?$", "", name).strip("_").lower() + "_codes"
