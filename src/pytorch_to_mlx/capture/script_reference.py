"""The ScriptModule itself as the reference that a conversion is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.capture.reference import MakeReference, Reference, module_reference
from pytorch_to_mlx.capture.structure import Arguments, Outputs
from pytorch_to_mlx.capture.tensors import memory
from pytorch_to_mlx.errors import CaptureError
from pytorch_to_mlx.sources.torchscript.rebuild import is_rebuilt

if TYPE_CHECKING:
    import torch


def original_reference(
    module: Any, arguments: Arguments, names: Sequence[str], output_names: Sequence[str]
) -> MakeReference:
    """Makes references that run a live module, or the script that it was rebuilt from."""
    make = script_reference if is_rebuilt(module) else module_reference
    return make(module, arguments, names, output_names)


def script_reference(
    rebuilt: Any, arguments: Arguments, names: Sequence[str], output_names: Sequence[str]
) -> MakeReference:
    """Makes references that run the script which ``rebuilt`` stands for, in eval mode, from the
    state that it has now; it is left as it was.
    """
    import torch
    import torch.utils._pytree as pytree

    script = rebuilt.p2m_script.script
    run = getattr(script, rebuilt.forward.__name__, None) or script
    example, spec = pytree.tree_flatten(arguments.values())
    outputs = Outputs()

    def call(leaves: list[Any]) -> Any:
        now = arguments.with_values(pytree.tree_unflatten(leaves, spec))
        args, kwargs = arguments.rebuilt(now.args, now.kwargs)
        try:
            return outputs.plain(run(*args, **kwargs))
        except NotImplementedError as error:
            raise CaptureError(
                f"the script itself cannot run here: {str(error).strip().splitlines()[-1][:200]}",
                hint="Give the saved file: its code is read for the CPU then",
            ) from error

    start = _start(rebuilt)

    def make(dtype: str | None, weights: Mapping[Any, torch.Tensor] | None = None) -> Reference:
        def cast(tensor: torch.Tensor) -> torch.Tensor:
            if dtype is None or not tensor.is_floating_point():
                return tensor.detach()
            known = weights.get(memory(tensor)) if weights else None
            return tensor.detach().to(getattr(torch, dtype)) if known is None else known.detach()

        @contextmanager
        def session() -> Iterator[None]:
            with (
                torch.no_grad(),
                torch.jit.optimized_execution(False),
                _weights(rebuilt, script, cast),
                _state(script, start, cast),
            ):
                yield

        return Reference(call, session, names, example, output_names, dtype)

    return make


def _start(rebuilt: Any) -> list[tuple[int, str, Any]]:
    """Buffers and attributes as capture starts from them: which module, name, value.

    Modules and parameters are told by their order: names may be other ones during capture.
    """
    found: list[tuple[int, str, Any]] = []
    for i, (_, sub) in enumerate(rebuilt.named_modules(remove_duplicate=False)):
        pairs = zip(sub.p2m_buffers, sub._buffers.values(), strict=False)  # constants come after
        found += [(i, name, value) for name, value in pairs]
        own = [n for n in sub.p2m_attributes if n in sub.__dict__]
        found += [(i, name, sub.__dict__[name]) for name in own]
    return found


@contextmanager
def _weights(rebuilt: Any, script: Any, cast: Callable[[Any], Any]) -> Iterator[None]:
    """Within, the script computes with the rebuilt module's parameters, ``cast``."""
    theirs = [p for _, p in rebuilt.named_parameters(remove_duplicate=False)]
    originals = [(p, p.data) for _, p in script.named_parameters(remove_duplicate=False)]
    try:
        for (parameter, _), other in zip(originals, theirs, strict=True):
            parameter.data = cast(other)
        yield
    finally:
        for parameter, data in originals:
            parameter.data = data


@contextmanager
def _state(
    script: Any, start: list[tuple[int, str, Any]], cast: Callable[[Any], Any]
) -> Iterator[None]:
    """Within, the script starts from this state, in eval mode; its own comes back after."""
    import torch

    modules = [sub._c for _, sub in script.named_modules(remove_duplicate=False)]
    modes = [(m, m.getattr("training")) for m in modules if m.hasattr("training")]
    before = [(modules[i], name, modules[i].getattr(name)) for i, name, _ in start]
    try:
        for own, _ in modes:
            own.setattr("training", False)
        for i, name, value in start:
            copied = cast(value).clone() if isinstance(value, torch.Tensor) else value
            modules[i].setattr(name, copied)
        yield
    finally:
        for own, name, value in (*before, *((m, "training", mode) for m, mode in modes)):
            own.setattr(name, value)
