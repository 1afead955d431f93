"""Host values: numbers read out of arrays."""

from __future__ import annotations

from pytorch_to_mlx.graph.build import call
from pytorch_to_mlx.graph.ir import Value
from pytorch_to_mlx.lower.aten import lowers


@lowers("aten.item", "aten._local_scalar_dense")
def item(self: Value) -> Value:
    """_local_scalar_dense(Tensor self) -> Scalar

    The result is a host value: whoever stamps it gives it its kind and symbol.
    """
    out: Value = call("host.item", self)
    out.shape = ()
    return out
