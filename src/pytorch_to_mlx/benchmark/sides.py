"""The two sides of a benchmark: an MLX callable and the source's, each timed to its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten, tree_map

from . import memory, state, trees
from .check import Outputs
from .timing import Timed

Factory = Callable[[], Callable[..., Any]]


class SourceModel(Protocol):
    """The original in its own runtime, loaded.

    Attributes: ``library`` (the runtime's distribution), ``where`` it computes (``cpu``, ``cuda``,
    ``mps``), ``threads`` on a CPU, ``load_ms``, and whether it ``compiles`` beside running eagerly.
    """

    library: str
    load_ms: float
    compiles: bool

    @property
    def where(self) -> str: ...

    @property
    def threads(self) -> int: ...

    def convert(self, inputs: Any, dtype: str | None) -> Any:
        """Numpy ``inputs`` as the runtime takes them; floating ones cast to ``dtype`` if given."""

    def timed(self, inputs: Any, *, compiled: bool = False) -> Timed:
        """The model at one size of converted inputs."""

    def product(self, side: int, dtype: str) -> Callable[[], object]:
        """A function that multiplies two square matrices, to its end."""


class MLXModel:
    """An MLX callable, loaded and evaluated, with what it took.

    Attributes: ``load_ms`` (the factory's time, parameters evaluated), ``weight_bytes`` (of an
    ``nn.Module``, else 0), ``dtype`` (of its floating parameters, or ``None``).
    """

    def __init__(self, factory: Factory) -> None:
        start = time.perf_counter()
        self.function = factory()
        leaves = _module_arrays(self.function)
        mx.eval(leaves)
        self.load_ms = (time.perf_counter() - start) * 1e3
        self.weight_bytes = sum(x.nbytes for x in {id(x): x for x in leaves}.values())
        floating = [x for x in leaves if mx.issubdtype(x.dtype, mx.floating)]
        self.dtype = _dtype_name(floating[0].dtype) if floating else None

    def holds_state(self, inputs: Any) -> bool:
        """Whether a call replaces arrays or plain values that the module holds.

        Runs one call and puts back what it changed.
        """
        if not isinstance(self.function, nn.Module):
            return False
        before = state.snapshot(self.function)
        mx.eval(*_arrays(trees.call(self.function, inputs)))
        changed = state.differs(self.function, before)
        if changed:
            state.restore(before)
        return changed

    def convert(self, inputs: Any, dtype: str | None) -> Any:
        """Numpy ``inputs`` as evaluated MLX arrays; floating ones cast to ``dtype`` if given."""

        def one(array: np.ndarray) -> mx.array:
            if array.dtype == np.float64:  # only the CPU has it, and no saved weight is of it
                array = array.astype(np.float32)
            out = mx.array(array)
            return out.astype(getattr(mx, dtype)) if dtype and array.dtype.kind == "f" else out

        converted = trees.map_arrays(one, inputs)
        mx.eval(*_arrays(converted))
        return converted


class MLXTimed:
    """An MLX model at one size: eager, or compiled for exactly these shapes."""

    def __init__(self, model: MLXModel, inputs: Any, *, compiled: bool) -> None:
        self.name = "mlx compiled" if compiled else "mlx eager"
        self._memory = memory.MLXMeter(model.weight_bytes)
        self._names: list[str] = []
        if not compiled:
            self._run = lambda: trees.call(model.function, inputs)
            return
        arrays = [x for _, x in trees.flatten(inputs) if isinstance(x, mx.array)]

        def flat(given: list[mx.array]) -> list[mx.array]:
            queue = iter(given)
            rebuilt = _rebuild(inputs, queue)
            outputs = trees.flatten(trees.call(model.function, rebuilt))
            self._names = [name for name, _ in outputs]
            return [mx.array(x) for _, x in outputs]

        # Never shapeless: that is silently wrong for some operations when a shape changes.
        function = mx.compile(flat)
        self._run = lambda: function(arrays)

    def call(self) -> Any:
        out = self._run()
        mx.eval(*_arrays(out))
        return out

    def first_call(self) -> int | None:
        """Run once and return the peak of memory in bytes, weights included."""
        with self._memory:
            self.call()
        return self._memory.peak_bytes

    def outputs(self, raw: Any) -> Outputs:
        leaves = trees.flatten(raw)
        names = self._names or [name for name, _ in leaves]
        return {n: _mlx_numpy(x) for n, (_, x) in zip(names, leaves, strict=True)}

    def kept(self, raw: Any) -> Any:
        return raw  # an evaluated array is not written to again

    def same(self, raw: Any, kept: Any) -> bool:
        return _same_leaves(raw, kept, mx.array, _mlx_equal)


class TorchModel:
    """A torch callable with what loading it took; its inputs go to its parameters' device."""

    library = "torch"
    compiles = True

    def __init__(self, factory: Factory) -> None:
        import torch

        start = time.perf_counter()
        with memory.ResidentMeter(0) as meter:
            self.function = factory()
        tensors: list[Any] = []
        if isinstance(self.function, torch.nn.Module):
            tensors = list(self.function.parameters()) + list(self.function.buffers())
        self.device = tensors[0].device if tensors else torch.device("cpu")
        self.synchronize()
        self.load_ms = (time.perf_counter() - start) * 1e3
        weights = sum(t.untyped_storage().nbytes() for t in _distinct_storages(tensors))
        self.weight_bytes = weights or (meter.peak_bytes or 0)

    @property
    def where(self) -> str:
        return str(self.device.type)

    @property
    def threads(self) -> int:
        import torch

        return int(torch.get_num_threads())

    def timed(self, inputs: Any, *, compiled: bool = False) -> TorchTimed:
        return TorchTimed(self, inputs, compiled=compiled)

    def product(self, side: int, dtype: str) -> Callable[[], object]:
        import torch

        x = torch.randn(side, side, device=self.device).to(getattr(torch, dtype))

        def multiply() -> None:
            x @ x
            self.synchronize()

        return multiply

    def synchronize(self) -> None:
        import torch

        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def convert(self, inputs: Any, dtype: str | None) -> Any:
        """Numpy ``inputs`` as tensors on the model's device; floating ones cast to ``dtype``."""
        import torch

        def one(array: np.ndarray) -> Any:
            out = torch.from_numpy(np.array(array)).to(self.device)
            return out.to(getattr(torch, dtype)) if dtype and out.is_floating_point() else out

        return trees.map_arrays(one, inputs)


def torch_on(device: str) -> TorchModel:
    """torch on a device, with next to no model: for what machine and library alone tell."""
    import torch

    return TorchModel(lambda: torch.nn.Linear(1, 1, device=device))


class TorchTimed:
    """A torch model at one size, in inference mode: eager, or through ``torch.compile``."""

    def __init__(self, model: TorchModel, inputs: Any, *, compiled: bool) -> None:
        import torch

        self.name = "torch compile" if compiled else "torch eager"
        self._model = model
        self._inputs = inputs
        self._memory = memory.torch_meter(model.device, model.weight_bytes)
        self._function = model.function
        if compiled:
            self._function = torch.compile(model.function, dynamic=False)

    def call(self) -> Any:
        import torch

        with torch.inference_mode():
            out = trees.call(self._function, self._inputs)
            self._model.synchronize()
        return out

    def first_call(self) -> int | None:
        """Run once and return the peak of memory in bytes, weights included."""
        with self._memory:
            self.call()
        return self._memory.peak_bytes

    def outputs(self, raw: Any) -> Outputs:
        return {name: _torch_numpy(x) for name, x in trees.flatten(raw)}

    def kept(self, raw: Any) -> Any:
        import torch

        leaves = trees.flatten(raw)
        return {n: x.clone() if isinstance(x, torch.Tensor) else x for n, x in leaves}

    def same(self, raw: Any, kept: Any) -> bool:
        import torch

        return _same_leaves(raw, kept, torch.Tensor, _torch_equal)


def _same_leaves(raw: Any, kept: Any, array: type, equal: Callable[[Any, Any], bool]) -> bool:
    a, b = trees.flatten(raw), trees.flatten(kept)
    if [name for name, _ in a] != [name for name, _ in b]:
        return False
    return all(
        equal(x, y) if isinstance(x, array) and isinstance(y, array) else bool(x == y)
        for (_, x), (_, y) in zip(a, b, strict=True)
    )


def _mlx_equal(x: mx.array, y: mx.array) -> bool:
    if x.shape != y.shape or x.dtype != y.dtype:
        return False
    return bool(mx.array_equal(x, y, equal_nan=mx.issubdtype(x.dtype, mx.inexact)))


def _torch_equal(x: Any, y: Any) -> bool:
    torch = sys.modules["torch"]
    if x.shape != y.shape or x.dtype != y.dtype:
        return False
    if torch.equal(x, y):
        return True
    both = (x == y) | ((x != x) & (y != y))  # NaN alone differs from itself
    return bool(both.all())


def _arrays(value: Any) -> list[mx.array]:
    return [x for _, x in trees.flatten(value) if isinstance(x, mx.array)]


def _module_arrays(function: Any) -> list[mx.array]:
    """All arrays of a module, those that ``parameters()`` hides (a leading underscore) too."""
    if not isinstance(function, nn.Module):
        return []
    found: list[mx.array] = []
    for module in function.modules():
        for value in (*module.values(), *vars(module).values()):
            leaves: Any = tree_flatten(value)
            found += [x for _, x in leaves if isinstance(x, mx.array)]
    return found


def _rebuild(inputs: Any, queue: Any) -> Any:
    """``inputs`` with its arrays, in order, taken from ``queue``."""
    if isinstance(inputs, dict):
        return {key: _rebuild(item, queue) for key, item in inputs.items()}
    return tree_map(lambda x: next(queue) if isinstance(x, mx.array) else x, inputs)


def _dtype_name(dtype: mx.Dtype) -> str:
    return str(dtype).rpartition(".")[2]


def _mlx_numpy(x: Any) -> np.ndarray:
    if isinstance(x, mx.array) and x.dtype == mx.bfloat16:
        x = x.astype(mx.float32)
    return np.array(x)


def _torch_numpy(x: Any) -> np.ndarray:
    torch = sys.modules["torch"]
    if not isinstance(x, torch.Tensor):
        return np.array(x)
    x = x.detach().cpu().resolve_conj().resolve_neg()
    if x.dtype == torch.bfloat16:
        x = x.float()
    return np.array(x.numpy())  # a copy: the model may write to its output again


def _distinct_storages(tensors: list[Any]) -> list[Any]:
    return list({t.untyped_storage().data_ptr(): t for t in tensors}.values())
