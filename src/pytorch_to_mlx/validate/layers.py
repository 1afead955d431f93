"""Errors module by module: the emitted package's submodules beside the original's.

The original's module outputs are nodes of the captured program; the package's are recorded in
place. A module whose output has been fused into a later one (a batch norm folded into the
convolution before it) is compared with that later one. Axes may be in another order
(channels-last).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from pytorch_to_mlx.validate.compare import FLOOR
from pytorch_to_mlx.validate.subject import PackageFailed, Subject, mlx_array
from pytorch_to_mlx.validate.values import node_values

if TYPE_CHECKING:
    import torch.fx as fx

FUSED_REACH = 3  # how many module outputs further a fused one is looked for


def compare_layers(subject: Subject, tolerance: float) -> tuple[list[dict[str, Any]], list[str]]:
    """``layers`` of the report in order of execution, and notes."""
    captured = subject.captured
    assert captured is not None
    ends = module_outputs(captured)
    try:
        values = node_values(captured, subject.examples, lambda n: n in ends.values())
        recorded = record_modules(subject)
    except PackageFailed as error:
        return [], [f"modules are not compared: the package failed: {error}"]
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        return [], [f"modules are not compared: the program does not run alone: {error}"]
    order = [(path, values[node]) for path, node in ends.items() if node in values]
    rows: list[dict[str, Any]] = []
    for i, (path, want) in enumerate(order):
        got = recorded.get(path)
        if got is None:
            continue
        found = difference(want, got)
        later = [v for _, v in order[i + 1 : i + 1 + FUSED_REACH]]
        if found is None or found[1] > tolerance:
            others = [d for d in (difference(v, got) for v in later) if d is not None]
            found = min(
                [d for d in others if d[1] <= tolerance] or ([found] if found else []), default=None
            )
        if found is not None:
            row = {
                "path": path,
                "class": captured.classes.get(path),
                "max_abs": found[0],
                "relative": found[1],
            }
            rows.append(row)
    return rows, []


def module_outputs(captured: Any) -> dict[str, fx.Node]:
    """The last node of every module's first call that later code uses, in order of execution."""
    found: dict[str, fx.Node] = {}
    for node in captured.program.graph.nodes:
        if node.op != "call_function":
            continue
        for path in module_paths(captured, node):
            outside = any(path not in module_paths(captured, user) for user in node.users)
            if outside and _is_tensor(node):
                found.pop(path, None)
                found[path] = node
    return found


def module_paths(captured: Any, node: fx.Node) -> list[str]:
    """Paths of the modules (first calls only) that a node is in, outermost first."""
    paths = []
    for key, (path, _) in (node.meta.get("nn_module_stack") or {}).items():
        if path and "@" not in key and not path.startswith("_empty_nn_module_stack"):
            paths.append(captured.module_path(path))
    return paths


def _is_tensor(node: fx.Node) -> bool:
    import torch

    return isinstance(node.meta.get("val"), torch.Tensor)


# -- the package's side -----------------------------------------------------------------------


def record_modules(subject: Subject) -> dict[str, np.ndarray]:
    """The first output of each submodule on one call, by source path.

    Raises:
        PackageFailed: the package does not run.
    """
    names = {emitted: source for source, emitted in subject.package.config["module_map"].items()}
    found: dict[str, mx.array] = {}
    with recording(subject.package.model, found):
        subject.run_package([subject.examples])
    return {names.get(p, p): mlx_array(v).values for p, v in found.items()}


@contextmanager
def recording(model: nn.Module, found: dict[str, mx.array]) -> Iterator[None]:
    """Within, submodules put the (first array of the) result of their first call into ``found``."""
    originals: list[tuple[nn.Module, type]] = []
    try:
        for path, module in model.named_modules():
            if path and type(module).__call__ is not object.__call__:
                originals.append((module, type(module)))
                module.__class__ = _recorder(type(module), path, found)
        yield
    finally:
        for module, cls in originals:
            module.__class__ = cls


def _recorder(cls: type, path: str, found: dict[str, mx.array]) -> type:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        out = cls.__call__(self, *args, **kwargs)
        first = out[0] if isinstance(out, (tuple, list)) and out else out
        if isinstance(first, mx.array):
            found.setdefault(path, first)
        return out

    return type(cls.__name__, (cls,), {"__call__": call})


# -- comparing --------------------------------------------------------------------------------


def difference(want: Any, got: np.ndarray) -> tuple[float, float] | None:
    """Largest error, absolute and as a fraction of scale, in the axis order that fits best;
    ``None`` where no order of axes gives the shape, or the values are no floats.
    """
    import torch

    if not isinstance(want, torch.Tensor) or not want.is_floating_point() or got.dtype.kind != "f":
        return None
    reference = want.float().numpy()
    if sorted(reference.shape) != sorted(got.shape) or reference.ndim > 5:
        return None
    best: tuple[float, float] | None = None
    for axes in itertools.permutations(range(reference.ndim)):
        if tuple(reference.shape[a] for a in axes) != got.shape:
            continue
        turned = reference.transpose(axes)
        finite = np.isfinite(turned)
        error = np.abs(np.where(finite, turned - got, 0.0))
        worst = float(np.nan_to_num(error, nan=np.inf).max(initial=0.0))
        scale = max(float(np.abs(turned[finite]).max(initial=0.0)), FLOOR)
        if best is None or worst < best[0]:
            best = (worst, worst / scale)
    return best
