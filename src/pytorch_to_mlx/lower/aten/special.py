"""Special functions and the less common elementwise ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytorch_to_mlx.graph.build import call
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.ir import Value
from pytorch_to_mlx.lower.aten import Unsupported, lowers
from pytorch_to_mlx.lower.aten._common import align, as_array, is_array, result_type, to_float
from pytorch_to_mlx.lower.aten.pointwise import mul, pow_tensor

# aten::<name>(Tensor self) -> Tensor; integers are computed as float32.
_UNARY = {
    "lgamma": "lgamma",
    "special_gammaln": "lgamma",
    "digamma": "digamma",
    "special_digamma": "digamma",
    "special_psi": "digamma",
    "erfc": "erfc",
    "special_erfc": "erfc",
    "special_erfcx": "erfcx",
    "special_ndtr": "ndtr",
    "special_log_ndtr": "log_ndtr",
    "special_ndtri": "ndtri",
    "special_entr": "entr",
    "i0": "i0",
    "special_i0": "i0",
    "special_i0e": "i0e",
    "special_i1": "i1",
    "special_i1e": "i1e",
    "special_modified_bessel_i0": "i0",
    "special_modified_bessel_i1": "i1",
    "special_bessel_j0": "bessel_j0",
    "special_bessel_j1": "bessel_j1",
    "special_bessel_y0": "bessel_y0",
    "special_bessel_y1": "bessel_y1",
    "special_modified_bessel_k0": "modified_bessel_k0",
    "special_modified_bessel_k1": "modified_bessel_k1",
    "special_scaled_modified_bessel_k0": "scaled_modified_bessel_k0",
    "special_scaled_modified_bessel_k1": "scaled_modified_bessel_k1",
    "special_spherical_bessel_j0": "spherical_bessel_j0",
}

# aten::<name>(Tensor self, Tensor other) -> Tensor; True where integers become floats.
_BINARY: dict[str, tuple[str, bool]] = {
    "copysign": ("copysign", True),
    "hypot": ("hypot", False),
    "heaviside": ("heaviside", False),
    "xlogy": ("xlogy", True),
    "special_xlogy": ("xlogy", True),
    "special_xlog1py": ("xlog1py", True),
    "special_zeta": ("zeta", True),
    "gcd": ("gcd", False),
    "lcm": ("lcm", False),
    "nextafter": ("nextafter", False),
    "logaddexp2": ("logaddexp2", True),
    "igamma": ("gammainc", True),
    "igammac": ("gammaincc", True),
    "special_gammainc": ("gammainc", True),
    "special_gammaincc": ("gammaincc", True),
    "fmax": ("fmax", False),
    "fmin": ("fmin", False),
}

# aten::special_<name>(Tensor x, Scalar n) -> Tensor
_POLYNOMIALS = (
    "chebyshev_polynomial_t",
    "chebyshev_polynomial_u",
    "chebyshev_polynomial_v",
    "chebyshev_polynomial_w",
    "hermite_polynomial_h",
    "hermite_polynomial_he",
    "laguerre_polynomial_l",
    "legendre_polynomial_p",
)


def _unary(target: str) -> Callable[[Value], Value]:
    def lowering(self: Value) -> Value:
        return call(target, to_float(self))

    return lowering


def _binary(target: str, floats: bool) -> Callable[[Any, Any], Value]:
    def lowering(self: Any, other: Any) -> Value:
        dtype = result_type(self, other)
        if floats and not dtype.is_floating:
            dtype = DType("float32")
        a, b = (as_array(v, dtype) for v in (self, other))
        return call(target, a, b)

    return lowering


def _polynomial(target: str) -> Callable[[Value, Any], Value]:
    def lowering(self: Value, n: Any) -> Value:
        if is_array(n) or int(n) != n:
            raise Unsupported("a degree that the data decides; give the degree as a Python int")
        return call(target, to_float(self), int(n))

    return lowering


for _name, _target in _UNARY.items():
    lowers(f"aten.{_name}.default")(_unary(f"ops.{_target}"))
for _name, (_target, _floats) in _BINARY.items():
    lowers(f"aten.{_name}")(_binary(f"ops.{_target}", _floats))
for _name in _POLYNOMIALS:
    lowers(f"aten.special_{_name}.n_scalar")(_polynomial(f"ops.{_name}"))


@lowers("aten.logit", "aten.special_logit")
def logit(self: Value, eps: float | None = None) -> Value:
    """logit(Tensor self, float? eps=None) -> Tensor"""
    return call("ops.logit", to_float(self), *(() if eps is None else (eps,)))


@lowers("aten.ldexp.Tensor")
def ldexp(self: Value, other: Value) -> Value:
    """ldexp.Tensor(Tensor self, Tensor other) -> Tensor"""
    return mul(self, pow_tensor(2.0, other))


@lowers("aten.frexp.Tensor")
def frexp(self: Value) -> tuple[Value, Value]:
    """frexp.Tensor(Tensor self) -> (Tensor mantissa, Tensor exponent)"""
    return call("ops.frexp", self)


@lowers("aten.polygamma", "aten.special_polygamma")
def polygamma(n: int, self: Value) -> Value:
    """polygamma(int n, Tensor self) -> Tensor"""
    return call("ops.polygamma", n, to_float(self))


@lowers("aten.mvlgamma", "aten.special_multigammaln")
def mvlgamma(self: Value, p: int) -> Value:
    """mvlgamma(Tensor self, int p) -> Tensor"""
    return call("ops.multigammaln", to_float(self), p)


@lowers("aten.trapezoid.x", "aten.trapz.x")
def trapezoid(y: Value, x: Value, dim: int = -1) -> Value:
    """trapezoid.x(Tensor y, Tensor x, *, int dim=-1) -> Tensor"""
    return call("ops.trapezoid", *align(y, x), axis=dim)


@lowers("aten.trapezoid.dx", "aten.trapz.dx")
def trapezoid_dx(y: Value, dx: Any = 1, dim: int = -1) -> Value:
    """trapezoid.dx(Tensor y, *, Scalar dx=1, int dim=-1) -> Tensor"""
    return call("ops.trapezoid", to_float(y), None, float(dx), dim)
