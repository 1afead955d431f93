"""Complex numbers: parts, angles and views."""

from __future__ import annotations

import mlx.core as mx

from pytorch_to_mlx.graph.build import call
from pytorch_to_mlx.graph.ir import Value
from pytorch_to_mlx.lower.aten import lowers
from pytorch_to_mlx.lower.aten._common import align, is_complex, to_float


@lowers("aten.complex")
def complex_(real: Value, imag: Value) -> Value:
    """complex(Tensor real, Tensor imag) -> Tensor"""
    return call("ops.complex_of", *align(real, imag))


@lowers("aten.polar")
def polar(abs: Value, angle: Value) -> Value:
    """polar(Tensor abs, Tensor angle) -> Tensor"""
    return call("ops.polar", *align(abs, angle))


@lowers("aten.angle.default")
def angle(self: Value) -> Value:
    """angle(Tensor self) -> Tensor"""
    return call("ops.angle_of", self if is_complex(self) else to_float(self))


@lowers("aten.real", "aten._real")
def real(self: Value) -> Value:
    """real(Tensor(a) self) -> Tensor(a)"""
    return call(mx.real, self) if is_complex(self) else self


@lowers("aten.imag", "aten._imag")
def imag(self: Value) -> Value:
    """imag(Tensor(a) self) -> Tensor(a)"""
    return call(mx.imag, self)


@lowers("aten.conj", "aten._conj", "aten.conj_physical", "aten._conj_physical", "aten._conj_copy")
def conj(self: Value) -> Value:
    """conj(Tensor(a) self) -> Tensor(a)"""
    return call(mx.conjugate, self) if is_complex(self) else self


@lowers("aten._neg_view")
def neg_view(self: Value) -> Value:
    """_neg_view(Tensor(a) self) -> Tensor(a)"""
    return call(mx.negative, self)


@lowers("aten.view_as_real", "aten.view_as_real_copy")
def view_as_real(self: Value) -> Value:
    """view_as_real(Tensor(a) self) -> Tensor(a)"""
    return call(mx.stack, (call(mx.real, self), call(mx.imag, self)), axis=-1)


@lowers("aten.view_as_complex", "aten.view_as_complex_copy")
def view_as_complex(self: Value) -> Value:
    """view_as_complex(Tensor(a) self) -> Tensor(a)"""
    return call("ops.view_as_complex", self)


@lowers("aten.isreal")
def isreal(self: Value) -> Value:
    """isreal(Tensor self) -> Tensor"""
    return call(mx.equal, call(mx.imag, self) if is_complex(self) else call(mx.zeros_like, self), 0)
