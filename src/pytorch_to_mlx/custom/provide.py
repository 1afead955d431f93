"""Puts proven functions in the place of a program's unknown ops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.custom.load import CustomOp
from pytorch_to_mlx.custom.prove import Proof, Run, prove
from pytorch_to_mlx.custom.record import programs_ops, recorded
from pytorch_to_mlx.errors import LoweringError, UnsupportedOp
from pytorch_to_mlx.ops import registry

if TYPE_CHECKING:
    from pytorch_to_mlx.capture.program import Captured
    from pytorch_to_mlx.custom.agent.chat import Agent


def provide(captured: Captured, ops: Sequence[CustomOp]) -> None:
    """Proves each function against the op that it implements, and lets lowering use it.

    What was proven, and how, is kept in ``captured`` for the report and the configuration.

    Raises:
        LoweringError: a function does not match its op; all that do not are named.
    """
    known = programs_ops(captured) if captured.frontend == "aten" else {}
    used = [op for op in ops if op.target in known]
    for op in ops:
        if op not in used:
            captured.warnings.append(
                f"{op.op} of {op.origin} is not used: the model has no such op"
            )
    if not used:
        return
    calls = recorded(captured, {known[op.target] for op in used})
    failed = []
    for op in used:
        original = known[op.target]
        proof = prove(original, calls[original], _runs(op))
        if not proof.proven:
            reason = f"{op.name} of {op.origin} does not match it {proof.failure}"
            failed.append(UnsupportedOp(op.target, origin=op.origin, reason=reason))
            continue
        _use(captured, op, proof)
    if failed:
        count = len(failed)
        raise LoweringError(
            f"{count} function{'' if count == 1 else 's'} given for ops cannot be used", ops=failed
        )


def provide_by_agent(captured: Captured, agent: Agent, show: Callable[[str], None]) -> None:
    """Asks an agent for every op that is still unknown; what it proves is used as a given one is.

    Raises:
        LoweringError, InputError: as ``custom.agent.loop.fill``.
    """
    from pytorch_to_mlx.custom.agent.loop import fill

    if captured.frontend != "aten":
        return
    for op, proof, facts in fill(captured, agent, show):
        _use(captured, op, proof, agent=facts)


def _use(captured: Captured, op: CustomOp, proof: Proof, **facts: Any) -> None:
    _register(op)
    captured.custom[op.target] = op.name
    named = {"op": op.op, "function": op.name, "origin": op.origin}
    captured.op_calls[op.name] = proof.calls
    captured.provided.append({**named, "proof": proof.to_dict(), **facts})


def _runs(op: CustomOp) -> Run:
    return lambda args, kwargs: op.function(*args, **kwargs)


def _register(op: CustomOp) -> None:
    from pytorch_to_mlx.codegen.library import library_entries
    from pytorch_to_mlx.errors import InputError

    for name in op.entries:
        if name in library_entries():
            raise InputError(
                f"{op.origin} defines {name}, a name that the converter's own library uses",
                hint="call it something else",
            )
    registry.add(op.entries)
