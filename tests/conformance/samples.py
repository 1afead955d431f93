"""OpInfo entries as small modules whose every tensor is an input."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.utils._pytree as pytree

SAMPLES = 5
_DTYPES = (torch.float32, torch.int64, torch.bool, torch.complex64)


@dataclass(frozen=True)
class Sample:
    """One call of an op: the module, the tensors to trace it with and others to run it with."""

    module: torch.nn.Module
    traced: tuple[torch.Tensor, ...]
    given: tuple[torch.Tensor, ...]
    text: str


@cache
def entries() -> dict[str, Any]:
    """torch's own table of ops by unique name; its random ops draw anew at every call."""
    from torch.testing._internal import common_methods_invocations as table

    table.wrapper_set_seed = lambda op, *args, **kwargs: op(*args, **kwargs)
    return {op.formatted_name: op for op in table.op_db}


def entries_in(dtype: str) -> list[str]:
    """The entries whose CPU kernels take a dtype."""
    wanted = getattr(torch, dtype)
    return [name for name, op in entries().items() if wanted in op.supported_dtypes("cpu")]


def samples(op: Any, count: int = SAMPLES) -> Iterator[Sample]:
    """The op's first samples, in the first dtype of float32, int64, bool, complex64 it takes;
    ``P2M_DTYPE`` names another.
    """
    # An entry for other devices only may still run on the CPU.
    kinds = op.supported_dtypes("cpu") or op.supported_dtypes("cuda")
    named = os.environ.get("P2M_DTYPE")
    wanted = (getattr(torch, named),) if named else _DTYPES
    dtype = next((d for d in wanted if d in kinds), None)
    if dtype is None:
        raise ValueError("torch has no float32, int64, bool or complex64 kernel on this machine")
    first = list(itertools.islice(_draw(op, dtype, True), count))
    torch.manual_seed(2)
    second = list(itertools.islice(_draw(op, dtype, False), count))
    for a, b in zip(first, second, strict=True):
        yield _sample(op, a, b)


def _draw(op: Any, dtype: torch.dtype, fixed: bool) -> Iterator[Any]:
    """Samples with the seed that torch fixes for each, or with the seed as it stands."""
    return iter(op.sample_inputs("cpu", dtype, requires_grad=False, set_seed=fixed))


def _sample(op: Any, first: Any, second: Any) -> Sample:
    leaves, spec = pytree.tree_flatten((first.input, first.args, first.kwargs))
    others = pytree.tree_leaves((second.input, second.args, second.kwargs))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    traced = tuple(leaves[i] for i in places)
    module = _module(op, leaves, spec, places)
    drawn = [others[i] for i in places] if len(others) == len(leaves) else []
    given = _other_values(module, traced, drawn)
    shapes = ", ".join(f"{str(t.dtype)[6:]}{list(t.shape)}" for t in traced)
    rest = [leaf for leaf in leaves if not isinstance(leaf, torch.Tensor)]
    return Sample(module, traced, given, f"{shapes}; {rest}"[:200])


def _module(op: Any, leaves: list[Any], spec: Any, places: list[int]) -> torch.nn.Module:
    """A module whose ``forward(x0, x1, ...)`` takes the sample's tensors and holds the rest."""
    held = [None if i in places else leaf for i, leaf in enumerate(leaves)]
    names = [f"x{i}" for i in range(len(places))]

    def run(*tensors: torch.Tensor) -> Any:
        filled = list(held)
        for place, tensor in zip(places, tensors, strict=True):
            filled[place] = tensor
        given, args, kwargs = pytree.tree_unflatten(filled, spec)
        return op.op(given, *args, **kwargs)

    space: dict[str, Any] = {"run": run}
    source = f"def forward({', '.join(['self', *names])}):\n    return run({', '.join(names)})\n"
    exec(compile(source, "<sample>", "exec"), space)
    return type("Entry", (torch.nn.Module,), {"forward": space["forward"]})().eval()


def _same_kind(a: torch.Tensor, b: Any) -> bool:
    return isinstance(b, torch.Tensor) and a.shape == b.shape and a.dtype == b.dtype


def _other_values(
    module: torch.nn.Module, traced: tuple[torch.Tensor, ...], drawn: list[torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    """Tensors of another draw; where the draw is fixed, the elements in reverse order.

    Falls back to the traced values where torch itself refuses the others.
    """
    fits = len(drawn) == len(traced) and all(
        _same_kind(a, b) for a, b in zip(traced, drawn, strict=True)
    )
    dense = all(t.layout == torch.strided for t in traced)
    if fits and (not dense or not all(map(torch.equal, traced, drawn))):
        candidate = tuple(drawn)
    elif dense:
        candidate = tuple(
            t.flip(tuple(range(t.ndim))) if t.is_floating_point() else t for t in traced
        )
    else:
        return traced
    try:
        module(*(t.clone() for t in candidate))
    except (RuntimeError, ValueError, IndexError, TypeError):
        return traced
    return candidate
