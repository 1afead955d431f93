"""Which values each module call got, under forward's argument names; and calls counted one way.

While torch traces, a hook on every submodule binds the call's arguments to forward's signature and
marks the FX node that made each tensor. Marks ride on ``node.meta``, so they survive what torch
does to the graph; decomposition is crossed by ``node.meta["from_node"]``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.capture.program import Bound
from pytorch_to_mlx.capture.tree import named_leaves

if TYPE_CHECKING:
    import torch
    import torch.fx as fx
    from torch import nn

MARK = "p2m_arguments"


class Recorder:
    """Module calls in the order in which they happen: torch's key for the call, argument names."""

    def __init__(self, module: nn.Module) -> None:
        self.root = module
        self.calls: dict[str, list[str]] = {}

    @contextmanager
    def recording(self) -> Iterator[Recorder]:
        """Within, every traced call of a submodule is recorded."""
        self.calls.clear()
        handles = [
            sub.register_forward_pre_hook(self._hook, with_kwargs=True)
            for sub in self.root.modules()
            if sub is not self.root
        ]
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        import torch

        if torch.compiler.is_dynamo_compiling():
            return  # a branch of torch.cond and its like, which torch traces in another way
        tracer = _tracer()
        stack = getattr(tracer, "module_stack", None)
        if not stack:
            return
        key = call_key(next(reversed(stack)))
        if key in self.calls:
            return
        names = self.calls[key] = []
        for name, value in _leaves(module, args, kwargs):
            node = _node_of(value, tracer)
            if node is not None:
                node.meta.setdefault(MARK, []).append((key, len(names)))
            names.append(name)

    def marks(self, program: torch.export.ExportedProgram) -> dict[tuple[str, int], str]:
        """``(call key, argument position)`` to the node's name in the exported graph; cleans up."""
        found: dict[tuple[str, int], str] = {}
        for node in program.graph.nodes:
            for mark in node.meta.pop(MARK, ()):
                found[mark] = node.name
        return found


def call_key(key: str) -> str:
    """torch's key of a module call without the prefixes that it adds."""
    for prefix in ("L__self__", "_export_root"):
        key = key.removeprefix(prefix)
    return key.removeprefix(".")


def _leaves(
    module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> list[tuple[str, Any]]:
    try:
        signature = inspect.signature(module.forward)
        bound = signature.bind(*args, **kwargs)
    except (TypeError, ValueError):
        return []  # the call itself is about to raise, or forward is a builtin
    found: list[tuple[str, Any]] = []
    for name, value in bound.arguments.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            for key, item in value.items():
                found.extend(named_leaves(item, key))
        else:
            found.extend(named_leaves(value, name))
    return found


def _tracer() -> Any:
    """The tracer of the running export, in either of the places where torch keeps it."""
    import torch
    from torch._ops import _get_dispatch_mode_pre_dispatch
    from torch.fx.experimental.proxy_tensor import get_proxy_mode

    mode = get_proxy_mode() or _get_dispatch_mode_pre_dispatch(torch._C._TorchDispatchModeKey.PROXY)
    return getattr(mode, "tracer", None)


def _node_of(value: Any, tracer: Any) -> fx.Node | None:
    import torch
    from torch._subclasses.functional_tensor import FunctionalTensor
    from torch.fx.experimental.proxy_tensor import get_proxy_slot

    if not isinstance(value, torch.Tensor):
        return None
    if isinstance(value, FunctionalTensor):
        torch._sync(value)
        value = torch._from_functional_tensor(value.elem)
    slot = get_proxy_slot(value, tracer, None)
    proxy = getattr(slot, "proxy", None)
    return None if proxy is None else proxy.node


def follow(before: fx.Graph, after: fx.Graph) -> dict[str, str]:
    """Node names of a graph to those of its decomposition that hold the same value.

    An op that decomposed into several is where its last one is; one that vanished (a dropout in
    eval mode) is where its input is, if the shapes are the same.
    """
    found = {n.name: n.name for n in after.nodes if n.op == "placeholder"}
    for node in after.nodes:
        origin = node.meta.get("from_node")
        if node.op == "call_function" and origin and "val" in node.meta:
            found[origin[-1].name] = node.name
    for node in before.nodes:
        if node.name in found or node.op != "call_function" or not node.args:
            continue
        source = node.args[0]
        name = found.get(getattr(source, "name", ""))
        if name is not None and _same_shape(node, source):
            found[node.name] = name
    return found


def _same_shape(a: fx.Node, b: Any) -> bool:
    shapes = [getattr(n.meta.get("val"), "shape", None) for n in (a, b)]
    return shapes[0] is not None and str(shapes[0]) == str(shapes[1])


def number_calls(
    program: torch.export.ExportedProgram,
    aliases: Mapping[str, str],
    recorded: Mapping[str, list[str]],
) -> dict[str, tuple[str, int]]:
    """The call keys to ``(canonical path, which call)``, and the same in every node's metadata.

    torch counts the calls of each *path*; a module reached by two paths would have two first calls.
    """
    paths = {}
    for node in _nodes(program.graph_module):
        for key, (path, _) in (node.meta.get("nn_module_stack") or {}).items():
            paths[call_key(key)] = path.rsplit("@", 1)[0]
    keys = [*recorded, *(k for k in paths if k not in recorded)]
    counts: dict[str, int] = {}
    numbered: dict[str, tuple[str, int]] = {}
    for key in keys:
        path = paths.get(key)
        if path is None:
            continue  # a module without ops of its own
        canonical = _canonical(path, aliases)
        numbered[key] = (canonical, counts.get(canonical, 0))
        counts[canonical] = counts.get(canonical, 0) + 1
    for node in _nodes(program.graph_module):
        stack = node.meta.get("nn_module_stack")
        if stack:
            node.meta["nn_module_stack"] = dict(
                _renamed(key, cls, numbered[call_key(key)]) for key, (_, cls) in stack.items()
            )
    return numbered


def _canonical(path: str, aliases: Mapping[str, str]) -> str:
    """The first path of a module, also when one of its parents is what has several."""
    if path in aliases:
        return aliases[path]
    parent, _, leaf = path.rpartition(".")
    return f"{_canonical(parent, aliases)}.{leaf}" if parent else path


def _renamed(key: str, cls: Any, call: tuple[str, int]) -> tuple[str, tuple[str, Any]]:
    path, number = call
    if not path or path.startswith("_empty_nn_module_stack"):
        return key, (path, cls)
    return (f"{path}@{number}" if number else path), (path, cls)


def _nodes(module: fx.GraphModule) -> Iterator[fx.Node]:
    """The nodes of a graph and of the subgraphs of its control flow."""
    import torch.fx as fx

    for sub in module.modules():
        if isinstance(sub, fx.GraphModule):
            yield from sub.graph.nodes


def bound_arguments(
    recorded: Mapping[str, list[str]],
    numbered: Mapping[str, tuple[str, int]],
    marks: Mapping[tuple[str, int], str],
    names: Mapping[str, str],
) -> Bound:
    """``{(path, call): [(argument, node name or None)]}`` after decomposition."""
    bound: Bound = {}
    for key, arguments in recorded.items():
        if key in numbered:
            bound[numbered[key]] = [
                (name, names.get(marks.get((key, i), ""))) for i, name in enumerate(arguments)
            ]
    return bound
