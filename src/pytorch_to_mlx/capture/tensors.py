"""Names of tensors: each once, by the first path that reaches it; constants by attribute."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.capture.program import innermost_user_line
from pytorch_to_mlx.capture.tree import join

if TYPE_CHECKING:
    import torch
    from torch import nn

_LIFTED = re.compile(
    r"(^|\.)_?(lifted_tensor|tensor_constant|tensor_attr)_?\d+$|(^|\.)_tensor_constant\d+$"
)
_ASSIGNED = re.compile(r"^\s*(?:self\.)?([A-Za-z_]\w*)\s*(?::[^=]+)?=(?!=)")


def collect_tensors(
    program: torch.export.ExportedProgram, made: frozenset[str] = frozenset()
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Every tensor of a program once, and the canonical path of other paths to its memory."""
    import torch

    named = dict(program.state_dict)
    named.update({k: v for k, v in program.constants.items() if isinstance(v, torch.Tensor)})
    tensors: dict[str, torch.Tensor] = {}
    aliases: dict[str, str] = {}
    seen: dict[Any, str] = {}
    for path, tensor in named.items():
        key = memory(tensor)
        if key is not None and key in seen:
            aliases[path] = seen[key]
            continue
        if path in made and (twin := _same_constant(path, tensor, tensors)):
            aliases[path] = twin  # a constant that forward makes anew at every call
            continue
        if key is not None:
            seen[key] = path
        tensors[path] = tensor
    return tensors, aliases


def _same_constant(path: str, tensor: torch.Tensor, tensors: dict[str, torch.Tensor]) -> str:
    """``a.constant`` for ``a.constant_1`` of equal content, as ``name_constants`` names them."""
    import torch

    base, _, number = path.rpartition("_")
    if not number.isdigit() or base not in tensors:
        return ""
    other = tensors[base]
    same = other.dtype == tensor.dtype and other.shape == tensor.shape and tensor.numel() < 1 << 16
    return base if same and torch.equal(other, tensor) else ""


def memory(tensor: torch.Tensor) -> Any:
    """What two names of one tensor share; ``None`` for an empty tensor."""
    if not tensor.numel():
        return None
    return (
        tensor.untyped_storage().data_ptr(),
        tensor.storage_offset(),
        tuple(tensor.shape),
        tensor.stride(),
        tensor.dtype,
    )


def name_constants(
    program: torch.export.ExportedProgram, module: nn.Module | None
) -> frozenset[str]:
    """Gives lifted constants names of the source: attribute path, else the variable they are set
    to.

    Changes the program's signature and constants in place. ``a.lifted_tensor_0`` becomes
    ``a.scale`` when the module ``a`` holds it as ``self.scale``, ``a.table.0`` in a list
    ``self.table``. Returns the names of the constants that no attribute holds (forward makes them).
    """
    from torch.export.graph_signature import InputKind

    program._constants = dict(program.constants)  # else shared with the program decomposed
    made: set[str] = set()
    attributes = attribute_paths(module) if module is not None else {}
    placeholders = [n for n in program.graph.nodes if n.op == "placeholder"]
    taken = set(program.state_dict) | set(program.constants)
    specs = program.graph_signature.input_specs
    for node, spec in zip(placeholders, specs, strict=True):
        if spec.kind != InputKind.CONSTANT_TENSOR or not _LIFTED.search(spec.target or ""):
            continue
        tensor = program.constants[spec.target]
        name = attributes.get(memory(tensor)) or _variable(node, spec.target)
        name = _free(name, taken)
        program.constants[name] = program.constants.pop(spec.target)
        taken.add(name)
        spec.target = name
        if memory(tensor) not in attributes:
            made.add(name)
    return frozenset(made)


def attribute_paths(module: nn.Module) -> dict[Any, str]:
    """Memory of every tensor in plain attributes (or containers there) to its path."""
    found: dict[Any, str] = {}
    for name, tensor in attribute_tensors(module):
        key = memory(tensor)
        if key is not None:
            found.setdefault(key, name)
    return found


def attribute_tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor that a module reaches by plain attributes, with its attribute path."""
    for path, sub in module.named_modules():
        for name, value in sub.__dict__.items():
            if name not in ("_parameters", "_buffers", "_modules"):
                yield from _tensors_in(value, join(path, name), 0)


def _tensors_in(value: Any, name: str, depth: int) -> Iterator[tuple[str, Any]]:
    import torch

    if isinstance(value, torch.Tensor):
        if value.layout is torch.strided and value.device.type != "meta":
            yield name, value
    elif isinstance(value, (list, tuple)) and depth < 3:
        for i, item in enumerate(value):
            yield from _tensors_in(item, join(name, i), depth + 1)
    elif isinstance(value, dict) and depth < 3:
        for key, item in value.items():
            if isinstance(key, (str, int)):
                yield from _tensors_in(item, join(name, key), depth + 1)
    elif depth < 1 and hasattr(value, "__dict__") and not callable(value):
        for key, item in vars(value).items():  # an object of the user's
            yield from _tensors_in(item, join(name, key), depth + 1)


def _variable(node: Any, target: str) -> str:
    """Module path and the variable that the source assigns the constant to, or ``constant``."""
    module_path = target.rpartition(".")[0]
    user = next(iter(node.users), None)
    if user is not None:
        frames = list((user.meta.get("nn_module_stack") or {}).values())
        if frames and not str(frames[-1][0]).startswith("_empty"):
            module_path = str(frames[-1][0]).rsplit("@", 1)[0]
        _, _, text = innermost_user_line(user.meta.get("stack_trace"))
        match = _ASSIGNED.match(text)
        if match and "tensor(" in text:
            return join(module_path, match[1])
    return join(module_path, "constant")


def _free(name: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    number = 1
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"
