"""A trace run beside the original at other sizes: where do they agree?

A trace follows one way through the model's Python code. Where other sizes take another way, it
computes something else, and only a comparison tells: a branch may make no difference (a padding of
zero), and a size may have become a number in silence.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.capture.quiet import quiet
from pytorch_to_mlx.capture.reference import (
    ReferenceOutput,
    agree,
    draws_randomly,
    runnable,
    to_output,
)
from pytorch_to_mlx.capture.sizes import Axis, Prober
from pytorch_to_mlx.capture.snapshot import untouched
from pytorch_to_mlx.capture.structure import Arguments

if TYPE_CHECKING:
    import torch

_SEED = 0


class Trial:
    """Compares one trace with the original, which ``original`` calls for its flat outputs.

    Runs count against the prober's budget; what there is no time for is not known.
    """

    def __init__(
        self,
        program: torch.export.ExportedProgram,
        prober: Prober,
        original: Callable[[Arguments], list[ReferenceOutput]],
    ) -> None:
        self._program = program
        self._prober = prober
        self._original = original
        self._random = draws_randomly(program)
        self._seen: dict[tuple[tuple[Axis, int], ...], bool | None] = {}

    def agrees(self, sizes: Mapping[Axis, int]) -> bool | None:
        """Whether both give the same at these sizes; ``None`` where the original refuses them or
        time is up. Random outputs need only have the same shape.
        """
        key = tuple(sorted(sizes.items()))
        if key not in self._seen:
            self._seen[key] = self._agrees(sizes)
        return self._seen[key]

    def _agrees(self, sizes: Mapping[Axis, int]) -> bool | None:
        if self._prober.refusal(sizes):
            return None
        arguments = self._prober.example.resized(sizes)
        return self.agrees_on(arguments) if self._prober.affords(arguments) else None

    def agrees_on(self, arguments: Arguments) -> bool | None:
        """Whether both give the same on these arguments; ``None`` where the original refuses."""
        start = time.perf_counter()
        try:
            theirs = self._original(_copied(arguments))
        except Exception:  # noqa: BLE001 - whatever the user's model raises is its refusal
            return None
        try:
            ours = self._outputs(_copied(arguments))
        except Exception:  # noqa: BLE001 - a trace that cannot run there does not hold there
            return False
        finally:
            self._prober.spent += time.perf_counter() - start
        return len(ours) == len(theirs) and all(map(self._same, theirs, ours))

    def _same(self, a: ReferenceOutput, b: ReferenceOutput) -> bool:
        if self._random:
            return a.array.shape == b.array.shape
        return agree(a, b)

    def _outputs(self, arguments: Arguments) -> list[ReferenceOutput]:
        import torch

        with quiet(), untouched(self._module), torch.no_grad():
            torch.manual_seed(_SEED)
            return flat_outputs(self._module(*arguments.args, **arguments.kwargs))

    @cached_property
    def _module(self) -> Any:
        module = runnable(self._program)
        _without_assertions(module)
        return module


def _without_assertions(module: Any) -> None:
    """Drops what torch asserts of sizes, which no package holds (where they fail, the original
    raises), and with it the rest of attempts at a loop that were given up, which only assertions
    use: it does not hold at all sizes.
    """
    import torch

    for part in reversed([m for m in module.modules() if isinstance(m, torch.fx.GraphModule)]):
        found = part.graph.find_nodes(
            op="call_function", target=torch.ops.aten._assert_scalar.default
        )
        for node in found:
            part.graph.erase_node(node)
        if found:
            part.graph.eliminate_dead_code()
            part.recompile()


def _copied(arguments: Arguments) -> Arguments:
    """Arguments that a call may write to."""
    import torch
    import torch.utils._pytree as pytree

    def copy(x: Any) -> Any:
        return x.clone() if isinstance(x, torch.Tensor) else x

    return arguments.with_values(pytree.tree_map(copy, arguments.values()))


def flat_outputs(result: Any) -> list[ReferenceOutput]:
    """Tensors and numbers as numpy, in order; what is neither is left out."""
    import torch.utils._pytree as pytree

    leaves = pytree.tree_leaves(result)
    return [to_output("", v) for v in leaves if v is not None and not isinstance(v, str)]
