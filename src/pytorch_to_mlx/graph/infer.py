"""Shape and dtype rules: one for each call target that lowerings and passes build.

A rule takes the call's arguments (values, sizes, constants) and returns ``(shape, dtype)``; one
that makes
several arrays returns a list of them. Targets without a rule are *probed*: MLX is lazy, so calling
the real function on zeros at concrete sizes costs nothing and tells shape and dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytorch_to_mlx.errors import LoweringError
from pytorch_to_mlx.graph.dims import Dim
from pytorch_to_mlx.graph.ir import Node

Result = tuple[tuple[Dim, ...] | None, str | None]
Rule = Callable[..., Any]

RULES: dict[str, Rule] = {}


def rule(*targets: str) -> Callable[[Rule], Rule]:
    """Registers an inference rule; a second one for the same target raises."""

    def register(fn: Rule) -> Rule:
        for t in targets:
            if t in RULES:
                raise ValueError(f"two inference rules for {t}")
            RULES[t] = fn
        return fn

    return register


def infer(node: Node) -> list[Result]:
    """Shapes and dtypes of a node's outputs (``(None, None)`` where nothing is known)."""
    from pytorch_to_mlx.graph import (  # noqa: F401 - they register on import
        rules,
        rules_creation,
        rules_fourier,
        rules_ops,
    )
    from pytorch_to_mlx.graph.probe import probe

    fn = RULES.get(node.target)
    try:
        if fn is None:
            return probe(node)
        kwargs: dict[str, Any] = dict(node.kwargs)
        if node.params:
            kwargs["params"] = node.params
        out = fn(*node.args, **kwargs)
    except (ValueError, TypeError, IndexError) as error:
        raise LoweringError(
            f"{node.target} cannot take these arguments: {error}",
            op=node.origin.op,
            origin=str(node.origin),
        ) from error
    return out if isinstance(out, list) else [out]
