"""Scripts and traces of modules, and conversions compared with them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
import torch.utils._pytree as pytree
from torch import nn

import pytorch_to_mlx as p2m
from pytorch_to_mlx.converted import Converted


def scripted(module: nn.Module) -> torch.jit.ScriptModule:
    """The module scripted, in eval mode."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(module.eval())


def traced(module: nn.Module, *args: Any) -> torch.jit.ScriptModule:
    """The module traced, in eval mode."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return torch.jit.trace(module.eval(), args, check_trace=False)


def compare(
    converted: Converted, script: Any, *calls: tuple[Any, ...], limit: float = 1e-5
) -> None:
    """Calls both in turn: every output equal, shape and dtype too."""
    for args in calls:
        given = pytree.tree_map(lambda a: a.numpy() if isinstance(a, torch.Tensor) else a, args)
        got = pytree.tree_leaves(converted(*given))
        with torch.no_grad():
            want = pytree.tree_leaves(script(*args))
        assert len(got) == len(want)
        for a, b in zip(got, want, strict=True):
            array = np.array(a)
            assert array.shape == tuple(b.shape)
            np.testing.assert_allclose(array, b.numpy(), rtol=1e-5, atol=1e-5)


def converts(script: Any, *calls: tuple[Any, ...], **options: Any) -> Converted:
    """Converts with the first call as example, compares on all; returns what was converted."""
    converted = p2m.convert(script, calls[0], **options)
    compare(converted, script, *calls)
    return converted
