"""A module called as it is: on the example inputs, on varied ones, at other sizes."""

from __future__ import annotations

import inspect
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.capture.explain import first_line, user_line
from pytorch_to_mlx.capture.quiet import quiet
from pytorch_to_mlx.capture.reference import ReferenceOutput
from pytorch_to_mlx.capture.settle import varied
from pytorch_to_mlx.capture.sizes import Example, Prober
from pytorch_to_mlx.capture.snapshot import Snapshot
from pytorch_to_mlx.capture.state import Slot
from pytorch_to_mlx.capture.structure import Arguments, Outputs, plain_interface
from pytorch_to_mlx.capture.trial import flat_outputs
from pytorch_to_mlx.errors import CaptureError, ConversionError

if TYPE_CHECKING:
    from torch import nn


@dataclass
class Calls:
    """The original with its example inputs; every call leaves it as it was (``snapshot``)."""

    module: nn.Module
    arguments: Arguments
    snapshot: Snapshot
    warnings: list[str] = field(default_factory=list)
    lift: list[Slot] = field(default_factory=list)
    outputs: Outputs = field(default_factory=Outputs)
    seconds: float = 0.0  # of one call on the example inputs

    def begin(self, budget: float) -> None:
        """The first call, and what tries other sizes within ``budget`` seconds."""
        self._first_call()
        self.example = Example(self.arguments)
        self.prober = Prober(self.example, self.probe, budget, self.seconds)

    def _first_call(self) -> None:
        """Calls the model as given: it must work, and shows what outputs it has."""
        self.outputs = self._call_once(prepares=True)
        options = inspect.signature(self.module.forward).parameters
        cached = [c for c in self.outputs.dropped.values() if c.endswith("Cache")]
        if cached and "use_cache" in options and not self.arguments.kwargs.get("use_cache"):
            positional = {name for name, _ in self.arguments.names}
            if "use_cache" not in positional:
                self._add_keyword("use_cache", False)
                self.warnings.append(
                    "use_cache=False was passed, because a key/value cache is no tensor output"
                )
                self.outputs = self._call_once()
        for name, kind in self.outputs.dropped.items():
            self.warnings.append(
                f"the output {name} ({kind}) holds no plain tensors and is dropped"
            )

    def _add_keyword(self, name: str, value: Any) -> None:
        """Adds a keyword argument in the signature's place."""
        now = self.arguments
        kwargs = {**now.kwargs, name: value}
        self.arguments = Arguments(
            now.args, kwargs, [*now.names, (name, None)], [*now.rebuilds, None], now.own_keys
        )

    def _call_once(self, *, prepares: bool = False) -> Outputs:
        arguments = Example(self.arguments).resized({})
        start = time.perf_counter()
        with plain_interface(self.module, arguments) as outputs:
            try:
                self.module(*arguments.args, **arguments.kwargs)
                self.seconds = time.perf_counter() - start
            except ConversionError:
                raise
            except Exception as error:
                file, line, text = user_line(error)
                where = f" in `{text}`" if text else ""
                raise CaptureError(
                    f"the model itself fails on the example inputs{where}: {first_line(error)}",
                    origin=f"{file}:{line}" if file else "",
                    hint="Give inputs that the PyTorch model accepts",
                ) from error
            finally:
                if not (written := prepares and self.snapshot.changed_parameters()):
                    self.snapshot.restore()
        if written:
            # Some models prepare their parameters once (RWKV scales them down). Put back without
            # them, the model would do it again at its next call: it stays as this call left it.
            self.snapshot.retake(self.module)
            self.warnings.append(f"the first call changes the parameter {written[0]}; it stays so")
        return outputs

    def flat_call(self, variation: int = 0) -> list[Any]:
        import torch
        import torch.utils._pytree as pytree

        torch.manual_seed(0)
        now = varied(self.example.resized({}), variation)
        leaves = pytree.tree_leaves(self.module(*now.args, **now.kwargs))
        return [x.clone() if isinstance(x, torch.Tensor) else x for x in leaves]

    def probe(self, arguments: Arguments, mode: AbstractContextManager[Any]) -> None:
        """Calls the model within ``mode``; raises what it raises, or that a state changes shape."""
        shapes = {slot.full_name: tuple(slot.value.shape) for slot in self.lift}
        try:
            with quiet(), plain_interface(self.module, arguments) as outputs, mode:
                self.module(*arguments.args, **arguments.kwargs)
            count, before = len(outputs.ranks), len(self.outputs.ranks)
            if count != before:
                raise ValueError(f"it gives {count} outputs there, not {before}")
            if outputs.ranks != self.outputs.ranks:  # an axis of size 1 was squeezed, or now is not
                raise ValueError("an output has another number of dimensions")
            for slot in self.lift:
                store = slot.module._buffers if slot.is_buffer else slot.module.__dict__
                now = tuple(store[slot.name].shape)
                if now != shapes[slot.full_name]:
                    raise ValueError(
                        f"the state {slot.full_name} has shape {list(shapes[slot.full_name])}"
                    )
        finally:
            self.snapshot.restore()

    def compute(self, arguments: Arguments) -> list[ReferenceOutput]:
        """The flat outputs on these arguments."""
        import torch

        try:
            with quiet(), plain_interface(self.module, arguments):
                torch.manual_seed(0)
                return flat_outputs(self.module(*arguments.args, **arguments.kwargs))
        finally:
            self.snapshot.restore()
