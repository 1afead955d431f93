"""Programs in another floating precision: tensors, the dtypes that calls name, and metadata.

A traced program has its dtypes written into its calls (``x.to(w.dtype)`` became a cast to the one
dtype that ``w`` had), so that changing its weights alone would break it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.capture.quiet import quiet
from pytorch_to_mlx.capture.tensors import memory

if TYPE_CHECKING:
    import torch

    from pytorch_to_mlx.capture.program import Captured

Dtypes = Mapping[Any, Any]  # torch dtypes to the ones that take their place


def recast_program(
    program: torch.export.ExportedProgram, dtypes: Dtypes
) -> torch.export.ExportedProgram:
    """A program whose tensors, calls and metadata have other dtypes; the given one stays as it
    is, and shares the tensors that do not change.
    """
    cast = caster(dtypes)
    with quiet():
        module = copy.deepcopy(program.graph_module)
    recast_calls(module, dtypes)
    changed = _with_module(program, module, cast)
    changed._example_inputs = _mapped(program.example_inputs, cast)
    return changed


def _with_module(program: Any, module: Any, cast: Callable[[Any], Any]) -> Any:
    with quiet():
        return program._update(
            module,
            copy.deepcopy(program.graph_signature),
            state_dict={k: cast(v) for k, v in program.state_dict.items()},
            constants={k: cast(v) for k, v in program.constants.items()},
        )


def caster(dtypes: Dtypes) -> Callable[[Any], Any]:
    """A function that casts tensors of some dtypes, each tensor (by its memory) once."""
    import torch

    done: dict[Any, tuple[Any, Any]] = {}

    def cast(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or value.dtype not in dtypes:
            return value
        key = memory(value)
        if key is None or key not in done:
            new = value.detach().to(dtypes[value.dtype])
            if isinstance(value, torch.nn.Parameter):
                new = torch.nn.Parameter(new, requires_grad=False)
            if key is None:
                return new
            done[key] = (value, new)  # the old one too: its memory must not be used anew meanwhile
        return done[key][1]

    return cast


def recast_calls(module: Any, dtypes: Dtypes) -> None:
    """Changes the dtypes that the calls of a traced module (and of those within) name, in place."""
    import torch
    import torch.fx as fx

    def mapped(arg: Any) -> Any:
        return dtypes.get(arg, arg) if isinstance(arg, torch.dtype) else arg

    def recorded(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.dtype in dtypes:
            return value.to(dtypes[value.dtype])
        return value

    for sub in module.modules():
        for store in (sub._buffers, sub.__dict__):
            for name, value in list(store.items()):
                if isinstance(value, torch.Tensor) and value.dtype in dtypes:
                    store[name] = value.to(dtypes[value.dtype])
        if isinstance(sub, fx.GraphModule):
            for node in sub.graph.nodes:
                node.args = fx.node.map_aggregate(node.args, mapped)
                node.kwargs = fx.node.map_aggregate(node.kwargs, mapped)
                if "val" in node.meta:
                    node.meta["val"] = _mapped(node.meta["val"], recorded)
            sub.recompile()


def _mapped(nest: Any, change: Callable[[Any], Any]) -> Any:
    import torch.utils._pytree as pytree

    return pytree.tree_map(change, nest)


def main_dtype(source: Any) -> Any:
    """The floating dtype of most numbers of a module or program; that of a program's inputs where
    it has no weights; else ``None``.
    """
    import torch
    import torch.utils._pytree as pytree

    weights = source.state_dict
    weights = weights() if callable(weights) else weights
    inputs = pytree.tree_leaves(getattr(source, "example_inputs", None))
    for tensors in (list(weights.values()), inputs):
        counts: dict[Any, int] = {}
        for t in tensors:
            if isinstance(t, torch.Tensor) and t.is_floating_point():
                counts[t.dtype] = counts.get(t.dtype, 0) + t.numel()
        if counts:
            return max(counts, key=lambda d: counts[d])
    return None


def every_float(dtype: Any) -> dict[Any, Any]:
    """All floating dtypes of at least 16 bits to one."""
    import torch

    wide = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    return {d: dtype for d in wide if d is not dtype}


def widened(captured: Captured) -> Captured:
    """A captured program with float32 in place of half precision.

    Its reference is the original with these very tensors in place of its own, so that nothing is
    held twice and a change of one is seen by both sides.
    """
    import torch

    low = {torch.float16: torch.float32, torch.bfloat16: torch.float32}
    cast = caster(low)
    wide = {memory(t): cast(t) for t in captured.tensors.values() if t.dtype in low}
    with quiet():
        module = copy.deepcopy(captured.program.graph_module)
    recast_calls(module, low)
    program = _with_module(captured.program, module, cast)
    make = captured.make_reference
    assert make is not None

    def reference(dtype: str | None) -> Any:
        if dtype in (None, "float32"):
            return make("float32", wide)
        return make(dtype, {})

    return replace(
        captured,
        program=program,
        tensors={k: cast(t) for k, t in captured.tensors.items()},
        example_inputs={k: cast(t) for k, t in captured.example_inputs.items()},
        example_outputs=None,
        make_reference=lambda dtype, weights=None: reference(dtype),
        warnings=list(captured.warnings),
    )
