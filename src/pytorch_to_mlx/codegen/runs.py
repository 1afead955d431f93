"""Runs of statements that differ in a list index and in the values they read and make.

Works on a body whose values are still placeholders, each assigned once. A value that one iteration
of a run reads is made in it, by the iteration before, the same in all, or another in each.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pytorch_to_mlx.codegen.queries import in_order

MAX_PERIOD = 12


@dataclass
class Run:
    """``count`` blocks of ``period`` statements from ``start``; block k uses list element
    ``first_index + k``.

    ``made[k]`` are the names that block k assigns, in order; ``carried`` leads from the ordinal of
    a name to what the first block reads in its place; ``varying`` are the reads (by place in a
    block) of another value in each, as a row of names; ``same`` are the values from before the run
    that all blocks read.
    """

    start: int
    period: int
    count: int
    first_index: int
    made: list[list[str]] = field(default_factory=list)
    carried: dict[int, str] = field(default_factory=dict)
    carry_places: dict[int, int] = field(default_factory=dict)  # place in a block: ordinal
    varying: dict[int, list[str]] = field(default_factory=dict)
    same: set[str] = field(default_factory=set)

    @property
    def end(self) -> int:
        return self.start + self.period * self.count

    def block(self, body: Sequence[ast.stmt], k: int) -> Sequence[ast.stmt]:
        at = self.start + k * self.period
        return body[at : at + self.period]

    def ordinal_of(self, name: str) -> tuple[int, int] | None:
        """The block and the place in it where a name is made."""
        for k, names in enumerate(self.made):
            if name in names:
                return k, names.index(name)
        return None


def find_runs(body: list[ast.stmt], arguments: Sequence[str], wanted: dict[str, str]) -> list[Run]:
    """The longest runs of at least two blocks, from the front, none overlapping.

    Where the last step of a run is written inside a later expression, the body gets a statement of
    its own for it, and ``wanted`` its name.
    """
    finder = _Finder(body, arguments)
    runs: list[Run] = []
    at = 0
    while at < len(body):
        run = finder.longest(at) or finder.pair(at, wanted)
        if run is not None and (name := finder.outlined(run)):
            wanted[name] = wanted.get(run_result(body, run), "x")
            run = finder.longest(at)
        if run is not None:
            runs.append(run)
        at = run.end if run is not None else at + 1
    return runs


def run_result(body: Sequence[ast.stmt], run: Run) -> str:
    """What the last statement of a run's first block assigns."""
    return stored(body[run.start + run.period - 1])[-1]


class _Finder:
    def __init__(self, body: list[ast.stmt], arguments: Sequence[str]) -> None:
        self.body, self.arguments = body, arguments
        self._read()

    def _read(self) -> None:
        body, arguments = self.body, self.arguments
        stores = [n for s in body for n in stored(s)]
        self.once = {n for n in stores if stores.count(n) == 1}
        self.values = {*stores, *arguments} - {"_"}
        self.given = set(arguments) - set(stores)
        self.skeletons: dict[tuple[int, int | None], str] = {}
        self.indices = [[index_of(x) for x in list_items(s)] for s in body]

    def longest(self, start: int) -> Run | None:
        best: Run | None = None
        for period in range(1, min(MAX_PERIOD, (len(self.body) - start) // 2) + 1):
            run = self._run(start, period)
            if run and (best is None or run.count * run.period > best.count * best.period):
                best = run
        return best

    def _run(self, start: int, period: int) -> Run | None:
        first = self.body[start : start + period]
        index = self._first_index(start, period)
        if index is None or not all(isinstance(s, ast.Assign) for s in first):
            return None
        count = 1
        while start + (count + 1) * period <= len(self.body) and all(
            self._skeleton(start + i, index)
            == self._skeleton(start + count * period + i, index + count)
            for i in range(period)
        ):
            count += 1
        for shorter in range(count, 1, -1):
            run = Run(start, period, shorter, index)
            if self._explains(run):
                return run
        return None

    def _first_index(self, start: int, period: int) -> int | None:
        """The first list index in a block."""
        return next((i for found in self.indices[start : start + period] for i in found), None)

    def _skeleton(self, at: int, index: int) -> str:
        """A statement's source with marks for values and for the given list index."""
        key = (at, index if index in self.indices[at] else None)
        if key not in self.skeletons:
            self.skeletons[key] = self._marked(self.body[at], index)
        return self.skeletons[key]

    def _marked(self, of: ast.AST, index: int) -> str:
        marked = copy.deepcopy(of)
        for node in ast.walk(marked):
            if isinstance(node, ast.Name) and (node.id in self.values or node.id == "_"):
                node.id = "VALUE"
        for item in list_items(marked):
            if item.slice.value == index:  # type: ignore[attr-defined]
                item.slice = ast.Name("INDEX", ast.Load())
        return ast.dump(marked)

    def outlined(self, run: Run) -> str:
        """The name of a run's last result, if it was written inside a statement and is now a
        statement of its own.
        """
        at, index = run.end + run.period - 1, run.first_index
        last = self.body[run.start + run.period - 1]
        if run.period < 2 or at >= len(self.body) or not isinstance(last, ast.Assign):
            return ""
        if not isinstance(last.targets[0], ast.Name) or not all(
            self._skeleton(run.start + i, index) == self._skeleton(run.end + i, index + run.count)
            for i in range(run.period - 1)
        ):
            return ""
        made = {n for s in self.body[run.end : at] for n in stored(s)}
        wanted = self._marked(last.value, index)
        for parent in ast.walk(self.body[at]):
            for e in ast.iter_child_nodes(parent):
                if (
                    isinstance(e, ast.expr)
                    and not isinstance(parent, ast.Assign)
                    and made.intersection(n.id for n in names_in(e))
                    and self._marked(e, index + run.count) == wanted
                ):
                    name = f"_vlast{at}"
                    replace_in(parent, e, ast.Name(name, ast.Load()))
                    self.body.insert(at, ast.Assign([ast.Name(name, ast.Store())], e, lineno=0))
                    self._read()
                    return name
        return ""

    def pair(self, start: int, wanted: dict[str, str]) -> Run | None:
        """A run of two blocks, of which the second's last step is made a statement of its own."""
        for period in range(2, min(MAX_PERIOD, len(self.body) - start - 1) + 1):
            block = self.body[start : start + period]
            index = self._first_index(start, period)
            if index is None or not all(isinstance(s, ast.Assign) for s in block):
                continue
            single = Run(start, period, 1, index)
            if name := self.outlined(single):
                if run := self._run(start, period):
                    wanted[name] = wanted.get(run_result(self.body, single), "x")
                    return run
                self._written_inside(single.end + period - 1)
        return None

    def _written_inside(self, at: int) -> None:
        """Takes back that a step was made a statement."""
        statement = self.body.pop(at)
        assert isinstance(statement, ast.Assign)
        name, value = stored(statement)[0], statement.value
        for parent in ast.walk(self.body[at]):
            for e in ast.iter_child_nodes(parent):
                if isinstance(e, ast.Name) and e.id == name:
                    replace_in(parent, e, value)
        self._read()

    def _explains(self, run: Run) -> bool:
        """Fills in where each block's values come from; whether a loop can say so."""
        blocks = [run.block(self.body, k) for k in range(run.count)]
        run.made = [[n for s in b for n in stored(s)] for b in blocks]
        inside = {n for names in run.made for n in names} - {"_"}
        if not inside <= self.once:
            return False
        rows = zip(*([n.id for n in reads(b, self.values)] for b in blocks), strict=True)
        return all(
            self._place(run, j, list(row), inside) for j, row in enumerate(rows)
        ) and _carries_in_time(run, blocks[0], self.values)

    def _place(self, run: Run, j: int, row: list[str], inside: set[str]) -> bool:
        if row[0] in inside:
            d = run.made[0].index(row[0])
            return all(row[k] == run.made[k][d] for k in range(run.count))
        if all(n == row[0] for n in row):
            run.same.add(row[0])
            return True
        if row[1] in run.made[0]:
            d = run.made[0].index(row[1])
            run.carry_places[j] = d
            follows = all(row[k] == run.made[k - 1][d] for k in range(1, run.count))
            return follows and run.carried.setdefault(d, row[0]) == row[0]
        run.varying[j] = row
        outside = (self.once | self.given) - inside
        return len(set(row)) == len(row) and all(n in outside for n in row)


def _carries_in_time(run: Run, block: Sequence[ast.stmt], values: set[str]) -> bool:
    """Whether no statement reads what the iteration before made once its own is made."""
    if len(set(run.carried.values())) != len(run.carried):
        return False
    made: set[int] = set()
    ordinal, place = 0, 0
    for statement in block:
        for _ in reads([statement], values):
            if run.carry_places.get(place) in made:
                return False
            place += 1
        for _ in stored(statement):
            made.add(ordinal)
            ordinal += 1
    return True


def replace_in(parent: ast.AST, old: ast.AST, new: ast.AST) -> None:
    """Puts one node in another's place."""
    for name, value in ast.iter_fields(parent):
        if value is old:
            setattr(parent, name, new)
        elif isinstance(value, list):
            value[:] = [new if item is old else item for item in value]


def names_in(node: ast.AST) -> Iterator[ast.Name]:
    """Names in the order in which Python evaluates them."""
    return (n for n in in_order(node) if isinstance(n, ast.Name))


def stored(statement: ast.stmt) -> list[str]:
    return [n.id for n in names_in(statement) if isinstance(n.ctx, ast.Store)]


def reads(block: Sequence[ast.stmt], values: set[str]) -> Iterator[ast.Name]:
    """Reads of values in a block, in order."""
    for s in block:
        yield from (n for n in names_in(s) if isinstance(n.ctx, ast.Load) and n.id in values)


def list_items(node: ast.AST) -> list[ast.Subscript]:
    """``self.a.b[3]`` subscripts: a constant index of an attribute chain from ``self``."""
    return [
        n
        for n in ast.walk(node)
        if isinstance(n, ast.Subscript)
        and isinstance(n.slice, ast.Constant)
        and isinstance(n.slice.value, int)
        and isinstance(n.value, ast.Attribute)
        and ast.unparse(n.value).startswith("self.")
    ]


def index_of(item: ast.Subscript) -> int:
    """The constant index of a list item."""
    place = item.slice.value if isinstance(item.slice, ast.Constant) else None
    assert isinstance(place, int)
    return place


def gather_paths(block: Sequence[ast.stmt], twins: Sequence[Sequence[ast.stmt]]) -> None:
    """The calls of a block get the paths of the modules that its twins call in their place."""
    calls = [n for s in block for n in ast.walk(s) if isinstance(n, ast.Call)]
    for twin in twins:
        others = [n for s in twin for n in ast.walk(s) if isinstance(n, ast.Call)]
        for call, other in zip(calls, others, strict=True):
            paths = (*call.__dict__.get("paths", ()), *other.__dict__.get("paths", ()))
            if paths:
                call.__dict__["paths"] = tuple(dict.fromkeys(paths))
