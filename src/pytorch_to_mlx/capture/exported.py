"""ExportedProgram (live, or loaded from a .pt2) to a normalised :class:`Captured` program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.capture import dims as sizes_of
from pytorch_to_mlx.capture.limits import guarded_multiple
from pytorch_to_mlx.capture.normalise import assemble, positional_names
from pytorch_to_mlx.capture.program import Captured
from pytorch_to_mlx.capture.quiet import quiet
from pytorch_to_mlx.capture.reference import program_reference
from pytorch_to_mlx.capture.sizes import Example
from pytorch_to_mlx.capture.structure import Arguments, to_plain
from pytorch_to_mlx.errors import InputError

if TYPE_CHECKING:
    import torch

    from pytorch_to_mlx.progress import Progress

_DROPOUTS = ("aten.dropout.", "aten.feature_dropout.", "aten.alpha_dropout.")


def capture_program(
    program: torch.export.ExportedProgram,
    args: tuple[Any, ...] | None = None,
    kwargs: dict[str, Any] | None = None,
    *,
    progress: Progress | None = None,
) -> Captured:
    """Normalises an exported program; sizes are dynamic where it has symbols.

    ``args`` and ``kwargs`` are example inputs; by default those stored in the program, else values
    made for its inputs' shapes (zeros and ones are avoided: floats are normal, integers 0 or 1).
    The program is left as it was.

    Raises:
        CaptureError: torch cannot decompose the program.
        InputError: the example inputs have another nesting than the program's.
    """
    stage = progress.stage("capture", 2) if progress is not None else nullcontext()
    with stage as counter:
        warnings: list[str] = []
        with _inference(program, warnings):
            with quiet():
                captured = assemble(program)
            if counter is not None:
                counter.advance()
            example, leaves = _example(program, args, kwargs, warnings)
            captured.dims = _dims(captured.program, example)
            captured.make_reference = program_reference(
                program, leaves, captured.input_names, captured.output_names
            )
    captured.warnings = [*warnings, *captured.warnings]
    captured.example_inputs = {captured.input_names[i]: t for i, t in example.tensors.items()}
    return captured


def _example(
    program: torch.export.ExportedProgram,
    args: tuple[Any, ...] | None,
    kwargs: dict[str, Any] | None,
    warnings: list[str],
) -> tuple[Example, list[Any]]:
    import torch.utils._pytree as pytree

    if args is not None or kwargs is not None:
        given: Any = (tuple(args or ()), dict(kwargs or {}))
    else:
        given = program.example_inputs
    if given is None:
        warnings.append("the program stores no example inputs; values were made for its shapes")
        leaves = _made_up(program)
        given = pytree.tree_unflatten(leaves, program.call_spec.in_spec)
    in_args, in_kwargs = given
    order = pytree.tree_unflatten(
        range(program.call_spec.in_spec.num_leaves), program.call_spec.in_spec
    )[1]
    if set(order) != set(in_kwargs):
        raise InputError(f"the program's keyword arguments are {sorted(order)}")
    in_kwargs = {k: in_kwargs[k] for k in order}
    leaves, spec = pytree.tree_flatten((tuple(in_args), in_kwargs))
    if spec != program.call_spec.in_spec:
        raise InputError("the example inputs have another nesting than the program's")
    names = [(n, None) for n in (*positional_names(program, len(in_args)), *in_kwargs)]
    plain_values = [to_plain(v)[0] for v in (*in_args, *in_kwargs.values())]
    count = len(in_args)
    arguments = Arguments(
        tuple(plain_values[:count]),
        dict(zip(in_kwargs, plain_values[count:], strict=True)),
        list(names),
        [None] * len(plain_values),
    )
    return Example(arguments), leaves


def _made_up(program: torch.export.ExportedProgram) -> list[Any]:
    """A value for every input leaf, at the program's smallest comfortable sizes."""
    import torch
    from torch.export.graph_signature import ConstantArgument, InputKind

    generator = torch.Generator().manual_seed(0)
    placeholders = [n for n in program.graph.nodes if n.op == "placeholder"]
    leaves: list[Any] = []
    for node, spec in zip(placeholders, program.graph_signature.input_specs, strict=True):
        if spec.kind != InputKind.USER_INPUT:
            continue
        value = node.meta.get("val")
        if isinstance(spec.arg, ConstantArgument):
            leaves.append(spec.arg.value)
        elif isinstance(value, torch.Tensor):
            shape = [_hint(d) for d in value.shape]
            if value.is_floating_point() or value.is_complex():
                leaves.append(torch.randn(shape, generator=generator, dtype=value.dtype))
            else:
                made = torch.randint(0, 2, shape, generator=generator)
                leaves.append(made.to(value.dtype))
        else:
            leaves.append(_hint(value))
    return leaves


def _hint(size: Any) -> int:
    import torch

    if not isinstance(size, torch.SymInt):
        return int(size)
    return int(size.node.hint) if size.node.has_hint() else 4


def _dims(program: torch.export.ExportedProgram, example: Example) -> dict[str, Any]:
    shapes = sizes_of.input_shapes(program)
    sizes = {axis: example.size(axis) for axis in shapes}
    symbols = sizes_of.find_symbols(program, sizes)
    for symbol in symbols.values():
        if symbol.axes:
            symbol.multiple = guarded_multiple(program, symbols, symbol)
    static = {
        axis: "the exported program has it fixed"
        for axis, size in shapes.items()
        if isinstance(size, int)
    }
    return sizes_of.report(example, symbols.values(), static)


@contextmanager
def _inference(program: torch.export.ExportedProgram, warnings: list[str]) -> Iterator[None]:
    """Within, dropout is off in a program that was exported in training mode."""
    changed: list[tuple[Any, tuple[Any, ...]]] = []
    batch_norm = False
    for node in program.graph.nodes:
        name = str(node.target)
        if name.startswith(_DROPOUTS) and len(node.args) > 2 and node.args[2] is True:
            changed.append((node, node.args))
            node.args = (*node.args[:2], False)
        batch_norm = batch_norm or (name.startswith("aten.batch_norm.") and node.args[5] is True)
    if changed:
        warnings.append("the program was exported in training mode; dropout is switched off")
    if batch_norm:
        warnings.append(
            "the program was exported in training mode: batch norm uses the batch's own "
            "statistics; export the model after model.eval()"
        )
    try:
        yield
    finally:
        for node, arguments in changed:
            node.args = arguments
