"""Layers on another form of a layer's weights: in half precision under autocast, say.

Folding gives such a form a name of its own beside the weight (``fc.weight_2``). The layer that
holds it stands beside the other (``fc`` and ``fc_bfloat16``), not in a module with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pytorch_to_mlx.graph import Node, Param, Value

_OWN = ("weight", "bias")


def twin_paths(
    nodes: Sequence[Node], param_of: Mapping[Value, Param], owned: Mapping[str, set[str]]
) -> dict[tuple[str, ...], str]:
    """Paths of such layers, by those of their weights."""
    found: dict[tuple[str, ...], str] = {}
    holding = {other.rpartition(".")[0] for other, own in owned.items() if own}
    while inner := {path.rpartition(".")[0] for path in holding} - holding:
        holding |= inner
    for node in nodes:
        params = [param_of[v] for v in node.params.values()]
        module = _twin_of(params, owned, holding)
        if module:
            kind = node.target.rpartition(".")[2].lower()
            tables = any(n.target == "nn.Embedding" and _has(n, module, param_of) for n in nodes)
            other = kind if tables and kind != "embedding" else str(params[0].value.dtype)
            found[tuple(p.path for p in params)] = f"{module}_{other}"
    return found


def _has(node: Node, module: str, param_of: Mapping[Value, Param]) -> bool:
    return any(param_of[v].path.rpartition(".")[0] == module for v in node.params.values())


def _twin_of(params: list[Param], owned: Mapping[str, set[str]], holding: set[str]) -> str:
    """The module all of whose weights these are another form of; not one that is ``holding``
    others.
    """
    modules = {p.path.rpartition(".")[0] for p in params}
    if len(modules) != 1:
        return ""
    (module,) = modules
    if not module or module.rpartition(".")[2].isdigit():
        return ""
    if module in holding:
        return ""
    for p in params:
        form = re.fullmatch(r"(.+)_\d+", p.path.rpartition(".")[2])
        if p.recipe is None or form is None or form[1] not in _OWN:
            return ""
        if f"{module}.{form[1]}" not in owned[module]:
            return ""
    return module
