"""Comparing a captured program, called with the original's own arguments, with the original."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.utils._pytree as pytree

from pytorch_to_mlx.capture.export import capture_module
from pytorch_to_mlx.capture.program import Captured
from pytorch_to_mlx.capture.structure import bind_arguments

torch.set_num_threads(1)


def fingerprint(module: torch.nn.Module) -> list[Any]:
    """Everything that capture must leave as it was: attributes, hooks, flags, tensors by value."""
    found: list[Any] = []
    for path, sub in module.named_modules():
        for name, value in sub.__dict__.items():
            if isinstance(value, torch.Tensor):
                found.append((path, name, id(value), value.detach().clone().tolist()))
            elif isinstance(value, dict):
                content = [(k, id(v)) for k, v in value.items()]
                found.append((path, name, id(value), content))
            elif isinstance(value, list):
                found.append((path, name, id(value), [id(v) for v in value]))
            else:
                found.append((path, name, repr(value) if not callable(value) else id(value)))
    found.append({k: v.tolist() for k, v in module.state_dict().items()})
    found.append((torch.nn.Module.__setattr__, "lstm" in torch._VF.__dict__))
    found.append(torch.backends.mha.get_fastpath_enabled())
    found.append(torch.get_rng_state().tolist())
    return found


def checked(
    module: torch.nn.Module, *args: Any, dynamic_shapes: Any = "auto", **kwargs: Any
) -> Captured:
    """Captures; the module must be untouched and the program equal the reference, twice."""
    before = fingerprint(module)
    captured = capture_module(module, args, kwargs, dynamic_shapes=dynamic_shapes)
    assert fingerprint(module) == before
    compare(captured, module, [(args, kwargs), (args, kwargs)])
    assert fingerprint(module) == before
    return captured


def compare(
    captured: Captured,
    module: torch.nn.Module,
    calls: Sequence[tuple[tuple[Any, ...], dict[str, Any]]],
) -> None:
    """The decomposed program against ``captured.reference()`` over a sequence of calls."""
    program = captured.program.module()
    results = []
    feeds = []
    for name, tensor in list(program.named_buffers()):  # in memory that is the module's
        path, _, leaf = name.rpartition(".")
        program.get_submodule(path)._buffers[leaf] = tensor.clone()
    for args, kwargs in calls:
        bound = bind_arguments(module, args, kwargs)
        leaves = pytree.tree_leaves(bound.values())
        names = captured.input_names[: len(leaves)]
        feeds.append(
            {n: v for n, v in zip(names, leaves, strict=True) if isinstance(v, torch.Tensor)}
        )
        extra = dict.fromkeys(captured.input_names[len(leaves) :], False)
        clones = pytree.tree_map(
            lambda t: t.clone() if isinstance(t, torch.Tensor) else t, (bound.args, bound.kwargs)
        )
        with torch.no_grad():
            results.append(pytree.tree_leaves(program(*clones[0], **clones[1], **extra)))
    for expected, got in zip(captured.reference().sequence(feeds), results, strict=True):
        got = [g for g in got if g is not None]
        assert len(expected) == len(got) > 0
        for output, tensor in zip(expected, got, strict=True):
            value = torch.as_tensor(output.array)
            tensor = torch.as_tensor(tensor)
            assert value.shape == tensor.shape, output.name
            torch.testing.assert_close(tensor.to(value.dtype), value, atol=1e-5, rtol=1e-5)


def where(captured: Captured) -> list[list[str]]:
    """The groups of dynamic dims."""
    return [entry["where"] for entry in captured.dims["symbols"].values()]


def static(captured: Captured) -> dict[str, str]:
    return {entry["where"]: entry["reason"] for entry in captured.dims["static"]}
