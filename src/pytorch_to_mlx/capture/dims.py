"""What torch.export made of the sizes: symbols with their limits, and dims that are fixed."""

from __future__ import annotations

import itertools
import math
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sympy

from pytorch_to_mlx.capture.program import is_foreign
from pytorch_to_mlx.capture.sizes import Axis, Example, Prober, Sizes
from pytorch_to_mlx.errors import CaptureError

if TYPE_CHECKING:
    import torch

_REACH = 64  # how far above the example's size multiples are looked for
_MOST_GUARDS = 60


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


def allowed_values(
    program: torch.export.ExportedProgram, symbols: Mapping[Any, Symbol], key: Any
) -> list[int]:
    """Values near the example's that satisfy every guard of the trace (others at the example's)."""
    symbol = symbols[key]
    holds = guard_test(program, symbols, key)
    lowest = max(2, symbol.lower, symbol.size - _REACH)
    highest = min(symbol.size + _REACH, symbol.upper or symbol.size + _REACH)
    return [v for v in range(lowest, highest + 1) if holds(v)]


def guard_test(
    program: torch.export.ExportedProgram,
    symbols: Mapping[Any, Symbol],
    key: Any,
    *,
    equalities: bool = False,
) -> Callable[[int], bool]:
    """Whether a value of one symbol satisfies every guard, with the others at the example's.

    ``equalities`` looks only at those that fix a computed size: what the trace holds as a number.
    """
    fixed = {k: s.size for k, s in symbols.items() if k != key}
    guards = [g.subs(fixed) for g in _guards(program) if key in g.free_symbols][:_MOST_GUARDS]
    guards = [g for g in guards if g.free_symbols == {key}]
    if equalities:
        guards = [g for g in guards if isinstance(g, sympy.Eq)]
    return lambda v: all(g.subs(key, v) != sympy.false for g in guards)


def hint_of(entry: Any) -> Any:
    """A plain ``torch.export.Dim`` as a hint of the same limits; ``None`` for any other entry."""
    from torch.export import Dim

    if type(entry) is not Dim:
        return None
    low, high = max(2, int(entry.min)), entry.max
    return Dim.AUTO(min=low, max=int(high)) if high < 2**31 else Dim.AUTO(min=low)


def holds_within_limits(
    program: torch.export.ExportedProgram, sizes: Sizes, wanted: Mapping[Axis, Any]
) -> bool:
    """Whether the asked dims are free symbols and every size tried within their limits is allowed.

    Tried are the sizes up to 64 above the least one and beside every power of two.
    """
    shapes = input_shapes(program)
    if not all(isinstance(shapes.get(axis), sympy.Symbol) for axis in wanted):
        return False
    symbols = find_symbols(program, sizes)
    for axis, entry in wanted.items():
        low, high = max(2, int(entry.min)), int(min(entry.max, 2**20))
        near = {2**k + d for k in range(1, 21) for d in (-1, 0, 1)} | {high}
        tried = [v for v in {*range(low, low + _REACH), *near} if low <= v <= high]
        holds = guard_test(program, symbols, shapes[axis])
        if not all(holds(v) for v in tried):
            return False
    return True


def _guards(program: torch.export.ExportedProgram) -> list[Any]:
    env = shape_env(program)
    return [] if env is None else [g.expr for g in env.guards]


def shape_env(program: torch.export.ExportedProgram) -> Any:
    """torch's record of symbols and guards; ``None`` for a program without symbols."""
    for node in program.graph.nodes:
        mode = getattr(node.meta.get("val"), "fake_mode", None)
        if mode is not None and mode.shape_env is not None:
            return mode.shape_env
    return None


def probe_symbols(
    program: torch.export.ExportedProgram,
    symbols: Mapping[Any, Symbol],
    prober: Prober,
    base: Sizes,
) -> dict[Axis, str]:
    """Fills in multiples and limits by trying; returns dims that the original fixes, and why."""
    refused: dict[Axis, str] = {}
    for key, symbol in symbols.items():
        allowed = allowed_values(program, symbols, key)
        symbol.multiple = multiple_of(allowed, symbol.size)
        _bound_by_guards(symbol, guard_test(program, symbols, key, equalities=True))
        allowed = [v for v in allowed if symbol.upper is None or v <= symbol.upper]
        above = [v for v in allowed if v > symbol.size]
        below = [v for v in reversed(allowed) if v < symbol.size]
        wanted = [*above[:2], *(v for v in above if _power_of_two(v - symbol.size)), *above[-1:]]
        if symbol.upper is None:
            wanted.append(symbol.size * 2)
        accepted, reason = _first_accepted(wanted, symbols, key, prober, base)
        if accepted is None:
            smaller, reason_below = _first_accepted(
                [*below[:2], *below[-1:]], symbols, key, prober, base
            )
            if smaller is None:
                why = reason or reason_below or "no other size satisfies the code's conditions"
                axes = [*symbol.axes, *symbol.derived]
                refused.update(dict.fromkeys(axes, f"the model refuses other sizes: {why}"))
                continue
            symbol.upper = symbol.size if above else symbol.upper
        elif reason and symbol.size % (accepted - symbol.size) == 0:
            symbol.multiple = math.lcm(symbol.multiple, accepted - symbol.size)
        if symbol.lower == 1 and prober.refusal({**base, **sizes_at(symbols, key, 1)}):
            symbol.lower = 2
    return refused


def _bound_by_guards(symbol: Symbol, holds: Callable[[int], bool]) -> None:
    """Limits that the trace's guards set around the example's size, where some set them.

    A convolution stack that is flattened for a linear layer, say, holds for a window of lengths.
    """
    step = symbol.multiple
    for far in (symbol.size * 2, symbol.size * 4):
        if symbol.upper is None and not holds(far // step * step):
            symbol.upper = _edge(symbol.size, far // step * step, step, holds)
    for near in (symbol.size // 2, symbol.size // 4):
        value = max(near // step * step, step)
        if value < symbol.size and value > 1 and not holds(value):
            symbol.lower = max(symbol.lower, _edge(symbol.size, value, step, holds))
            symbol.bounded = True


def _edge(inside: int, outside: int, step: int, holds: Callable[[int], bool]) -> int:
    """The last value that holds on the way from one that does to one that does not."""
    while abs(outside - inside) > step:
        middle = (inside + outside) // 2 // step * step
        if middle in (inside, outside):
            break
        inside, outside = (middle, outside) if holds(middle) else (inside, middle)
    return inside


def _first_accepted(
    values: Iterable[int], symbols: Mapping[Any, Symbol], key: Any, prober: Prober, base: Sizes
) -> tuple[int | None, str]:
    reason = ""
    for value in dict.fromkeys(values):
        refusal = prober.refusal({**base, **sizes_at(symbols, key, value)})
        if not refusal:
            return value, reason
        reason = reason or refusal
    return None, reason


def _power_of_two(n: int) -> bool:
    return n > 0 and n & (n - 1) == 0


def multiple_of(allowed: list[int], size: int) -> int:
    """The step between allowed sizes, if they and the example's are its multiples."""
    steps = [b - a for a, b in itertools.pairwise(allowed)]
    step = math.gcd(*steps) if steps else 1
    return step if step > 1 and size % step == 0 else 1


def frozen_reason(
    program: torch.export.ExportedProgram, axis: Axis, prober: Prober, base: Sizes, size: int
) -> str:
    """Why a dim that should be dynamic is not: the model's own refusal, else torch's guard."""
    refusal = prober.refuses_others([axis], base)
    if not refusal:
        return f"torch.export fixes it{_at_guard(program, size)}, though the model accepts others"
    same = [a for a in prober.example.axes() if _size(prober.example, a, base) == size]
    if len(same) > 1 and not prober.refuses_others(same, base):
        at = _at_guard(program, size)
        return f"torch.export fixes it together with the other dims of this size{at}"
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
    example: Example, symbols: Iterable[Symbol], static: Mapping[Axis, str]
) -> dict[str, Any]:
    """``Captured.dims`` from what was found."""
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
    return {"symbols": entries, "static": fixed}


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
