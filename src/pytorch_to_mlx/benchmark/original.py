"""The source model of a package as the other side of a benchmark."""

from __future__ import annotations

import inspect
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pytorch_to_mlx.benchmark.onnx_side import captured_onnx, opened_onnx
from pytorch_to_mlx.benchmark.sides import SourceModel, TorchModel
from pytorch_to_mlx.package import trees

if TYPE_CHECKING:
    import torch

    from pytorch_to_mlx.capture.program import Captured
    from pytorch_to_mlx.capture.reference import Reference
    from pytorch_to_mlx.package.run import Package
    from pytorch_to_mlx.sources.detect import OpenedSource


class Original(Protocol):
    """The source model, to be called many times in a row.

    ``load_ms`` is the time it took to open, where it was opened for the benchmark.
    """

    load_ms: float | None

    def session(self) -> AbstractContextManager[Any]:
        """Within, the model is ready to be called."""

    def fitted(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """numpy ``inputs`` in dtypes that the model takes."""

    def side(self) -> SourceModel:
        """The model, loaded (within a session).

        Raises:
            CaptureError: its runtime cannot run it.
        """

    def takes(self, inputs: Mapping[str, Any]) -> bool:
        """Whether the model accepts inputs of these sizes."""

    def flops(self, inputs: Mapping[str, Any]) -> int | None:
        """Floating-point operations of the matmuls and convolutions of a call; None if unknown."""


@dataclass
class TorchOriginal:
    """The source model in torch.

    ``examples`` are its example tensors by input name; ``tensors`` its weights, which tell its
    device and size; ``load_ms`` the time it took to open, where it was opened for the benchmark.
    """

    reference: Reference
    examples: Mapping[str, torch.Tensor]
    tensors: Sequence[torch.Tensor]
    load_ms: float | None = None

    def session(self) -> AbstractContextManager[Any]:
        """Within, the model is in eval mode and the package's precision; afterwards as it was."""
        return self.reference._session()

    def fitted(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """numpy ``inputs`` in the dtypes that the model takes (halves as float32)."""
        import torch

        dtypes = {}
        for name, example in self.examples.items():
            dtype = example.dtype
            if dtype.is_floating_point and (self.reference.dtype or dtype.itemsize < 4):
                dtype = torch.float32
            dtypes[name] = torch.empty(0, dtype=dtype).numpy().dtype
        return {
            name: x.astype(dtypes[name]) if isinstance(x, np.ndarray) and name in dtypes else x
            for name, x in inputs.items()
        }

    def side(self) -> TorchModel:
        """The model, loaded (within a session)."""
        return TorchModel(self.module)

    def module(self) -> torch.nn.Module:
        """The model as a module that takes its inputs by name (within a session)."""
        import torch

        reference, tensors = self.reference, self.tensors
        leaves = list(reference._leaves)
        places = {name: i for i, name in enumerate(reference._names)}

        class Called(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                for i, tensor in enumerate(tensors):
                    self.register_buffer(f"tensor_{i}", tensor, persistent=False)

            def forward(self, **inputs: Any) -> Any:
                values = list(leaves)
                for name, value in inputs.items():
                    values[places[name]] = value
                return reference._call(values)

        return Called()

    def takes(self, inputs: Mapping[str, Any]) -> bool:
        """Whether the model accepts inputs of these sizes."""
        try:
            self.reference(inputs)
        except Exception:  # noqa: BLE001 (a model refuses sizes in any way it likes)
            return False
        return True

    def flops(self, inputs: Mapping[str, Any]) -> int:
        """Floating-point operations of the matmuls and convolutions of one call."""
        from torch.utils.flop_counter import FlopCounterMode

        counter = FlopCounterMode(display=False)
        with counter:
            self.reference(inputs)
        return int(counter.get_total_flops())


def original_of(captured: Captured, package: Package) -> Original:
    """The model that was captured, in the package's main dtype."""
    if captured.frontend == "onnx":
        return captured_onnx(captured, package)
    return _captured_torch(captured, package.config["dtype"])


def _captured_torch(captured: Captured, dtype: str) -> TorchOriginal:
    tensors = list(captured.tensors.values())
    reference = captured.reference(_cast_to(dtype, tensors))
    return TorchOriginal(reference, captured.example_inputs, tensors)


def opened_original(source: Any, package: Package, inputs: Mapping[str, Any]) -> Original:
    """The model of ``source`` (anything that ``convert`` takes), in the package's main dtype.

    ``inputs`` are the package's by their names, for a source that has no examples of its own.

    Raises:
        SourceError: it cannot be opened.
        InputError: it takes other inputs than the package's.
    """
    from pytorch_to_mlx.sources.detect import open_source

    start = time.perf_counter()
    opened = open_source(source)
    seconds = time.perf_counter() - start
    if opened.kind == "onnx":
        return opened_onnx(opened.onnx, package, inputs)
    original = _opened_torch(opened, package)
    if isinstance(source, (str, os.PathLike)):
        original.load_ms = seconds * 1e3
    return original


def _opened_torch(opened: OpenedSource, package: Package) -> TorchOriginal:
    from pytorch_to_mlx.capture.exported import capture_program
    from pytorch_to_mlx.capture.reference import module_reference
    from pytorch_to_mlx.capture.sizes import Example
    from pytorch_to_mlx.capture.structure import bind_arguments

    dtype = package.config["dtype"]
    if opened.exported_program is not None:
        return _captured_torch(capture_program(opened.exported_program), dtype)
    assert opened.module is not None
    args, kwargs = opened.args, opened.kwargs
    if not opened.has_examples:
        args, kwargs = _recorded_call(opened.module, package)
    example = Example(bind_arguments(opened.module, args, kwargs))
    outputs = [name for _, name in trees.leaf_names(package.out_tree)]
    make = module_reference(opened.module, example.arguments, example.names, outputs)
    tensors = [*opened.module.parameters(), *opened.module.buffers()]
    tensors_by_name = {example.names[i]: t for i, t in example.tensors.items()}
    return TorchOriginal(make(_cast_to(dtype, tensors)), tensors_by_name, tensors)


def _recorded_call(
    module: torch.nn.Module, package: Package
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The package's recorded inputs as the arguments of ``module.forward``."""
    from safetensors.torch import load_file

    golden = load_file(package.folder / "golden.safetensors")
    leaves: dict[int, Any] = {}
    for spec in package.config["inputs"]:
        value = golden[f"call0.input.{spec['name']}"]
        leaves[spec["index"]] = value if spec.get("kind", "array") == "array" else value.item()
    named = trees.rebuild(package.in_tree, leaves.__getitem__)
    parameters = inspect.signature(module.forward).parameters.values()
    spread = [p for p in parameters if p.kind is inspect.Parameter.VAR_POSITIONAL]
    args: list[Any] = []
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            args += named.pop(parameter.name, ())
        elif parameter.kind is inspect.Parameter.POSITIONAL_ONLY or (
            spread and parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        ):
            args.append(named.pop(parameter.name))
    return tuple(args), named


def _cast_to(dtype: str, tensors: Sequence[torch.Tensor]) -> str | None:
    """``dtype`` if most of the weights are of another floating one, else ``None``."""
    counts: Counter[str] = Counter()
    for tensor in tensors:
        if tensor.is_floating_point():
            counts[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
    return dtype if counts and counts.most_common(1)[0][0] != dtype else None
