"""nn.Module to a normalised :class:`Captured` program, by torch.export."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.capture import dims as sizes_of
from pytorch_to_mlx.capture.calling import Calls
from pytorch_to_mlx.capture.calls import Recorder
from pytorch_to_mlx.capture.explain import depends_on_data, explain, user_line
from pytorch_to_mlx.capture.exported import capture_program
from pytorch_to_mlx.capture.habits import shapes_collection, traceable
from pytorch_to_mlx.capture.host_scalars import fixed_scalars, host_scalars
from pytorch_to_mlx.capture.legal import legal_names
from pytorch_to_mlx.capture.limits import find_limits, holds_within, other_traces
from pytorch_to_mlx.capture.normalise import assemble, redecompose
from pytorch_to_mlx.capture.program import Captured
from pytorch_to_mlx.capture.quiet import quiet
from pytorch_to_mlx.capture.recurrence import opaque_recurrences
from pytorch_to_mlx.capture.reference import wrong_trace
from pytorch_to_mlx.capture.script_reference import original_reference
from pytorch_to_mlx.capture.selections import selections
from pytorch_to_mlx.capture.settle import settled_state, varied
from pytorch_to_mlx.capture.sizes import (
    Axis,
    Plan,
    Sizes,
    make_plan,
    rungs,
    sizes_above_one,
    tied,
)
from pytorch_to_mlx.capture.snapshot import evaluation_mode, untouched
from pytorch_to_mlx.capture.state import lifted
from pytorch_to_mlx.capture.structure import bind_arguments, plain_interface
from pytorch_to_mlx.capture.timebox import TooSlowError, time_box
from pytorch_to_mlx.capture.traces import Found, Trace, Way
from pytorch_to_mlx.capture.trial import Trial
from pytorch_to_mlx.errors import CaptureError

if TYPE_CHECKING:
    from torch import nn

    from pytorch_to_mlx.progress import Progress

__all__ = ["capture_module", "capture_program", "redecompose"]

_TRAINING = "the model was in training mode; it is converted in eval mode"
_SECONDS_A_MODULE = 0.25  # of tracing, where a model has so many that this is more than the limit


def capture_module(
    module: nn.Module,
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
    *,
    dynamic_shapes: Any = "auto",
    progress: Progress | None = None,
    probe_seconds: float = 30.0,
    trace_seconds: float = 60.0,
) -> Captured:
    """Exports a module in eval mode and normalises the program; the module is left as it was.

    ``dynamic_shapes``: ``"auto"`` keeps every dim dynamic that the model accepts at other sizes
    (found by calling it, for at most about ``probe_seconds``); ``None`` keeps none; else torch's
    own nesting of ``torch.export.Dim``, which is honoured or refused. Where torch does not come to
    an end with symbolic sizes within ``trace_seconds`` of processor time (more for very large
    models), fewer dims are dynamic.

    Raises:
        InputError: the example inputs do not fit forward's signature.
        CaptureError: the model itself fails on them, keeps state that cannot be converted, or
            torch.export refuses it (with the user's line; torch's error is the cause).
    """
    import torch

    stage = progress.stage("capture", 4) if progress is not None else nullcontext()
    with (
        legal_names(module) as names,
        stage as counter,
        evaluation_mode(module) as training,
        torch.no_grad(),
    ):
        arguments = bind_arguments(module, args, kwargs or {})
        with untouched(module) as snapshot:
            session = _Session(
                module,
                arguments,
                snapshot,
                probe_seconds=probe_seconds,
                trace_seconds=trace_seconds,
            )
            session.advance = getattr(counter, "advance", session.advance)
            if training:
                session.warnings.append(_TRAINING)
            captured = session.run(dynamic_shapes)
        names.give_back(captured)
        return captured


@dataclass
class _Session(Calls):
    probe_seconds: float = 30.0
    trace_seconds: float = 60.0
    advance: Callable[[], None] = lambda: None

    def run(self, dynamic_shapes: Any) -> Captured:
        self.begin(self.probe_seconds)
        snapshot = self.snapshot
        with plain_interface(self.module, self.arguments):
            state, snapshot, notes = settled_state(self.module, self.flat_call, snapshot)
        self.snapshot = snapshot
        snapshot.restore()
        self.lift = state.lift
        self.scalars = fixed_scalars(self.module, state.changed)
        self.warnings += [*notes, *state.warnings]
        self.advance()
        if isinstance(dynamic_shapes, str):
            trace, dims = self._automatic(dynamic_shapes)
        else:
            trace, dims = self._explicit(dynamic_shapes)
        self.advance()
        snapshot.restore()
        with quiet():
            captured = assemble(
                trace.program,
                values=self.arguments,
                module=self.module,
                recorder=trace.recorder,
            )
        captured.dims = dims
        captured.persistent -= {slot.full_name for slot in self.lift if not slot.is_buffer}
        captured.warnings = [*self.warnings, *captured.warnings]
        tensors = self.example.tensors.items()
        captured.example_inputs = {self.example.names[i]: t for i, t in tensors}
        captured.make_reference = original_reference(
            self.module, self.arguments, self.example.names, captured.output_names
        )
        captured.warnings += wrong_trace(captured, self.example.leaves, self.example.names)
        self.advance()
        return captured

    # -- tracing ----------------------------------------------------------------------------------

    def _trace(
        self,
        sizes: Sizes,
        shapes: dict[Axis, Any],
        ties: list[list[Axis]],
        strict: bool = False,
    ) -> Trace:
        """One export; where torch refuses it, again without what keeps sizes symbolic, then with
        scalars that are fixed as numbers, or with masks that select every row.
        """
        refusal: Exception | None = None
        limit = max(self.trace_seconds, _SECONDS_A_MODULE * sum(1 for _ in self.module.modules()))
        symbolic: list[str] | None = [] if shapes and not strict else None

        def ways() -> Iterator[Way]:
            yield Way(symbolic=symbolic)
            if symbolic:
                yield Way()
            if self.scalars and not strict:
                yield Way(self.scalars)
            if refusal is not None and depends_on_data(refusal) and not strict:
                yield Way(symbolic=symbolic, selected=[])
                yield Way(symbolic=symbolic, selected=[], every_row=True)

        for way in ways():
            try:
                with time_box(limit) if shapes else nullcontext():
                    trace = self._export(sizes, shapes, ties, strict, way)
                if self._sound(trace, way, sizes):
                    return trace
            except TooSlowError:
                raise
            except Exception as error:  # noqa: BLE001 - torch raises every class
                refusal = refusal or error if way.selected is not None else error
        assert refusal is not None
        raise refusal

    def _sound(self, trace: Trace, way: Way, sizes: Sizes) -> bool:
        """Whether a trace with other loops than the original's gives what that does."""
        if not way.selected:
            return True
        trial = Trial(trace.program, self.prober, self.compute)
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
                stack.enter_context(opaque_recurrences())
                stack.enter_context(host_scalars(self.module, way.scalars))
                if way.selected is not None:
                    stack.enter_context(selections(way.selected, every_row=way.every_row))
                if not strict:
                    stack.enter_context(recorder.recording())
                    stack.enter_context(tied(self.module, ties))
                dynamic = collection.dynamic_shapes(self.module, args, kwargs) if shapes else None
                program = torch.export.export(
                    self.module, args, kwargs, dynamic_shapes=dynamic, strict=strict
                )
        finally:
            self.snapshot.restore()
        traced = {axis: sizes.get(axis, self.example.size(axis)) for axis in self.example.axes()}
        return Trace(program, recorder, traced)

    def _ladder(self, sizes: Sizes, shapes: dict[Axis, Any], ties: list[list[Axis]]) -> Trace:
        """All dims dynamic; if torch refuses, only the batch; none; then torch's strict mode.

        The first refusal is the one that is explained when nothing works.
        """
        first: Exception | None = None
        for how, wanted, strict in rungs(shapes):
            kept = {axis: size for axis, size in sizes.items() if axis in wanted}
            try:
                trace = self._trace(kept, wanted, ties if wanted else [], strict)
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

    # -- dynamic shapes ---------------------------------------------------------------------------

    def _automatic(self, mode: str) -> tuple[Trace, dict[str, Any]]:
        if mode != "auto":
            raise CaptureError(
                f"dynamic_shapes {mode!r} is not known", hint='Give "auto", None or torch\'s Dims'
            )
        plan = make_plan(self.example, self.prober)
        while True:
            wanted = [a for a in self.example.axes() if a not in plan.static]
            sizes = {a: n for a, n in plan.sizes.items() if a not in plan.static}
            started = time.process_time()
            trace = self._ladder(sizes, self._any(wanted), plan.groups)
            seconds = time.process_time() - started
            again = self._frozen(trace, plan, sizes)
            found = self._limits(trace, sizes)
            if not again and not found.limits.refused:
                break
            plan.static.update(again | found.limits.refused)
        if seconds < self.trace_seconds / 4:
            found = self._widened(found, plan, trace)
        self.warnings += self.prober.notes()
        return found.trace, found.report(self.example, plan.static)

    @staticmethod
    def _any(axes: list[Axis]) -> dict[Axis, Any]:
        """Dims that are to be dynamic, within whatever limits."""
        from torch.export import Dim

        return dict.fromkeys(axes, Dim.AUTO)

    def _limits(self, trace: Trace, sizes: Sizes) -> Found:
        """How far a trace reaches that was made with some dims at these sizes."""
        symbols = sizes_of.find_symbols(trace.program, trace.sizes)
        trial = Trial(trace.program, self.prober, self.compute)
        limits = find_limits(trace.program, symbols, self.prober, sizes, trial)
        return Found(trace, symbols, limits, sizes)

    def _widened(self, found: Found, plan: Plan, trace: Trace) -> Found:
        """What was found, or a trace at other sizes that holds there and at more besides.

        The code may pad what is not a multiple of something: traced where it does, by an amount
        that is computed, it holds where there is nothing to pad, too.
        """
        if trace.given_up:
            return found
        wanted = [a for a in self.example.axes() if a not in plan.static]
        held = [found.base, *(t.sizes for t in found.limits.tried if t.agrees)]
        wrong = [t.sizes for t in found.limits.wrong]
        for sizes in other_traces(found.symbols, found.limits, found.base):
            try:
                again = self._trace(sizes, self._any(wanted), plan.groups)
            except Exception:  # noqa: BLE001 - torch raises every class; there is a trace already
                continue
            shapes = sizes_of.input_shapes(again.program)
            if any(isinstance(shapes.get(axis), int) for axis in wanted):
                continue
            trial = Trial(again.program, self.prober, self.compute)
            if not all(trial.agrees(at) for at in held) or not any(map(trial.agrees, wrong)):
                continue
            wider = self._limits(again, sizes)
            if not wider.limits.refused:
                return wider
        return found

    def _frozen(self, trace: Trace, plan: Plan, sizes: Sizes) -> dict[Axis, str]:
        """Notes the dims that torch fixed; returns those traced at another size than the example's.

        Those must be traced again at the example's own size.
        """
        again: dict[Axis, str] = {}
        for axis, size in sizes_of.input_shapes(trace.program).items():
            if not isinstance(size, int) or axis in plan.static:
                continue
            reason = sizes_of.frozen_reason(trace.program, axis, self.prober, sizes, size)
            if axis in trace.given_up and not reason.startswith("the model refuses"):
                reason = f"it was given up: {trace.given_up[axis]}"
            if size != self.example.size(axis):
                again[axis] = reason
            else:
                plan.static[axis] = reason
        return again

    def _explicit(self, shapes: Any) -> tuple[Trace, dict[str, Any]]:
        wanted = {} if shapes is None else sizes_of.requested_dims(self.example, shapes)
        sizes = sizes_above_one(self.example, self.prober, wanted)
        try:
            trace = self._trace(sizes, wanted, [])
        except CaptureError:
            raise
        except Exception as error:  # noqa: BLE001 - torch raises every class; explained there
            trace = self._with_hints(sizes, wanted, error)
        found = sizes_of.input_shapes(trace.program)
        static: dict[Axis, str] = {}
        for axis in self.example.axes():
            if not isinstance(found.get(axis), int):
                continue
            if axis not in wanted:
                static[axis] = "not asked to be dynamic"
            else:
                size = trace.sizes[axis]
                static[axis] = sizes_of.frozen_reason(trace.program, axis, self.prober, sizes, size)
                if size != self.example.size(axis):
                    raise CaptureError(
                        f"{self.example.where(axis)} cannot be dynamic: {static[axis]}",
                        hint="Leave it out of dynamic_shapes",
                    )
                self.warnings.append(
                    f"{self.example.where(axis)} was asked to be dynamic and is not: {static[axis]}"
                )
        limits = self._limits(trace, sizes)
        refused = {self.example.where(axis): why for axis, why in limits.limits.refused.items()}
        self.warnings += [
            f"{where} is dynamic as asked, but {why}" for where, why in refused.items()
        ]
        self.warnings += self.prober.notes()
        return trace, limits.report(self.example, static)

    def _with_hints(self, sizes: Sizes, wanted: dict[Axis, Any], refusal: Exception) -> Trace:
        """The trace with the asked limits as hints, where torch refuses a guard that always holds.

        A ``Dim`` needs every guard proven for its whole range, which torch cannot do for some that
        are plain truths (``min(64 * n, 256 * n) == 64 * n``). Raises the refusal if a guard is one
        that a size within the limits breaks.
        """
        hints = {axis: sizes_of.hint_of(entry) for axis, entry in wanted.items()}
        if not hints or None in hints.values():
            raise explain(refusal) from refusal
        try:
            trace = self._trace(sizes, hints, [])
        except Exception:  # noqa: BLE001 - the refusal of what was asked is the one to explain
            raise explain(refusal) from refusal
        if not holds_within(trace.program, trace.sizes, wanted):
            raise explain(refusal) from refusal
        return trace
