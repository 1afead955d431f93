"""torch.export of a module, by the first of several ways that it takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Any

from pytorch_to_mlx.capture.calling import Calls
from pytorch_to_mlx.capture.calls import Recorder
from pytorch_to_mlx.capture.compiled import as_dynamo_likes
from pytorch_to_mlx.capture.explain import depends_on_data, differentiates, explain, user_line
from pytorch_to_mlx.capture.habits import shapes_collection, traceable
from pytorch_to_mlx.capture.host_scalars import Place, host_scalars
from pytorch_to_mlx.capture.quiet import quiet
from pytorch_to_mlx.capture.selections import Selections, selecting
from pytorch_to_mlx.capture.settle import varied
from pytorch_to_mlx.capture.sizes import Axis, Sizes, rungs, tied
from pytorch_to_mlx.capture.standins import traceable_forms
from pytorch_to_mlx.capture.state import lifted
from pytorch_to_mlx.capture.structure import plain_interface
from pytorch_to_mlx.capture.timebox import TooSlowError, time_box
from pytorch_to_mlx.capture.traces import Trace, Way
from pytorch_to_mlx.capture.trial import Trial
from pytorch_to_mlx.errors import CaptureError

_SECONDS_A_MODULE = 0.25  # of tracing, where a model has so many that this is more than the limit


@dataclass
class Tracing(Calls):
    """The original, and its traces; ``scalars`` are buffers that may be taken as numbers."""

    trace_seconds: float = 60.0
    scalars: dict[Place, int] = field(default_factory=dict)

    def trial(self, trace: Trace) -> Trial:
        """The trace beside the original."""
        return Trial(trace.program, self.prober, self.compute)

    def trace(
        self,
        sizes: Sizes,
        shapes: dict[Axis, Any],
        ties: list[list[Axis]],
        strict: bool = False,
    ) -> Trace:
        """One export; where torch refuses it, again without what keeps sizes symbolic, then with
        scalars that are fixed as numbers, or with masks that select every row; first of all below
        autograd, where forward takes a derivative.
        """
        refusal: Exception | None = None
        limit = max(self.trace_seconds, _SECONDS_A_MODULE * sum(1 for _ in self.module.modules()))
        symbolic: list[str] | None = [] if shapes and not strict else None

        def ways() -> Iterator[Way]:
            yield Way(symbolic=symbolic)
            if refusal is not None and differentiates(refusal) and not strict:
                yield Way(symbolic=symbolic, below_autograd=True)
            if symbolic:
                yield Way()
            if self.scalars and not strict:
                yield Way(self.scalars)
            if refusal is not None and depends_on_data(refusal) and not strict:
                for every_row in (False, True):
                    way = Way(symbolic=symbolic, selections=Selections(every_row))
                    yield way
                    while way.again:
                        yield way

        for way in ways():
            try:
                with time_box(limit) if shapes else nullcontext():
                    trace = self._export(sizes, shapes, ties, strict, way)
                if self._sound(trace, way, sizes):
                    return trace
            except TooSlowError:
                raise
            except Exception as error:  # noqa: BLE001 - torch raises every class
                way.again = way.selections is not None and way.selections.skips(error)
                if way.selections is None or refusal is None:
                    refusal = error
        assert refusal is not None
        raise refusal

    def _sound(self, trace: Trace, way: Way, sizes: Sizes) -> bool:
        """Whether a trace with other loops than the original's gives what that does."""
        if way.selections is None or not way.selections.met:
            return True
        trial = self.trial(trace)
        example = self.example.resized(sizes)
        if not all(trial.agrees_on(varied(example, i)) for i in range(3)):
            return False
        if way.warning not in self.warnings:
            self.warnings.append(way.warning)
        return True

    def _export(
        self,
        sizes: Sizes,
        shapes: dict[Axis, Any],
        ties: list[list[Axis]],
        strict: bool,
        way: Way,
    ) -> Trace:
        import torch
        import torch.utils._pytree as pytree

        arguments = self.example.resized(sizes)
        leaves = pytree.tree_leaves(arguments.values())
        collection = shapes_collection(leaves, shapes)
        args, kwargs = arguments.args, arguments.kwargs
        recorder = Recorder(self.module)
        try:
            with ExitStack() as stack:
                stack.enter_context(quiet())
                stack.enter_context(plain_interface(self.module, arguments))
                stack.enter_context(lifted(self.module, self.lift))
                stack.enter_context(traceable(self.module, kwargs, way.symbolic))
                stack.enter_context(traceable_forms(self.warnings, strict))
                stack.enter_context(host_scalars(self.module, way.scalars))
                stack.enter_context(selecting(way.selections))
                if not strict:
                    stack.enter_context(recorder.recording())
                    stack.enter_context(tied(self.module, ties))
                else:
                    stack.enter_context(as_dynamo_likes())
                dynamic = collection.dynamic_shapes(self.module, args, kwargs) if shapes else None
                export = _export_below_autograd if way.below_autograd else torch.export.export
                program = export(self.module, args, kwargs, dynamic_shapes=dynamic, strict=strict)
        finally:
            self.snapshot.restore()
        traced = {axis: sizes.get(axis, self.example.size(axis)) for axis in self.example.axes()}
        return Trace(program, recorder, traced)

    def ladder(self, sizes: Sizes, shapes: dict[Axis, Any], ties: list[list[Axis]]) -> Trace:
        """All dims dynamic; if torch refuses, only the batch; none; then torch's strict mode.

        The first refusal is the one that is explained when nothing works.
        """
        first: Exception | None = None
        for how, wanted, strict in rungs(shapes):
            kept = {axis: size for axis, size in sizes.items() if axis in wanted}
            try:
                trace = self.trace(kept, wanted, ties if wanted else [], strict)
            except Exception as error:  # noqa: BLE001 - torch raises every class; explained below
                first = first or error
                if isinstance(error, CaptureError) or depends_on_data(error):
                    break
                continue
            if how:
                assert first is not None
                why = str(explain(first))
                self.warnings.append(f"torch.export succeeded only with {how}; before, {why}")
                trace.given_up = dict.fromkeys(shapes.keys() - wanted.keys(), why)
            return trace
        assert first is not None
        if isinstance(first, CaptureError) and not first.origin:
            file, line, _ = user_line(first)
            first.origin = f"{file}:{line}" if file else ""
        if isinstance(first, CaptureError):
            raise first
        raise explain(first) from first


def _export_below_autograd(module: Any, args: Any, kwargs: Any, **options: Any) -> Any:
    """torch.export with a graph of what autograd and ``torch.func`` call, not of themselves."""
    from torch.export._trace import _export

    return _export(module, args, kwargs, pre_dispatch=False, **options)
