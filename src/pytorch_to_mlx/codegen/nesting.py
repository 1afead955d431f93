"""Calls of list elements are statements until runs of them are found; then they may be nested.

``h = self.layers[0](x); x = h + x`` becomes ``x = self.layers[0](x) + x``.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pytorch_to_mlx.codegen.queries import MAX_CALLS, MAX_WIDTH, complexity, width
from pytorch_to_mlx.codegen.rewriting import Rewriter
from pytorch_to_mlx.codegen.runs import find_runs, names_in, stored


def nested_items(
    body: list[ast.stmt], arguments: Sequence[str], wanted: dict[str, str]
) -> list[ast.stmt]:
    """The body with such calls inside the next statement, if only that reads them.

    Iterations of a run stay alike, and what a run makes last stays a statement. Elsewhere only
    operands are nested.
    """
    nester = _Nester(body)
    out: list[ast.stmt] = []
    at = 0
    for run in find_runs(body, arguments, wanted):
        out += nester.nested(body[at : run.start], operands=True)
        blocks = [nester.nested(run.block(body, k)) for k in range(run.count)]
        alike = len({len(b) for b in blocks}) == 1
        out += [s for b in blocks for s in b] if alike else body[run.start : run.end]
        at = run.end
    return out + nester.nested(body[at:], operands=True)


@dataclass
class _Nester:
    body: list[ast.stmt]

    def __post_init__(self) -> None:
        names = [n for s in self.body for n in names_in(s)]
        self.loads = Counter(n.id for n in names if isinstance(n.ctx, ast.Load))
        self.stores = Counter(n.id for n in names if isinstance(n.ctx, ast.Store))

    def nested(self, part: Sequence[ast.stmt], *, operands: bool = False) -> list[ast.stmt]:
        out: list[ast.stmt] = []
        for s in part:
            while out and (inner := self._around(out[-1], s, operands)) is not None:
                s = inner
                out.pop()
            out.append(s)
        return out

    def _around(self, before: ast.stmt, s: ast.stmt, operands: bool) -> ast.stmt | None:
        """A statement with the call before it in place of its name; None to leave both."""
        call = before.value if isinstance(before, ast.Assign) else None
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Subscript):
            return None
        (made, *others) = stored(before)
        if others or self.loads[made] != 1 or self.stores[made] != 1:
            return None
        if not isinstance(s, (ast.Assign, ast.Return)) or s.value is None or len(stored(s)) > 1:
            return None
        for parent in ast.walk(s.value):
            for child in ast.iter_child_nodes(parent):
                if isinstance(child, ast.Name) and child.id == made and _takes(parent, operands):
                    new = Rewriter({}, {id(child): call}, {}).rebuilt(s)
                    whole = new.value if isinstance(new, (ast.Assign, ast.Return)) else None
                    assert whole is not None
                    short = width(whole) <= MAX_WIDTH and complexity(whole) <= MAX_CALLS
                    return new if short else None
        return None


def _takes(parent: ast.AST, operands: bool) -> bool:
    """Whether a call may stand in an expression; not in a call of another element."""
    if operands:
        return isinstance(parent, ast.BinOp)
    return not (isinstance(parent, ast.Call) and isinstance(parent.func, ast.Subscript))
