"""Asks, checks, runs apart, proves; asks again with the failure; gives up after so many tries."""

from __future__ import annotations

import hashlib
import re
import urllib.parse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import mlx.core as mx

from pytorch_to_mlx.custom.agent.chat import Agent, ask, endpoint
from pytorch_to_mlx.custom.agent.check import Rejected, checked
from pytorch_to_mlx.custom.agent.prompt import again, messages
from pytorch_to_mlx.custom.agent.sandbox import Sandbox, SandboxError
from pytorch_to_mlx.custom.load import CustomOp, entries_of
from pytorch_to_mlx.custom.prove import Proof, prove
from pytorch_to_mlx.custom.record import Call, programs_ops, recorded
from pytorch_to_mlx.errors import LoweringError, UnsupportedOp

if TYPE_CHECKING:
    from pytorch_to_mlx.capture.program import Captured

_BLOCK = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL)
Found = tuple[CustomOp, Proof, dict[str, Any]]


def fill(captured: Captured, agent: Agent, show: Callable[[str], None]) -> list[Found]:
    """A proven function for every op of the program that is not known.

    With ``agent.dry_run`` only shows what would be sent.

    Raises:
        LoweringError: an op has none after the allowed tries; the last failure says why.
        InputError: the endpoint gives no answer.
    """
    endpoint(agent.url)
    missing = _missing(captured)
    known = programs_ops(captured)
    calls = recorded(captured, {known[name] for name in missing}) if missing else {}
    found: list[Found] = []
    failed: list[UnsupportedOp] = []
    for name, refused in missing.items():
        op = known[name]
        function = re.sub(r"\W", "_", f"{op.namespace}_{op._opname}")
        talk = messages(op, function, calls[op])
        if agent.dry_run:
            show("\n\n".join(f"[{m['role']}]\n{m['content']}" for m in talk))
            continue
        result = _attempts(op, function, calls[op], agent, talk)
        if isinstance(result, str):
            reason = f"the agent's {agent.tries} answers were refused, the last because {result}"
            failed.append(UnsupportedOp(name, reason=reason, stub=refused.stub))
        else:
            found.append(result)
    if failed:
        raise LoweringError(f"{len(failed)} ops cannot be converted", ops=failed)
    return found


def _missing(captured: Captured) -> dict[str, UnsupportedOp]:
    from pytorch_to_mlx.lower.aten._program import lower_program

    try:
        lower_program(captured)
    except LoweringError as error:
        return {op.op: op for op in error.ops if op.stub}
    return {}


def _attempts(
    op: Any, function: str, calls: list[Call], agent: Agent, talk: list[dict[str, str]]
) -> Found | str:
    failure = "there were no tries"
    for attempt in range(1, agent.tries + 1):
        answer = ask(agent, talk)
        try:
            source = checked(_code(answer), function)
            with Sandbox(source, function) as box:
                proof = prove(op, calls, box.run)
            failure = proof.failure
        except (Rejected, SandboxError) as error:
            failure = str(error)
        if not failure:
            host = urllib.parse.urlsplit(agent.url).hostname or ""
            facts = {
                "model": agent.model,
                "host": host,
                "tries": attempt,
                "sha256": hashlib.sha256(source.encode()).hexdigest(),
            }
            return _custom(op, function, source, f"agent {agent.model}"), proof, facts
        talk = [*talk, *again(answer, failure)]
    return failure


def _code(answer: str) -> str:
    block = _BLOCK.search(answer)
    return block.group(1) if block else answer


def _custom(op: Any, function: str, source: str, origin: str) -> CustomOp:
    """The proven function, for the emitted file; it was checked node by node, and ran apart."""
    names: dict[str, Any] = {"mx": mx, "__name__": f"_agent_{function}"}
    text = "from __future__ import annotations\n" + source
    exec(compile(text, f"<{function}>", "exec", dont_inherit=True), names)
    mark = f"{op.namespace}::{op._opname}.{op._overloadname}"
    title = f"# Written by {origin}, for {mark}, proven against the original."
    return CustomOp(mark, names[function], origin, entries_of(function, source, names, title))
