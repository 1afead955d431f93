"""Errors module by module: the emitted package's submodules beside the original's.

The original's module outputs are values of the captured program; the package's are recorded in
place. A module whose output has been fused into a later one (a batch norm folded into the
convolution before it) is compared with that later one. Axes may be in another order
(channels-last).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from pytorch_to_mlx.errors import ConversionError
from pytorch_to_mlx.validate.compare import FLOOR
from pytorch_to_mlx.validate.subject import PackageFailed, Subject, mlx_array

ERRORS = (RuntimeError, ValueError, TypeError, IndexError, AttributeError)
FUSED_REACH = 3  # how many module outputs further a fused one is looked for


def compare_layers(subject: Subject, tolerance: float) -> tuple[list[dict[str, Any]], list[str]]:
    """``layers`` of the report in order of execution, and notes."""
    captured = subject.captured
    assert captured is not None
    if captured.frontend == "onnx":
        from pytorch_to_mlx.validate.layers_onnx import module_classes, module_values

        classes = module_classes(captured)
    else:
        from pytorch_to_mlx.validate.layers_torch import module_values

        classes = captured.classes
    try:
        rows = _Rows(record_modules(subject), classes, tolerance)
        module_values(captured, subject.examples, rows.add)
    except PackageFailed as error:
        return [], [f"modules are not compared: the package failed: {error}"]
    except (*ERRORS, ConversionError) as error:
        return [], [f"modules are not compared: the program does not run alone: {error}"]
    return rows.finished(), []


class _Rows:
    """Compares each module's output as the original computes it, so that few are kept at a time."""

    def __init__(
        self, recorded: dict[str, list[np.ndarray]], classes: dict[str, str], tolerance: float
    ) -> None:
        self.recorded = recorded
        self.classes = classes
        self.tolerance = tolerance
        self.rows: dict[str, tuple[float, float] | None] = {}
        # Rows beyond the tolerance, and for how many outputs more theirs may be a later one's.
        self.waiting: dict[str, tuple[list[np.ndarray], int]] = {}

    def add(self, paths: Sequence[str], value: np.ndarray | None) -> None:
        """One value of the original, the output of some modules; it need not be kept. Of several
        outputs of a module the one that fits counts.
        """
        for path in paths:
            for row, (early, reach) in list(self.waiting.items()):
                self._try(row, early, reach, value)
            if path in self.recorded:
                got = self.recorded.pop(path)
                self.rows[path] = found = _nearest(value, got)
                if found is None or found[1] > self.tolerance:
                    self.waiting[path] = (got, FUSED_REACH)
            elif path in self.rows:
                self.rows[path] = self.rows.pop(path)  # where its last output is

    def _try(self, row: str, got: list[np.ndarray], reach: int, value: np.ndarray | None) -> None:
        """Whether a module that was fused into a later one has that one's output."""
        later = _nearest(value, got)
        best = min([d for d in (self.rows[row], later) if d is not None], default=None)
        if best is not None and best[1] <= self.tolerance:
            self.rows[row] = best
        if reach == 1:
            del self.waiting[row]
        else:
            self.waiting[row] = (got, reach - 1)

    def finished(self) -> list[dict[str, Any]]:
        return [
            {"path": p, "class": self.classes.get(p), "max_abs": d[0], "relative": d[1]}
            for p, d in self.rows.items()
            if d is not None
        ]


# -- the package's side -----------------------------------------------------------------------


def record_modules(subject: Subject) -> dict[str, list[np.ndarray]]:
    """The outputs of each submodule on one call, by source path.

    Raises:
        PackageFailed: the package does not run.
    """
    names = {emitted: source for source, emitted in subject.package.config["module_map"].items()}
    found: dict[str, list[mx.array]] = {}
    with recording(subject.package.model, found):
        subject.run_package([subject.examples])
    return {names.get(p, p): [mlx_array(v).values for v in vs] for p, vs in found.items()}


@contextmanager
def recording(model: nn.Module, found: dict[str, list[mx.array]]) -> Iterator[None]:
    """Within, submodules put the arrays that their first call gives into ``found``."""
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


def _recorder(cls: type, path: str, found: dict[str, list[mx.array]]) -> type:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        out = cls.__call__(self, *args, **kwargs)
        several = out if isinstance(out, (tuple, list)) else [out]
        if arrays := [v for v in several if isinstance(v, mx.array)]:
            found.setdefault(path, arrays)
        return out

    return type(cls.__name__, (cls,), {"__call__": call})


# -- comparing --------------------------------------------------------------------------------


def _nearest(want: np.ndarray | None, given: Sequence[np.ndarray]) -> tuple[float, float] | None:
    """The difference from the output that is nearest: the package may give them in another order,
    or only those that are read.
    """
    found = [difference(want, got) for got in given]
    return min((d for d in found if d is not None), default=None)


def difference(want: np.ndarray | None, got: np.ndarray) -> tuple[float, float] | None:
    """Largest error, absolute and as a fraction of scale, in the axis order that fits best;
    ``None`` where no order of axes gives the shape, or the values are no floats.
    """
    if want is None or want.dtype.kind != "f" or got.dtype.kind != "f":
        return None
    if sorted(want.shape) != sorted(got.shape) or want.ndim > 5:
        return None
    best: tuple[float, float] | None = None
    for axes in itertools.permutations(range(want.ndim)):
        if tuple(want.shape[a] for a in axes) != got.shape:
            continue
        turned = want.transpose(axes)
        finite = np.isfinite(turned)
        same = (turned == got) | (np.isnan(turned) & np.isnan(got))
        with np.errstate(invalid="ignore"):  # an infinity and another; not the same, so infinite
            error = np.where(same, 0.0, np.abs(turned - got))
        worst = float(np.nan_to_num(error, nan=np.inf).max(initial=0.0))
        scale = max(float(np.abs(turned[finite]).max(initial=0.0)), FLOOR)
        if best is None or worst < best[0]:
            best = (worst, worst / scale)
    return best
