"""State that a model only makes when it is first called.

A streaming model may start with an empty tensor (or ``None``) for a state, and put zeros of the
right shape there on its first call. A converted model needs the shape from the start: the state
begins as those zeros, if the model demonstrably gives the same from there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.capture.snapshot import Snapshot
from pytorch_to_mlx.capture.state import State, find_state
from pytorch_to_mlx.capture.structure import Arguments
from pytorch_to_mlx.capture.tree import join
from pytorch_to_mlx.errors import CaptureError

if TYPE_CHECKING:
    from torch import nn

_CALLS = 3


def settled_state(
    module: nn.Module, call: Callable[[int], list[Any]], snapshot: Snapshot
) -> tuple[State, Snapshot, list[str]]:
    """What forward changes, the module as it starts, and warnings.

    ``call`` calls the model on inputs that its argument varies, and returns the flat outputs.

    Raises:
        CaptureError: state that cannot become a buffer, not even where it begins as zeros.
    """
    try:
        return find_state(module, lambda: call(0), snapshot), snapshot, []
    except CaptureError as error:
        snapshot.restore()
        refusal = error
    names = settle(module, call, snapshot)
    if not names:
        raise refusal
    snapshot = Snapshot(module)
    warning = (
        f"the state {', '.join(names)} is made by the first call; it begins as zeros, from which "
        "the model gives the same"
    )
    return find_state(module, lambda: call(0), snapshot), snapshot, [warning]


def varied(arguments: Arguments, variation: int) -> Arguments:
    """Inputs of the same sizes with other numbers (the same ones for 0)."""
    import torch
    import torch.utils._pytree as pytree

    def vary(x: Any) -> Any:
        if isinstance(x, torch.Tensor) and x.is_floating_point() and x.ndim:
            return x.flip(-1) / (variation + 1)
        return x

    if not variation:
        return arguments
    return arguments.with_values(pytree.tree_map(vary, arguments.values()))


def settle(module: nn.Module, call: Callable[[int], list[Any]], snapshot: Snapshot) -> list[str]:
    """Starts state that takes its shape on the first call as zeros; returns its names.

    ``call`` calls the model on inputs that its argument varies, and returns the flat outputs. The
    module is changed only if several calls give the same outputs from the zeros as from its own
    beginning; else it is left as it was, and nothing is returned.
    """
    import torch

    before = _attributes(module)
    cold = _outputs(call, 1)
    first = _attributes(module)
    cold += _outputs(call, _CALLS - 1, start=1)
    last = _attributes(module)
    snapshot.restore()
    made = {
        key: value
        for key, value in first.items()
        if isinstance(value, torch.Tensor)
        and _empty(before.get(key))
        and _same(value, last.get(key))
    }
    if not made:
        return []
    for key, value in first.items():
        path, name = key
        if key in made:
            _store(module, path, name, torch.zeros_like(value).detach())
        elif isinstance(value, (bool, int, float, str)) and before.get(key) != value:
            _store(module, path, name, value)
    kept = Snapshot(module)
    warm = _outputs(call, _CALLS)
    if not _agree(cold, warm):
        snapshot.restore()
        return []
    kept.restore()
    return [join(path, name) for path, name in made]


def _empty(value: Any) -> bool:
    import torch

    return value is None or (isinstance(value, torch.Tensor) and value.numel() == 0)


def _same(a: Any, b: Any) -> bool:
    return b is not None and a.shape == b.shape and a.dtype == b.dtype and a.numel() > 0


def _attributes(module: nn.Module) -> dict[tuple[str, str], Any]:
    found: dict[tuple[str, str], Any] = {}
    for path, sub in module.named_modules():
        for store in (sub._buffers, sub.__dict__):
            found.update({(path, n): v for n, v in store.items() if n != "training"})
    return found


def _store(module: nn.Module, path: str, name: str, value: Any) -> None:
    sub = module.get_submodule(path)
    (sub._buffers if name in sub._buffers else sub.__dict__)[name] = value


def _outputs(call: Callable[[int], list[Any]], count: int, start: int = 0) -> list[list[Any]]:
    return [call(i) for i in range(start, start + count)]


def _agree(a: list[list[Any]], b: list[list[Any]]) -> bool:
    import torch

    def equal(x: Any, y: Any) -> bool:
        if isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor):
            return x.shape == y.shape and torch.allclose(x, y, rtol=1e-5, atol=1e-6, equal_nan=True)
        return bool(x == y)

    return all(
        len(x) == len(y) and all(equal(u, v) for u, v in zip(x, y, strict=True))
        for x, y in zip(a, b, strict=True)
    )
