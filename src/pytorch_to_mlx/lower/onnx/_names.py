"""Where a node belongs: the module hierarchy that exporters write into names and metadata."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.graph import Frame, Graph, Origin

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
    ``/encoder/layer.0/attention/MatMul``; else only the root."""
    root = Frame("", captured.classes.get("", graph.name))
    frames = [root, *(_from_metadata(node) or _from_name(node.name))]
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
    frames, path = [], ""
    for part in parts:
        path = f"{path}.{part}" if path else part
        frames.append(Frame(path, class_of(part)))
    return frames


def class_of(part: str) -> str:
    """A class name for a module that is only known by its own: ``layer.0`` is a ``Layer``."""
    words = [w for w in re.split(r"[._]", part) if w and not w.isdigit()]
    return "".join(w[0].upper() + w[1:] for w in words) or "Block"
