"""The shape of a rotation: which halves of the features meet which table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytorch_to_mlx.graph import Node, Value, is_static
from pytorch_to_mlx.passes.clean.views import index_of
from pytorch_to_mlx.passes.match import argument, is_array, pairs, produced_by, same_shape


@dataclass(frozen=True)
class Part:
    """``source[..., start:stop:step]``."""

    source: Value
    start: int
    stop: int | None
    step: int


@dataclass(frozen=True)
class Rotation:
    """``x`` turned by tables; ``layout`` is ``halves`` or ``interleaved``."""

    x: Value
    cos: Value
    sin: Value
    layout: str


def part_of(value: Any) -> Part | None:
    """A value as a part of the last axis of another."""
    node = produced_by(value, "getitem", "mx.split")
    if node is None or not is_array(node.args[0]):
        return None
    x: Value = node.args[0]
    if node.target == "mx.split":
        return _split_part(node, value, x)
    index = index_of(node)
    if index is None or any(i != slice(None) for i in index[:-1]):
        return None
    last = index[-1]
    if isinstance(last, int):
        return _pair_part(x, last)
    if not isinstance(last, slice):
        return None
    start, stop, step = last.start or 0, last.stop, last.step or 1
    if not is_static(x.dims[-1]) or not all(n is None or isinstance(n, int) for n in (start, stop)):
        return None
    size = int(x.dims[-1])
    start = start + size if start < 0 else start
    stop = None if stop is None or stop == size else stop + size if stop < 0 else stop
    return Part(x, start, stop, step) if isinstance(step, int) else None


def _split_part(node: Node, value: Value, x: Value) -> Part | None:
    if argument(node, 2, "axis", 0) % x.ndim != x.ndim - 1 or not is_static(x.dims[-1]):
        return None
    size, parts = int(x.dims[-1]), node.args[1]
    if isinstance(parts, int):
        edges = [size // parts * i for i in range(parts + 1)]
    elif all(isinstance(p, int) for p in parts):
        edges = [0, *parts, size]
    else:
        return None
    stop = edges[value.index + 1]
    return Part(x, edges[value.index], None if stop == size else stop, 1)


def _pair_part(x: Value, which: int) -> Part | None:
    """``x.reshape(..., n, 2)[..., 0]`` is every second feature of ``x``."""
    made = produced_by(x, "mx.reshape", "mx.unflatten")
    if made is None or x.dims[-1] != 2 or which not in (0, 1, -1, -2):
        return None
    source: Value = made.args[0]
    if source.ndim != x.ndim - 1 or not same_shape(source.dims[:-1], x.dims[:-2]):
        return None
    return Part(source, which % 2, None, 2)


def _half(part: Part | None, x: Value | None = None) -> tuple[Value, str, int] | None:
    """``(x, layout, 0 or 1)`` for one of the two halves or interleaved lanes of ``x``."""
    if part is None or (x is not None and part.source is not x):
        return None
    if not is_static(part.source.dims[-1]):
        return None
    size = int(part.source.dims[-1])
    if size % 2:
        return None
    if part.step == 2 and part.start in (0, 1) and part.stop is None:
        return part.source, "interleaved", part.start
    if part.step == 1 and (part.start, part.stop) in ((0, size // 2), (size // 2, None)):
        return part.source, "halves", 0 if part.start == 0 else 1
    return None


def rotation(node: Node) -> Rotation | None:
    """The rotation that a node completes, if any."""
    if node.target == "mx.add":
        return _rotate_half_form(node)
    joined = _joined(node)
    return _two_halves_form(*joined) if joined is not None else None


def _rotate_half_form(node: Node) -> Rotation | None:
    """``x * cos + rotated(x) * sin``."""
    for left, right in pairs(node):
        a, b = produced_by(left, "mx.multiply"), produced_by(right, "mx.multiply")
        if a is None or b is None:
            continue
        for turned, sin in pairs(b):
            found = _rotated(turned)
            if found is None or not is_array(sin):
                continue
            for x, cos in pairs(a):
                if x is found[0] and is_array(cos):
                    return Rotation(found[0], cos, sin, found[1])
    return None


def _rotated(value: Any) -> tuple[Value, str] | None:
    """``(x, layout)`` where the value is ``x`` with lanes swapped and the second one negated."""
    node = value.node if isinstance(value, Value) else None
    joined = _joined(node) if node is not None else None
    if joined is None:
        return None
    first, second, layout = joined
    negated = produced_by(first, "mx.negative")
    if negated is None:
        return None
    a, b = _half(part_of(negated.args[0])), _half(part_of(second))
    if a is None or b is None or a[0] is not b[0] or (a[2], b[2]) != (1, 0):
        return None
    return (a[0], layout) if a[1] == b[1] == layout else None


def _joined(node: Node) -> tuple[Value, Value, str] | None:
    """The two lanes that a node puts side by side (``halves``) or alternately (``interleaved``)."""
    if node.target == "mx.concatenate":
        arrays: Any = node.args[0]
        axis = argument(node, 1, "axis", 0)
        if len(arrays) == 2 and axis % node.output.ndim == node.output.ndim - 1:
            return arrays[0], arrays[1], "halves"
        return None
    if node.target not in ("mx.flatten", "mx.reshape") or not is_array(node.args[0]):
        return None
    stack = produced_by(node.args[0], "mx.stack")
    if stack is None or len(stack.args[0]) != 2:
        return None
    rank = stack.output.ndim
    lanes: Any = stack.args[0]
    if argument(stack, 1, "axis", 0) % rank != rank - 1 or node.output.ndim != rank - 1:
        return None
    if not same_shape(node.output.dims[:-1], lanes[0].dims[:-1]):
        return None
    return lanes[0], lanes[1], "interleaved"


def _two_halves_form(first: Value, second: Value, layout: str) -> Rotation | None:
    """``join(a * cos - b * sin, b * cos + a * sin)``."""
    minus, plus = produced_by(first, "mx.subtract"), produced_by(second, "mx.add")
    if minus is None or plus is None:
        return None
    ac, bs = (produced_by(v, "mx.multiply") for v in minus.args)
    if ac is None or bs is None:
        return None
    for a, cos in pairs(ac):
        for b, sin in pairs(bs):
            one, two = _half(part_of(a)), _half(part_of(b))
            if one is None or two is None or one[0] is not two[0] or (one[2], two[2]) != (0, 1):
                continue
            if not (one[1] == two[1] == layout) or not (is_array(cos) and is_array(sin)):
                continue
            if _is_sum(plus, (b, cos), (a, sin)):
                return Rotation(one[0], cos, sin, layout)
    return None


def _is_sum(plus: Node, *products: tuple[Any, Any]) -> bool:
    """Whether a sum adds these two products, whatever the order."""
    for left, right in pairs(plus):
        made = (produced_by(left, "mx.multiply"), produced_by(right, "mx.multiply"))
        if all(
            m is not None and any(_same_operand(u, p) and _same_operand(w, q) for u, w in pairs(m))
            for m, (p, q) in zip(made, products, strict=True)
        ):
            return True
    return False


def _same_operand(a: Any, b: Any) -> bool:
    """The same value, or the same part of one (a half may be sliced twice)."""
    if a is b:
        return True
    first = part_of(a)
    return first is not None and first == part_of(b)
