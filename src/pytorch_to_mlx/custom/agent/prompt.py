"""What is sent: the op's own facts, and the house rules."""

from __future__ import annotations

import inspect
from typing import Any

from pytorch_to_mlx.custom.agent.allowed import BUILTINS, FUNCTIONS, MEMBERS
from pytorch_to_mlx.custom.record import Call

_ELEMENTS = 64  # shown of an array
_EXAMPLES = 2

RULES = f"""You write one operation in Apple MLX. Answer with one Python code block that defines
the function asked for (helper functions may stand beside it), and nothing else.
- No imports: `mx` (mlx.core) is there.
- No classes, lambdas, decorators, f-strings, try, with, while, del, global.
- Callable of mx: {" ".join(sorted(FUNCTIONS))}.
- Of arrays: {" ".join(sorted(MEMBERS))}. Builtins: {" ".join(sorted(BUILTINS))}.
- Every result has exactly the original's shape and dtype (float64 as float32), for all sizes.
"""


def messages(op: Any, function: str, calls: list[Call]) -> list[dict[str, str]]:
    """The conversation's start for one op."""
    parts = [f"Write `{function}` for this op:", f"    {op._schema}"]
    parts.append("Tensors come as mx.array, lists as tuples, keyword-only arguments by name.")
    for title, text in (("What it says of itself", _doc(op)), ("In torch", _decomposition(op))):
        if text:
            parts.append(f"{title}:\n{text}")
    for call in calls[:_EXAMPLES]:
        result = op(*call.args, **call.kwargs)
        given = ", ".join(_shown(a) for a in call.args)
        named = "".join(f", {k}={_shown(v)}" for k, v in call.kwargs.items())
        parts.append(f"Example: ({given}{named})\n  gives {_shown(result)}")
    return [{"role": "system", "content": RULES}, {"role": "user", "content": "\n\n".join(parts)}]


def again(answer: str, failure: str) -> list[dict[str, str]]:
    """The answer that failed, and why."""
    text = f"That is not accepted: {failure}\nAnswer with the whole corrected code block."
    return [{"role": "assistant", "content": answer}, {"role": "user", "content": text}]


def _doc(op: Any) -> str:
    from torch._library.custom_ops import OPDEFS

    definition = OPDEFS.get(f"{op.namespace}::{op._opname}")
    return inspect.getdoc(definition._init_fn) or "" if definition is not None else ""


def _decomposition(op: Any) -> str:
    from torch._decomp import decomposition_table

    found = decomposition_table.get(op)
    try:
        return inspect.getsource(inspect.unwrap(found)) if found is not None else ""
    except (OSError, TypeError):
        return ""


def _shown(value: Any) -> str:
    import torch

    if isinstance(value, (tuple, list)):
        return f"({', '.join(_shown(v) for v in value)})"
    if not isinstance(value, torch.Tensor):
        return repr(value)
    name = f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    flat = value.detach().cpu().flatten()[:_ELEMENTS].tolist()
    shown = [round(v, 6) if isinstance(v, float) else v for v in flat]
    return f"{name} {shown}{' ...' if value.numel() > _ELEMENTS else ''}"
