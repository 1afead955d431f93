"""Module and parameter names that Python code cannot spell, renamed while torch traces.

``torch.export`` writes ``self.class.weight`` as source, so a child called ``class`` (or ``a-b``, or
anything else that is no identifier) breaks it. During capture such names are replaced in the
modules' registries; the source reaches them as before (``getattr(self, "class")``), and what was
captured gets the source's names back.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from pytorch_to_mlx.capture.program import Captured

# What to put back: a module, which registry, its own table, and own names by legal ones.
Undo = tuple[Any, str, dict[str, Any], dict[str, str]]
_REGISTRIES = ("_modules", "_parameters", "_buffers")


@dataclass
class Renamed:
    """Paths under their legal names, mapped to the source's."""

    modules: dict[str, str] = field(default_factory=dict)
    tensors: dict[str, str] = field(default_factory=dict)

    def give_back(self, captured: Captured) -> None:
        """Puts the source's names into what was captured."""
        module = {k: v for k, v in self.modules.items() if k != v}
        tensor = {k: v for k, v in self.tensors.items() if k != v}
        if not module and not tensor:
            return
        captured.tensors = {tensor.get(k, k): t for k, t in captured.tensors.items()}
        captured.aliases = {
            **{tensor.get(k, k): tensor.get(v, v) for k, v in captured.aliases.items()},
            **{k: captured.aliases.get(k, v) for k, v in tensor.items()},
        }
        for legal, own in tensor.items():
            target = captured.aliases[legal]
            captured.aliases[legal] = tensor.get(target, target)
            captured.aliases.pop(own, None) if captured.aliases.get(own) == own else None
        captured.module_aliases = {
            **{module.get(k, k): module.get(v, v) for k, v in captured.module_aliases.items()},
            **module,
        }
        captured.classes = {module.get(k, k): v for k, v in captured.classes.items()}
        captured.signatures = {module.get(k, k): v for k, v in captured.signatures.items()}
        captured.bound = {(module.get(p, p), n): v for (p, n), v in captured.bound.items()}
        captured.persistent = {tensor.get(k, k) for k in captured.persistent}


@contextmanager
def legal_names(root: nn.Module) -> Iterator[Renamed]:
    """Renames within the block; the modules' registries are put back afterwards, in order."""
    undo: list[Undo] = []
    renamed = Renamed()
    own_names: dict[int, dict[str, str]] = {}
    try:
        for module in root.modules():
            own_names[id(module)] = _rename(module, undo)
        _paths(root, "", "", own_names, renamed, set())
        yield renamed
    finally:
        for module, registry, table, own in reversed(undo):
            now = {own.get(name, name): value for name, value in getattr(module, registry).items()}
            table.clear()
            table.update(now)
            module.__dict__[registry] = table


def _rename(module: Any, undo: list[Undo]) -> dict[str, str]:
    """Legal name to own name for every child, parameter and buffer of one module."""
    names: dict[str, str] = {}
    taken = {n for r in _REGISTRIES for n in getattr(module, r)}
    for registry in _REGISTRIES:
        table = getattr(module, registry)
        illegal = [n for n in table if not _is_legal(n)]
        names.update({n: n for n in table if n not in illegal})
        if not illegal:
            continue
        renamed: dict[str, Any] = {}
        for name, value in table.items():
            legal = name if name not in illegal else _legal(name, taken)
            taken.add(legal)
            names[legal] = name
            renamed[legal] = value
        own = {k: v for k, v in names.items() if k != v}
        undo.append((module, registry, table, own))
        module.__dict__[registry] = _Registry(renamed, {v: k for k, v in own.items()})
    return names


class _Registry(dict[str, Any]):
    """A registry under legal names that also answers to the modules' own (``blocks["en-US"]``)."""

    def __init__(self, items: dict[str, Any], legal: dict[str, str]) -> None:
        super().__init__(items)
        self.legal = legal

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(self.legal.get(name, name))

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(self.legal.get(name, name), value)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(self.legal.get(name, name) if isinstance(name, str) else name)

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(self.legal.get(name, name), default)


def _is_legal(name: str) -> bool:
    return name.isdigit() or (
        name.isidentifier() and name.isascii() and not keyword.iskeyword(name)
    )


def _legal(name: str, taken: set[str]) -> str:
    base = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_") or "m"
    base = f"{base}_" if keyword.iskeyword(base) or not base[0].isdigit() else f"m{base}"
    out, n = base, 2
    while out in taken:
        out, n = f"{base}{n}", n + 1
    return out


def _paths(
    module: Any,
    legal: str,
    own: str,
    names: dict[int, dict[str, str]],
    renamed: Renamed,
    above: set[int],
) -> None:
    """Fills the maps for every path that reaches a module or tensor."""
    if id(module) in above:
        return
    renamed.modules[legal] = own
    for name, source in names[id(module)].items():
        here = f"{legal}.{name}" if legal else name
        there = f"{own}.{source}" if own else source
        child = module._modules.get(name)
        if child is not None:
            _paths(child, here, there, names, renamed, above | {id(module)})
        elif name in module._parameters or name in module._buffers:
            renamed.tensors[here] = there
