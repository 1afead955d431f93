"""What torch.export made of the sizes: symbols with their limits, and dims that are fixed."""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sympy

from pytorch_to_mlx.capture.guards import shape_env
from pytorch_to_mlx.capture.program import is_foreign
from pytorch_to_mlx.capture.sizes import Axis, Example, Prober, Sizes
from pytorch_to_mlx.errors import CaptureError

if TYPE_CHECKING:
    import torch


FIXED = "torch.export fixes it"


@dataclass
class Symbol:
    """A dynamic size: the dims that are exactly it, those computed from it, and its limits."""

    name: str
    size: int
    axes: list[Axis] = field(default_factory=list)
    derived: dict[Axis, Any] = field(default_factory=dict)
    lower: int = 1
    upper: int | None = None
    multiple: int = 1
    bounded: bool = False  # smaller sizes break the trace (torch's own minimum is often a guess)


def input_shapes(program: torch.export.ExportedProgram) -> dict[Axis, Any]:
    """Every dim of every tensor input: an int, or a sympy expression over torch's symbols."""
    import torch
    from torch.export.graph_signature import InputKind

    placeholders = [n for n in program.graph.nodes if n.op == "placeholder"]
    found: dict[Axis, Any] = {}
    leaf = 0
    for node, spec in zip(placeholders, program.graph_signature.input_specs, strict=True):
        if spec.kind != InputKind.USER_INPUT:
            continue
        value = node.meta.get("val")
        if isinstance(value, torch.Tensor):
            for d, size in enumerate(value.shape):
                found[leaf, d] = size.node.expr if isinstance(size, torch.SymInt) else int(size)
        leaf += 1
    return {
        axis: int(size) if isinstance(size, sympy.Integer) else size for axis, size in found.items()
    }


def find_symbols(
    program: torch.export.ExportedProgram, sizes: Mapping[Axis, int]
) -> dict[Any, Symbol]:
    """The symbols of the inputs in input order; ``sizes`` are those that were traced."""
    shapes = {a: e for a, e in input_shapes(program).items() if isinstance(e, sympy.Expr)}
    symbols: dict[Any, Symbol] = {}
    for axis, expr in shapes.items():
        if isinstance(expr, sympy.Symbol):
            symbols.setdefault(expr, Symbol(expr.name, sizes[axis])).axes.append(axis)
    for axis, expr in shapes.items():
        if isinstance(expr, sympy.Symbol):
            continue
        for free in sorted(expr.free_symbols, key=str):
            if free not in symbols:
                symbols[free] = Symbol(free.name, _solve(expr, free, sizes[axis]))
            symbols[free].derived[axis] = expr
    for key, symbol in symbols.items():
        limits = program.range_constraints.get(key)
        if limits is not None:
            # torch never assumes that a size is 0 or 1, so a lower limit of 2 is none
            symbol.lower = 1 if limits.lower <= 2 else int(limits.lower)
            finite = isinstance(limits.upper, sympy.Integer) and limits.upper < 2**31
            symbol.upper = int(limits.upper) if finite else None
    return symbols


def _solve(expr: Any, symbol: Any, size: int) -> int:
    if len(expr.free_symbols) == 1:
        for root in sympy.solve(expr - size, symbol):
            if root.is_Integer:
                return int(root)
    return 0


def sizes_at(symbols: Mapping[Any, Symbol], key: Any, value: int) -> Sizes:
    """The input dims when one symbol has another value."""
    values = {k: s.size for k, s in symbols.items()} | {key: value}
    symbol = symbols[key]
    sizes: Sizes = dict.fromkeys(symbol.axes, value)
    for axis, expr in symbol.derived.items():
        sizes[axis] = int(expr.subs(values))
    return sizes


def widen(symbols: Iterable[Symbol], example: Example, held: Iterable[Sizes]) -> None:
    """Widens the symbols' limits to sizes at which the trace is known to hold."""
    for sizes, symbol in itertools.product(held, [s for s in symbols if s.axes]):
        value = sizes.get(symbol.axes[0], example.size(symbol.axes[0]))
        if value > 1 and value % symbol.multiple == 0:
            symbol.lower = min(symbol.lower, value)
            symbol.upper = None if symbol.upper is None else max(symbol.upper, value)


def hint_of(entry: Any) -> Any:
    """A plain ``torch.export.Dim`` as a hint of the same limits; ``None`` for any other entry."""
    from torch.export import Dim

    if type(entry) is not Dim:
        return None
    low, high = max(2, int(entry.min)), entry.max
    return Dim.AUTO(min=low, max=int(high)) if high < 2**31 else Dim.AUTO(min=low)


def frozen_reason(
    program: torch.export.ExportedProgram, axis: Axis, prober: Prober, base: Sizes, size: int
) -> str:
    """Why a dim that should be dynamic is not: the model's own refusal, else torch's guard."""
    refusal = prober.refuses_others([axis], base)
    if not refusal:
        return f"{FIXED}{_at_guard(program, size)}, though the model accepts others"
    same = [a for a in prober.example.axes() if _size(prober.example, a, base) == size]
    if len(same) > 1 and not prober.refuses_others(same, base):
        at = _at_guard(program, size)
        return f"{FIXED} together with the other dims of this size{at}"
    return f"the model refuses other sizes: {refusal}"


def _size(example: Example, axis: Axis, base: Sizes) -> int:
    return base.get(axis, example.size(axis))


def _at_guard(program: torch.export.ExportedProgram, size: int) -> str:
    place = _guard_place(program, size)
    return f" ({place})" if place else ""


def _guard_place(program: torch.export.ExportedProgram, size: int) -> str:
    """File and line of the code that made torch fix a symbol to ``size``."""
    env = shape_env(program)
    for guard in [] if env is None else env.guards:
        expr = guard.expr
        if isinstance(expr, sympy.Eq) and expr.rhs == size and isinstance(expr.lhs, sympy.Symbol):
            frame = getattr(getattr(guard, "sloc", None), "framework_loc", None)
            if isinstance(frame, traceback.FrameSummary) and not is_foreign(frame.filename):
                return f"{frame.filename}:{frame.lineno}: {(frame.line or '').strip()}"
    return ""


def report(
    example: Example,
    symbols: Iterable[Symbol],
    static: Mapping[Axis, str],
    conditions: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """``Captured.dims`` from what was found; conditions are texts and the lines that ask them."""
    entries: dict[str, Any] = {}
    for symbol in symbols:
        entry: dict[str, Any] = {
            "where": [example.where(a) for a in symbol.axes],
            "min": symbol.lower,
            "max": symbol.upper,
            "multiple_of": symbol.multiple,
            "size": example.size(symbol.axes[0]) if symbol.axes else symbol.size,
            "bounded": symbol.bounded,
        }
        if symbol.derived:
            entry["derived"] = {example.where(a): str(e) for a, e in symbol.derived.items()}
        entries[symbol.name] = entry
    fixed = [
        {"where": example.where(axis), "size": example.size(axis), "reason": reason}
        for axis, reason in sorted(static.items())
    ]
    found: dict[str, Any] = {"symbols": entries, "static": fixed}
    if conditions:
        found["conditions"] = [{"holds": text, "asked": at} for text, at in conditions.items()]
    return found


# -- explicit dynamic shapes --------------------------------------------------------------------


def requested_dims(example: Example, shapes: Any) -> dict[Axis, Any]:
    """torch's ``dynamic_shapes`` (nested like the arguments) as one entry a dim.

    Entries are what torch takes: ``Dim``, ``Dim.AUTO``, ``Dim.DYNAMIC``; static ones are left out.

    Raises:
        CaptureError: the nesting does not fit the arguments.
    """
    from torch.utils._pytree import tree_flatten

    by_name = example.arguments.by_name()
    if isinstance(shapes, Mapping):
        unknown = sorted(set(map(str, shapes)) - set(by_name))
        if unknown:
            raise CaptureError(
                f"dynamic_shapes names {unknown[0]!r}, which is no argument",
                hint=f"The arguments are {', '.join(by_name)}",
            )
        specs = [shapes.get(name) for name in by_name]
    else:
        specs = list(shapes)
        if len(specs) != len(by_name):
            raise CaptureError(
                f"dynamic_shapes has {len(specs)} entries for {len(by_name)} arguments"
            )
    found: dict[Axis, Any] = {}
    leaf = 0
    for (name, value), spec in zip(by_name.items(), specs, strict=True):
        leaf = _walk(name, value, spec, leaf, found)
    if leaf != len(tree_flatten(example.arguments.values())[0]):
        raise CaptureError("dynamic_shapes does not fit the arguments")
    return found


def _walk(name: str, value: Any, spec: Any, leaf: int, found: dict[Axis, Any]) -> int:
    import torch

    if isinstance(value, Mapping):
        if spec is not None and not isinstance(spec, Mapping):
            raise CaptureError(f"dynamic_shapes of {name} must be a dict like the argument")
        for key, item in value.items():
            leaf = _walk(f"{name}.{key}", item, (spec or {}).get(key), leaf, found)
        return leaf
    if isinstance(value, (tuple, list)):
        if spec is not None and (not isinstance(spec, (tuple, list)) or len(spec) != len(value)):
            raise CaptureError(f"dynamic_shapes of {name} must have {len(value)} entries")
        for i, item in enumerate(value):
            leaf = _walk(f"{name}.{i}", item, spec[i] if spec else None, leaf, found)
        return leaf
    if isinstance(value, torch.Tensor) and spec is not None:
        entries = spec.items() if isinstance(spec, Mapping) else enumerate(spec)
        for dim, entry in entries:
            if not -value.ndim <= dim < value.ndim:
                raise CaptureError(f"axis {dim} of {name} does not exist: its rank is {value.ndim}")
            if not _is_static(entry):
                found[leaf, dim % value.ndim] = entry
    return leaf + 1


def _is_static(entry: Any) -> bool:
    from torch.export import Dim

    return entry is None or isinstance(entry, int) or entry == Dim.STATIC
