"""Opens whatever the user names as a model: a live object, a file, or a factory in a file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx import memory
from pytorch_to_mlx.errors import SourceError
from pytorch_to_mlx.sources import kinds
from pytorch_to_mlx.sources.checkpoint import (
    find_state_dict,
    load_checkpoint,
    load_into,
    load_safetensors,
)
from pytorch_to_mlx.sources.factory import Made, call_factory, is_factory, is_module, unpack
from pytorch_to_mlx.sources.factory import with_method as _with_method
from pytorch_to_mlx.sources.pt2 import load_program
from pytorch_to_mlx.sources.torchscript.load import Call, is_trace, load_script
from pytorch_to_mlx.sources.wrappers import unwrapped

if TYPE_CHECKING:
    import torch


_TOO_LARGE = "free some, use a larger machine, or convert a checkpoint saved in half precision"


@dataclass
class OpenedSource:
    """A model that is ready for capture.

    ``kind`` is ``"module"``, ``"torchscript"`` (``module`` is rebuilt from it),
    ``"exported_program"`` or ``"onnx"`` (a path or a ``ModelProto``); that field is set. ``args``
    and ``kwargs`` are the source's own example inputs (``has_examples``), ``dynamic_shapes`` is
    ``"auto"`` unless a factory chose. ``description`` says in words what was opened, ``sha256`` is
    the file's (empty for live objects), ``notes`` tell the user what was done on the way.
    """

    kind: str
    description: str
    module: torch.nn.Module | None = None
    exported_program: torch.export.ExportedProgram | None = None
    onnx: Any = None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    dynamic_shapes: Any = "auto"
    path: Path | None = None
    sha256: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def has_examples(self) -> bool:
        """Whether the source brought example inputs of its own."""
        return bool(self.args or self.kwargs)


def open_source(
    source: Any,
    examples: tuple[Sequence[Any], Mapping[str, Any] | None] = ((), None),
    *,
    trust_code: bool = False,
    model_factory: str | Callable[[], Any] | torch.nn.Module | None = None,
    method: str | None = None,
) -> OpenedSource:
    """Opens a live ``nn.Module``, ``ExportedProgram`` or ``onnx.ModelProto``, a path, or a factory
    (``"file.py:factory"``).

    Files are told apart by content. ``model_factory`` (``"file.py:factory"``, a callable or a
    module) gives the architecture for a state dict; ``trust_code`` consents to unpickling whole
    modules; ``method`` converts a method other than ``forward``; at ``examples`` (``args`` and
    ``kwargs``) a foreign program is tried. Raises ``SourceError`` (one line, with the next
    step) and ``WeightError`` when a state dict does not fit.
    """
    if isinstance(source, (str, os.PathLike)):
        call = Call(examples[0], examples[1] or {}, method or "forward")
        opened = _open_path(os.fspath(source), trust_code, model_factory, call)
    else:
        opened = _open_live(source)
        if model_factory is not None:
            raise SourceError("model= belongs to a state dict; the source is a model already")
    return _choose_method(opened, method)


def _open_live(source: Any) -> OpenedSource:
    name = type(source).__name__
    if name == "ModelProto":
        return OpenedSource("onnx", "ONNX model (live)", onnx=source)
    import torch

    if isinstance(source, torch.jit.ScriptModule):
        return open_script(source, f"TorchScript {source.original_name} (live)")
    if isinstance(source, torch.jit.ScriptFunction):
        raise SourceError(
            f"{source.name} is a scripted function without weights",
            hint="call it in an nn.Module's forward and convert that",
        )
    if is_module(source):
        return _opened(Made(source), f"{name} (live)")
    if type(source).__module__.startswith("mlx."):
        raise SourceError(f"{name} is an MLX object already")
    if isinstance(source, dict):
        raise SourceError("a state dict has no code", hint="load it into its module and pass that")
    raise SourceError(
        f"cannot convert a {name}",
        hint="pass an nn.Module, an ExportedProgram, a path, or 'file.py:factory'",
    )


def _open_path(
    text: str,
    trust_code: bool,
    model_factory: str | Callable[[], Any] | torch.nn.Module | None,
    call: Call,
) -> OpenedSource:
    if is_factory(text):
        if model_factory is not None:
            raise SourceError("--model belongs to a checkpoint; the input is a factory already")
        made = call_factory(text)
        opened = _opened(made, f"{type(made.model).__name__} from {text}")
        opened.path = Path(text.rpartition(":")[0])
        opened.sha256 = file_hash(opened.path)
        return opened
    path = Path(text).expanduser()
    kind = kinds.sniff(path)
    if isinstance(kind, kinds.Refused):
        raise SourceError(f"{path} is {kind.what}", hint=kind.hint)
    memory.require(path.stat().st_size, f"reading {path}", _TOO_LARGE)
    if kind == kinds.ONNX:
        if model_factory is not None:
            raise SourceError(f"{path} is a model with its own graph; --model does not apply")
        opened = OpenedSource("onnx", f"ONNX model {path}", onnx=path)
    elif kind == kinds.EXPORTED:
        if model_factory is not None:
            raise SourceError(f"{path} is a program with its own code; --model does not apply")
        opened = _open_program(load_program(path, trust_code=trust_code), path)
    elif kind == kinds.SAFETENSORS:
        opened = _open_state_dict(load_safetensors(path), path, model_factory)
    elif kind == kinds.TORCHSCRIPT:
        if model_factory is not None:
            raise SourceError(f"{path} is a program with its own code; --model does not apply")
        opened = open_script(load_script(path, call), f"TorchScript {path}")
    else:
        opened = _open_checkpoint(path, trust_code, model_factory)
    opened.path = path
    opened.sha256 = file_hash(path)
    return opened


def _open_program(program: torch.export.ExportedProgram, path: Path) -> OpenedSource:
    return _opened(Made(program), f"exported program {path}")


def _open_checkpoint(
    path: Path,
    trust_code: bool,
    model_factory: str | Callable[[], Any] | torch.nn.Module | None,
) -> OpenedSource:
    import torch

    value = load_checkpoint(path, trust_code=trust_code)
    if isinstance(value, torch.nn.Module):
        if model_factory is None:
            return _opened(Made(value), f"{type(value).__name__} pickled in {path}")
        value = value.state_dict()
    return _open_state_dict(find_state_dict(value, path), path, model_factory)


def _open_state_dict(
    state: dict[str, torch.Tensor],
    path: Path,
    model_factory: str | Callable[[], Any] | torch.nn.Module | None,
) -> OpenedSource:
    if model_factory is None:
        raise SourceError(
            f"{path} holds weights ({len(state)} tensors) but no code",
            hint="add --model file.py:factory, which builds the module they belong to",
        )
    made = _make(model_factory)
    module = made.model
    if not hasattr(module, "load_state_dict") or not hasattr(module, "forward"):
        raise SourceError("--model must build an nn.Module to load the weights into")
    prefix = load_into(module, state, path)
    opened = _opened(made, f"{type(module).__name__} with the weights of {path}")
    if prefix:
        opened.notes.append(f"dropped the prefix {prefix!r} from the checkpoint's names")
    return opened


def _make(model_factory: str | Callable[[], Any] | torch.nn.Module) -> Made:
    if isinstance(model_factory, str):
        if not is_factory(model_factory):
            raise SourceError(f"--model {model_factory!r} is not file.py:factory")
        return call_factory(model_factory)
    if is_module(model_factory):
        return Made(model_factory)
    return unpack(model_factory(), getattr(model_factory, "__name__", "the model factory"))


def _opened(made: Made, description: str) -> OpenedSource:
    import torch

    model, args, kwargs = made.model, made.args, dict(made.kwargs or {})
    notes: list[str] = []
    if isinstance(model, torch.jit.ScriptModule):
        script = open_script(model, description)
        model, notes = script.module, script.notes
    if isinstance(model, torch.export.ExportedProgram):
        if not (args or kwargs) and model.example_inputs is not None:
            args, kwargs = model.example_inputs
        return OpenedSource(
            "exported_program",
            description,
            exported_program=model,
            args=tuple(args),
            kwargs=dict(kwargs),
            dynamic_shapes=made.dynamic_shapes,
        )
    model, taken_off = unwrapped(model)
    notes = [*notes, *taken_off]
    return OpenedSource(
        "module",
        description,
        module=model,
        args=args,
        kwargs=kwargs,
        dynamic_shapes=made.dynamic_shapes,
        notes=notes,
    )


def open_script(script: torch.jit.ScriptModule, description: str) -> OpenedSource:
    """A ScriptModule as the module that it stands for."""
    import torch

    from pytorch_to_mlx.sources.torchscript.rebuild import rebuild

    notes = []
    if isinstance(script, torch.jit.TopLevelTracedModule) or is_trace(script):
        notes.append(
            "the source is a trace: what Python decided on the traced example (branches, numbers, "
            "some sizes) is fixed in it"
        )
    return OpenedSource("torchscript", description, module=rebuild(script), notes=notes)


def _choose_method(opened: OpenedSource, method: str | None) -> OpenedSource:
    if not method or method == "forward":
        return opened
    if opened.kind == "onnx":
        raise SourceError("an ONNX model has no methods", hint="leave --method out")
    if opened.module is None:
        raise SourceError(
            "an exported program has only the method it was exported from",
            hint="--method needs a module: file.py:factory",
        )
    opened.module = _with_method(opened.module, method)
    opened.description += f", method {method}"
    return opened


def file_hash(path: Path) -> str:
    """The sha256 of a file's content, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()
