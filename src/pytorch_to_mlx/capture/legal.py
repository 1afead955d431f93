"""Module and parameter names that Python code cannot spell, renamed while torch traces.

``torch.export`` writes ``self.class.weight`` as source, so a child called ``class`` (or ``a-b``, or
anything else that is no identifier) breaks it; a child called ``graph`` or ``code`` is hidden by
what a ``GraphModule`` has under that name; and a quote in a name would end the text it stands in.
During capture such names are replaced in the modules' registries; the source reaches them as before
(``getattr(self, "class")``), and what was captured gets the source's names back.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from pytorch_to_mlx.capture.program import Captured

# What to put back: a module, which registry, its own table, and own names by legal ones.
Undo = tuple[Any, str, "dict[str, Any] | set[str]", dict[str, str]]
_LONGEST = 100  # of a legal name; torch nests them in the names of files it may write
_REGISTRIES = ("_modules", "_parameters", "_buffers")


@dataclass
class Renamed:
    """Paths under their legal names, mapped to the source's."""

    modules: dict[str, str] = field(default_factory=dict)
    tensors: dict[str, str] = field(default_factory=dict)
    in_state_dict: dict[str, str] = field(default_factory=dict)  # where a path is spelt otherwise

    def give_back(self, captured: Captured) -> None:
        """Puts the source's names into what was captured."""
        module = {k: v for k, v in self.modules.items() if k != v}
        tensor = {k: v for k, v in self.tensors.items() if k != v}
        if not module and not tensor and not self.in_state_dict:
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
        for key, own in self.in_state_dict.items():
            if key not in captured.tensors:
                captured.aliases.setdefault(key, captured.aliases.get(own, own))
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
        _paths(root, ("", "", ""), own_names, renamed, set())
        yield renamed
    finally:
        for module, registry, table, own in reversed(undo):
            if isinstance(table, set):
                module.__dict__[registry] = table
                continue
            if registry == "__dict__":
                _give_up(module, own)
                continue
            now = {own.get(name, name): value for name, value in getattr(module, registry).items()}
            table.clear()
            table.update(now)
            module.__dict__[registry] = table


def _rename(module: Any, undo: list[Undo]) -> dict[str, str]:
    """Legal name to own name for every child, parameter and buffer of one module."""
    names: dict[str, str] = {}
    _adopt(module, undo)
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
        if registry == "_buffers":
            _rename_temporary(module, {v: k for k, v in own.items()}, undo)
        module.__dict__[registry] = _Registry(renamed, {v: k for k, v in own.items()})
    return names


def _adopt(module: Any, undo: list[Undo]) -> None:
    """Makes tensors that are plain attributes with illegal names buffers, which can be renamed."""
    import torch

    found = {
        name: name
        for name, value in vars(module).items()
        if isinstance(value, torch.Tensor) and not _is_legal(name) and name not in module._buffers
    }
    for name in found:
        module._buffers[name] = module.__dict__.pop(name)
        module._non_persistent_buffers_set.add(name)
    if found:
        undo.append((module, "__dict__", {}, found))


def _give_up(module: Any, found: Mapping[str, str]) -> None:
    """Puts what ``_adopt`` took back in its place."""
    for name in found:
        module.__dict__[name] = module._buffers.pop(name)
        module._non_persistent_buffers_set.discard(name)


def _rename_temporary(module: Any, legal: Mapping[str, str], undo: list[Undo]) -> None:
    """Buffers that no state dict holds are none under their legal names either."""
    own = module._non_persistent_buffers_set
    module._non_persistent_buffers_set = {legal.get(n, n) for n in own}
    undo.append((module, "_non_persistent_buffers_set", own, {}))


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
    plain = name.isidentifier() and not keyword.iskeyword(name) and name not in _graph_module()
    return name.isascii() and (name.isdigit() or plain)


@lru_cache(maxsize=1)
def _graph_module() -> frozenset[str]:
    """The attributes that torch's traced modules have of their own."""
    import torch

    return frozenset(dir(torch.fx.GraphModule({}, torch.fx.Graph())))


def _legal(name: str, taken: set[str]) -> str:
    base = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_")[:_LONGEST] or "m"
    base = f"m{base}" if base[0].isdigit() else f"{base}_"
    out, n = base, 2
    while out in taken or out in _graph_module():
        out, n = f"{base}{n}", n + 1
    return out


def _paths(
    module: Any,
    above: tuple[str, str, str],
    names: dict[int, dict[str, str]],
    renamed: Renamed,
    over: set[int],
) -> None:
    """Fills the maps for every path that reaches a module or tensor.

    ``above`` is the module's path under legal names, as it is given back, and in a state dict. The
    latter two differ where a name is empty or has dots (torch refuses such names, but a registry
    takes them): a path could not be told from that of another module.
    """
    if id(module) in over:
        return
    renamed.modules[above[0]] = above[1]
    for name, own in names[id(module)].items():
        parts = (name, own if own and "." not in own else name, own)
        below = [f"{a}.{b}" if a else b for a, b in zip(above, parts, strict=True)]
        child = module._modules.get(name)
        if child is not None:
            _paths(child, (below[0], below[1], below[2]), names, renamed, over | {id(module)})
        elif name in module._parameters or name in module._buffers:
            renamed.tensors[below[0]] = below[1]
            if below[1] != below[2]:
                renamed.in_state_dict[below[2]] = below[1]
