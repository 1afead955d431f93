"""An exported program made ready for lowering: functional, named, with its modules' facts."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.capture.calls import (
    Recorder,
    bound_arguments,
    follow,
    number_calls,
)
from pytorch_to_mlx.capture.explain import first_line
from pytorch_to_mlx.capture.program import Bound, Captured
from pytorch_to_mlx.capture.quiet import quiet
from pytorch_to_mlx.capture.structure import Arguments
from pytorch_to_mlx.capture.tensors import collect_tensors, name_constants
from pytorch_to_mlx.capture.tree import Mark, input_tree, marked, output_tree, plain
from pytorch_to_mlx.errors import CaptureError

if TYPE_CHECKING:
    import torch
    from torch import nn


def assemble(
    program: torch.export.ExportedProgram,
    *,
    values: Arguments | None = None,
    module: nn.Module | None = None,
    recorder: Recorder | None = None,
) -> Captured:
    """Decomposes a program and gathers names; ``module`` and ``recorder`` know what it lacks.

    Raises:
        CaptureError: torch cannot decompose it.
    """
    marks = recorder.marks(program) if recorder is not None else {}
    calls = recorder.calls if recorder is not None else {}
    try:
        with _without_signatures(program):
            normal = program.run_decompositions({})
    except Exception as error:
        raise CaptureError(
            f"torch cannot decompose this program: {first_line(error)}",
            hint="Export it again with this version of torch (--debug shows torch's traceback)",
        ) from error
    names = follow(program.graph, normal.graph)
    classes, signatures, module_aliases = module_facts(module)
    numbered = number_calls(normal, module_aliases, calls)
    if module is None:
        classes = _classes_from_nodes(normal)
    tensors, aliases = collect_tensors(normal, name_constants(normal, module))
    in_tree, input_names = input_tree(
        normal, _bound_marks(normal, values), values.spread() if values is not None else frozenset()
    )
    out_tree, output_names = output_tree(normal)
    return Captured(
        program=normal,
        name=classes.get("", "Model"),
        tensors=tensors,
        in_tree=in_tree,
        out_tree=out_tree,
        input_names=input_names,
        aliases=aliases,
        module_aliases=module_aliases,
        classes=classes,
        signatures=signatures,
        bound=bound_arguments(calls, numbered, marks, names),
        output_names=output_names,
        persistent=set(normal.state_dict),
        warnings=_notes(normal),
    )


def redecompose(captured: Captured, table: Mapping[Any, Any]) -> Captured:
    """Decomposes the program again with a table of ``OpOverload`` to decomposition, in place.

    ``bound`` follows the nodes to their new names.
    """
    with quiet():
        program = captured.program.run_decompositions(dict(table))
    return replace_program(captured, program)


def replace_program(captured: Captured, program: torch.export.ExportedProgram) -> Captured:
    """Puts a further decomposed form of ``captured.program`` in its place; ``bound`` follows."""
    names = follow(captured.program.graph, program.graph)
    bound: Bound = {}
    for key, arguments in captured.bound.items():
        bound[key] = [(name, names.get(node) if node else None) for name, node in arguments]
    captured.program = program
    captured.bound = bound
    return captured


@contextmanager
def _without_signatures(program: torch.export.ExportedProgram) -> Iterator[None]:
    """Preserved module signatures name nodes that decomposing removes, at which torch fails."""
    saved = [(entry, entry.signature) for entry in program.module_call_graph if entry.fqn]
    try:
        for entry, _ in saved:
            entry.signature = None
        yield
    finally:
        for entry, signature in saved:
            entry.signature = signature


def _bound_marks(program: torch.export.ExportedProgram, values: Arguments | None) -> dict[str, Any]:
    """forward's argument names to values with a mark at each leaf, in the program's order."""
    args, kwargs = marked(program.call_spec.in_spec)
    if values is not None:
        return values.with_values([*args, *kwargs.values()]).by_name()
    names = positional_names(program, len(args))
    return {**{n: plain(a) for n, a in zip(names, args, strict=True)}, **plain(kwargs)}


def positional_names(program: torch.export.ExportedProgram, count: int) -> list[str]:
    """The names of the positional arguments, as the program has them or by its placeholders."""
    root = next((e.signature for e in program.module_call_graph if not e.fqn), None)
    stored = list(getattr(root, "forward_arg_names", None) or [])
    if len(stored) >= count:
        return stored[:count]
    args, _ = marked(program.call_spec.in_spec)
    leaves = [str(n) for n in _placeholder_names(program)]
    names: list[str] = []
    for position, value in enumerate(args):
        if isinstance(value, Mark):
            names.append(leaves[value.index])
        else:
            first = next(iter(_mark_indices(value)), None)
            names.append(leaves[first].split("_")[0] if first is not None else f"arg_{position}")
    return names if len(set(names)) == count else [f"arg_{i}" for i in range(count)]


def _placeholder_names(program: torch.export.ExportedProgram) -> list[str]:
    from torch.export.graph_signature import InputKind

    specs = program.graph_signature.input_specs
    return [s.arg.name for s in specs if s.kind == InputKind.USER_INPUT]


def _mark_indices(value: Any) -> Iterator[int]:
    import torch.utils._pytree as pytree

    return (leaf.index for leaf in pytree.tree_leaves(value) if isinstance(leaf, Mark))


def module_facts(
    module: nn.Module | None,
) -> tuple[dict[str, str], dict[str, list[str]], dict[str, str]]:
    """Class names, forward's argument names, and first paths of modules that have several."""
    classes: dict[str, str] = {}
    signatures: dict[str, list[str]] = {}
    aliases: dict[str, str] = {}
    first: dict[int, str] = {}
    for path, sub in [] if module is None else module.named_modules(remove_duplicate=False):
        if id(sub) in first:
            aliases[path] = first[id(sub)]
            continue
        first[id(sub)] = path
        classes[path] = type(sub).__name__
        parameters = inspect.signature(sub.forward).parameters.values()
        variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        signatures[path] = [p.name for p in parameters if p.kind not in variadic]
    return classes, signatures, aliases


def _classes_from_nodes(program: torch.export.ExportedProgram) -> dict[str, str]:
    classes: dict[str, str] = {}
    for node in program.graph.nodes:
        for path, cls in (node.meta.get("nn_module_stack") or {}).values():
            if not str(path).startswith("_empty"):
                name = cls if isinstance(cls, str) else cls.__name__
                classes.setdefault(path, name.rsplit(".", 1)[-1])
    return classes


def _notes(program: torch.export.ExportedProgram) -> list[str]:
    from torch.export.graph_signature import OutputKind

    return [
        f"forward changes its input {spec.target} in place; the converted model does not"
        for spec in program.graph_signature.output_specs
        if spec.kind == OutputKind.USER_INPUT_MUTATION
    ]
