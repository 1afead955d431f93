"""Where a node belongs: the module hierarchy that exporters write into names and metadata."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.capture.onnx.tensors import scope_paths
from pytorch_to_mlx.graph import Frame, Graph, Origin
from pytorch_to_mlx.graph.modules import class_of

if TYPE_CHECKING:
    import onnx

    from pytorch_to_mlx.capture.program import Captured

_SCOPES, _CLASSES = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy"
_PART = re.compile(r"[A-Za-z0-9_.]+")


def origin_of(node: onnx.NodeProto) -> Origin:
    """Op type and name; an unnamed node goes by its first output."""
    first = next((o for o in node.output if o), "")
    return Origin(f"{node.domain}.{node.op_type}".lstrip("."), node.name or first)


def scope_of(node: onnx.NodeProto, captured: Captured, graph: Graph) -> tuple[Frame, ...]:
    """The modules around a node, from torch's metadata or a path such as
    ``/encoder/layer.0/attention/MatMul``; empty where it has neither."""
    root = Frame("", captured.classes.get("", graph.name))
    name = captured.program.prefixes.plain(node.name)
    data = {p.key: p.value for p in getattr(node, "metadata_props", ())}
    if not name.startswith("/") and len(_list(data.get(_SCOPES, ""))) < 2:  # its own name alone
        return ()
    frames = [root, *(_from_metadata(node) or _from_name(name))]
    for f in frames[1:]:
        graph.classes.setdefault(f.path, f.cls)
    return tuple(frames)


def _from_metadata(node: onnx.NodeProto) -> list[Frame]:
    data = {p.key: p.value for p in getattr(node, "metadata_props", ())}
    paths, classes = (_list(data.get(k, "")) for k in (_SCOPES, _CLASSES))
    if not paths or len(paths) != len(classes):
        return []
    frames = []
    for path, cls in list(zip(paths, classes, strict=True))[:-1]:
        if path and all(_PART.fullmatch(p) for p in path.split(".")):
            frames.append(Frame(path, cls.rpartition(".")[2]))
    return frames


def _list(text: str) -> list[str]:
    try:
        value: Any = ast.literal_eval(text) if text else []
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    return [str(v) for v in value] if isinstance(value, list) else []


def _from_name(name: str) -> list[Frame]:
    """Frames of a path with slashes; torch writes one part a call of a module."""
    if not name.startswith("/"):
        return []
    parts = name.strip("/").split("/")[:-1]
    if not all(_PART.fullmatch(p) and not p.startswith(".") for p in parts):
        return []
    return [Frame(path, class_of(path)) for path in scope_paths(parts)]


def mark_sequences(graph: Graph) -> None:
    """Modules of which all children are numbers, and which nothing else names, are sequences."""
    children: dict[str, set[str]] = {}
    for path in (*graph.classes, *graph.params):
        while path:
            parent, _, leaf = path.rpartition(".")
            children.setdefault(parent, set()).add(leaf)
            path = parent
    for path, leaves in children.items():
        numbered = path and all(leaf.isdigit() for leaf in leaves)
        if numbered and graph.classes.get(path, class_of(path)) == class_of(path):
            graph.classes[path] = "Sequential"
