"""A module through capture, lowering, passes and codegen, to a callable of the emitted code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import mlx.core as mx
import torch

from pytorch_to_mlx.api import _decompose
from pytorch_to_mlx.capture.export import capture_module
from pytorch_to_mlx.capture.reference import draws_randomly
from pytorch_to_mlx.codegen.source import ModelCode, emit
from pytorch_to_mlx.codegen.weights_script import weights_script
from pytorch_to_mlx.lower.aten._program import lower_program
from pytorch_to_mlx.package.arrays import from_torch
from pytorch_to_mlx.package.writer import SourceTensors
from pytorch_to_mlx.passes.evaluate import weights
from pytorch_to_mlx.passes.pipeline import optimise


@dataclass(frozen=True)
class Emitted:
    """The emitted code, run in memory as it would be from its folder."""

    code: ModelCode
    call: Callable[..., Any]
    random: bool

    def __call__(self, *tensors: torch.Tensor) -> list[Any]:
        """The flat outputs, evaluated."""
        out = flat(self.call(*(from_torch(t) for t in tensors)))
        mx.eval([o for o in out if isinstance(o, mx.array)])
        return out


def flat(out: Any) -> list[Any]:
    """Leaves of nested outputs, ``None`` included."""
    if isinstance(out, (tuple, list)):
        return [leaf for o in out for leaf in flat(o)]
    if isinstance(out, dict):
        return [leaf for o in out.values() for leaf in flat(o)]
    return [out]


def convert(module: torch.nn.Module, tensors: tuple[torch.Tensor, ...]) -> Emitted:
    """Converts as ``pytorch_to_mlx.convert`` does with static shapes, without writing a folder."""
    captured = _decompose(capture_module(module, tensors, dynamic_shapes=None))
    random = draws_randomly(captured.program)
    graph = lower_program(captured)
    source = SourceTensors(captured)
    with weights(source.__getitem__):
        optimise(graph)
    code = emit(graph)
    room = _module("model", code.text)
    model = getattr(room, code.root_class)()
    if code.weights:
        script = _module(
            "script", weights_script(code.weights, aliases=captured.aliases, kept=set(code.weights))
        )
        model.load_weights(list(script.convert(source)), strict=True)
    model.eval()
    return Emitted(code, model, random)


def _module(name: str, text: str) -> ModuleType:
    room = ModuleType(name)
    room.__file__ = f"/{name}.py"
    exec(compile(text, f"<{name}>", "exec"), room.__dict__)
    return room
