"""How far a trace reaches: the limits of its dynamic sizes, from its guards and by trying.

A guard that fails at a size does not mean much by itself: torch asks thousands of questions, and
most answers change nothing. So the trace is run beside the original where guards fail. If they
agree, those guards are idle; if not, they bind, and the sizes that they allow become the limits: a
multiple, a least and a greatest size, and conditions for what these cannot say.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sympy

from pytorch_to_mlx.capture.dims import Symbol, find_symbols, input_shapes, sizes_at
from pytorch_to_mlx.capture.guards import Guard, Guards
from pytorch_to_mlx.capture.sizes import Axis, Prober, Sizes

if TYPE_CHECKING:
    import torch

    from pytorch_to_mlx.capture.trial import Trial

_REACH = 64  # how far around the example's size guards are tried one size after another
_MOST_TRIES = 12  # sizes of one symbol at which the trace is run
_MOST_TRACES = 3  # beyond the first
_GRID = 5  # sizes a symbol at which conditions of several are looked for

Values = dict[str, int]


@dataclass
class Tried:
    """A size at which the trace and the original were compared."""

    key: Any  # the symbol that changed alone; None where several did
    value: int
    sizes: Sizes
    agrees: bool
    failing: set[Guard]


@dataclass
class Limits:
    """What was found beside the symbols' own limits.

    ``refused`` are dims that must be fixed, with the reason; ``conditions`` what must hold of sizes
    besides their limits, as Python over torch's names, with the line that asks.
    """

    refused: dict[Axis, str] = field(default_factory=dict)
    conditions: dict[str, str] = field(default_factory=dict)
    tried: list[Tried] = field(default_factory=list)

    @property
    def wrong(self) -> list[Tried]:
        return [t for t in self.tried if not t.agrees]


def find_limits(
    program: torch.export.ExportedProgram,
    symbols: Mapping[Any, Symbol],
    prober: Prober,
    base: Sizes,
    trial: Trial | None = None,
    *,
    declared: bool = False,
) -> Limits:
    """Fills in the symbols' limits; without a trial, guards that fix a computed size all bind.

    Limits that the symbols have already are the user's if ``declared``: nothing is tried beyond.
    """
    search = _Search(program, symbols, prober, base, trial)
    search.declared = declared
    search.compare()
    search.fit()
    return search.limits


class _Search:
    def __init__(
        self,
        program: torch.export.ExportedProgram,
        symbols: Mapping[Any, Symbol],
        prober: Prober,
        base: Sizes,
        trial: Trial | None,
    ) -> None:
        self.symbols = symbols
        self.prober = prober
        self.base = base
        self.values = {s.name: s.size for s in symbols.values()}
        self.guards = Guards(program, self.values)
        self.trial = trial if trial is not None and trial.agrees(base) else None
        self.idle: set[Guard] = set()
        self.limits = Limits()
        self.declared = False

    # -- comparing --------------------------------------------------------------------------------

    def compare(self) -> None:
        """Runs the trace at other sizes of each symbol, then with all changed at once."""
        if self.trial is None:
            return
        for key, symbol in self.symbols.items():
            tries = (v for v in self._tries(symbol) if not self.declared or _allows(symbol, v))
            for value in itertools.islice(tries, _MOST_TRIES):
                failing = self.guards.failing({**self.values, symbol.name: value})
                sizes = {**self.base, **sizes_at(self.symbols, key, value)}
                agrees = self.trial.agrees(sizes)
                if agrees is not None:
                    self._note(Tried(key, value, sizes, agrees, failing))
        self._compare_together()

    def _note(self, found: Tried) -> None:
        self.limits.tried.append(found)
        if found.agrees:
            self.idle |= found.failing

    def _compare_together(self) -> None:
        """All symbols at sizes that agree one at a time: guards of several may bind only there."""
        assert self.trial is not None
        agreed: dict[Any, int] = {}
        for t in self.limits.tried:
            if t.agrees:
                agreed[t.key] = t.value
        if len(agreed) < 2:
            return
        sizes = dict(self.base)
        for key, value in agreed.items():
            sizes.update(sizes_at(self.symbols, key, value))
        values = {**self.values, **{self.symbols[k].name: v for k, v in agreed.items()}}
        if self.trial.agrees(sizes) is not False:
            return
        failing = self.guards.failing(values)
        self._note(Tried(None, 0, sizes, False, failing))
        if not failing:
            last = self.symbols[list(agreed)[-1]]
            why = "the trace computes something else where it changes together with other sizes"
            self.limits.refused.update(dict.fromkeys([*last.axes, *last.derived], why))

    def _tries(self, symbol: Symbol) -> Iterator[int]:
        """Sizes around the example's, far ones, and the nearest at which each guard fails."""
        n = symbol.size
        seen = {n}
        usual = (1, n + 1, n * 2, n - 1, n // 2, n + 2, 2)
        for value in usual:
            if value >= 1 and value not in seen:
                seen.add(value)
                yield value
        for guard in self.guards.all:
            if symbol.name not in guard.names or not (guard.place or guard.is_equality):
                continue
            if any(guard in t.failing for t in self.limits.tried):
                continue
            fails = next((v for v in _near(n) if not self._holds(guard, symbol, v)), None)
            if fails is not None and fails not in seen:
                seen.add(fails)
                yield fails

    def _holds(self, guard: Guard, symbol: Symbol, value: int) -> bool:
        return guard.holds({**self.values, symbol.name: value})

    # -- fitting ----------------------------------------------------------------------------------

    def fit(self) -> None:
        """The symbols' limits from the guards that bind."""
        self._bind()
        for key, symbol in self.symbols.items():
            holds = self._allowed(symbol)
            near = range(max(2, symbol.size - _REACH), symbol.size + _REACH + 1)
            symbol.multiple = multiple_of([v for v in near if holds(v)], symbol.size)
            agreed = [t.value for t in self.limits.tried if t.key == key and t.agrees]
            symbol.lower = min([symbol.lower, *agreed])
            _bound(symbol, holds)
            self._exclude(key, symbol, holds)
            self._accepted(key, symbol, holds)
        self._find_conditions()

    def _bind(self) -> None:
        """Which guards bind: those that failed where the outputs differ, and untried equalities."""
        failed = {g for t in self.limits.tried for g in t.failing}
        self.binding: set[Guard] = set()
        for t in self.limits.wrong:
            told = [g for g in t.failing if g.is_equality or g.place]
            busy = t.failing - self.idle
            self.binding |= {g for g in told if g in busy} or set(told) or busy
        self.untried = {g for g in self.guards.all if g.is_equality and g not in failed}

    def _allowed(self, symbol: Symbol) -> Callable[[int], bool]:
        binding = [g for g in self.binding if symbol.name in g.names]
        untried = [g for g in self.untried if symbol.name in g.names]

        def holds(value: int) -> bool:
            asked = binding if value == 1 else [*binding, *untried]
            return all(self._holds(g, symbol, value) for g in asked)

        return holds

    def _exclude(self, key: Any, symbol: Symbol, holds: Callable[[int], bool]) -> None:
        """Sizes at which the outputs differ though no guard says why: limits as far as those tried
        agree. torch never assumes a size of 1, and a size may have become a number in silence.
        """
        tried = [t for t in self.limits.tried if t.key == key]
        wrong = [t.value for t in tried if not t.agrees and _within_limits(symbol, t.value, holds)]
        if not wrong:
            return
        agreed = [symbol.size, *(t.value for t in tried if t.agrees)]
        under = max((v for v in wrong if v < symbol.size), default=0)
        over = min((v for v in wrong if v > symbol.size), default=None)
        low = min(v for v in agreed if v > under)
        high = max(v for v in agreed if over is None or v < over)
        low = self._last_agreed(key, symbol, low, under) if under > 1 else low
        high = self._last_agreed(key, symbol, high, over) if over is not None else high
        if low == high:
            why = f"the trace computes something else at {wrong[0]}, where it made it a number"
            axes = [*symbol.axes, *symbol.derived]
            self.limits.refused.update(dict.fromkeys(axes, why))
        if under:
            symbol.lower, symbol.bounded = max(low, symbol.lower), True
            if under == 1 and 2 not in wrong:
                symbol.lower = 2
        if over is not None:
            symbol.upper = high

    def _last_agreed(self, key: Any, symbol: Symbol, inside: int, outside: int) -> int:
        """The last size that agrees on the way from one that does to one that does not."""
        assert self.trial is not None
        step = symbol.multiple
        while abs(outside - inside) > step:
            middle = (inside + outside) // 2 // step * step
            if middle in (inside, outside):
                break
            sizes = {**self.base, **sizes_at(self.symbols, key, middle)}
            if self.trial.agrees(sizes):
                self._note(Tried(key, middle, sizes, True, set()))
                inside = middle
            else:
                outside = middle
        return inside

    def _accepted(self, key: Any, symbol: Symbol, holds: Callable[[int], bool]) -> None:
        """Narrows to what the original takes; a dim of which it takes no other size is fixed."""
        low, high = max(2, symbol.lower, symbol.size - _REACH), symbol.upper
        top = min(symbol.size + _REACH, high or symbol.size + _REACH)
        allowed = [v for v in range(low, top + 1) if holds(v) and v % symbol.multiple == 0]
        above = [v for v in allowed if v > symbol.size]
        below = [v for v in reversed(allowed) if v < symbol.size]
        wanted = [*above[:2], *(v for v in above if _power_of_two(v - symbol.size)), *above[-1:]]
        if high is None:
            wanted.append(symbol.size * 2)
        accepted, reason = self._first_accepted(wanted, key)
        if accepted is None:
            smaller, reason_below = self._first_accepted([*below[:2], *below[-1:]], key)
            if smaller is None:
                why = reason or reason_below or "no other size satisfies the code's conditions"
                axes = [*symbol.axes, *symbol.derived]
                refusal = dict.fromkeys(axes, f"the model refuses other sizes: {why}")
                self.limits.refused = {**refusal, **self.limits.refused}
                return
            symbol.upper = symbol.size if above else symbol.upper
        elif reason and symbol.size % (accepted - symbol.size) == 0:
            symbol.multiple = math.lcm(symbol.multiple, accepted - symbol.size)
        least = {**self.base, **sizes_at(self.symbols, key, 1)}
        if symbol.lower == 1 and self.prober.refusal(least):
            symbol.lower = 2

    def _first_accepted(self, values: Iterable[int], key: Any) -> tuple[int | None, str]:
        reason = ""
        for value in dict.fromkeys(values):
            sizes = {**self.base, **sizes_at(self.symbols, key, value)}
            refusal = self.prober.refusal(sizes)
            if not refusal:
                return value, reason
            reason = reason or refusal
        return None, reason

    def _find_conditions(self) -> None:
        """Binding guards that fail somewhere within the limits."""
        grid = [_within(symbol) for symbol in self.symbols.values()]
        names = [symbol.name for symbol in self.symbols.values()]
        for sizes in itertools.islice(itertools.product(*grid), 2000):
            values = dict(zip(names, sizes, strict=True))
            for guard in self.binding:
                if guard.text not in self.limits.conditions and not guard.holds(values):
                    self.limits.conditions[guard.text] = guard.place


def _allows(symbol: Symbol, value: int) -> bool:
    return symbol.lower <= value and (symbol.upper is None or value <= symbol.upper)


def _within_limits(symbol: Symbol, value: int, holds: Callable[[int], bool]) -> bool:
    low = symbol.lower if symbol.bounded else 1
    inside = low <= value and (symbol.upper is None or value <= symbol.upper)
    return inside and value % symbol.multiple == 0 and holds(value)


def other_traces(symbols: Mapping[Any, Symbol], limits: Limits, base: Sizes) -> Iterator[Sizes]:
    """Sizes at which another trace may hold at more: where binding guards go the other way.

    Those at which most guards do come first; symbols that are limited change together.
    """
    ways: list[list[Sizes]] = []
    for key in symbols:
        wrong = [t for t in limits.wrong if t.key == key and t.value > 1 and t.failing]
        by_guards = {frozenset(t.failing): t for t in sorted(wrong, key=lambda t: t.value)}
        ordered = sorted(by_guards.values(), key=lambda t: len(t.failing), reverse=True)
        if ordered:
            ways.append([sizes_at(symbols, key, t.value) for t in ordered])
    for turn in range(min(_MOST_TRACES, max(map(len, ways), default=0))):
        sizes = dict(base)
        for way in ways:
            sizes.update(way[min(turn, len(way) - 1)])
        yield sizes


def _near(n: int) -> list[int]:
    """Sizes from the nearest to ever farther ones."""
    close = [v for d in range(1, _REACH + 1) for v in (n + d, n - d)]
    far = [n * 4 + 1, n * 16 + 1, n // 4, n // 16]
    return [v for v in (*close, *far) if v >= 2]


def _within(symbol: Symbol) -> list[int]:
    """Sizes within a symbol's limits, small and large ones."""
    step, low = symbol.multiple, symbol.lower if symbol.bounded else 1
    high = symbol.upper or symbol.size * 4
    least = max(step, -(-low // step) * step)
    wanted = [least, least + step, symbol.size, symbol.size + step, symbol.size + 3 * step, high]
    found = [v // step * step for v in wanted if least <= v // step * step <= high]
    return sorted(dict.fromkeys(found))[: _GRID + 1]


def _bound(symbol: Symbol, holds: Callable[[int], bool]) -> None:
    """Limits around the example's size, where binding guards set some.

    A convolution stack that is flattened for a linear layer, say, holds for a window of lengths.
    """
    size, step = symbol.size, _period(symbol, holds)
    for far in (size * 2, size * 4, size * 16):
        value = size + (far - size) // step * step
        if symbol.upper is None and not holds(value):
            symbol.upper = _edge(size, value, step, holds)
    for near in (size // 2, size // 4, size // 16, 2, 1):
        value = size - (size - near) // step * step
        if 0 < value < size and not holds(value):
            symbol.lower = max(symbol.lower, _edge(size, value, step, holds))
            symbol.bounded = True


def _period(symbol: Symbol, holds: Callable[[int], bool]) -> int:
    """A step from the example's size on which every size above it holds: windows fit only some."""
    for step in (1, 2, 4, 8, 16, 32):
        if step % symbol.multiple == 0:
            above = range(symbol.size + step, symbol.size + _REACH + 1, step)
            if all(holds(v) for v in above):
                return step
    return symbol.multiple


def _edge(inside: int, outside: int, step: int, holds: Callable[[int], bool]) -> int:
    """The last value that holds on the way from one that does to one that does not."""
    while abs(outside - inside) > step:
        middle = inside + int((outside - inside) / 2 / step) * step
        if middle in (inside, outside):
            break
        inside, outside = (middle, outside) if holds(middle) else (inside, middle)
    return inside


def _power_of_two(n: int) -> bool:
    return n > 0 and n & (n - 1) == 0


def multiple_of(allowed: list[int], size: int) -> int:
    """The step between allowed sizes, if they and the example's are its multiples."""
    steps = [b - a for a, b in itertools.pairwise(allowed)]
    step = math.gcd(*steps) if steps else 1
    return step if step > 1 and size % step == 0 else 1


def guarded_multiple(
    program: torch.export.ExportedProgram, symbols: Mapping[Any, Symbol], symbol: Symbol
) -> int:
    """The multiple that a program's guards demand of a symbol; nothing is run."""
    values: Values = {s.name: s.size for s in symbols.values()}
    guards = Guards(program, values)
    near = range(max(2, symbol.lower, symbol.size - _REACH), symbol.size + _REACH + 1)
    allowed = [v for v in near if guards.hold({**values, symbol.name: v})]
    return multiple_of(allowed, symbol.size)


def holds_within(
    program: torch.export.ExportedProgram, sizes: Sizes, wanted: Mapping[Axis, Any]
) -> bool:
    """Whether the asked dims are free symbols and every size tried within their limits is allowed.

    Tried are the sizes up to 64 above the least one and beside every power of two.
    """
    shapes = input_shapes(program)
    if not all(isinstance(shapes.get(axis), sympy.Symbol) for axis in wanted):
        return False
    symbols = find_symbols(program, sizes)
    values: Values = {s.name: s.size for s in symbols.values()}
    guards = Guards(program, values)
    for axis, entry in wanted.items():
        low, high = max(2, int(entry.min)), int(min(entry.max, 2**20))
        near = {2**k + d for k in range(1, 21) for d in (-1, 0, 1)} | {high}
        tried = [v for v in {*range(low, low + _REACH), *near} if low <= v <= high]
        name = symbols[shapes[axis]].name
        if not all(guards.hold({**values, name: v}) for v in tried):
            return False
    return True
