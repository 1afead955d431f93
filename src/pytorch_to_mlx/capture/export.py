"""nn.Module to a normalised :class:`Captured` program, by torch.export."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.capture import dims as sizes_of
from pytorch_to_mlx.capture.compiled import without_compiled
from pytorch_to_mlx.capture.explain import explain
from pytorch_to_mlx.capture.exported import capture_program
from pytorch_to_mlx.capture.fast_path import fast_path_notes
from pytorch_to_mlx.capture.host_scalars import fixed_scalars
from pytorch_to_mlx.capture.inference import ordinary_tensors
from pytorch_to_mlx.capture.legal import legal_names
from pytorch_to_mlx.capture.limits import find_limits, holds_within, other_traces
from pytorch_to_mlx.capture.normalise import assemble, redecompose
from pytorch_to_mlx.capture.program import Captured
from pytorch_to_mlx.capture.quiet import quiet
from pytorch_to_mlx.capture.reference import wrong_trace
from pytorch_to_mlx.capture.script_reference import original_reference
from pytorch_to_mlx.capture.settle import settled_state
from pytorch_to_mlx.capture.sizes import (
    Axis,
    Plan,
    Sizes,
    make_plan,
    sizes_above_one,
)
from pytorch_to_mlx.capture.snapshot import evaluation_mode, untouched
from pytorch_to_mlx.capture.structure import GROWN_LIST, bind_arguments, plain_interface
from pytorch_to_mlx.capture.traces import Found, Trace
from pytorch_to_mlx.capture.tracing import Tracing
from pytorch_to_mlx.errors import CaptureError

if TYPE_CHECKING:
    from torch import nn

    from pytorch_to_mlx.progress import Progress

__all__ = ["capture_module", "capture_program", "redecompose"]

_TRAINING = "the model was in training mode; it is converted in eval mode"


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
        ordinary_tensors(module),
        without_compiled(module) as taken_off,
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
        taken_off.note(captured)
        return captured


@dataclass
class _Session(Tracing):
    probe_seconds: float = 30.0
    advance: Callable[[], None] = lambda: None
    elsewhere: bool = False  # the trace was made at other sizes for its reach
    stays: bool = False  # it must not be

    def run(self, dynamic_shapes: Any) -> Captured:
        self.begin(self.probe_seconds)
        snapshot = self.snapshot
        example = self.example.resized({})
        self.warnings += fast_path_notes(
            self.module, snapshot.fast_path, lambda: self.compute(example)
        )
        with plain_interface(self.module, self.arguments):
            state, snapshot, notes = settled_state(self.module, self.flat_call, snapshot)
        self.snapshot = snapshot
        snapshot.restore()
        self.lift = state.lift
        self.scalars = fixed_scalars(self.module, state.changed)
        self.warnings += [*notes, *state.warnings]
        self.advance()
        captured = self._at_last(dynamic_shapes)
        self.advance()
        return captured

    def _at_last(self, dynamic_shapes: Any) -> Captured:
        """What was captured; where a trace at other sizes than the example's does not keep what it
        computes when it is decomposed, of one at the example's.
        """
        try:
            captured, wrong = self._captured(dynamic_shapes)
        except Exception:
            if not self.elsewhere:
                raise
            wrong = ["it fails"]
        if wrong and self.elsewhere:
            self.stays, self.elsewhere = True, False
            self.snapshot.restore()
            captured, wrong = self._captured(dynamic_shapes)
        captured.warnings = list(dict.fromkeys([*self.warnings, *captured.warnings, *wrong]))
        return captured

    def _captured(self, dynamic_shapes: Any) -> tuple[Captured, list[str]]:
        """What was captured, and a warning where it is not what the model does."""
        if isinstance(dynamic_shapes, str):
            trace, dims = self._automatic(dynamic_shapes)
        else:
            trace, dims = self._explicit(dynamic_shapes)
        if not self.stays:
            self.advance()
        self.snapshot.restore()
        with quiet():
            captured = assemble(
                trace.program,
                values=self.arguments,
                module=self.module,
                recorder=trace.recorder,
            )
        if any(name.split(".")[-1] == GROWN_LIST for name in captured.output_names):
            raise CaptureError(
                "an output is a list whose length data decide",
                hint="Return torch.stack of it (its items have one shape), or torch.cat",
            )
        captured.dims = dims
        captured.persistent -= {slot.full_name for slot in self.lift if not slot.is_buffer}
        tensors = self.example.tensors.items()
        captured.example_inputs = {self.example.names[i]: t for i, t in tensors}
        captured.make_reference = original_reference(
            self.module, self.arguments, self.example.names, captured.output_names
        )
        return captured, wrong_trace(captured, self.example.leaves, self.example.names)

    # -- dynamic shapes ---------------------------------------------------------------------------

    def _automatic(self, mode: str) -> tuple[Trace, dict[str, Any]]:
        if mode != "auto":
            raise CaptureError(f"dynamic_shapes {mode!r} is not known", hint='Give "auto" or Dims')
        plan = make_plan(self.example, self.prober)
        while True:
            wanted = [a for a in self.example.axes() if a not in plan.static]
            sizes = {a: n for a, n in plan.sizes.items() if a not in plan.static}
            moved = len(plan.moved)
            started = time.process_time()
            try:
                trace = self.ladder(sizes, self._any(wanted), plan.groups)
            except CaptureError:
                if not plan.moved.keys() & sizes.keys():
                    raise
                plan.static.update(plan.moved)
                continue
            quick = time.process_time() - started < self.trace_seconds / 4 and not self.stays
            again = self._frozen(trace, plan, sizes, may_move=quick)
            found = self._limits(trace, sizes)
            again |= found.limits.refused | self._unmoved(trace, plan, sizes)
            if again.keys() & plan.moved.keys():  # those that moved together also stay together
                again = {**plan.moved, **again}
            if not again and len(plan.moved) == moved:
                break
            plan.static.update(again)
        if quick:
            found = self._widened(found, plan, trace)
        self.elsewhere = found.trace is not trace or bool(plan.moved.keys() & sizes.keys())
        self.warnings += self.prober.notes()
        return found.trace, found.report(self.example, plan.static)

    def _unmoved(self, trace: Trace, plan: Plan, sizes: Sizes) -> dict[Axis, str]:
        """Dims that were traced at other sizes than the example's where torch fixes that, and must
        stay at it after all: the trace does not hold there.
        """
        moved = {axis: why for axis, why in plan.moved.items() if axis in sizes}
        own = {axis: size for axis, size in sizes.items() if axis not in moved}
        if not moved or (not trace.given_up and self.trial(trace).agrees(own)):
            return {}
        return moved

    @staticmethod
    def _any(axes: list[Axis]) -> dict[Axis, Any]:
        """Dims that are to be dynamic, within whatever limits."""
        from torch.export import Dim

        return dict.fromkeys(axes, Dim.AUTO)

    def _limits(self, trace: Trace, sizes: Sizes, *, declared: bool = False) -> Found:
        """How far a trace reaches that was made with some dims at these sizes."""
        symbols = sizes_of.find_symbols(trace.program, trace.sizes)
        trial = self.trial(trace)
        limits = find_limits(trace.program, symbols, self.prober, sizes, trial, declared=declared)
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
                again = self.trace(sizes, self._any(wanted), plan.groups)
            except Exception:  # noqa: BLE001 - torch raises every class; there is a trace already
                continue
            shapes = sizes_of.input_shapes(again.program)
            if any(isinstance(shapes.get(axis), int) for axis in wanted):
                continue
            trial = self.trial(again)
            if not all(trial.agrees(at) for at in held) or not any(map(trial.agrees, wrong)):
                continue
            wider = self._limits(again, sizes)
            if not wider.limits.refused:
                sizes_of.widen(wider.symbols.values(), self.example, held)
                return wider
        return found

    def _frozen(self, trace: Trace, plan: Plan, sizes: Sizes, *, may_move: bool) -> dict[Axis, str]:
        """Notes the dims that torch fixed; returns those traced at another size than the example's.

        Those must be traced again at the example's own size.
        """
        again: dict[Axis, str] = {}
        before = set(plan.moved)
        for axis, size in sizes_of.input_shapes(trace.program).items():
            if not isinstance(size, int) or axis in plan.static:
                continue
            reason = sizes_of.frozen_reason(trace.program, axis, self.prober, sizes, size)
            if axis in trace.given_up and not reason.startswith("the model refuses"):
                reason = f"it was given up: {trace.given_up[axis]}"
            if size != self.example.size(axis):
                again[axis] = reason
            elif axis in plan.moved.keys() - before:  # together with one before it
                continue
            elif not may_move or axis in before or not self._moves(axis, plan, sizes, reason):
                plan.static[axis] = reason
        return again

    def _moves(self, axis: Axis, plan: Plan, sizes: Sizes, reason: str) -> bool:
        """Whether a dim that torch fixes can be traced at another size, where the code goes the
        other way: it may resize its table, say, which changes nothing at the table's own size.
        """
        if not reason.startswith(sizes_of.FIXED):
            return False
        size = self.example.size(axis)
        same = [a for a in self.example.axes() if self.example.size(a) == size]
        axes = [axis] if not self.prober.refuses_others([axis], sizes) else same
        for other in (size + 1, size * 2, size + 2):
            moved = dict.fromkeys(axes, other)
            if not self.prober.refusal({**sizes, **moved}):
                plan.sizes.update(moved)
                plan.moved.update(dict.fromkeys(axes, reason))
                return True
        return False

    def _explicit(self, shapes: Any) -> tuple[Trace, dict[str, Any]]:
        wanted = {} if shapes is None else sizes_of.requested_dims(self.example, shapes)
        sizes = sizes_above_one(self.example, self.prober, wanted)
        try:
            trace = self.trace(sizes, wanted, [])
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
        limits = self._limits(trace, sizes, declared=True)
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
            trace = self.trace(sizes, hints, [])
        except Exception:  # noqa: BLE001 - the refusal of what was asked is the one to explain
            raise explain(refusal) from refusal
        if not holds_within(trace.program, trace.sizes, wanted):
            raise explain(refusal) from refusal
        return trace
