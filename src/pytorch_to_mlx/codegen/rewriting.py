"""Pieces of code that loops with lists are made of, and statements with parts exchanged."""

from __future__ import annotations

import ast
import copy
from collections.abc import Sequence

from pytorch_to_mlx.codegen.queries import MAX_CALLS, MAX_WIDTH, complexity, width
from pytorch_to_mlx.codegen.runs import index_of, names_in, stored

UNPACKED = 4  # values of a list that get names of their own at most


class Rewriter:
    """Builds a statement anew with other expressions in place of some nodes (by identity)."""

    def __init__(
        self, becomes: dict[str, ast.expr], replaced: dict[int, ast.expr], popped: dict[int, str]
    ) -> None:
        self.becomes, self.replaced, self.popped = becomes, replaced, popped

    def rebuilt(self, node: ast.stmt) -> ast.stmt:
        new = self._node(node)
        assert isinstance(new, ast.stmt)
        return new

    def _node(self, node: ast.AST) -> ast.AST:
        if id(node) in self.replaced:
            return copy.deepcopy(self.replaced[id(node)])
        if id(node) in self.popped:
            return popped_from(self.popped[id(node)])
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            return copy.deepcopy(self.becomes.get(node.id, node))
        new = copy.copy(node)
        for name, value in ast.iter_fields(node):
            if isinstance(value, list):
                setattr(new, name, [self._node(v) if isinstance(v, ast.AST) else v for v in value])
            elif isinstance(value, ast.AST):
                setattr(new, name, self._node(value))
        if isinstance(new, (ast.Tuple, ast.List)):
            return _starred(new)
        return new


def nested(body: list[ast.stmt], kept: set[str]) -> list[ast.stmt]:
    """Values that only the next statement reads, once, written inside it while it stays short."""
    loads = [n.id for s in body for n in names_in(s) if isinstance(n.ctx, ast.Load)]
    kept = kept | {n for n in loads if loads.count(n) > 1}
    out: list[ast.stmt] = []
    for s in body:
        while out and (inner := _only_for(out[-1], s, kept)) is not None:
            s = inner
            out.pop()
        out.append(s)
    return out


def _only_for(before: ast.stmt, s: ast.stmt, kept: set[str]) -> ast.stmt | None:
    """A statement with the value of the one before it in place of its name; None to leave it."""
    if not isinstance(before, ast.Assign) or not isinstance(s, ast.Assign):
        return None
    target, value = before.targets[0], before.value
    if not isinstance(target, ast.Name) or target.id in kept or (_pops(before) and _pops(s)):
        return None
    found = [n for n in names_in(s.value) if n.id == target.id]
    several = isinstance(s.targets[0], ast.Tuple)
    if len(found) != 1 or several or not isinstance(value, ast.Call):
        return None
    new = Rewriter({}, {id(found[0]): value}, {}).rebuilt(s)
    whole = new.value  # type: ignore[attr-defined]
    return new if width(whole) <= MAX_WIDTH and complexity(whole) <= MAX_CALLS else None


def _pops(s: ast.stmt) -> bool:
    return any(isinstance(n, ast.Attribute) and n.attr == "pop" for n in ast.walk(s))


def unpack_items(body: list[ast.stmt], name: str, items: list[str]) -> None:
    """``q, k, v = [...]`` for a list of few values that are read one by one (in place)."""
    loads = [n for s in body for n in ast.walk(s) if isinstance(n, ast.Name) and n.id == name]
    subscripts = [
        n
        for s in body
        for n in ast.walk(s)
        if isinstance(n, ast.Subscript) and isinstance(n.value, ast.Name) and n.value.id == name
    ]
    if len(loads) != len(subscripts) + 1 or len(items) > UNPACKED or "_" in items:
        return
    for i, s in enumerate(body):
        if isinstance(s, ast.Assign) and stored(s)[:1] == [name]:
            s.targets = [ast.Tuple([ast.Name(n, ast.Store()) for n in items], ast.Store())]
            continue
        names: dict[int, ast.expr] = {
            id(n): ast.Name(items[index_of(n)], ast.Load()) for n in subscripts
        }
        body[i] = Rewriter({}, names, {}).rebuilt(s)


def _starred(display: ast.Tuple | ast.List) -> ast.expr:
    """``(outputs[0], outputs[1], x)`` as ``(*outputs, x)``; a whole list as it is."""
    elements: list[ast.expr] = []
    for e in display.elts:
        elements.append(e)
        of = e.__dict__.get("of")
        if of and of[1] == of[2] - 1 and len(elements) >= of[2]:
            whole = whole_list(elements[-of[2] :])
            if whole is not None:
                elements[-of[2] :] = [ast.Starred(whole, ast.Load())]
    if (
        isinstance(display, ast.List)
        and len(elements) == 1
        and isinstance(elements[0], ast.Starred)
    ):
        return elements[0].value
    display.elts = elements
    return display


def whole_list(values: Sequence[ast.expr]) -> ast.expr | None:
    """The list of which these are all the items, in order."""
    marks = [v.__dict__.get("of") for v in values]
    if any(m is None for m in marks) or len({m[0] for m in marks if m}) != 1:
        return None
    if [m[1] for m in marks if m] != list(range(marks[0][2])):  # type: ignore[index]
        return None
    return ast.Name(marks[0][0], ast.Load())  # type: ignore[index]


def store(s: ast.stmt, names: Sequence[str]) -> None:
    """Gives the targets of an assignment these names."""
    targets = [n for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    for target, new in zip(targets, names, strict=True):
        target.id = new


def assigned(name: str, value: ast.expr) -> ast.stmt:
    return ast.Assign([ast.Name(name, ast.Store())], value, lineno=0)


def appended(name: str, values: list[ast.expr]) -> ast.stmt:
    """``skips.append(x)``, or ``skips += [x, h]``."""
    if len(values) > 1:
        return ast.AugAssign(ast.Name(name, ast.Store()), ast.Add(), ast.List(values, ast.Load()))
    function = ast.Attribute(ast.Name(name, ast.Load()), "append", ast.Load())
    return ast.Expr(ast.Call(function, values, []))


def popped_from(name: str) -> ast.expr:
    return ast.Call(ast.Attribute(ast.Name(name, ast.Load()), "pop", ast.Load()), [], [])


def zipped(sources: list[tuple[str, ast.expr]]) -> tuple[ast.expr, ast.expr]:
    """What a loop runs over, and its target."""
    names: list[ast.expr] = [ast.Name(n, ast.Store()) for n, _ in sources]
    if len(sources) == 1:
        return sources[0][1], names[0]
    strict = ast.keyword("strict", ast.Constant(True))
    call = ast.Call(ast.Name("zip", ast.Load()), [s for _, s in sources], [strict])
    return call, ast.Tuple(names, ast.Store())
