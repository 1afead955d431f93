"""Folds runs of statements that differ only in a list index into ``for`` loops.

Given::

    x = self.layers[0](x, mask)
    x = self.layers[1](x, mask)
    x = self.layers[2](x, mask)

Result::

    for layer in self.layers:
        x = layer(x, mask)
"""

from __future__ import annotations

import ast
import copy
from dataclasses import dataclass

_MAX_PERIOD = 12


@dataclass(frozen=True)
class _Run:
    start: int
    period: int
    count: int
    first_index: int
    renamed: tuple[str, str] | None  # (name in the first iteration, name in the others)


def fold_loops(body: list[ast.stmt]) -> list[ast.stmt]:
    """The body with every foldable run of at least two iterations as a loop."""
    out: list[ast.stmt] = []
    indices = [_list_index(s) for s in body]
    at = 0
    while at < len(body):
        run = _find_run(body, indices, at)
        if run is None:
            out.append(body[at])
            at += 1
            continue
        out.extend(_loop(body, run))
        at += run.period * run.count
    return out


def loop_single(body: list[ast.stmt], lengths: dict[str, int]) -> list[ast.stmt]:
    """``x = self.layers[0](x)`` as a loop too where the list has that one element."""
    out: list[ast.stmt] = []
    for statement in body:
        call = statement.value if isinstance(statement, (ast.Assign, ast.Return)) else None
        text = _only_element(call, lengths)
        if not text or not isinstance(call, ast.Call) or not isinstance(call.args[0], ast.Name):
            out.append(statement)
            continue
        carried = call.args[0].id
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) != carried:
            out.append(statement)
            continue
        element = _element_name(text, _names_but_elements(body))
        call.func = ast.Name(element, ast.Load())
        block = ast.Assign([ast.Name(carried, ast.Store())], call, lineno=0)
        iterable = ast.parse(text, mode="eval").body
        out.append(ast.For(ast.Name(element, ast.Store()), iterable, [block], [], lineno=0))
        if isinstance(statement, ast.Return):
            out.append(ast.Return(ast.Name(carried, ast.Load())))
    return [ast.fix_missing_locations(s) for s in out]


def _names_but_elements(body: list[ast.stmt]) -> set[str]:
    """Names in a body, without those that only loops over lists use."""
    loops = [s for s in body if isinstance(s, ast.For)]
    inside = {id(n) for s in loops for n in ast.walk(s)}
    elements = {s.target.id for s in loops if isinstance(s.target, ast.Name)}
    names = [n for s in body for n in ast.walk(s) if isinstance(n, ast.Name)]
    return {n.id for n in names if n.id not in elements or id(n) not in inside}


def _only_element(call: ast.expr | None, lengths: dict[str, int]) -> str:
    """The list whose one element is called on a first argument; empty for any other expression."""
    if not isinstance(call, ast.Call) or not call.args or not isinstance(call.func, ast.Subscript):
        return ""
    text = ast.unparse(call.func.value)
    return text if lengths.get(text) == 1 and text.startswith("self.") else ""


def return_directly(body: list[ast.stmt]) -> list[ast.stmt]:
    """``x = f(y); return x`` as ``return f(y)``, in the branches of a last ``if`` too."""
    if len(body) > 1 and isinstance(body[-1], ast.Return) and isinstance(body[-2], ast.If):
        return _return_in_branches(body)
    if (
        len(body) < 2
        or not isinstance(body[-1], ast.Return)
        or not isinstance(body[-2], ast.Assign)
    ):
        return body
    value, target = body[-1].value, body[-2].targets[0]
    if _all_names(value, target) and _gives_tuple(body[-2].value):
        call = body[-2].value
        call.__dict__["count"] = len(target.elts)  # type: ignore[attr-defined]
        return [*body[:-2], ast.fix_missing_locations(ast.Return(call))]
    if isinstance(value, ast.Name) and isinstance(target, ast.Name) and value.id == target.id:
        return [*body[:-2], ast.fix_missing_locations(ast.Return(body[-2].value))]
    return body


def _all_names(value: ast.expr | None, target: ast.expr) -> bool:
    """Whether ``a, b`` is returned as it was assigned."""
    if not isinstance(value, ast.Tuple) or not isinstance(target, ast.Tuple):
        return False
    names = [getattr(e, "id", "") for e in value.elts]
    return all(names) and names == [getattr(e, "id", "_") for e in target.elts]


def _gives_tuple(e: ast.expr) -> bool:
    """Whether it calls a module or a function of the file; they give tuples, ``mx`` gives lists."""
    if not isinstance(e, ast.Call):
        return False
    root = e.func
    while isinstance(root, (ast.Attribute, ast.Subscript)):
        root = root.value
    return isinstance(root, ast.Name) and root.id not in ("mx", "nn")


def _return_in_branches(body: list[ast.stmt]) -> list[ast.stmt]:
    """Returns early where both branches of the last ``if`` end by making what is returned."""
    *front, choice, last = body
    assert isinstance(choice, ast.If)
    if not choice.orelse or not isinstance(last, ast.Return):
        return body
    ends = [return_directly([*part, copy.deepcopy(last)]) for part in (choice.body, choice.orelse)]
    if any(_same_end(part, last) for part in ends):
        return body
    early = ast.If(choice.test, ends[0], [])
    return [*front, ast.fix_missing_locations(early), *ends[1]]


def _same_end(part: list[ast.stmt], last: ast.Return) -> bool:
    """Whether a branch still makes a variable that it returns at once."""
    made = isinstance(part[-1], ast.Return) and ast.dump(part[-1]) == ast.dump(last)
    return made and not (isinstance(last.value, ast.Name) and len(part) == 1)


def _find_run(body: list[ast.stmt], indices: list[int | None], start: int) -> _Run | None:
    best: _Run | None = None
    for period in range(1, min(_MAX_PERIOD, (len(body) - start) // 2) + 1):
        run = _run_of(body, indices, start, period)
        if run and (best is None or run.count * run.period > best.count * best.period):
            best = run
    return best


def _run_of(
    body: list[ast.stmt], indices: list[int | None], start: int, period: int
) -> _Run | None:
    """The iterations of ``period`` statements each from ``start``; ``indices`` are the list indices
    that the statements mention first.
    """
    first = body[start : start + period]
    first_index = _first(indices[start : start + period])
    if first_index is None or not all(isinstance(s, ast.Assign) for s in first):
        return None
    if start + 2 * period > len(body):
        return None
    second = body[start + period : start + 2 * period]
    if _first(indices[start + period : start + 2 * period]) != first_index + 1:
        return None
    model = [_skeleton(s, first_index + 1) for s in second]
    renamed = _match_first(first, second, model, first_index)
    if renamed is None:
        return None
    count = 2
    while start + (count + 1) * period <= len(body):
        block = body[start + count * period : start + (count + 1) * period]
        if [_skeleton(s, first_index + count) for s in block] != model:
            break
        count += 1
    return _Run(start, period, count, first_index, renamed if renamed[0] != renamed[1] else None)


def _match_first(
    first: list[ast.stmt], second: list[ast.stmt], model: list[str], index: int
) -> tuple[str, str] | None:
    """Whether the first iteration equals the others up to the name of the carried variable."""
    if [_skeleton(s, index) for s in first] == model:
        return ("", "")
    renamed = [copy.deepcopy(s) for s in first]
    pairs: set[tuple[str, str]] = set()
    kept: set[str] = set()  # read from before the iteration by the same name as in the others
    stored: set[str] = set()
    for mine, other in zip(renamed, second, strict=True):
        theirs, ours = _reads(other), _reads(mine)
        if len(ours) != len(theirs):
            return None
        for a, b in zip(ours, theirs, strict=True):
            if a.id != b.id:
                if {a.id, b.id} & stored:
                    return None
                pairs.add((a.id, b.id))
                a.id = b.id
            elif a.id not in stored:
                kept.add(a.id)
        stored.update(_target_names(mine))
    if len(pairs) != 1 or [_skeleton(s, index) for s in renamed] != model:
        return None
    ((name, new),) = pairs
    fits = new in _target_names(first[-1]) and new not in kept
    return (name, new) if fits and name not in ("self", "mx", "nn") else None


def _reads(statement: ast.stmt) -> list[ast.Name]:
    names = [n for n in ast.walk(statement) if isinstance(n, ast.Name)]
    return [n for n in names if isinstance(n.ctx, ast.Load)]


def _target_names(statement: ast.stmt) -> list[str]:
    return [
        n.id
        for n in ast.walk(statement)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    ]


def _list_items(statement: ast.AST) -> list[ast.Subscript]:
    """``self.a.b[3]`` subscripts: a constant index of an attribute chain from ``self``."""
    return [
        n
        for n in ast.walk(statement)
        if isinstance(n, ast.Subscript)
        and isinstance(n.slice, ast.Constant)
        and isinstance(n.slice.value, int)
        and isinstance(n.value, ast.Attribute)
        and _of_self(n.value)
    ]


def _of_self(value: ast.expr) -> bool:
    while isinstance(value, (ast.Attribute, ast.Subscript, ast.Call)):
        value = value.func if isinstance(value, ast.Call) else value.value
    return isinstance(value, ast.Name) and value.id == "self"


def _list_index(statement: ast.stmt) -> int | None:
    items = _list_items(statement)
    return items[0].slice.value if items else None  # type: ignore[attr-defined]


def _first(indices: list[int | None]) -> int | None:
    return next((i for i in indices if i is not None), None)


def _skeleton(statement: ast.stmt, index: int) -> str:
    """The statement's source with the given list index replaced by a mark."""
    s = copy.deepcopy(statement)
    for item in _list_items(s):
        if item.slice.value == index:  # type: ignore[attr-defined]
            item.slice = ast.Name("INDEX", ast.Load())
    return ast.dump(s)


def _loop(body: list[ast.stmt], run: _Run) -> list[ast.stmt]:
    block = [copy.deepcopy(s) for s in body[run.start + run.period : run.start + 2 * run.period]]
    _gather_paths(block, body, run)
    index = run.first_index + 1
    items = [i for s in block for i in _list_items(s)]
    at_index = [i for i in items if isinstance(i.slice, ast.Constant) and i.slice.value == index]
    lists = list(dict.fromkeys(ast.unparse(i.value) for i in at_index))
    taken = {n.id for s in body for n in ast.walk(s) if isinstance(n, ast.Name)}
    names = {text: _element_name(text, taken) for text in lists}
    block = [_ElementNames(names, index).visit(s) for s in block]
    iterables = [_iterable(text, run) for text in lists]
    target: ast.expr
    if len(lists) == 1:
        target, source = ast.Name(names[lists[0]], ast.Store()), iterables[0]
    else:
        target = ast.Tuple([ast.Name(names[t], ast.Store()) for t in lists], ast.Store())
        strict = ast.keyword("strict", ast.Constant(True))
        source = ast.Call(ast.Name("zip", ast.Load()), iterables, [strict])
    loop = ast.For(target, source, block, [], lineno=0)
    out: list[ast.stmt] = []
    if run.renamed:
        first, carried = run.renamed
        out.append(
            ast.Assign([ast.Name(carried, ast.Store())], ast.Name(first, ast.Load()), lineno=0)
        )
    out.append(ast.fix_missing_locations(loop))
    return [ast.fix_missing_locations(s) for s in out]


def _gather_paths(block: list[ast.stmt], body: list[ast.stmt], run: _Run) -> None:
    """The loop's calls get the paths of the modules that they call in all iterations."""
    calls = [n for s in block for n in ast.walk(s) if isinstance(n, ast.Call)]
    for k in range(run.count):
        at = run.start + k * run.period
        others = (n for s in body[at : at + run.period] for n in ast.walk(s))
        twins = [n for n in others if isinstance(n, ast.Call)]
        for call, twin in zip(calls, twins, strict=True):
            paths = (*call.__dict__.get("paths", ()), *twin.__dict__.get("paths", ()))
            if paths:
                call.__dict__["paths"] = tuple(dict.fromkeys(paths))


def _iterable(text: str, run: _Run) -> ast.expr:
    """The list, as a slice that :func:`trim_slices` turns into the bare list where it covers it."""
    base = ast.parse(text, mode="eval").body
    stop = ast.Constant(run.first_index + run.count)
    return ast.Subscript(base, ast.Slice(ast.Constant(run.first_index), stop, None), ast.Load())


def trim_slices(body: list[ast.stmt], lengths: dict[str, int]) -> None:
    """``self.layers[0:4]`` becomes ``self.layers`` where the list has four elements (in place)."""
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, (ast.For, ast.comprehension)):
                calls = node.iter.args if isinstance(node.iter, ast.Call) else [node.iter]
                trimmed = [_trim(c, lengths) for c in calls]
                if isinstance(node.iter, ast.Call):
                    node.iter.args = trimmed
                else:
                    node.iter = trimmed[0]


def _trim(e: ast.expr, lengths: dict[str, int]) -> ast.expr:
    if not isinstance(e, ast.Subscript) or not isinstance(e.slice, ast.Slice):
        return e
    length = lengths.get(ast.unparse(e.value))
    lower, upper = e.slice.lower, e.slice.upper
    if isinstance(upper, ast.Constant) and upper.value == length:
        upper = None
    if isinstance(lower, ast.Constant) and lower.value == 0:
        lower = None
    if lower is None and upper is None:
        return e.value
    return ast.Subscript(e.value, ast.Slice(lower, upper, None), ast.Load())


class _ElementNames(ast.NodeTransformer):
    def __init__(self, names: dict[str, str], index: int) -> None:
        self.names, self.index = names, index

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if isinstance(node.slice, ast.Constant) and node.slice.value == self.index:
            text = ast.unparse(node.value)
            if text in self.names:
                return ast.Name(self.names[text], ast.Load())
        return self.generic_visit(node)


def _element_name(text: str, taken: set[str]) -> str:
    """``layer`` for ``self.layers``, ``block`` for ``self.blocks``; ``h_item`` for what has no
    singular.
    """
    plural = text.rpartition(".")[2]
    if plural.endswith("ies"):
        base = plural[:-3] + "y"
    elif plural.endswith("s") and not plural.endswith("ss") and len(plural) > 2:
        base = plural[:-1]
    else:
        base = "layer"
    name, n = base, 2
    while name in taken:
        name, n = f"{base}_{n}", n + 1
    taken.add(name)
    return name
