"""``.pt``/``.pth``/``.safetensors`` checkpoints: read safely, matched strictly to a model."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from pytorch_to_mlx.errors import SourceError, WeightError

if TYPE_CHECKING:
    import torch

#: Where training frameworks keep the weights inside a checkpoint, likeliest first.
WEIGHT_KEYS = ("state_dict", "model_state_dict", "model_state", "model", "net", "module", "weights")
#: What they put before every name.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")

#: What torch.load raises on a file that is cut short or overwritten.
_DAMAGE = (
    RuntimeError, EOFError, ValueError, KeyError, IndexError, OSError, AssertionError, TypeError,
    AttributeError, MemoryError, SafetensorError,
)  # fmt: skip

_TRUST = (
    "if you trust where it comes from, add --trust-code (it can run any code), or pass a state dict"
)


def load_checkpoint(path: Path, *, trust_code: bool = False) -> Any:
    """The object a torch checkpoint holds: a module, a state dict, or a dict with one inside.

    ``weights_only=True`` is always tried first; objects beyond tensors load only with
    ``trust_code``. Raises ``SourceError``.
    """
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not trust_code:
            raise SourceError(_needs_trust(path, error), hint=_TRUST) from error
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    return _load_trusted(path)


def _load_trusted(path: Path) -> Any:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except (ModuleNotFoundError, AttributeError) as error:
        raise SourceError(
            f"{path} needs code that is not importable here: {error}",
            hint="run where its class can be imported (PYTHONPATH), or convert a state dict",
        ) from error
    except (*_DAMAGE, pickle.UnpicklingError) as error:
        raise _damaged(path, error) from error


def _needs_trust(path: Path, error: Exception) -> str:
    """Names the classes that the pickle wants, which tells the user whether it is their own."""
    wanted = _unsafe_globals(path)
    if not wanted:
        text = (str(error).strip().splitlines() or ["unreadable pickle"])[0]
        if "Weights only load failed" not in text:
            return f"{path} cannot be read as weights: {text}"
        return f"{path} holds Python objects, not only tensors"
    shown = ", ".join(wanted[:3]) + (", ..." if len(wanted) > 3 else "")
    return f"{path} holds Python objects, not only tensors ({shown})"


def _unsafe_globals(path: Path) -> list[str]:
    import torch

    try:
        found = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except (*_DAMAGE, pickle.UnpicklingError):
        return []  # an old or damaged file, whose classes cannot be listed without loading it
    return sorted(found)


def _damaged(path: Path, error: Exception) -> SourceError:
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return SourceError(f"{path} is cut short or damaged: {text}", hint="download or save it again")


def load_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a ``.safetensors`` file. Raises ``SourceError`` if it is damaged."""
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def find_state_dict(value: Any, path: Path) -> dict[str, torch.Tensor]:
    """The state dict in a checkpoint's object: itself, or the one that training wrapped.

    Raises ``SourceError`` if there is none, or several equally likely.
    """
    if _is_state_dict(value):
        return dict(value)
    if isinstance(value, Mapping):
        inner = [str(key) for key, item in value.items() if _is_state_dict(item)]
        for key in WEIGHT_KEYS:
            if key in inner:
                return dict(value[key])
        if len(inner) == 1:
            return dict(value[inner[0]])
        if inner:
            raise SourceError(
                f"{path} holds several state dicts: {', '.join(inner)}",
                hint="save the one that is meant: torch.save(checkpoint['...'], path)",
            )
        keys = ", ".join(str(key) for key in list(value)[:6])
        raise SourceError(f"{path} holds no state dict (its keys: {keys})")
    raise SourceError(f"{path} holds a {type(value).__name__}, not a model or a state dict")


def _is_state_dict(value: Any) -> bool:
    """Names to tensors; ``nn.Module.get_extra_state`` may add entries that are none."""
    import torch

    if not isinstance(value, Mapping) or not value:
        return False
    if not all(isinstance(key, str) for key in value):
        return False
    own = [item for key, item in value.items() if not key.endswith("_extra_state")]
    return bool(own) and all(isinstance(item, torch.Tensor) for item in own)


def load_into(module: torch.nn.Module, state: Mapping[str, torch.Tensor], path: Path) -> str:
    """Loads a state dict strictly; returns the prefix that was dropped from its names, if any.

    Raises ``WeightError`` that lists what is missing, superfluous or of another shape.
    """
    import torch

    expected = module.state_dict()
    state, prefix = _strip_prefix(state, set(expected))
    problems = _mismatches(expected, state)
    if problems:
        raise WeightError(
            f"{path} does not fit {type(module).__name__}: {'; '.join(problems)}",
            hint="is it the factory's architecture and configuration?",
        )
    with torch.no_grad():
        module.load_state_dict(dict(state), strict=True, assign=_on_meta(expected))
    return prefix


def _on_meta(expected: Mapping[str, Any]) -> bool:
    """Whether the factory built an empty shell, whose tensors can only be replaced."""
    return any(getattr(tensor, "is_meta", False) for tensor in expected.values())


def _strip_prefix(
    state: Mapping[str, torch.Tensor], expected: set[str]
) -> tuple[Mapping[str, torch.Tensor], str]:
    """Drops DataParallel's and torch.compile's prefixes when every name then fits."""
    dropped = ""
    while not set(state) <= expected:
        prefix = next((p for p in PREFIXES if all(key.startswith(p) for key in state)), "")
        if not prefix:
            break
        state = {key[len(prefix) :]: tensor for key, tensor in state.items()}
        dropped += prefix
    return state, dropped


def _mismatches(expected: Mapping[str, Any], state: Mapping[str, Any]) -> list[str]:
    shapes = []
    for key in expected:
        wanted, given = (
            getattr(expected[key], "shape", None),
            getattr(state.get(key), "shape", None),
        )
        if wanted is not None and given is not None and wanted != given:
            shapes.append(f"{key} is {tuple(given)}, not {tuple(wanted)}")
    lists = {
        "missing": sorted(set(expected) - set(state)),
        "not in the model": sorted(set(state) - set(expected)),
        "of another shape": shapes,
    }
    return [
        f"{len(items)} {what} ({', '.join(items[:3])}{', ...' if len(items) > 3 else ''})"
        for what, items in lists.items()
        if items
    ]
