"""Values within an ONNX graph on one call of the original, by making them outputs of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import onnx

from pytorch_to_mlx.capture.onnx.reference import start


def with_outputs(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """A copy of the model that gives out just the named values of its graph."""
    out = onnx.ModelProto()
    out.CopyFrom(model)
    known = {i.name: i for g in (out.graph,) for i in (*g.output, *g.value_info, *g.input)}
    infos = [known.get(n) or onnx.ValueInfoProto(name=n) for n in names]
    kept = [onnx.ValueInfoProto.FromString(i.SerializeToString()) for i in infos]
    del out.graph.output[:]
    out.graph.output.extend(kept)
    return out


def values_at(
    model: onnx.ModelProto, names: Sequence[str], feed: Mapping[str, Any]
) -> dict[str, Any]:
    """The named values of the graph, computed as the model is written."""
    results = start(with_outputs(model, names))(feed)
    return dict(zip(names, results, strict=True))


def shapes_at(
    model: onnx.ModelProto, names: Sequence[str], feed: Mapping[str, Any]
) -> dict[str, tuple[int, ...]]:
    """The shapes of named tensors of the graph; the tensors themselves are not kept."""
    out = onnx.ModelProto()
    out.CopyFrom(model)
    shapes = [f"{name} (shape)" for name in names]
    for name, shape in zip(names, shapes, strict=True):
        out.graph.node.append(onnx.helper.make_node("Shape", [name], [shape]))
    found = values_at(out, shapes, feed)
    return {n: tuple(int(d) for d in found[s]) for n, s in zip(names, shapes, strict=True)}
