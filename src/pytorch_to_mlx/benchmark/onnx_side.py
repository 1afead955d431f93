"""An ONNX model as onnxruntime runs it: the source's side of a benchmark."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from pytorch_to_mlx.graph import Tree
from pytorch_to_mlx.package import trees as nests

from . import memory, trees
from .check import Outputs

if TYPE_CHECKING:
    from pytorch_to_mlx.capture.onnx.reference import OnnxReference
    from pytorch_to_mlx.capture.program import Captured
    from pytorch_to_mlx.package.run import Package

LIBRARY = "onnxruntime"
FLOATS = ("float16", "bfloat16", "float32", "float64")


class OnnxModel:
    """A session of onnxruntime with all of its optimisations, on its CPU provider."""

    library = LIBRARY
    where = "cpu"
    compiles = False

    def __init__(self, reference: OnnxReference, out_tree: Tree) -> None:
        from pytorch_to_mlx.capture.onnx.timed import threads, timed_runner

        self.reference = reference
        self.out_tree = out_tree
        start = time.perf_counter()
        self.run = timed_runner(reference)
        self.load_ms = (time.perf_counter() - start) * 1e3
        self.threads = threads()
        held = reference.program.initializers.values()
        self.weight_bytes = sum(t.array.nbytes for t in held)

    def convert(self, inputs: Any, dtype: str | None) -> dict[str, Any]:
        """The feed: inputs by the model's names, in the types that it declares."""
        return self.reference.feed(inputs)

    def timed(self, inputs: Any, *, compiled: bool = False) -> OnnxTimed:
        return OnnxTimed(self, inputs)

    def product(self, side: int, dtype: str) -> Callable[[], object]:
        from pytorch_to_mlx.capture.onnx.timed import product

        return product(side, dtype)


class OnnxTimed:
    """The session at one size."""

    name = LIBRARY

    def __init__(self, model: OnnxModel, feed: Mapping[str, Any]) -> None:
        self._model = model
        self._feed = feed

    def call(self) -> Any:
        return self._model.run(self._feed)

    def first_call(self) -> int | None:
        """Run once and return the peak of memory in bytes, weights included."""
        with memory.ResidentMeter(self._model.weight_bytes) as meter:
            self.call()
        return meter.peak_bytes

    def outputs(self, raw: Any) -> Outputs:
        leaves = [o.array for o in self._model.reference.outputs(raw)]
        nested = nests.rebuild(self._model.out_tree, leaves.__getitem__)
        return dict(trees.flatten(nested))

    def kept(self, raw: Any) -> Any:
        return raw  # every call of a session makes arrays of its own

    def same(self, raw: Any, kept: Any) -> bool:
        a, b = self.outputs(raw), self.outputs(kept)
        return a.keys() == b.keys() and all(
            np.array_equal(a[n], b[n], equal_nan=a[n].dtype.kind in "fc") for n in a
        )


class OnnxOriginal:
    """The source model of a package, where that is an ONNX graph."""

    load_ms: float | None = None

    def __init__(self, reference: OnnxReference, out_tree: Tree) -> None:
        self.reference = reference
        self.out_tree = out_tree

    @contextmanager
    def session(self) -> Iterator[None]:
        """A model of ONNX has no mode to be in."""
        yield

    def fitted(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs as they are: a feed is in the types that the model declares."""
        return dict(inputs)

    def side(self) -> OnnxModel:
        """The model, loaded.

        Raises:
            CaptureError: onnxruntime cannot run it.
        """
        return OnnxModel(self.reference, self.out_tree)

    def takes(self, inputs: Mapping[str, Any]) -> bool:
        """Whether the model accepts inputs of these sizes."""
        try:
            self.reference(inputs)
        except Exception:  # noqa: BLE001 (a runtime refuses sizes in any way it likes)
            return False
        return True

    def flops(self, inputs: Mapping[str, Any]) -> int | None:
        """Floating-point operations of the products and convolutions of one call."""
        from pytorch_to_mlx.capture.onnx.timed import flops

        return flops(self.reference, inputs)


def captured_onnx(captured: Captured, package: Package) -> OnnxOriginal:
    """The model that was captured."""
    reference: Any = captured.reference()
    return OnnxOriginal(reference, package.out_tree)


def opened_onnx(source: Any, package: Package, inputs: Mapping[str, Any]) -> OnnxOriginal:
    """The model of a file or ``ModelProto`` in the package's main dtype, at its inputs by name.

    Raises:
        SourceError, InputError, CaptureError: it cannot be read, or takes other inputs.
    """
    from pytorch_to_mlx.capture.onnx.source import capture_model

    leaves = {spec["index"]: inputs[spec["name"]] for spec in package.config["inputs"]}
    named = nests.rebuild(package.in_tree, leaves.__getitem__)
    static = not package.config["dims"].get("symbols")
    dtype = package.config["dtype"]
    captured = capture_model(
        source, (), named, static=static, dtype=dtype if dtype in FLOATS else None
    )
    return captured_onnx(captured, package)
