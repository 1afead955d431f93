"""Settings of convolutions and pools: kernels, strides, dilations, explicit and automatic pads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy

from pytorch_to_mlx.graph.dims import FloorDiv, as_dim, is_static
from pytorch_to_mlx.lower.registry import Unsupported

Pads = tuple[tuple[Any, Any], ...]


@dataclass(frozen=True)
class Windows:
    """One entry a spatial axis; ``pads`` are (low, high)."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: Pads

    @property
    def symmetric(self) -> bool:
        return all(is_static(a) and is_static(b) and int(a) == int(b) for a, b in self.pads)

    @property
    def padding(self) -> tuple[int, ...]:
        return tuple(int(low) for low, _ in self.pads)


def windows(
    sizes: tuple[Any, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...] | None,
    dilations: tuple[int, ...] | None,
    pads: tuple[int, ...] | None,
    auto_pad: str,
) -> Windows:
    """The settings of ONNX's attributes for an input of these spatial sizes."""
    n = len(kernel)
    lengths = {len(sizes), *(len(v) for v in (strides, dilations) if v), len(pads or ()) / 2 or n}
    if lengths != {n}:
        raise Unsupported(f"a kernel of rank {n} on {len(sizes)} axes, or with other settings")
    stride = tuple(strides or (1,) * n)
    dilation = tuple(dilations or (1,) * n)
    given: Pads = tuple(zip(pads[:n], pads[n:], strict=True)) if pads else ((0, 0),) * n
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        axes = zip(sizes, kernel, stride, dilation, strict=True)
        given = tuple(_same(*axis, upper=auto_pad == "SAME_UPPER") for axis in axes)
    elif auto_pad == "VALID":
        given = ((0, 0),) * n
    return Windows(kernel, stride, dilation, given)


def _same(size: Any, kernel: int, stride: int, dilation: int, *, upper: bool) -> tuple[Any, Any]:
    """Pads that give ``ceil(size / stride)`` windows; the odd one goes to the upper end or not."""
    reach = dilation * (kernel - 1) + 1
    if is_static(size):
        total: Any = max((-(-int(size) // stride) - 1) * stride + reach - int(size), 0)
        small, large = total // 2, total - total // 2
    elif stride == 1:
        total = reach - 1
        small, large = total // 2, total - total // 2
    else:
        count = -FloorDiv(-size, stride)
        total = sympy.Max((count - 1) * stride + reach - size, 0)
        small = FloorDiv(total, 2)
        large = total - small
        small, large = as_dim(small), as_dim(large)
    return (small, large) if upper else (large, small)


def pooled(sizes: tuple[Any, ...], w: Windows, ceil_mode: bool) -> tuple[Any, ...]:
    """Spatial sizes after pooling."""
    out = []
    axes = zip(sizes, w.kernel, w.stride, w.dilation, w.pads, strict=True)
    for size, k, s, d, (low, high) in axes:
        reach = size + low + high - d * (k - 1) - 1
        if is_static(reach):
            count = (-(-int(reach) // s) if ceil_mode else int(reach) // s) + 1
            late = ceil_mode and is_static(size) and (count - 1) * s >= int(size) + int(low)
            out.append(count - 1 if late else count)
        else:
            exact = -FloorDiv(-reach, s) if ceil_mode else FloorDiv(reach, s)
            out.append(as_dim(sympy.expand(exact + 1)))
    return tuple(out)
