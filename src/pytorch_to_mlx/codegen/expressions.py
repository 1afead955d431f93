"""One node as a Python expression (``ast``), given how its inputs are written."""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import sympy

from pytorch_to_mlx.codegen import forms
from pytorch_to_mlx.graph import Node, Value
from pytorch_to_mlx.graph.dims import dims_equal, product
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.ir import iter_values
from pytorch_to_mlx.ops import registry

_LARGEST = float(np.finfo(np.float32).max)


class Renderer:
    """Writes nodes as expressions.

    ``value`` gives the expression of an input value, ``size`` that of a symbolic size, ``kept``
    that of a fixed size which can be read from an argument's shape.
    """

    def __init__(
        self,
        value: Callable[[Value], ast.expr],
        size: Callable[[sympy.Expr], ast.expr],
        kept: Callable[[tuple[Any, ...], int], ast.expr | None] = lambda dims, axis: None,
    ) -> None:
        self.value = value
        self.size = size
        self.kept = kept

    def call(self, node: Node, function: ast.expr | None = None) -> ast.expr:
        """The expression of a node; ``function`` replaces the callee (a layer attribute)."""
        if function is not None:
            return ast.Call(function, [self.arg(a) for a in node.args], [])
        return (
            self._operator(node)
            or self._inserted_axis(node)
            or self._method(node)
            or self._function(node)
        )

    def arg(self, a: Any) -> ast.expr:
        """Any argument: values, sizes, dtypes, constants and tuples of these."""
        if isinstance(a, Value):
            return self.value(a)
        if isinstance(a, (tuple, list)) and any(_is_array(x) for x in a):
            return ast.List([self.arg(x) for x in a], ast.Load())
        if isinstance(a, (tuple, list)):
            return ast.Tuple([self.arg(x) for x in a], ast.Load())
        if isinstance(a, slice):
            return self._slice(a)
        if isinstance(a, DType):
            return dtype_expr(a)
        if isinstance(a, sympy.Basic):
            return self.size(a)
        if isinstance(a, dict):
            return ast.Dict([ast.Constant(k) for k in a], [self.arg(v) for v in a.values()])
        return constant(a)

    # -- forms -------------------------------------------------------------------------------------

    def _operator(self, node: Node) -> ast.expr | None:
        target = node.target
        if node.kwargs:
            return None
        if target == "getitem":
            return self._getitem(node)
        if target == "mx.negative":
            return ast.UnaryOp(ast.USub(), self.arg(node.args[0]))
        if target == "mx.logical_not" and _is_bool(node.args[0]):
            return ast.UnaryOp(ast.Invert(), self.arg(node.args[0]))
        if len(node.args) != 2 or not any(_is_array(a) for a in node.args):
            return None
        if target in forms.COMPARE:
            return ast.Compare(
                self.arg(node.args[0]), [forms.COMPARE[target]()], [self.arg(node.args[1])]
            )
        operator = forms.BINARY.get(target)
        if operator is None or (
            target in forms.BOOL_ONLY and not all(_is_bool(a) for a in node.args)
        ):
            return None
        return ast.BinOp(self.arg(node.args[0]), operator(), self.arg(node.args[1]))

    def _method(self, node: Node) -> ast.expr | None:
        name = forms.SPREAD_METHODS.get(node.target) or forms.METHODS.get(node.target)
        if name is None or not node.args or not _is_array(node.args[0]):
            return None
        rest: list[Any] = list(node.args[1:])
        if node.target in forms.SPREAD_METHODS and len(rest) == 1 and isinstance(rest[0], tuple):
            if not rest[0]:
                return None
            rest = list(rest[0])
            if node.target == "mx.reshape":
                rest = self._reshape_dims(node, rest)
        function = ast.Attribute(self.arg(node.args[0]), name, ast.Load())
        arguments = [a if isinstance(a, ast.expr) else self.arg(a) for a in rest]
        return ast.Call(function, arguments, self._keywords(node.kwargs))

    def _reshape_dims(self, node: Node, given: list[Any]) -> list[Any]:
        """``B, T, -1, 8`` also where the length ``T`` is fixed, if an argument has it."""
        before, after = node.args[0].dims, node.output.dims
        same = 0
        while same < min(len(before), len(after)) and dims_equal(before[same], after[same]):
            same += 1
        splits = len(after) == len(before) + 1 and same == len(before) - 1
        merges = len(after) == len(before) - 1 and same == len(after) - 1
        if same < 2 or not (splits or merges) or not isinstance(after[-1], int):
            return reshape_dims(node.args[0], tuple(given))
        kept = [self.kept(after, i) if isinstance(after[i], int) else after[i] for i in range(same)]
        if any(k is None for k in kept):
            return reshape_dims(node.args[0], tuple(given))
        return [*kept, -1, after[-1]] if splits else [*kept, -1]

    def _inserted_axis(self, node: Node) -> ast.expr | None:
        """``x[:, None]`` for one new axis near the front, ``x[..., None]`` for one at the end."""
        if node.target != "mx.expand_dims" or node.kwargs or not isinstance(node.args[1], int):
            return None
        rank = node.output.ndim
        axis = node.args[1] % rank
        new: list[ast.expr] = [ast.Constant(None)]
        if axis == rank - 1 and rank > 2:
            new = [ast.Constant(...), *new]
        elif axis <= 2:
            new = [*(ast.Slice(None, None, None) for _ in range(axis)), *new]
        else:
            return None
        key = new[0] if len(new) == 1 else ast.Tuple(new, ast.Load())
        return ast.Subscript(self.arg(node.args[0]), key, ast.Load())

    def _function(self, node: Node) -> ast.expr:
        args, named = list(node.args), node.kwargs
        if node.target.startswith("ops."):
            args, named = options_by_name(node.target[4:], args, named)
        keywords = self._keywords(named)
        return ast.Call(callee(node.target), [self.arg(a) for a in args], keywords)

    def _keywords(self, named: Mapping[str, Any]) -> list[ast.keyword]:
        return [
            ast.keyword(k, root_of(a) if k == "scale" else self.arg(a)) for k, a in named.items()
        ]

    def _getitem(self, node: Node) -> ast.expr:
        index = node.args[1]
        items = [self.arg(i) for i in index] if isinstance(index, tuple) else [self.arg(index)]
        while len(items) > 1 and _is_full_slice(items[-1]):
            items.pop()
        if not items:
            items = [ast.Constant(...)]
        if len(items) > 2 and all(_is_full_slice(i) for i in items[:-1]):
            covered = len(items) - _is_none(items[-1])
            items = [ast.Constant(...), items[-1]] if covered == node.args[0].ndim else items
        key = items[0] if len(items) == 1 else ast.Tuple(items, ast.Load())
        return ast.Subscript(self.arg(node.args[0]), key, ast.Load())

    def _slice(self, s: slice) -> ast.expr:
        parts = [None if p is None else self.arg(p) for p in (s.start, s.stop, s.step)]
        if isinstance(parts[2], ast.Constant) and parts[2].value == 1:
            parts[2] = None
        if isinstance(parts[0], ast.Constant) and parts[0].value == 0 and parts[2] is None:
            parts[0] = None
        return ast.Slice(*parts)


def reshape_dims(x: Any, dims: tuple[Any, ...]) -> list[Any]:
    """Writes one symbolic size that is no plain symbol as -1, where that is unambiguous."""
    if -1 in dims or any(isinstance(d, int) and d == 0 for d in dims):
        return list(dims)
    awkward = [
        i
        for i, d in enumerate(dims)
        if isinstance(d, sympy.Basic) and not d.is_Symbol and d not in x.dims
    ]
    if not awkward:
        symbolic = [i for i, d in enumerate(dims) if isinstance(d, sympy.Basic)]
        merged = isinstance(x, Value) and len(dims) < x.ndim and isinstance(dims[-1], int)
        merged = merged and dims_equal(product(x.dims), product(dims))
        if len(symbolic) == len(dims) - 1 and merged:
            return [*dims[:-1], -1]
        return list(dims)
    return [-1 if i == awkward[-1] else d for i, d in enumerate(dims)]


def options_by_name(
    function: str, args: list[Any], kwargs: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Arguments of a library function: options (constants with a default) by name, and only those
    that differ from it.
    """
    known = registry.functions().get(function)
    parameters = list(inspect.signature(known).parameters.values()) if known else []
    if len(args) > len(parameters) or any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return args, dict(kwargs)
    given = dict(zip((p.name for p in parameters), args, strict=False)) | dict(kwargs)
    kept: list[Any] = []
    named: dict[str, Any] = {}
    gap = False  # after an option that is left out, nothing goes by its place
    for p in parameters:
        if p.name not in given:
            continue
        value = given[p.name]
        is_option = p.default is not p.empty and not _holds_array(value)
        if is_option and type(value) is type(p.default) and value == p.default:
            gap = True
            continue
        if p.kind is p.KEYWORD_ONLY or is_option or gap or named or p.name in kwargs:
            named[p.name] = value
        else:
            kept.append(value)
    return kept, named


def _holds_array(value: Any) -> bool:
    return any(_is_array(v) for v in iter_values(value))


def callee(target: str) -> ast.expr:
    """``mx.fast.rope`` as an attribute chain; ``ops.name`` as the plain function that travels in
    the file.
    """
    parts = target.split(".")
    if parts[0] == "ops":
        return ast.Name(parts[-1], ast.Load())
    out: ast.expr = ast.Name(parts[0], ast.Load())
    for p in parts[1:]:
        out = ast.Attribute(out, p, ast.Load())
    return out


def dtype_expr(dtype: str) -> ast.expr:
    return ast.Attribute(
        ast.Name("mx", ast.Load()), "bool_" if dtype == "bool" else str(dtype), ast.Load()
    )


def _attribute(room: str, name: str) -> ast.Attribute:
    return ast.Attribute(ast.Name(room, ast.Load()), name, ast.Load())


def constant(a: Any) -> ast.expr:
    """A literal; infinities and NaN through ``math``, float32's limits through ``mx.finfo``.

    Raises:
        TypeError: the value has no literal.
    """
    if isinstance(a, float) and not math.isfinite(a):
        name = "nan" if math.isnan(a) else "inf"
        inner = ast.Attribute(ast.Name("math", ast.Load()), name, ast.Load())
        return ast.UnaryOp(ast.USub(), inner) if a < 0 else inner
    if isinstance(a, float) and abs(a) == _LARGEST:
        limits = ast.Call(_attribute("mx", "finfo"), [_attribute("mx", "float32")], [])
        return ast.Attribute(limits, "min" if a < 0 else "max", ast.Load())
    if isinstance(a, complex):
        return ast.Call(ast.Name("complex", ast.Load()), [constant(a.real), constant(a.imag)], [])
    if a is None or a is Ellipsis or isinstance(a, (bool, int, float, str)):
        if isinstance(a, (int, float)) and not isinstance(a, bool) and a < 0:
            return ast.UnaryOp(ast.USub(), ast.Constant(-a))
        return ast.Constant(a)
    raise TypeError(f"{a!r} cannot be written as a literal")


def root_of(scale: Any) -> ast.expr:
    """``64**-0.5`` where a scale is that, in float32 at least; else the number."""
    if isinstance(scale, float) and 0 < scale < 1:
        size = round(scale**-2)
        if np.float32(size**-0.5) == np.float32(scale):
            return ast.BinOp(ast.Constant(size), ast.Pow(), ast.Constant(-0.5))
    return constant(scale)


def name(text: str) -> ast.Name:
    return ast.Name(text, ast.Load())


def attribute_chain(root: ast.expr, path: list[str | int]) -> ast.expr:
    """``root.a[0].b`` for ``["a", 0, "b"]``."""
    for part in path:
        if isinstance(part, int):
            root = ast.Subscript(root, ast.Constant(part), ast.Load())
        else:
            root = ast.Attribute(root, part, ast.Load())
    return root


def _is_array(a: Any) -> bool:
    return isinstance(a, Value) and a.kind == "array"


def _is_bool(a: Any) -> bool:
    return _is_array(a) and a.dtype == "bool"


def _is_none(e: ast.expr) -> bool:
    return isinstance(e, ast.Constant) and e.value is None


def _is_full_slice(e: ast.expr) -> bool:
    return isinstance(e, ast.Slice) and e.lower is None and e.upper is None and e.step is None
