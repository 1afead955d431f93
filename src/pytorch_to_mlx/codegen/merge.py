"""Merges variants of a class that have one general form, and mends the calls of their modules."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Protocol, TypeVar

from pytorch_to_mlx.codegen.context import Method
from pytorch_to_mlx.codegen.queries import in_order, is_slot
from pytorch_to_mlx.codegen.unify import Form, unify


class Module(Protocol):
    """What merging needs of a module: where it is, how it is made, what it does."""

    path: str
    init: list[ast.stmt]
    methods: list[Method]


M = TypeVar("M", bound=Module)

Renames = dict[str, dict[str, str]]  # module path: own arguments to those of the general form


def merge_variants(
    groups: list[list[M]], bodies: Sequence[Method], skeleton: Callable[[M], str]
) -> list[list[M]]:
    """Groups of equal modules, with those joined that can be written in one form (in place).

    ``bodies`` are all methods whose calls may have to change.
    """
    while True:
        pairs = sorted(permutations(groups, 2), key=lambda p: _distance(*p))
        for a, b in pairs:
            if _merge(a, b, bodies, skeleton):
                groups = [g for g in groups if g is not a and g is not b] + [[*a, *b]]
                break
        else:
            return groups


def _distance(a: Sequence[Module], b: Sequence[Module]) -> tuple[bool, int, int]:
    """The order to try pairs in: first has more children; equal arguments; first has more."""
    if not a[0].methods or not b[0].methods:
        return (True, 2, 0)
    mine, theirs = len(a[0].methods[0].arguments), len(b[0].methods[0].arguments)
    return (len(a[0].init) <= len(b[0].init), abs(mine - theirs), theirs - mine)


def _merge(a: list[M], b: list[M], bodies: Sequence[Method], skeleton: Callable[[M], str]) -> bool:
    if any(len(m.methods) != 1 or m.methods[0].name != "__call__" for m in (*a, *b)):
        return False
    first, second = _form(a[0], a[0]), _form(b[0], b[0])
    forms: list[tuple[M, Form]] = []
    renames: Renames = {}
    for m in a:
        found = unify(_form(m, a[0]), second)
        if found is None:
            return False
        forms.append((m, found.general))
        renames[m.path] = {n: n for n in a[0].methods[0].arguments}
    for m in b:
        found = unify(first, _form(m, b[0]))
        if found is None:
            return False
        forms.append((m, found.special))
        renames[m.path] = found.renamed
    old = {m.path: g[0].methods[0].arguments for g in (a, b) for m in g}
    new = forms[0][1].method.arguments
    if not _calls_agree(bodies, renames, old, new):
        return False
    before = [(m, m.init, m.methods) for m, _ in forms]
    for m, form in forms:
        m.init, m.methods = form.init, [form.method]
    if len({(skeleton(m), *m.methods[0].arguments) for m, _ in forms}) > 1:
        for m, init, methods in before:
            m.init, m.methods = init, methods
        return False
    for call in _calls(bodies, renames):
        paths = call.__dict__["paths"]
        if all(path in renames for path in paths):
            _rewrite(call, old[paths[0]], renames[paths[0]], new)
    return True


def _form(m: Module, like: Module) -> Form:
    """A module in the words of another one of its group: the same but for numbers."""
    body = [copy.deepcopy(s) for s in like.methods[0].body]
    slots, values = _slots(body), _slots(m.methods[0].body)
    for slot, value in zip(slots, values, strict=True):
        slot.value = value.value
    first = like.methods[0]
    method = replace(m.methods[0], body=body, arguments=first.arguments, optional=first.optional)
    return Form(m.init, method)


def _slots(body: Iterable[ast.stmt]) -> list[ast.Constant]:
    return [n for s in body for n in in_order(s) if isinstance(n, ast.Constant) and is_slot(n)]


def _calls(bodies: Iterable[Method], renames: Renames) -> list[ast.Call]:
    """Calls of the modules."""
    return [
        n
        for method in bodies
        for s in method.body
        for n in ast.walk(s)
        if isinstance(n, ast.Call) and set(n.__dict__.get("paths", ())) & set(renames)
    ]


def _calls_agree(
    bodies: Iterable[Method], renames: Renames, old: dict[str, list[str]], new: list[str]
) -> bool:
    """Whether each call (one in a loop is of several modules) changes in one way, or not at all.

    One that is of other modules too stays as it is.
    """
    for call in _calls(bodies, renames):
        ways: set[tuple[str, ...]] = set()
        paths = call.__dict__["paths"]
        for path in paths:
            way = tuple(renames[path][n] for n in old[path]) if path in renames else ()
            ways.add(() if way == tuple(new[: len(way)]) else way)
        named = [k.arg for k in call.keywords if k.arg is not None]
        others = any(path not in renames for path in paths)
        renamed = any(renames[p].get(n, n) != n for p in paths if p in renames for n in named)
        if len(ways) > 1 or (others and renamed):
            return False
    return True


def _rewrite(call: ast.Call, old: list[str], renamed: dict[str, str], new: list[str]) -> None:
    """The arguments in the general order: by position as far as that goes, then by keyword."""
    given = {renamed[n]: a for n, a in zip(old, call.args, strict=False)}
    given |= {renamed[k.arg]: k.value for k in call.keywords if k.arg is not None}
    assert set(given) <= set(new), "an argument would get lost"
    call.args, call.keywords = [], []
    by_position = True
    for name in new:
        by_position = by_position and name in given
        if by_position:
            call.args.append(given[name])
        elif name in given:
            call.keywords.append(ast.keyword(name, given[name]))
