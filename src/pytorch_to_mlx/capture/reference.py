"""The original model as a function of named inputs: what validation compares with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytorch_to_mlx.capture.dispatch import handing
from pytorch_to_mlx.capture.inference import ordinary_tensors
from pytorch_to_mlx.capture.snapshot import evaluation_mode, untouched
from pytorch_to_mlx.capture.structure import Arguments, plain_interface
from pytorch_to_mlx.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pytorch_to_mlx.capture.program import Captured


# Takes a dtype (``None``: the original's own) and, by memory, tensors to use in place of others.
MakeReference = Callable[..., "Reference"]


@dataclass(frozen=True)
class ReferenceOutput:
    """One output: its name, value (bfloat16 as float32) and the dtype's name in torch."""

    name: str
    array: np.ndarray
    dtype: str


class Reference:
    """Runs the original in inference mode; every call sequence starts from the model's own state.

    ``reference(inputs)`` is one call, ``reference.sequence([inputs, inputs])`` several that share
    state. ``inputs`` map input names (``Captured.input_names``) to numpy or torch arrays; those
    left out are the example's. Arrays are converted to the example's dtype.
    """

    def __init__(
        self,
        call: Callable[[list[Any]], Any],
        session: Callable[[], AbstractContextManager[Any]],
        names: Sequence[str],
        leaves: Sequence[Any],
        output_names: Sequence[str],
        dtype: str | None = None,
    ) -> None:
        self._call = call
        self._session = session
        self._names = list(names)
        self._leaves = list(leaves)
        self._output_names = list(output_names)
        self.dtype = dtype

    def __call__(self, inputs: Mapping[str, Any] | None = None) -> list[ReferenceOutput]:
        """The flat outputs of one call from the initial state."""
        return self.sequence([inputs or {}])[0]

    def sequence(self, calls: Sequence[Mapping[str, Any]]) -> list[list[ReferenceOutput]]:
        """The flat outputs of several calls in a row, the first from the initial state."""
        with self._session(), _at_least(self.dtype):
            return [self._outputs(self._call(self._bind(inputs))) for inputs in calls]

    def _bind(self, inputs: Mapping[str, Any]) -> list[Any]:
        import torch

        unknown = sorted(set(inputs) - set(self._names))
        if unknown:
            raise InputError(f"no input is called {unknown[0]!r}; there are {self._names}")
        leaves = list(self._leaves)
        for i, (name, example) in enumerate(zip(self._names, self._leaves, strict=True)):
            if isinstance(example, torch.Tensor):
                leaves[i] = self._tensor(inputs.get(name, example), example)
            elif name in inputs:
                leaves[i] = inputs[name]
        return leaves

    def _tensor(self, value: Any, example: torch.Tensor) -> torch.Tensor:
        import torch

        if not isinstance(value, torch.Tensor):
            value = torch.from_numpy(np.array(value, copy=True, order="C"))
        dtype = example.dtype
        if self.dtype and dtype.is_floating_point:
            dtype = getattr(torch, self.dtype)
        return value.detach().to(device=example.device, dtype=dtype, copy=True)

    def _outputs(self, result: Any) -> list[ReferenceOutput]:
        import torch.utils._pytree as pytree

        leaves = pytree.tree_leaves(result)
        names = self._output_names
        if len(names) != len(leaves):
            raise InputError(f"the original gave {len(leaves)} outputs, not {len(names)}")
        pairs = zip(names, leaves, strict=True)
        return [to_output(n, v) for n, v in pairs if v is not None and not isinstance(v, str)]


def to_output(name: str, value: Any) -> ReferenceOutput:
    """A tensor or number as numpy; dtypes that numpy lacks (bfloat16, float8) as float32."""
    import torch

    if not isinstance(value, torch.Tensor):
        return ReferenceOutput(name, np.asarray(value), type(value).__name__)
    dtype = str(value.dtype).removeprefix("torch.")
    value = value.detach().cpu().resolve_conj().resolve_neg()
    if value.dtype is torch.bfloat16 or (value.element_size() == 1 and value.is_floating_point()):
        value = value.float()
    return ReferenceOutput(name, np.array(value.numpy(), copy=True), dtype)


def agree(first: ReferenceOutput, second: ReferenceOutput) -> bool:
    """Whether two runs of one computation agree, NaNs in place: to 1e-3 of their scale.

    In half precision to 5e-2: it tells another function from other rounding, no more.
    """
    a, b = first.array, second.array
    if a.shape != b.shape or a.dtype.kind != b.dtype.kind:
        return False
    if a.dtype.kind not in "fc":
        return bool(np.array_equal(a, b))
    finite = np.isfinite(a)
    scale = float(np.abs(a[finite]).max()) if finite.any() else 0.0
    # Only for a warning about a wrong trace, which is off by far more than rounding; validation
    # has its own, tighter limits.
    tolerance = 5e-2 if first.dtype in ("float16", "bfloat16") else 1e-3
    return bool(np.allclose(a, b, rtol=0.0, atol=tolerance * scale, equal_nan=True))


def differing_outputs(captured: Captured, leaves: Sequence[Any], names: Sequence[str]) -> list[str]:
    """Names of the outputs for which a captured program disagrees with its original."""
    make = program_reference(captured.program, leaves, names, captured.output_names)
    pairs = zip(captured.reference()(), make(None)(), strict=True)
    return [a.name for a, b in pairs if not agree(a, b)]


def wrong_trace(captured: Captured, leaves: Sequence[Any], names: Sequence[str]) -> list[str]:
    """A warning if the trace does not compute what the model does on its own example inputs."""
    wrong = differing_outputs(captured, leaves, names)
    if not wrong or draws_randomly(captured.program):
        return []
    text = f"torch.export's trace gives another {', '.join(wrong)} than the model itself"
    return [f"{text}: forward computes with Python or numpy on values of tensors"]


def draws_randomly(program: torch.export.ExportedProgram) -> bool:
    """Whether a program holds ops whose results torch draws anew at every call."""
    import torch

    return any(
        torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
        and not _drops_nothing(node)
        for sub in program.graph_module.modules()
        if isinstance(sub, torch.fx.GraphModule)
        for node in sub.graph.nodes
    )


def _drops_nothing(node: Any) -> bool:
    """Whether an op's only chance is a dropout that is off (at inference)."""
    for position, argument in enumerate(node.target._schema.arguments):
        if argument.name in ("dropout_p", "dropout", "train"):
            given = node.args[position] if position < len(node.args) else argument.default_value
            return bool(node.kwargs.get(argument.name, given) == 0)
    return False


def module_reference(
    module: nn.Module, arguments: Arguments, names: Sequence[str], output_names: Sequence[str]
) -> MakeReference:
    """Makes references that run a live module eagerly, in eval mode, and leave it as it was."""
    import torch
    import torch.utils._pytree as pytree

    example, spec = pytree.tree_flatten(arguments.values())

    def call(leaves: list[Any]) -> Any:
        now = arguments.with_values(pytree.tree_unflatten(leaves, spec))
        return module(*now.args, **now.kwargs)

    def make(dtype: str | None, weights: Mapping[Any, torch.Tensor] | None = None) -> Reference:
        @contextmanager
        def session() -> Iterator[None]:
            # no_grad, not inference_mode: a module that keeps a tensor must stay usable outside
            with (
                ordinary_tensors(module),
                evaluation_mode(module),
                untouched(module),
                torch.no_grad(),
                precision(module, dtype, weights),
                plain_interface(module, arguments),
            ):
                yield

        return Reference(call, session, names, example, output_names, dtype)

    return make


def program_reference(
    program: torch.export.ExportedProgram,
    leaves: Sequence[Any],
    names: Sequence[str],
    output_names: Sequence[str],
) -> MakeReference:
    """Makes references that run an exported program as it was given."""
    import torch
    import torch.utils._pytree as pytree

    from pytorch_to_mlx.capture.recast import every_float, recast_calls

    spec = program.call_spec.in_spec
    modules: dict[str | None, Any] = {None: runnable(program)}

    def module_in(dtype: str | None) -> Any:
        """The program's module, whose calls name no other precision than ``dtype``."""
        if dtype not in modules:
            modules[dtype] = runnable(program)
            recast_calls(modules[dtype], every_float(getattr(torch, str(dtype))))
        return modules[dtype]

    def make(dtype: str | None, weights: Mapping[Any, torch.Tensor] | None = None) -> Reference:
        module = module_in(dtype)

        def call(values: list[Any]) -> Any:
            args, kwargs = pytree.tree_unflatten(values, spec)
            return module(*args, **kwargs)

        @contextmanager
        def session() -> Iterator[None]:
            with untouched(module), torch.no_grad(), precision(module, dtype, weights):
                yield

        return Reference(call, session, names, leaves, output_names, dtype)

    return make


def runnable(program: torch.export.ExportedProgram) -> Any:
    """The program's module, which takes sizes that its guards were not traced for."""
    import inspect

    unchecked = "check_guards" in inspect.signature(program.module).parameters
    module = program.module(check_guards=False) if unchecked else program.module()
    if hasattr(module, "validate_inputs"):
        module.validate_inputs = False  # nor for the limits that torch drew from them
    _reshape_views(module)
    return module


def _reshape_views(module: Any) -> None:
    """Lets views copy where they must: decomposed ops may lay out memory as the originals do not.

    Wherever a view is possible, a reshape is one.
    """
    import torch

    for part in module.modules():
        if not isinstance(part, torch.fx.GraphModule):
            continue
        views = part.graph.find_nodes(op="call_function", target=torch.ops.aten.view.default)
        for node in views:
            node.target = torch.ops.aten.reshape.default
        if views:
            part.recompile()


@contextmanager
def _at_least(dtype: str | None) -> Iterator[None]:
    """Within, no op computes in less than ``dtype``: a cast to half precision that the model's own
    code makes would round what the rest computes exactly, or meet weights that are wider now.
    """
    import torch
    import torch.utils._pytree as pytree

    if dtype not in ("float32", "float64"):
        yield
        return
    wide = getattr(torch, dtype)
    narrow = {torch.float16, torch.bfloat16} | ({torch.float32} if dtype == "float64" else set())

    def wider(arg: Any) -> Any:
        if isinstance(arg, torch.Tensor):
            return arg.to(wide) if arg.dtype in narrow else arg
        return wide if isinstance(arg, torch.dtype) and arg in narrow else arg

    def widely(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if op._schema.is_mutable:  # what it writes to must stay that tensor
            return op(*args, **kwargs)
        given = pytree.tree_map(wider, (args, kwargs))
        return op(*given[0], **given[1])

    with handing(widely):
        yield


@contextmanager
def precision(
    module: nn.Module, dtype: str | None, weights: Mapping[Any, torch.Tensor] | None = None
) -> Iterator[None]:
    """Within, the module's floating tensors are of another dtype, and so is what it computes under
    autocast; the originals come back after.

    ``weights`` are tensors to use (by the memory of those that they stand for) rather than to
    convert. Nothing is copied back and forth: parameters point to other data for a while. Buffers
    and attributes are put back by the caller's ``untouched``.
    """
    import torch

    from pytorch_to_mlx.capture.tensors import memory

    if dtype is None:
        yield
        return
    target = getattr(torch, dtype)

    def in_precision(tensor: torch.Tensor) -> torch.Tensor:
        known = weights.get(memory(tensor)) if weights else None
        return tensor.to(target) if known is None else known.detach()

    originals = [(p, p.data) for p in module.parameters() if p.is_floating_point()]
    try:
        for parameter, data in originals:
            parameter.data = in_precision(data)
        for sub in module.modules():
            for store in (sub._buffers, sub.__dict__):
                for name, value in list(store.items()):
                    if isinstance(value, torch.Tensor) and value.is_floating_point():
                        store[name] = in_precision(value)
        with _without_autocast():
            yield
    finally:
        for parameter, data in originals:
            parameter.data = data


@contextmanager
def _without_autocast() -> Iterator[None]:
    """Within, no autocast block of the model's code changes the precision."""
    from torch.amp.autocast_mode import autocast

    enter = autocast.__enter__

    def disabled(self: Any) -> Any:
        enabled, self._enabled = self._enabled, False
        try:
            return enter(self)
        finally:
            self._enabled = enabled

    autocast.__enter__ = disabled
    try:
        yield
    finally:
        autocast.__enter__ = enter
