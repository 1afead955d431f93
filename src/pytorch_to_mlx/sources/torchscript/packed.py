"""What ``torch.jit.optimize_for_inference`` writes for oneDNN, as the ops that it stood for.

Tensors in oneDNN's own layout are ordinary ones here: weights are unpacked, and the ops that pack
and unpack give their argument. Ops in place (``..._``) may as well make a new tensor: torch takes
them only where nothing else reads the old one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Maker = Callable[[Any], Callable[..., Any]]  # of a node: what it computes of its inputs


def _convolution(_: Any) -> Callable[..., Any]:
    import torch

    def convolve(
        x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
    ) -> Any:
        rest = (stride, padding, dilation, False, [0] * (weight.ndim - 2), groups)
        return torch.ops.aten.convolution(x, weight, bias, *rest)

    return convolve


def _layer_norm(_: Any) -> Callable[..., Any]:
    import torch

    return lambda x, shape, weight, bias, eps, *_: torch.ops.aten.layer_norm(
        x, shape, weight, bias, eps
    )


def _clamp(node: Any) -> Callable[..., Any]:
    low, high = node.f("min_val"), node.f("max_val")
    return lambda x: x.clamp(low, high)


def _broadcast(_: Any) -> Callable[..., Any]:
    import torch

    return lambda *tensors: [t.clone() for t in torch.broadcast_tensors(*tensors)]


def _function(name: str) -> Maker:
    def maker(_: Any) -> Callable[..., Any]:
        import torch

        return getattr(torch.nn.functional, name)

    return maker


def _same(_: Any) -> Callable[..., Any]:
    return lambda x, *_: x


_FUNCTIONAL: dict[str, Maker] = {
    "prim::MKLDNNHardSwish": _function("hardswish"),
    "prim::MKLDNNHardSigmoid": _function("hardsigmoid"),
    "prim::MKLDNNHardTanh": _clamp,
    "prim::MKLDNNRelu6": _function("relu6"),
    "prim::MKLDNNClamp": _clamp,
    "prim::MKLDNNLayerNorm": _layer_norm,
    "prim::MKLDNNScalarMul": lambda _: lambda x, factor: x * factor,
}

PACKED: dict[str, Maker] = {
    **_FUNCTIONAL,
    **{f"{kind}_": maker for kind, maker in _FUNCTIONAL.items()},
    "prim::mkldnn_convolution": _convolution,
    "prim::BroadcastMKLDNNTensors": _broadcast,
    "aten::to_mkldnn": _same,
    "aten::to_dense": _same,
}


def constant_value(node: Any) -> Any:
    """What a constant holds, out of oneDNN's layout if it is in it."""
    packed = node.kind() == "prim::ConstantMKLDNNTensor"
    return node.t("value").to_dense() if packed else node.output().toIValue()
