"""The original ONNX model as a function of named inputs, run by onnxruntime.

What onnxruntime cannot run (newer opsets, types that it lacks) is run by onnx's own evaluator.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from pytorch_to_mlx.capture.onnx.exact import has_products, saturates, with_exact_products
from pytorch_to_mlx.capture.onnx.load import LARGEST_PROTO
from pytorch_to_mlx.capture.onnx.recast import recast_model
from pytorch_to_mlx.capture.onnx.tensors import numpy_dtype, tensor_holders
from pytorch_to_mlx.capture.reference import ReferenceOutput
from pytorch_to_mlx.errors import CaptureError, InputError

if TYPE_CHECKING:
    from pytorch_to_mlx.capture.onnx.program import Input, OnnxProgram
    from pytorch_to_mlx.graph import Tree

#: How onnxruntime begins to say that types or shapes of a model contradict each other. onnx's
#: evaluator does not look at them; it stands in only for what onnxruntime lacks.
_INVALID = ("Type Error: Type (", "[ShapeInferenceError]", "[TypeInferenceError]")

Run = Any  # called with a feed by input name, gives the outputs in order

#: What MLX stores for element types that it lacks, as numpy has it.
FLOATS = ("float16", "bfloat16", "float32", "float64")
_STORED = {"int4": "int8", "int2": "int8", "uint4": "uint8", "uint2": "uint8"}


class OnnxReference:
    """Runs the model as it was given; the interface is that of ``Reference``.

    ``inputs`` map input names (``Captured.input_names``) to arrays; those left out are the
    example's. Edited tensors of the program (``OnnxProgram.edited``) take the place of the file's.
    """

    def __init__(
        self,
        source: str | Path | onnx.ModelProto,
        program: OnnxProgram,
        examples: Mapping[str, np.ndarray],
        dtype: str | None = None,
    ) -> None:
        self.source = source
        self.program = program
        self.examples = examples
        self.dtype = dtype
        self._plain: Run = None
        self._plain_ir: onnx.ModelProto | None = None

    def __call__(self, inputs: Mapping[str, Any] | None = None) -> list[ReferenceOutput]:
        """The flat outputs of one call."""
        return self.sequence([inputs or {}])[0]

    def sequence(self, calls: Sequence[Mapping[str, Any]]) -> list[list[ReferenceOutput]]:
        """The flat outputs of several calls; ONNX models hold no state."""
        run = self.runner()
        return [self.outputs(run(self.feed(inputs))) for inputs in calls]

    def runner(self) -> Run:
        """A function of a feed; kept while the model's tensors are as in the file."""
        if self.program.edited:
            return start(self.recast(with_tensors(self.model(), self.program)))
        if self._plain is None:
            self._plain = start(self.loadable())
        return self._plain

    def loadable(self) -> str | onnx.ModelProto:
        """A path where the file is all there is to it: onnxruntime maps its data."""
        if self.dtype is None and not isinstance(self.source, onnx.ModelProto):
            return str(self.source)
        return self.recast(with_tensors(self.model(), self.program))

    def recast(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """A model in the precision of this reference."""
        return model if self.dtype is None else recast_model(model, self.dtype)

    def model(self) -> onnx.ModelProto:
        """The model as it was given, its external tensors not read."""
        if self._plain_ir is None:
            model = self.source
            if not isinstance(model, onnx.ModelProto):
                model = onnx.load_model(str(model), load_external_data=False)
            self._plain_ir = model
        return self._plain_ir

    def feed(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """What the model's inputs get, by their names in the model."""
        unknown = sorted(set(inputs) - set(self.examples))
        if unknown:
            raise InputError(f"no input is called {unknown[0]!r}; there are {[*self.examples]}")
        values = {**self.examples, **inputs}
        return {
            spec.name: _nested(spec, spec.tree, spec.argument, values, self.dtype)
            for spec in self._fed()
        }

    def _fed(self) -> Iterator[Input]:
        return (s for s in self.program.inputs if any(True for _ in s.tree.leaves()))

    def outputs(self, results: Sequence[Any]) -> list[ReferenceOutput]:
        """A run's results, flat."""
        names = [o.name for o in self.program.model.graph.output]
        return [
            leaf
            for name, value in zip(names, results, strict=True)
            for leaf in _leaves(name, value)
        ]


def _nested(
    spec: Input, tree: Tree, name: str, values: Mapping[str, Any], dtype: str | None
) -> Any:
    if tree.kind == "leaf":
        element = spec.leaves[tree.index][0]
        element = dtype if dtype and element in FLOATS else element
        return np.asarray(values[name]).astype(numpy_dtype(element), copy=False)
    return [_nested(spec, c, f"{name}.{i}", values, dtype) for i, c in enumerate(tree.children)]


def _leaves(name: str, value: Any) -> Iterator[ReferenceOutput]:
    if value is None:
        return
    if isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _leaves(f"{name}.{i}", item)
        return
    array, dtype = stored_form(value)
    yield ReferenceOutput(name, array, dtype)


def stored_form(value: Any) -> tuple[np.ndarray, str]:
    """An array as MLX stores its element type (bfloat16 as float32), and that dtype's name."""
    array = np.asarray(value)
    dtype = array.dtype.name
    if dtype in _STORED:
        array = array.astype(_STORED[dtype])
    elif dtype == "bfloat16" or dtype.startswith(("float8", "float4")):
        array = array.astype(np.float32)
    return array, dtype if dtype == "bfloat16" else array.dtype.name


# -- running ---------------------------------------------------------------------------------------


def start(model: str | onnx.ModelProto) -> Run:
    """A function from a feed to outputs.

    Raises:
        CaptureError: neither onnxruntime nor onnx's evaluator can load the model.
    """
    try:
        return _by_onnxruntime(model)
    except ImportError as error:
        raise CaptureError(
            "the original ONNX model is run by onnxruntime, which is missing",
            hint="pip install 'pytorch-to-mlx[onnx]'",
        ) from error
    except Exception as error:  # noqa: BLE001 (onnxruntime raises classes of its own)
        first = error
    if any(text in str(first) for text in _INVALID):
        raise CaptureError(f"the original cannot be run: {said(first)}") from first
    try:
        return _by_evaluator(model)
    except Exception as error:
        raise CaptureError(
            f"the original cannot be run: {said(first)}",
            hint=_NO_SUCH_OP if "not a registered" in str(first) else "check it with onnx.checker",
        ) from error


_NO_SUCH_OP = (
    "nothing tells what this op computes: write it as a function of the model "
    "(onnx.FunctionProto), which is inlined"
)


def _by_onnxruntime(model: str | onnx.ModelProto) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    # As written: its own fusions change the rounding.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    given = exact(model)
    given = given if isinstance(given, str) else given.SerializeToString()
    session = ort.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    return lambda feed: session.run(None, feed)


def exact(model: str | onnx.ModelProto) -> str | onnx.ModelProto:
    """The model for onnxruntime: its integer products do not saturate, whatever the processor."""
    if isinstance(model, str):
        shallow = onnx.load(model, load_external_data=False)
        if not has_products(shallow.graph) or not saturates():
            return model
        model = onnx.load(model)
    elif not has_products(model.graph) or not saturates():
        return model
    return with_exact_products(model)


def _by_evaluator(model: str | onnx.ModelProto) -> Run:
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(model)
    return lambda feed: evaluator.run(None, feed)


def set_seed(seed: int) -> None:
    """Makes onnxruntime's random numbers follow a seed."""
    from onnxruntime import set_seed as seeded

    seeded(seed)


def said(error: BaseException) -> str:
    """What a runtime says, in one line, without the places in its own source."""
    lines = (str(error).strip() or type(error).__name__).splitlines()
    text = re.sub(r"/onnxruntime_src/\S+ (.*\) )?", "", lines[0])
    return text.removeprefix("[ONNXRuntimeError] : ")[:300]


# -- other tensors ---------------------------------------------------------------------------------


def whole_model(reference: OnnxReference, model: onnx.ModelProto) -> onnx.ModelProto:
    """A model of the reference's program with its tensors inside, in the reference's precision.

    Raises:
        CaptureError: it is too large for that.
    """
    return reference.recast(with_tensors(model, reference.program))


def with_tensors(model: onnx.ModelProto, program: OnnxProgram) -> onnx.ModelProto:
    """The model with its external tensors inside and the program's edited ones in place.

    Raises:
        CaptureError: it is too large for that.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    outside = onnx.TensorProto.EXTERNAL
    for holder in tensor_holders(copy.graph):
        name, tensor = holder
        array = program.edited.get(name)
        if array is None and tensor.data_location == outside and name in program.initializers:
            array = program.initializers[name].array
        if array is not None:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))
    if copy.ByteSize() > LARGEST_PROTO:
        raise CaptureError("the model is too large to run with changed tensors")
    return copy


__all__ = ["OnnxReference", "said", "set_seed", "start", "whole_model"]
