"""What ``analyze`` found, for people: the model, what converts, what was fused or not and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from pytorch_to_mlx.report.words import grouped_refusals

_DEEPEST = 3


def show_analysis(console: Console, facts: Mapping[str, Any]) -> None:
    """Prints the sections of ``p2m.analyze``'s result; absent ones are left out."""
    _model(console, facts.get("model", {}))
    _memory(console, facts.get("memory", {}))
    _arrays(console, "Inputs", facts.get("inputs", ()))
    _arrays(console, "Outputs", facts.get("outputs", ()))
    _dims(console, facts.get("dims", {}))
    _table(console, "Ops", facts.get("ops", ()), ("op", "count", "call", "origin"))
    _passes(console, facts.get("passes", ()))
    unsupported = facts.get("unsupported", ())
    _table(
        console,
        "Cannot be converted",
        unsupported,
        ("op", "module_path", "origin", "reason", "hint"),
    )
    console.print()
    if unsupported:
        count = len(unsupported)
        console.print(
            Text(f"{count} op{'' if count == 1 else 's'} cannot be converted", "bold red")
        )
    else:
        console.print(Text("every op converts", "bold green"))


def human_bytes(count: float) -> str:
    """Bytes in the unit that reads best."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


def _model(console: Console, model: Mapping[str, Any]) -> None:
    tree = model.get("tree")
    if model:
        console.print(Text(str(model.get("source_kind") or model.get("name", "")), "bold"))
    if isinstance(tree, Mapping):
        console.print(_module(tree, 0))


def _memory(console: Console, memory: Mapping[str, Any]) -> None:
    """Weights, then what they and the arrays between calls come to at several sizes."""
    if not memory:
        return
    rows = [
        {
            "sizes": ", ".join(f"{k}={v}" for k, v in row["sizes"].items()) or "fixed",
            **{k: human_bytes(row[k]) for k in ("inputs", "outputs", "activations", "total")},
        }
        for row in memory.get("at", ())
    ]
    console.print()
    console.print(Text(f"Memory (weights {human_bytes(memory['weights'])})", "bold"))
    _table(console, "", rows, ("sizes", "inputs", "outputs", "activations", "total"))
    for array in memory.get("largest", ()):
        shape = " × ".join(map(str, array["dims"]))
        console.print(
            Text(f"  {human_bytes(array['bytes'])}: {array['dtype']}[{shape}] of {array['call']}")
        )
    for name in ("source_weights", "needed_beside_them_to_convert", "free_now"):
        if name in memory:
            label = name.replace("_", " ")
            console.print(Text(f"  {label}: {human_bytes(memory[name])}"))
    if memory.get("unknown"):
        console.print(Text(f"  without {memory['unknown']} arrays whose sizes the data decides"))


def _module(node: Mapping[str, Any], depth: int) -> Tree:
    """The module tree down to a depth, with parameter counts."""
    path = str(node.get("path", "")).rpartition(".")[2]
    label = Text.assemble((f"{path}: " if path else "", "bold"), str(node.get("class", "")))
    if node.get("parameters"):
        label.append(f"  {node['parameters']:,} parameters", "dim")
    branch = Tree(label)
    children = node.get("children", ())
    if children and depth >= _DEEPEST:
        branch.add(Text(f"... {len(children)} more", "dim"))
        return branch
    for child in children:
        branch.children.append(_module(child, depth + 1))
    return branch


def _arrays(console: Console, title: str, arrays: Sequence[Mapping[str, Any]]) -> None:
    if arrays:
        console.print()
        console.print(Text(title, "bold"))
    for array in arrays:
        dims = ", ".join(map(str, array.get("dims", ())))
        console.print(Text(f"  {array.get('name', '?')}: {array.get('dtype', '?')}[{dims}]"))


def _dims(console: Console, dims: Mapping[str, Mapping[str, Any]]) -> None:
    if dims:
        console.print()
        console.print(Text("Dimensions", "bold"))
    for name, dim in dims.items():
        where = ", ".join(dim.get("where") or ())
        reason = dim.get("static_reason")
        if reason:
            console.print(Text(f"  {where or name}: static, {reason}"))
        else:
            least, most = dim.get("min"), dim.get("max")
            bounds = f"{'' if least is None else least}..{'' if most is None else most}"
            console.print(Text(f"  {name} ({where}): dynamic, {bounds}"))


def _passes(console: Console, passes: Iterable[Mapping[str, Any]]) -> None:
    """What every pass rewrote and into which calls, then what it refused, with its reason."""
    passes = list(passes)
    rows = [
        {"pass": p.get("name"), "times": p["applied"], "made": made(p)}
        for p in passes
        if p.get("applied")
    ]
    _table(console, "Rewritten", rows, ("pass", "times", "made"))
    refusals = [
        {"pass": p.get("name"), **refusal}
        for p in passes
        for refusal in grouped_refusals(p.get("refusals", ()))
    ]
    _table(console, "Left as it is", refusals, ("pass", "places", "where", "reason"))


def made(report: Mapping[str, Any], most: int = 4) -> str:
    """The calls that a pass made: ``mx.fast.rms_norm ×5``."""
    calls = [f"{call} ×{n}" for call, n in (report.get("made") or {}).items()]
    return ", ".join(calls[:most]) + (f" and {len(calls) - most} more" if len(calls) > most else "")


def _table(
    console: Console, title: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]
) -> None:
    if not rows:
        return
    shown = [column for column in columns if any(row.get(column) for row in rows)]
    table = Table(
        title=title or None, title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    for column in shown:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(row.get(column, ""))) for column in shown))
    if title:
        console.print()
    console.print(table)
