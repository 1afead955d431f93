"""The ONNX backend interface (``onnx.backend.base.Backend``) over the converter.

``prepare(model)`` converts through the same stages as :func:`pytorch_to_mlx.convert`, in memory:
capture, lowering, passes, the emitted source. ``run`` calls the emitted module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import onnx
from mlx.utils import tree_unflatten
from onnx.backend.base import Backend, BackendRep

from pytorch_to_mlx.capture.onnx.capture import capture_onnx
from pytorch_to_mlx.capture.onnx.tensors import to_mlx
from pytorch_to_mlx.codegen.source import emit
from pytorch_to_mlx.errors import CaptureError, InputError
from pytorch_to_mlx.graph import Graph, Tree
from pytorch_to_mlx.graph.dtypes import mlx_dtype
from pytorch_to_mlx.lower.onnx._dtypes import from_storage, to_storage
from pytorch_to_mlx.lower.onnx._program import lower_model
from pytorch_to_mlx.passes.evaluate import tensor, weights
from pytorch_to_mlx.passes.pipeline import optimise


class Prepared:
    """One conversion in memory: the emitted module with its weights."""

    def __init__(self, model: onnx.ModelProto, given: Mapping[str, Any]) -> None:
        self.captured = capture_onnx(model, given)
        graph = lower_model(self.captured)
        self.elements = list(self.captured.element_types)
        self.dtypes = [str(v.dtype) for v in graph.inputs]
        lookup = self.captured.tensors
        with weights(lookup.get):
            optimise(graph)
            self.module, self.text = _module(graph)
        self.in_tree, self.out_tree = self.captured.in_tree, self.captured.out_tree

    def __call__(self, inputs: Mapping[str, Any]) -> list[Any]:
        arguments = []
        for spec in self.captured.program.inputs:
            if any(True for _ in spec.tree.leaves()):
                arguments.append(self._nested(spec.tree, inputs[spec.name]))
        result = self.module(*arguments)
        tree = self.out_tree
        parts = [(tree, result)]
        if tree.kind == "dict":
            keyed = zip(tree.keys, tree.children, strict=True)
            parts = [(child, result[key]) for key, child in keyed]
        return [self._numpy(child, value) for child, value in parts]

    def _nested(self, tree: Tree, value: Any) -> Any:
        if tree.kind != "leaf":
            pairs = zip(tree.children, value or (), strict=True)
            return [self._nested(child, item) for child, item in pairs]
        array = to_mlx(to_storage(np.asarray(value)))
        wanted = mlx_dtype(self.dtypes[tree.index])
        return array if array.dtype == wanted else array.astype(wanted)

    def _numpy(self, tree: Tree, value: Any) -> Any:
        if tree.kind == "none":
            return None
        if tree.kind != "leaf":
            pairs = zip(tree.children, value, strict=True)
            return [self._numpy(child, item) for child, item in pairs]
        return from_storage(to_numpy(value), self.elements[tree.index])


def to_numpy(value: mx.array) -> np.ndarray:
    """The numbers of an array; bfloat16 as ``ml_dtypes.bfloat16``."""
    if value.dtype == mx.bfloat16:
        import ml_dtypes

        return np.array(value.view(mx.uint16)).view(ml_dtypes.bfloat16)
    return np.array(value)


def _module(graph: Graph) -> tuple[nn.Module, str]:
    """The emitted module, weights bound; must run where weights can be looked up."""
    code = emit(graph, formatted=False)
    names: dict[str, Any] = {"__file__": "model.py", "__name__": "onnx_model"}
    exec(compile(code.text, "model.py", "exec"), names)
    module: nn.Module = names[code.root_class]()
    found = []
    for name, param in code.weights.items():
        array = tensor(param)
        if array is None:
            raise InputError(f"the weight {name!r} cannot be computed")
        found.append((name, array))
    if found:
        module.update(tree_unflatten(found))
    module.eval()
    return module, code.text


class Rep(BackendRep):
    """A prepared model; it is converted again for inputs of another nesting or rank."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        held = {t.name for t in model.graph.initializer}
        held |= {t.values.name for t in model.graph.sparse_initializer}
        self.names = [i.name for i in model.graph.input if i.name not in held]
        self.declared: Prepared | None = None  # where the model says all that conversion needs
        self.prepared: dict[Any, Prepared] = {}

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs as numpy arrays in the declared dtypes; sequences as lists."""
        given = self._given(inputs)
        return tuple(self.converted(given)(given))

    def converted(self, given: Mapping[str, Any]) -> Prepared:
        """The conversion that takes such inputs."""
        if self.declared is not None and not any(v is None for v in given.values()):
            return self.declared
        key = repr({k: _nesting(v) for k, v in given.items()})
        if key not in self.prepared:
            self.prepared[key] = Prepared(self.model, given)
        return self.prepared[key]

    def _given(self, inputs: Any) -> dict[str, Any]:
        if isinstance(inputs, Mapping):
            return dict(inputs)
        values = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        if len(values) > len(self.names):
            raise ValueError(f"the model takes {len(self.names)} inputs, got {len(values)}")
        return dict(zip(self.names, values, strict=False))


def _nesting(value: Any) -> Any:
    if value is None:
        return None
    return [_nesting(v) for v in value] if isinstance(value, (list, tuple)) else np.ndim(value)


class MlxBackend(Backend):
    """ONNX on MLX: ``prepare``, ``run_model``, ``run_node``, ``supports_device``."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> Rep:
        """Converts the model; where only inputs show a rank or a length, ``run`` does.

        Raises:
            ConversionError: by stage, where the model is invalid or holds unknown ops.
        """
        rep = Rep(model)
        with suppress(CaptureError):
            rep.declared = Prepared(model, {})
        return rep

    @classmethod
    def run_model(
        cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any
    ) -> tuple[Any, ...]:
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Runs one node on the given inputs, in the newest opset unless ``opset_version`` says."""
        arrays = [
            np.asarray(v) for v in (inputs if isinstance(inputs, (list, tuple)) else [inputs])
        ]
        given = [n for n in node.input if n]
        infos = [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape
            )
            for name, a in zip(given, arrays, strict=True)
        ]
        outs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        opset = kwargs.get("opset_version", onnx.defs.onnx_opset_version())
        graph = onnx.helper.make_graph([node], "node", infos, outs)
        model = onnx.helper.make_model(
            graph, opset_imports=[onnx.helper.make_operatorsetid(node.domain, opset)]
        )
        model = onnx.shape_inference.infer_shapes(model)
        return cls.run_model(model, arrays, device)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device.partition(":")[0] == "CPU"


prepare = MlxBackend.prepare
run_model = MlxBackend.run_model
run_node = MlxBackend.run_node
supports_device = MlxBackend.supports_device

__all__ = ["MlxBackend", "Prepared", "Rep", "prepare", "run_model", "run_node", "supports_device"]
