"""Nested inputs and outputs: :class:`Tree` as plain JSON, flattening and rebuilding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pytorch_to_mlx.errors import InputError
from pytorch_to_mlx.graph import Tree
from pytorch_to_mlx.graph.leaf_names import join


def to_json(tree: Tree) -> dict[str, Any]:
    """A tree as plain data, for ``config.json``."""
    out: dict[str, Any] = {"kind": tree.kind}
    if tree.kind == "leaf":
        out["index"] = tree.index
    elif tree.kind == "const":
        out["value"] = (
            tree.value if isinstance(tree.value, (bool, int, float, str)) else repr(tree.value)
        )
    elif tree.kind != "none":
        if tree.keys:
            out["keys"] = list(tree.keys)
        out["children"] = [to_json(c) for c in tree.children]
        if tree.spread:
            out["spread"] = True
    return out


def from_json(data: Mapping[str, Any]) -> Tree:
    """The inverse of :func:`to_json`."""
    return Tree(
        data["kind"],
        tuple(data.get("keys", ())),
        tuple(from_json(c) for c in data.get("children", ())),
        data.get("index", -1),
        data.get("value"),
        data.get("spread", False),
    )


def flatten(value: Any, tree: Tree, name: str = "") -> Iterator[tuple[int, str, Any]]:
    """``(index, name, leaf)`` of every array leaf of ``value``.

    Raises:
        InputError: the value is not nested as the tree is, or a constant differs from the converted
            one.
    """
    if tree.kind == "leaf":
        if value is None:
            raise InputError(f"the input {name!r} is missing")
        yield tree.index, name, value
    elif tree.kind in ("const", "none"):
        same = value is None or value == tree.value
        if not same:
            raise InputError(
                f"the input {name!r} was fixed to {tree.value!r} at conversion, not {value!r}",
                hint="convert again with that value",
            )
    elif tree.kind == "dict":
        items = _fields(value, name)
        unknown = [k for k in items if k not in tree.keys and items[k] is not None]
        if unknown:
            raise InputError(
                f"{name or 'the model'} takes no input {unknown[0]!r}; "
                f"it takes {', '.join(map(str, tree.keys))}"
            )
        for key, child in zip(tree.keys, tree.children, strict=True):
            yield from flatten(items.get(key), child, join(name, key))
    else:
        if not isinstance(value, (tuple, list)) or len(value) != len(tree.children):
            raise InputError(f"the input {name!r} must be a {tree.kind} of {len(tree.children)}")
        for i, (item, child) in enumerate(zip(value, tree.children, strict=True)):
            yield from flatten(item, child, f"{name}.{i}")


def _fields(value: Any, name: str) -> Mapping[str, Any]:
    import dataclasses

    if isinstance(value, Mapping):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):  # a namedtuple
        return dict(value._asdict())
    raise InputError(f"the input {name!r} must be a dict")


def leaf_names(tree: Tree, name: str = "") -> list[tuple[int, str]]:
    """Index and dotted name of every leaf, by index."""
    found: list[tuple[int, str]] = []

    def visit(t: Tree, at: str) -> None:
        if t.kind == "leaf":
            found.append((t.index, at or "output"))
        keys: Sequence[Any] = t.keys or range(len(t.children))
        for key, child in zip(keys, t.children, strict=True):
            visit(child, join(at, key))

    visit(tree, name)
    return sorted(found)


def flatten_outputs(value: Any, tree: Tree) -> list[Any]:
    """Array leaves of the emitted model's result, by index.

    Raises:
        InputError: the result is not nested as the tree says.
    """
    return [leaf for _, _, leaf in sorted(flatten(value, tree, "output"), key=lambda t: t[0])]


def rebuild(tree: Tree, leaf: Callable[[int], Any]) -> Any:
    """The nest with ``leaf(index)`` in place of leaves."""
    if tree.kind == "leaf":
        return leaf(tree.index)
    if tree.kind in ("const", "none"):
        return tree.value
    items = [rebuild(c, leaf) for c in tree.children]
    if tree.kind == "dict":
        return dict(zip(tree.keys, items, strict=True))
    return tuple(items) if tree.kind == "tuple" else items
