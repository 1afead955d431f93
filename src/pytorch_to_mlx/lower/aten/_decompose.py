"""Opens ops that have no lowering but that torch can express by simpler ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# A decomposition may yield ops that decompose again; no chain in torch is nearly as long as this.
_ROUNDS = 8


def decompose_unknown(
    program: torch.export.ExportedProgram, known: Callable[[str], bool]
) -> torch.export.ExportedProgram:
    """The program with every op decomposed that is not ``known`` and that torch can decompose.

    ``name`` is ``aten.gelu.default``. Ops of subgraphs (``cond``, ``while_loop``) count too.
    Repeats until nothing changes; what torch cannot decompose stays for the caller to refuse.
    """
    from torch._decomp import core_aten_decompositions

    tried: set[Any] = set()
    for _ in range(_ROUNDS):
        unknown = {op for op in _ops(program.graph_module) if not known(str(op))} - tried
        if not unknown:
            break
        available = core_aten_decompositions()
        table = {op: available[op] for op in unknown if op in available}
        table |= {op: op.decompose for op in unknown - table.keys() if _is_composite(op)}
        tried |= unknown
        if not table:
            break
        program = program.run_decompositions(table)
    return program


def _ops(module: Any) -> Iterator[Any]:
    """Every op overload that a graph module calls, or a graph module inside it."""
    import torch

    for sub in module.modules():
        if not isinstance(sub, torch.fx.GraphModule):
            continue
        for node in sub.graph.nodes:
            if node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload):
                yield node.target


def _is_composite(op: Any) -> bool:
    """Whether torch implements the op by others."""
    return bool(op.namespace == "aten" and op._can_decompose())
