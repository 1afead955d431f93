"""TorchScript graphs as interpretation wants them: functions inlined, calls of modules kept."""

from __future__ import annotations

import linecache
import os
import re
from collections.abc import Iterator
from typing import Any

from pytorch_to_mlx.errors import CaptureError, SourceError

#: A call of a submodule's method, kept apart while torch inlines calls of plain functions.
CALL = "p2m::call"

#: Ops that touch files or other processes; nothing that computes a model's outputs needs them.
FORBIDDEN = frozenset({"aten::save", "aten::from_file", "prim::rpc_async", "prim::rpc_sync"})


def walk(block: Any) -> Iterator[Any]:
    """Every node of a graph or block, those of nested blocks included."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from walk(inner)


def method_graph(script: Any, name: str) -> Any:
    """The graph of a script module's method: calls of its submodules are ``p2m::call`` nodes.

    Raises:
        CaptureError: it calls a module that is only known when it runs, or an op that writes files.
    """
    import torch

    graph = script._c._get_method(name).graph.copy()
    torch._C._jit_pass_inline_fork_wait(graph)  # torch.jit.fork calls its function there and then
    modules = Modules(graph, script)
    for node in list(walk(graph)):
        if node.kind() == "prim::CallMethod" and modules.of(next(iter(node.inputs()))) is not None:
            _keep_call(graph, node)
    torch._C._jit_pass_inline(graph)
    for node in walk(graph):
        if node.kind() in FORBIDDEN:
            raise CaptureError(
                f"the TorchScript code calls {node.kind()}, which a converted model must not",
                op=node.kind(),
                origin="{}:{}".format(*source_line(node)),
            )
        if node.kind() in ("prim::CallMethod", "prim::CallFunction"):
            raise CaptureError(
                "the TorchScript code calls a module through an interface, which is known only "
                "when it runs",
                origin="{}:{}".format(*source_line(node)),
                hint="Call the submodule itself, or torch.jit.freeze the module",
            )
    return graph


def _keep_call(graph: Any, node: Any) -> None:
    kept = graph.create(CALL, list(node.inputs()), node.outputsSize())
    kept.s_("name", node.s("name"))
    kept.insertBefore(node)
    for old, new in zip(node.outputs(), kept.outputs(), strict=True):
        new.setType(old.type())
        old.replaceAllUsesWith(new)
    node.destroy()


class Modules:
    """Which values of a graph are modules: ``self`` and what is read from it by name."""

    def __init__(self, graph: Any, script: Any) -> None:
        self._known: dict[str, Any] = {next(iter(graph.inputs())).debugName(): script}

    def of(self, value: Any) -> Any | None:
        """The script module that a value is, else ``None``."""
        import torch

        name = value.debugName()
        if name in self._known:
            return self._known[name]
        node = value.node()
        found = None
        if node.kind() == "prim::GetAttr":
            owner = self.of(next(iter(node.inputs())))
            if owner is not None and node.s("name") in owner._modules:
                inner = owner._modules[node.s("name")]
                found = inner if isinstance(inner, torch.jit.ScriptModule) else None
        self._known[name] = found
        return found


def source_line(node: Any) -> tuple[str, int]:
    """File and line of the user's source that a node came from (``("", 0)``: unknown, or torch's).

    The text of a file that is not on this machine is remembered for ``linecache``, as far as the
    archive quotes it.

    Raises:
        SourceError: the archive's record of it claims a place of many megabytes.
    """
    try:
        text = node.sourceRange()
    except (RuntimeError, UnicodeDecodeError):  # what the archive quotes is damaged
        return "", 0
    if len(text) > _LONGEST:
        raise SourceError("the archive's record of source lines is damaged", hint="save it again")
    places = [(found[1], int(found[2])) for found in _TRACED.finditer(text)]
    if places:  # a trace: the frames of its Python, innermost first
        return next((p for p in places if not _is_library(p[0])), ("", 0))
    found = _PLACE.search(text)
    if not found or _is_library(found[1]):
        return "", 0
    file, line = found[1], int(found[2])
    if not os.path.exists(file):
        _remember(file, line, text[found.end() :].splitlines()[1:])
    return file, line


def _is_library(file: str) -> bool:
    return any(part in file for part in _LIBRARIES)


#: Of what torch shows of a place, in characters: it underlines as many as the archive says.
_LONGEST = 1 << 20
_TRACED = re.compile(r"^(\S[^\n]*)\((\d+)\): ", re.MULTILINE)
_PLACE = re.compile(r'File "([^"]+)", line (\d+)')
_LIBRARIES = ("/torch/nn/", "/torch/functional.py", "/torch/_", "/torch/jit/")
_MARK = "<--- HERE"


def _remember(file: str, line: int, quoted: list[str]) -> None:
    """Gives ``linecache`` the quoted lines, of which the one above the mark is ``line``."""
    end = next((i for i, text in enumerate(quoted) if text.startswith("Serialized")), len(quoted))
    mark = next((i for i, text in enumerate(quoted[:end]) if text.endswith(_MARK)), None)
    if mark is None or line > _LONGEST_FILE:
        return
    known = linecache.cache.get(file)
    lines: list[str] = known[2] if known and len(known) == 4 else []
    numbered = [*zip(range(line - mark + 1, line + 1), quoted[:mark], strict=True)]
    numbered += zip(range(line + 1, line + end - mark), quoted[mark + 1 : end], strict=False)
    lines.extend([""] * (numbered[-1][0] - len(lines)))
    for number, text in numbered:
        if number > 0 and text.strip():
            lines[number - 1] = text + "\n"
    linecache.cache[file] = (0, None, lines, file)


_LONGEST_FILE = 200_000
