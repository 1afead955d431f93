"""Reads files of marked functions, and finds what of each must travel into a package."""

from __future__ import annotations

import ast
import builtins
import dis
import inspect
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from pytorch_to_mlx.custom.marks import MARK
from pytorch_to_mlx.errors import InputError
from pytorch_to_mlx.ops.registry import Added

#: What an emitted file imports, and under which name.
_IMPORTED = {"mx": mx, "nn": nn, "math": math}
_HINT = "use only mx, nn, math and what the same file defines"


@dataclass(frozen=True)
class CustomOp:
    """A marked function: ``op`` is ``mylib::op``; ``entries`` is all that it needs, by name."""

    op: str
    function: Callable[..., Any]
    origin: str
    entries: Mapping[str, Added]

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def target(self) -> str:
        """The op overload as programs write it: ``mylib.op.default``."""
        name = self.op.replace("::", ".")
        return name if name.count(".") == 2 else f"{name}.default"


def check_provable(ops: Sequence[CustomOp]) -> None:
    """Refuses functions for an ONNX model: nothing could prove them.

    Raises:
        InputError: there are some.
    """
    if ops:
        raise InputError(
            f"{ops[0].op} of {ops[0].origin}: given ops are for torch models. Nothing tells what "
            "an ONNX model's own op computes, so a function in its place cannot be proven",
            hint="write the op as a function of the model (onnx.FunctionProto), which is inlined",
        )


def load_ops(given: Any) -> list[CustomOp]:
    """The marked functions of files (paths), modules or functions, or a list of these.

    Raises:
        InputError: a file does not run, marks nothing, or a function needs what cannot travel.
    """
    if given is None:
        return []
    items = list(given) if isinstance(given, (list, tuple)) else [given]
    found = [op for item in items for op in _ops_of(item)]
    for i, op in enumerate(found):
        for other in found[:i]:
            if op.op == other.op or op.name == other.name:
                what = op.op if op.op == other.op else f"a function called {op.name}"
                raise InputError(f"--ops gives {what} twice", hint="keep one of them")
    return found


def _ops_of(item: Any) -> Iterator[CustomOp]:
    if isinstance(item, (str, Path)):
        path = Path(item)
        source, names = _run(path)
        yield from _marked(source, names, path.name, None)
        return
    module = item if isinstance(item, ModuleType) else sys.modules.get(item.__module__)
    if not isinstance(item, ModuleType) and not hasattr(item, MARK):
        raise InputError(f"{item!r} implements no op", hint="mark it with @implements('lib::op')")
    try:
        source = inspect.getsource(module)  # type: ignore[arg-type]
    except (OSError, TypeError) as error:
        raise InputError(f"the source of {item!r} cannot be read", hint="put it in a file") from (
            error
        )
    only = None if isinstance(item, ModuleType) else item.__name__
    names = vars(module) if only is None else {**vars(module), only: item}
    yield from _marked(source, names, Path(str(getattr(module, "__file__", ""))).name, only)


def _run(path: Path) -> tuple[str, dict[str, Any]]:
    """The file's source and its names after running it."""
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    names: dict[str, Any] = {"__name__": f"_custom_ops_{path.stem}", "__file__": str(path)}
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), names)
    except Exception as error:
        raise InputError(f"{path} does not run: {type(error).__name__}: {error}") from error
    return source, names


def _marked(
    source: str, names: Mapping[str, Any], origin: str, only: str | None
) -> Iterator[CustomOp]:
    tree = ast.parse(source)
    statements = dict(_definitions(tree))
    marked = [
        name
        for name, node in statements.items()
        if isinstance(node, ast.FunctionDef) and hasattr(names.get(name), MARK)
    ]
    if not marked or (only is not None and only not in marked):
        raise InputError(
            f"{origin} implements no op", hint="mark a function with @implements('lib::op')"
        )
    for name in marked if only is None else [only]:
        title = f"# From {origin}: {getattr(names[name], MARK)}, proven against the original."
        entries = entries_of(name, source, names, title, origin)
        yield CustomOp(getattr(names[name], MARK), names[name], origin, entries)


def _definitions(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.Assign):
            yield from ((t.id, node) for t in node.targets if isinstance(t, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node


def entries_of(
    root: str, source: str, names: Mapping[str, Any], title: str, origin: str = ""
) -> dict[str, Added]:
    """The function ``root`` under the comment ``title``, and what of its file it needs.

    Raises:
        InputError: it needs something that cannot travel.
    """
    statements, lines = dict(_definitions(ast.parse(source))), source.splitlines()
    entries: dict[str, Added] = {}
    todo = [root]
    while todo:
        name = todo.pop()
        if name in entries:
            continue
        node, thing = statements[name], names[name]
        needs = []
        for used in sorted(_globals_of(node, thing) - {name}):
            if used in statements:
                needs.append(used)
            elif not _known(used, names):
                raise InputError(f"{root} in {origin} uses {used}, which cannot travel", hint=_HINT)
        todo.extend(needs)
        text = _text(node, lines)
        if name == root:
            text = f"{title}\n{text}"
        entries[name] = Added(thing, text, tuple(needs), (origin, node.lineno))
    return entries


def _text(node: ast.stmt, lines: list[str]) -> str:
    """The statement as written, without the mark.

    Raises:
        InputError: another decorator is on it.
    """
    if isinstance(node, ast.FunctionDef):
        for decorator in node.decorator_list:
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            if ast.unparse(called).rpartition(".")[2] != "implements":
                raise InputError(f"{node.name} has a decorator that cannot travel", hint=_HINT)
    return "\n".join(lines[node.lineno - 1 : node.end_lineno])


def _known(name: str, names: Mapping[str, Any]) -> bool:
    if name in _IMPORTED:
        return names.get(name) is _IMPORTED[name]
    return name not in names and hasattr(builtins, name)


def _globals_of(node: ast.stmt, thing: Any) -> set[str]:
    """The global names that a definition reads when it is made, annotated or called."""
    if not isinstance(node, ast.FunctionDef):
        return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and _loads(n)}
    arguments = node.args
    outside: list[ast.AST] = [d for d in (*arguments.defaults, *arguments.kw_defaults) if d]
    outside += [n.annotation for n in ast.walk(node) if isinstance(n, ast.arg) and n.annotation]
    outside += [node.returns] if node.returns else []
    names = {n.id for part in outside for n in ast.walk(part) if isinstance(n, ast.Name)}
    return names | set(_loaded(inspect.unwrap(thing).__code__))


def _loads(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Load)


def _loaded(code: CodeType) -> Iterable[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"):
            yield str(instruction.argval)
        elif instruction.opname == "IMPORT_NAME":
            yield f"import {instruction.argval}"
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _loaded(inner)
