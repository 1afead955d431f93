"""What an MLX module holds, remembered and put back: does a call change it?"""

from __future__ import annotations

from typing import Any, TypeAlias

import mlx.core as mx
import mlx.nn as nn

Snapshot: TypeAlias = list[tuple[nn.Module, dict[str, Any], dict[str, Any]]]


def snapshot(module: nn.Module) -> Snapshot:
    """Everything that ``module`` and its children hold: (module, items, attributes)."""
    return [(m, _copy(dict(m)), _copy(vars(m))) for m in module.modules()]


def differs(module: nn.Module, before: Snapshot) -> bool:
    """Whether ``module`` holds other values than in ``before``."""
    after = snapshot(module)
    if [id(m) for m, _, _ in after] != [id(m) for m, _, _ in before]:
        return True
    return not all(
        _equal(old[1], new[1]) and _equal(old[2], new[2])
        for old, new in zip(before, after, strict=True)
    )


def restore(before: Snapshot) -> None:
    """Put back the values of ``before``."""
    for module, items, attributes in before:
        dict.clear(module)
        dict.update(module, _copy(items))
        vars(module).clear()
        vars(module).update(_copy(attributes))


def _copy(value: Any) -> Any:
    """Containers copied; arrays by a second handle, which an assignment to a slice leaves alone."""
    if isinstance(value, nn.Module):
        return value
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_copy(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, mx.array):
        return mx.stop_gradient(value)
    return value


def _equal(old: Any, new: Any) -> bool:
    if isinstance(old, nn.Module) or isinstance(new, nn.Module):
        return old is new
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(_equal(old[k], new[k]) for k in old)
    if isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)):
        return len(old) == len(new) and all(_equal(a, b) for a, b in zip(old, new, strict=True))
    if isinstance(old, mx.array) and isinstance(new, mx.array):
        if old.shape != new.shape or old.dtype != new.dtype:
            return False
        inexact = mx.issubdtype(old.dtype, mx.inexact)
        return bool(mx.array_equal(old, new, equal_nan=inexact))
    return old is new or bool(old == new)
