"""Nested Python values and torch's pytrees to :class:`Tree`, with a dotted name for every leaf."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.graph import Tree
from pytorch_to_mlx.graph.leaf_names import join

if TYPE_CHECKING:
    import torch


def build_tree(value: Any, leaf: Callable[[str, Any], Tree], name: str = "") -> Tree:
    """The nesting of plain containers; ``leaf(name, value)`` makes the rest leaves or constants."""
    if isinstance(value, Mapping):
        children = tuple(build_tree(v, leaf, join(name, k)) for k, v in value.items())
        return Tree("dict", tuple(value), children)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        children = tuple(
            build_tree(v, leaf, join(name, k)) for k, v in zip(value._fields, value, strict=True)
        )
        return Tree("dict", tuple(value._fields), children)
    if isinstance(value, (tuple, list)):
        children = tuple(build_tree(v, leaf, join(name, i)) for i, v in enumerate(value))
        return Tree("tuple" if isinstance(value, tuple) else "list", children=children)
    return leaf(name, value)


def named_leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of plain containers (``None`` too) with its dotted name, in pytree order."""
    found: list[tuple[str, Any]] = []

    def leaf(path: str, item: Any) -> Tree:
        found.append((path, item))
        return Tree("leaf")

    build_tree(value, leaf, name)
    return iter(found)


class Mark:
    """Stands for the leaf at a position while a pytree is rebuilt to see its nesting."""

    def __init__(self, index: int) -> None:
        self.index = index


def marked(spec: Any) -> Any:
    """The nesting of a pytree spec with a :class:`Mark` at every leaf."""
    import torch.utils._pytree as pytree

    return pytree.tree_unflatten([Mark(i) for i in range(spec.num_leaves)], spec)


def input_tree(
    program: torch.export.ExportedProgram, bound: Mapping[str, Any], spread: frozenset[str]
) -> tuple[Tree, list[str]]:
    """The nesting of the inputs and a name for each leaf, constants included.

    ``bound`` maps forward's argument names to nested values with a :class:`Mark` at every leaf;
    ``spread`` names its ``*args``.
    """
    kinds = _input_kinds(program)
    names = [""] * len(kinds)
    positions: dict[int, int] = {}
    for i, (kind, _) in enumerate(kinds):
        if kind == "leaf":
            positions[i] = len(positions)

    def leaf(name: str, mark: Any) -> Tree:
        names[mark.index] = name
        kind, value = kinds[mark.index]
        if kind == "leaf":
            return Tree("leaf", index=positions[mark.index])
        return Tree("none") if value is None else Tree("const", value=value)

    tree = build_tree(dict(bound), leaf)
    pairs = zip(tree.keys, tree.children, strict=True)
    children = tuple(replace(c, spread=True) if key in spread else c for key, c in pairs)
    return replace(tree, children=children), names


def _input_kinds(program: torch.export.ExportedProgram) -> list[tuple[str, Any]]:
    """``("leaf", None)`` for arrays and symbolic numbers, ``("const", value)`` for the rest."""
    from torch.export.graph_signature import ConstantArgument, InputKind

    kinds: list[tuple[str, Any]] = []
    for spec in program.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT:
            constant = isinstance(spec.arg, ConstantArgument)
            kinds.append(("const", spec.arg.value) if constant else ("leaf", None))
    return kinds


def output_tree(program: torch.export.ExportedProgram) -> tuple[Tree, list[str]]:
    """The nesting of the outputs (leaves hold the user output's position) and their names."""
    from torch.export.graph_signature import ConstantArgument, OutputKind

    specs = [s for s in program.graph_signature.output_specs if s.kind == OutputKind.USER_OUTPUT]
    names = [""] * len(specs)

    def leaf(name: str, mark: Any) -> Tree:
        names[mark.index] = name or "output"
        arg = specs[mark.index].arg
        if isinstance(arg, ConstantArgument):
            if arg.value is None:
                return Tree("none")
            return Tree("const", index=mark.index, value=arg.value)
        return Tree("leaf", index=mark.index)

    tree = build_tree(plain(marked(program.call_spec.out_spec)), leaf)
    taken = set(names)
    return tree, [f"output.{n}" if n.isdigit() and f"output.{n}" not in taken else n for n in names]


def plain(value: Any) -> Any:
    """Dataclasses and ModelOutputs as dicts of their fields that are not ``None``."""
    import dataclasses

    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {k: plain(v) for k, v in items.items() if v is not None}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {k: plain(v) for k, v in zip(value._fields, value, strict=True)}
    if isinstance(value, tuple):
        return tuple(plain(v) for v in value)
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value
