"""nn.Module to a normalised :class:`Captured` program, by torch.export."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.capture import dims as sizes_of
from pytorch_to_mlx.capture.calls import Recorder
from pytorch_to_mlx.capture.explain import depends_on_data, explain, first_line, user_line
from pytorch_to_mlx.capture.exported import capture_program
from pytorch_to_mlx.capture.habits import shapes_collection, traceable
from pytorch_to_mlx.capture.host_scalars import Place, fixed_scalars, host_scalars
from pytorch_to_mlx.capture.legal import legal_names
from pytorch_to_mlx.capture.normalise import assemble, redecompose
from pytorch_to_mlx.capture.program import Captured
from pytorch_to_mlx.capture.quiet import quiet
from pytorch_to_mlx.capture.reference import wrong_trace
from pytorch_to_mlx.capture.script_reference import original_reference
from pytorch_to_mlx.capture.settle import settled_state, varied
from pytorch_to_mlx.capture.sizes import (
    Axis,
    Example,
    Plan,
    Prober,
    Sizes,
    make_plan,
    rungs,
    sizes_above_one,
    tied,
)
from pytorch_to_mlx.capture.snapshot import Snapshot, evaluation_mode, untouched
from pytorch_to_mlx.capture.standins import traceable_forms
from pytorch_to_mlx.capture.state import Slot, lifted
from pytorch_to_mlx.capture.structure import Arguments, Outputs, bind_arguments, plain_interface
from pytorch_to_mlx.capture.timebox import TooSlowError, time_box
from pytorch_to_mlx.errors import CaptureError, ConversionError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pytorch_to_mlx.progress import Progress

__all__ = ["capture_module", "capture_program", "redecompose"]

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
        session = _Session(module, arguments, probe_seconds, trace_seconds)
        session.advance = getattr(counter, "advance", session.advance)
        if training:
            session.warnings.append("the model was in training mode; it is converted in eval mode")
        with untouched(module) as snapshot:
            captured = session.run(snapshot, dynamic_shapes)
        names.give_back(captured)
        return captured


@dataclass
class _Trace:
    """One successful export: the program, what was traced, and the module calls seen."""

    program: torch.export.ExportedProgram
    recorder: Recorder
    sizes: Sizes
    given_up: dict[Axis, str] = field(default_factory=dict)  # dims not traced symbolically, and why


@dataclass
class _Session:
    module: nn.Module
    arguments: Arguments
    probe_seconds: float
    trace_seconds: float
    warnings: list[str] = field(default_factory=list)
    lift: list[Slot] = field(default_factory=list)
    outputs: Outputs = field(default_factory=Outputs)
    seconds: float = 0.0  # of one call on the example inputs
    advance: Callable[[], None] = lambda: None

    def run(self, snapshot: Snapshot, dynamic_shapes: Any) -> Captured:
        self.snapshot = snapshot
        self._first_call()
        self.example = Example(self.arguments)
        self.prober = Prober(self.example, self._probe, self.probe_seconds, self.seconds)
        with plain_interface(self.module, self.arguments):
            state, snapshot, notes = settled_state(self.module, self._flat_call, snapshot)
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

    # -- calling the original ---------------------------------------------------------------------

    def _first_call(self) -> None:
        """Calls the model as given: it must work, and shows what outputs it has."""
        self.outputs = self._call_once()
        options = inspect.signature(self.module.forward).parameters
        cached = [c for c in self.outputs.dropped.values() if c.endswith("Cache")]
        if cached and "use_cache" in options and not self.arguments.kwargs.get("use_cache"):
            positional = {name for name, _ in self.arguments.names}
            if "use_cache" not in positional:
                self._add_keyword("use_cache", False)
                self.warnings.append(
                    "use_cache=False was passed, because a key/value cache is no tensor output"
                )
                self.outputs = self._call_once()
        for name, kind in self.outputs.dropped.items():
            self.warnings.append(
                f"the output {name} ({kind}) holds no plain tensors and is dropped"
            )

    def _add_keyword(self, name: str, value: Any) -> None:
        """Adds a keyword argument in the signature's place."""
        now = self.arguments
        kwargs = {**now.kwargs, name: value}
        self.arguments = Arguments(
            now.args, kwargs, [*now.names, (name, None)], [*now.rebuilds, None], now.own_keys
        )

    def _call_once(self) -> Outputs:
        arguments = Example(self.arguments).resized({})
        start = time.perf_counter()
        with plain_interface(self.module, arguments) as outputs:
            try:
                self.module(*arguments.args, **arguments.kwargs)
                self.seconds = time.perf_counter() - start
            except ConversionError:
                raise
            except Exception as error:
                file, line, text = user_line(error)
                where = f" in `{text}`" if text else ""
                raise CaptureError(
                    f"the model itself fails on the example inputs{where}: {first_line(error)}",
                    origin=f"{file}:{line}" if file else "",
                    hint="Give inputs that the PyTorch model accepts",
                ) from error
            finally:
                self.snapshot.restore()
        return outputs

    def _flat_call(self, variation: int = 0) -> list[Any]:
        import torch
        import torch.utils._pytree as pytree

        torch.manual_seed(0)
        now = varied(self.example.resized({}), variation)
        leaves = pytree.tree_leaves(self.module(*now.args, **now.kwargs))
        return [x.clone() if isinstance(x, torch.Tensor) else x for x in leaves]

    def _probe(self, arguments: Arguments, mode: AbstractContextManager[Any]) -> None:
        """Calls the model within ``mode``; raises what it raises, or that a state changes shape."""
        shapes = {slot.full_name: tuple(slot.value.shape) for slot in self.lift}
        try:
            with quiet(), plain_interface(self.module, arguments) as outputs, mode:
                self.module(*arguments.args, **arguments.kwargs)
            if outputs.ranks != self.outputs.ranks:  # an axis of size 1 was squeezed, or now is not
                raise ValueError("an output has another number of dimensions")
            for slot in self.lift:
                store = slot.module._buffers if slot.is_buffer else slot.module.__dict__
                now = tuple(store[slot.name].shape)
                if now != shapes[slot.full_name]:
                    raise ValueError(
                        f"the state {slot.full_name} has shape {list(shapes[slot.full_name])}"
                    )
        finally:
            self.snapshot.restore()

    # -- tracing ----------------------------------------------------------------------------------

    def _trace(
        self,
        sizes: Sizes,
        shapes: dict[Axis, Any],
        ties: list[list[Axis]],
        strict: bool = False,
    ) -> _Trace:
        """One export; where torch refuses it, again without what keeps sizes symbolic, then with
        scalars that are fixed as numbers.
        """
        met: list[str] = []

        def ways() -> Iterator[tuple[dict[Place, int], list[str] | None]]:
            yield {}, met if shapes and not strict else None
            if met:
                yield {}, None
            if self.scalars and not strict:
                yield self.scalars, None

        refusal: Exception | None = None
        limit = max(self.trace_seconds, _SECONDS_A_MODULE * sum(1 for _ in self.module.modules()))
        for scalars, symbolic in ways():
            try:
                with time_box(limit) if shapes else nullcontext():
                    return self._export(sizes, shapes, ties, strict, scalars, symbolic)
            except TooSlowError:
                raise
            except Exception as error:  # noqa: BLE001 - torch raises every class
                refusal = error
        assert refusal is not None
        raise refusal

    def _export(
        self,
        sizes: Sizes,
        shapes: dict[Axis, Any],
        ties: list[list[Axis]],
        strict: bool,
        scalars: dict[Place, int],
        symbolic: list[str] | None,
    ) -> _Trace:
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
                stack.enter_context(traceable(self.module, kwargs, symbolic))
                stack.enter_context(traceable_forms(self.warnings, strict))
                stack.enter_context(host_scalars(self.module, scalars))
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
        return _Trace(program, recorder, traced)

    def _ladder(self, sizes: Sizes, shapes: dict[Axis, Any], ties: list[list[Axis]]) -> _Trace:
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

    def _automatic(self, mode: str) -> tuple[_Trace, dict[str, Any]]:
        from torch.export import Dim

        if mode != "auto":
            raise CaptureError(f"dynamic_shapes {mode!r} is not known", hint='Give "auto" or Dims')
        plan = make_plan(self.example, self.prober)
        while True:
            wanted = [a for a in self.example.axes() if a not in plan.static]
            sizes = {a: n for a, n in plan.sizes.items() if a not in plan.static}
            trace = self._ladder(sizes, dict.fromkeys(wanted, Dim.AUTO), plan.groups)
            again = self._frozen(trace, plan, sizes)
            symbols = sizes_of.find_symbols(trace.program, trace.sizes)
            refused = sizes_of.probe_symbols(trace.program, symbols, self.prober, sizes)
            if not again and not refused:
                break
            plan.static.update(again | refused)
        self.warnings += self.prober.notes()
        return trace, sizes_of.report(self.example, symbols.values(), plan.static)

    def _frozen(self, trace: _Trace, plan: Plan, sizes: Sizes) -> dict[Axis, str]:
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

    def _explicit(self, shapes: Any) -> tuple[_Trace, dict[str, Any]]:
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
        symbols = sizes_of.find_symbols(trace.program, trace.sizes)
        sizes_of.probe_symbols(trace.program, symbols, self.prober, sizes)
        self.warnings += self.prober.notes()
        return trace, sizes_of.report(self.example, symbols.values(), static)

    def _with_hints(self, sizes: Sizes, wanted: dict[Axis, Any], refusal: Exception) -> _Trace:
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
        if not sizes_of.holds_within_limits(trace.program, trace.sizes, wanted):
            raise explain(refusal) from refusal
        return trace
