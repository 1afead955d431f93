"""A module's whole state, remembered and put back: capture leaves no module changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.capture.compiled import run_as_written

if TYPE_CHECKING:
    import torch
    from torch import nn


class Snapshot:
    """Attributes, buffers, hooks and training flags of every submodule, tensors by value.

    Parameters are remembered by identity and version only (copying them would double the memory).
    """

    def __init__(self, module: nn.Module) -> None:
        self.fast_path = False  # whether nn.TransformerEncoder's was on before
        self.retake(module)

    def retake(self, module: nn.Module) -> None:
        """Remembers the module as it is now instead."""
        self.modules = list(module.named_modules())
        self.attributes = [dict(sub.__dict__) for _, sub in self.modules]
        self.containers: list[tuple[Any, Any]] = []
        self.tensors: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # by identity: value, copy
        parameters = {id(p) for p in module.parameters()}
        for _, sub in self.modules:
            for name, value in sub.__dict__.items():
                if name not in ("_parameters", "_modules"):
                    self._remember(value, parameters, 0)
                elif isinstance(value, dict):
                    self.containers.append((value, dict(value)))
        self.versions = {n: _version(p) for n, p in module.named_parameters()}

    def _remember(self, value: Any, parameters: set[int], depth: int) -> None:
        import torch

        if isinstance(value, torch.Tensor):
            if id(value) not in parameters and id(value) not in self.tensors and _copyable(value):
                self.tensors[id(value)] = (value, value.detach().clone())
        elif isinstance(value, (dict, list, set)) and depth < 3:
            self.containers.append((value, value.copy()))
            items = value.values() if isinstance(value, dict) else value
            for item in list(items):
                self._remember(item, parameters, depth + 1)
        elif isinstance(value, tuple) and depth < 3:
            for item in value:
                self._remember(item, parameters, depth + 1)
        elif depth < 2 and _is_record(value):
            self._remember(vars(value), parameters, depth + 1)

    def changed_parameters(self) -> list[str]:
        """Parameters written in place since the snapshot was taken."""
        now = dict(self.modules[0][1].named_parameters())
        return [n for n, v in self.versions.items() if n not in now or _version(now[n]) != v]

    def restore(self) -> None:
        """Puts back every attribute, container and tensor."""
        import torch

        for container, content in self.containers:
            _refill(container, content)
        for (_, sub), attributes in zip(self.modules, self.attributes, strict=True):
            _refill(sub.__dict__, attributes)
        for tensor, value in self.tensors.values():
            if tensor.shape != value.shape or not torch.equal(tensor, value):
                with torch.inference_mode(tensor.is_inference()), torch.no_grad():
                    tensor.set_(value.clone()) if tensor.shape != value.shape else tensor.copy_(
                        value
                    )


def _refill(container: Any, content: Any) -> None:
    old, new = (list(c.items()) if isinstance(c, dict) else list(c) for c in (container, content))
    if len(old) == len(new) and all(_is(a, b) for a, b in zip(old, new, strict=True)):
        return
    container.clear()
    container.extend(content) if isinstance(content, list) else container.update(content)


def _is_record(value: Any) -> bool:
    """An object of the user's that may hold tensors: neither a module nor a function or class."""
    import torch

    if isinstance(value, torch.nn.Module) or callable(value):
        return False
    return isinstance(getattr(value, "__dict__", None), dict)


def _is(a: Any, b: Any) -> bool:
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b) == 2:
        return a[0] is b[0] and a[1] is b[1]
    return a is b


def _copyable(tensor: torch.Tensor) -> bool:
    import torch

    return tensor.layout is torch.strided and tensor.device.type != "meta"


def _version(tensor: torch.Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


@contextmanager
def untouched(module: nn.Module) -> Iterator[Snapshot]:
    """Restores the module, torch's random state and attention fast path on the way out, errors too.

    The fast path of nn.TransformerEncoder gives zeros for padded rows, which only exists in eager
    mode; it is off within, for the original and for the export alike. What is compiled runs as it
    was written.
    """
    import torch

    snapshot = Snapshot(module)
    snapshot.fast_path = fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.random.fork_rng(devices=[]), run_as_written():
            yield snapshot
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        snapshot.restore()


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[list[str]]:
    """Within, every submodule is in eval mode; yields the paths of those that were in training."""
    flags = [(path, sub, sub.training) for path, sub in module.named_modules()]
    try:
        try:
            module.eval()
        except NotImplementedError:  # the module of an exported program, which has no modes
            flags = []
        yield [path for path, _, training in flags if training]
    finally:
        for _, sub, training in flags:
            sub.training = training
