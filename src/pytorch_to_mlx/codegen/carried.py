"""Variables that branches and loops assign, with as few copies as a person would write."""

from __future__ import annotations

import ast
import copy
import operator
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any, cast

from pytorch_to_mlx.codegen.expressions import name
from pytorch_to_mlx.codegen.truths import conjuncts, is_constant, negated

Pair = tuple[str, ast.expr]


def assign(target: str, value: ast.expr, numbers: Container[str] = ()) -> ast.stmt:
    """``target = value``, or ``target += value`` for one of ``numbers``: an array that other names
    mean too (a weight, an argument) would change for them as well.
    """
    if (
        target in numbers
        and isinstance(value, ast.BinOp)
        and isinstance(value.op, (ast.Add, ast.Sub))
        and _is(value.left, target)
        and isinstance(value.right, ast.Constant)
    ):
        return ast.AugAssign(ast.Name(target, ast.Store()), value.op, value.right)
    return ast.Assign([ast.Name(target, ast.Store())], value, lineno=0)


def settle(
    statements: list[ast.stmt], pairs: Sequence[Pair], read_after: Iterable[ast.expr] = ()
) -> list[Pair]:
    """Lets the statements of a block assign a target themselves where they may, in place.

    ``pairs`` are the targets with the values that they take at the end, all at once;
    ``read_after`` is evaluated then. Returns the pairs that are left to assign.
    """
    left = list(pairs)
    for target, value in pairs:
        others = [v for t, v in left if t != target]
        if not isinstance(value, ast.Name) or _is(value, target):
            continue
        made = value.id
        if (
            made.startswith("_v")
            and made not in {t for t, _ in pairs}
            and (
                _stores(statements, made)
                and not any(_loads([v], target) for v in [*others, *read_after])
                and _may_become(statements, made, target)
            )
        ):
            _rename(statements, made, target)
            for e in [*others, *read_after]:
                _rename([e], made, target)
            left = [
                (t, v if not isinstance(v, ast.Name) or v.id != made else name(target))
                for t, v in left
                if t != target
            ]
    return [(t, v) for t, v in left if not _is(v, t)]


def in_order(pairs: Sequence[Pair], numbers: Container[str] = ()) -> list[ast.stmt] | None:
    """Assignments one by one, so that none reads what another has changed; None if none can."""
    left, done = list(pairs), []
    while left:
        free = next(
            (p for p in left if not any(_loads([v], p[0]) for t, v in left if t != p[0])), None
        )
        if free is None:
            return None
        left.remove(free)
        done.append(assign(*free, numbers))
    return done


def at_once(pairs: Sequence[Pair], numbers: Container[str] = ()) -> list[ast.stmt]:
    """Assignments in order where possible, else in one statement."""
    ordered = in_order(pairs, numbers)
    if ordered is not None:
        return ordered
    targets: list[ast.expr] = [ast.Name(t, ast.Store()) for t, _ in pairs]
    values = ast.Tuple([v for _, v in pairs], ast.Load())
    return [ast.Assign([ast.Tuple(targets, ast.Store())], values, lineno=0)]


def until(
    flag: str,
    tests: tuple[ast.expr, ast.expr],
    starts: Sequence[Pair],
    nexts: Sequence[Pair],
    statements: list[ast.stmt],
    numbers: Container[str] = (),
) -> list[ast.stmt]:
    """A ``while`` whose condition is known before the first round and after every one.

    ``tests`` are these two. Where they are the same, that is the loop's condition; where the first
    is true, the loop ends by a ``break``; else a variable holds it.
    """
    before, after = tests
    left = settle(statements, nexts, [after])
    last, ordered = afterwards(after, left), in_order(left, numbers)
    if last is None or ordered is None:
        end = [assign(flag, after), *at_once(left, numbers)]
        return [assign(flag, before), ast.While(name(flag), [*statements, *end], [])]
    if _same_test(replaced(before, starts), last, starts):
        return [ast.While(last, [*statements, *ordered], [])]
    if is_constant(before, True):
        leave = ast.If(negated(last), [ast.Break()], [])
        return [ast.While(ast.Constant(True), [*statements, *ordered, leave], [])]
    end = [*ordered, assign(flag, last)]
    return [assign(flag, before), ast.While(name(flag), [*statements, *end], [])]


def _same_test(before: ast.expr, after: ast.expr, starts: Sequence[Pair]) -> bool:
    """Whether both are one condition, apart from parts of the second that hold at first."""
    numbers = {t: v for t, v in starts if isinstance(v, ast.Constant)}
    parts = [ast.dump(p) for p in conjuncts(after) if not _holds(p, numbers)]
    return parts == [ast.dump(p) for p in conjuncts(before)] and not isinstance(after, ast.Constant)


def _holds(e: ast.expr, numbers: dict[str, ast.Constant]) -> bool:
    """Whether a comparison of numbers holds where variables have these values."""
    if not isinstance(e, ast.Compare) or len(e.ops) != 1:
        return False
    sides = (e.left, *e.comparators)
    a, b = (numbers.get(s.id, s) if isinstance(s, ast.Name) else s for s in sides)
    if not isinstance(a, ast.Constant) or not isinstance(b, ast.Constant):
        return False
    compare = _COMPARE.get(type(e.ops[0]))
    return bool(compare and compare(a.value, b.value))


_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip


def replaced(e: ast.expr, pairs: Sequence[Pair], mark: str = "") -> ast.expr:
    """An expression in which the values of pairs are written by their targets."""
    known = {ast.dump(v): t + mark for t, v in pairs if not isinstance(v, ast.Constant)}

    class Replace(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            if isinstance(node, ast.expr) and ast.dump(node) in known:
                return name(known[ast.dump(node)])
            return self.generic_visit(node)

    done: Any = Replace().visit(copy.deepcopy(e))
    return cast("ast.expr", done)


def afterwards(e: ast.expr, pairs: Sequence[Pair]) -> ast.expr | None:
    """An expression as it is written after the assignments; None if it needs what was before."""
    new = replaced(e, pairs, _NEW)
    if any(_loads([new], t) for t, _ in pairs):
        return None
    _rename_all(new, _NEW)
    return new


_NEW = "="  # behind a name: of a value after the assignments


def _rename_all(e: ast.expr, mark: str) -> None:
    for n in ast.walk(e):
        if isinstance(n, ast.Name):
            n.id = n.id.removesuffix(mark)


def _is(e: ast.AST, text: str) -> bool:
    return isinstance(e, ast.Name) and e.id == text


def _uses(nodes: Iterable[ast.AST], text: str, context: type[ast.expr_context]) -> bool:
    return any(
        isinstance(n, ast.Name) and n.id == text and isinstance(n.ctx, context)
        for node in nodes
        for n in ast.walk(node)
    )


def _loads(nodes: Iterable[ast.AST], text: str) -> bool:
    return _uses(nodes, text, ast.Load)


def _stores(nodes: Iterable[ast.AST], text: str) -> bool:
    return _uses(nodes, text, ast.Store)


def _may_become(statements: Sequence[ast.stmt], made: str, target: str) -> bool:
    """Whether nothing reads the old target once the new value has been made."""
    return _walk(statements, made, target, False) is not None


def _walk(statements: Sequence[ast.stmt], made: str, target: str, stored: bool) -> bool | None:
    """Whether the value has been made after the statements; None if the old one is read then."""
    for s in statements:
        if isinstance(s, ast.If):
            if stored and _loads([s.test], target):
                return None
            ends = [_walk(part, made, target, stored) for part in (s.body, s.orelse)]
            if None in ends:
                return None
            stored = any(ends)
        elif isinstance(s, (ast.For, ast.While)):
            makes = _stores([s], made)
            if (stored or makes) and _loads([s], target):
                return None
            stored = stored or makes
        else:
            if stored and _loads([s], target):
                return None
            stored = stored or _stores([s], made)
    return stored


def _rename(nodes: Iterable[ast.AST], old: str, new: str) -> None:
    for node in nodes:
        for n in ast.walk(node):
            if isinstance(n, ast.Name) and n.id == old:
                n.id = new


def without_copies(statements: list[ast.stmt]) -> list[ast.stmt]:
    """The statements without ``x = x``, and an ``if`` whose first branch is empty the other way
    round."""
    kept: list[ast.stmt] = []
    for s in statements:
        if isinstance(s, ast.Assign) and _is(s.value, getattr(s.targets[0], "id", "")):
            continue
        for field in ("body", "orelse"):
            if isinstance(s, (ast.If, ast.For, ast.While)):
                setattr(s, field, without_copies(getattr(s, field)))
        if isinstance(s, ast.If):
            s.body = [x for x in s.body if not isinstance(x, ast.Pass)]
            s.orelse = [x for x in s.orelse if not isinstance(x, ast.Pass)]
            if not s.body and not s.orelse:
                continue
            if not s.body:
                s.test, s.body, s.orelse = negated(s.test), s.orelse, []
        if isinstance(s, (ast.For, ast.While)) and not s.body:
            s.body = [ast.Pass()]
        kept.append(s)
    return kept
