"""Orthogonal polynomials of torch.special, their degrees given as arrays or numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytorch_to_mlx.graph.build import call
from pytorch_to_mlx.graph.ir import Value
from pytorch_to_mlx.lower.aten import lowers
from pytorch_to_mlx.lower.aten._common import as_array

# aten::special_<family>_polynomial_<letter>(Tensor x, Tensor n) -> Tensor
_KINDS = (
    "chebyshev_t chebyshev_u chebyshev_v chebyshev_w hermite_h hermite_he laguerre_l legendre_p"
).split()


def _lowering(kind: str, shifted: bool) -> Callable[[Any, Any], Value]:
    def lowering(x: Any, n: Any) -> Value:
        more = {"shifted": True} if shifted else {}
        return call("ops.orthogonal_polynomial", as_array(x), as_array(n), kind, **more)

    return lowering


for _kind in _KINDS:
    _family, _letter = _kind.split("_")
    _name = f"{_family}_polynomial_{_letter}"
    lowers(f"aten.special_{_name}")(_lowering(_kind, False))
    if _family == "chebyshev":
        lowers(f"aten.special_shifted_{_name}")(_lowering(_kind, True))
