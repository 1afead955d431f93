"""Writes ``repro.py``: a script of torch and mlx alone in which the original's ops and the MLX code
that they became give different results."""

from __future__ import annotations

import ast
import base64
import math
import operator
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.codegen.source import format_source
from pytorch_to_mlx.graph import Node, Value
from pytorch_to_mlx.validate.bisect_passes import BadPass
from pytorch_to_mlx.validate.code import Code
from pytorch_to_mlx.validate.lowered import Lowered, pairs

if TYPE_CHECKING:
    import torch
    import torch.fx as fx

NAME = "repro.py"
LITERAL = 64  # elements of an input written as numbers
EMBEDDED = (
    1 << 16
)  # bytes of inputs written as text; larger ones are drawn, if that shows the fault
SECONDS = 120

_SCRIPT = '''"""{title}

Runs the original's ops and the MLX code that they were converted to on the same inputs.
Exits with 1 and says how they differ if they do.
"""

from __future__ import annotations

import base64
import math
import sys

import mlx.core as mx
import mlx.nn as nn
import torch

TOLERANCE = {tolerance!r}  # of the scale of the original's result


def inputs() -> dict[str, torch.Tensor]:
    """The inputs, by name."""
    torch.manual_seed(0)
    found = {{}}
{inputs}
    return found


def stored(text: str, dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor from its bytes."""
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=dtype).reshape(shape)


def to_mlx(tensor: torch.Tensor) -> mx.array:
    """The same numbers in MLX (64-bit floats in 32)."""
    if tensor.dtype == torch.bfloat16:
        return mx.array(tensor.float().numpy()).astype(mx.bfloat16)
    if tensor.dtype == torch.float64:
        tensor = tensor.float()
    return mx.array(tensor.contiguous().numpy())


def original({torch_args}):
    """What the original computes."""
{torch_lines}
    return [{torch_results}]


{helpers}


def converted({mlx_args}):
    """What it was converted to."""
{mlx_lines}
    return [{mlx_results}]


def difference(want: torch.Tensor, got: mx.array) -> str:
    """How two results differ; empty if they do not."""
    if tuple(want.shape) != tuple(got.shape):
        return f"shape {{tuple(got.shape)}} instead of {{tuple(want.shape)}}"
    if not want.dtype.is_floating_point and not want.dtype.is_complex:
        count = mx.sum(got != to_mlx(want)).item()
        return f"{{count}} of {{want.numel()}} values differ" if count else ""
    if got.dtype != to_mlx(want).dtype:
        return f"dtype {{got.dtype}} instead of {{want.dtype}}"
    want = to_mlx(want)
    parts = [(want, got)]
    if want.dtype == mx.complex64:
        parts = [(want.real, got.real), (want.imag, got.imag)]
    for a, b in parts:
        a, b = a.astype(mx.float32), b.astype(mx.float32)
        for kind in (mx.isnan, mx.isposinf, mx.isneginf):
            if not mx.array_equal(kind(a), kind(b)).item():
                return "NaN or infinity in other places"
        finite = mx.isfinite(a)
        scale = mx.max(mx.where(finite, mx.abs(a), 0)).item() if a.size else 0.0
        error = mx.max(mx.where(finite, mx.abs(a - b), 0)).item() if a.size else 0.0
        if error > TOLERANCE * max(scale, 1e-6):
            return f"off by {{error:.3g}} at scale {{scale:.3g}}"
    return ""


def main() -> None:
    given = inputs()
    with torch.no_grad():
        wanted = original(**{{k: given[k] for k in {torch_names}}})
    try:
        results = converted(**{{k: to_mlx(given[k]) for k in {mlx_names}}})
        mx.eval(results)
    except Exception as error:
        sys.exit(f"the MLX code raises {{type(error).__name__}}: {{error}}")
    for i, (want, got) in enumerate(zip(wanted, results, strict=True)):
        reason = difference(want, got)
        if reason:
            sys.exit(f"result {{i}}: {{reason}}")
    print("no difference")


if __name__ == "__main__":
    main()
'''


@dataclass
class _Sides:
    """The two functions of the script, over inputs ``given`` by name."""

    given: dict[str, torch.Tensor] = field(default_factory=dict)
    torch_lines: list[str] = field(default_factory=list)
    torch_args: list[str] = field(default_factory=list)
    torch_results: list[str] = field(default_factory=list)
    mlx_lines: list[str] = field(default_factory=list)
    mlx_args: list[str] = field(default_factory=list)
    mlx_results: list[str] = field(default_factory=list)
    helpers: list[str] = field(default_factory=list)


def of_op(folder: Path, lowered: Lowered, node: fx.Node, tolerance: float) -> str:
    """The script for one source node and the MLX calls that it became; its file name."""
    from pytorch_to_mlx.validate.bisect import needed_nodes

    sides = _Sides()
    names = TorchNames(lowered, sides)
    names.add(node, set(lowered.torch))
    code = Code(lowered.sizes)
    for n in needed_nodes(lowered, lowered.groups.get(node.name, [])):
        code.add(n)
    for value, _ in _tensors(lowered, node):
        sides.torch_results.append(_result_name(names, lowered, node, value))
        sides.mlx_results.append(Code.variable(value))
        if value not in code.writer.env:  # the op became nothing: its input stands for its result
            code.inputs.append(value)
            code.writer.env[value] = ast.Name(Code.variable(value))
    _bind_code(sides, names, code, lowered)
    return _write(folder, sides, _title(lowered, node), tolerance / 10)


def _tensors(lowered: Lowered, node: fx.Node) -> list[tuple[Value, Any]]:
    from pytorch_to_mlx.validate.bisect import is_used

    found = pairs(lowered.env[node], lowered.torch.get(node))
    return [(v, a) for v, a in found if hasattr(a, "detach") and is_used(node, lowered, v)]


def _result_name(names: TorchNames, lowered: Lowered, node: fx.Node, value: Value) -> str:
    became = lowered.env[node]
    if isinstance(became, Value):
        return names.names[node]
    return f"{names.names[node]}[{list(became).index(value)}]"


def of_pass(folder: Path, lowered: Lowered, bad: BadPass, tolerance: float) -> str | None:
    """The script for the source nodes up to the first wrong one, from values that are still
    right.
    """
    if bad.node is None or bad.value is None or bad.value.node is None:
        return None
    sides = _Sides()
    nodes, cut = _cone(bad)
    code = Code(lowered.sizes)
    names = TorchNames(lowered, sides)
    for value in cut:
        node, axes = (bad.right or {})[value]
        variable = Code.variable(value)
        given = names.given(node)
        if axes != tuple(range(len(axes))):
            sides.mlx_lines.append(f"{variable} = {given}.transpose({', '.join(map(str, axes))})")
        else:
            sides.mlx_lines.append(f"{variable} = {given}")
        sides.mlx_args.append(given)
        code.writer.env[value] = ast.Name(variable)
    for n in nodes:
        code.add(n)
    names.add(bad.node, {(bad.right or {})[v][0] for v in cut})
    _bind_code(sides, names, code, lowered, bad)
    sides.torch_results.append(names.names[bad.node])
    back = [bad.axes.index(i) for i in range(len(bad.axes))]
    turned = f".transpose({', '.join(map(str, back))})" if back != sorted(back) else ""
    sides.mlx_results.append(f"{Code.variable(bad.value)}{turned}")
    title = f"{_title(lowered, bad.node)}, after the pass {bad.name}"
    return _write(folder, sides, title, tolerance / 10)


def _cone(bad: BadPass) -> tuple[list[Node], list[Value]]:
    """The graph's nodes that make the wrong value from right ones, and those right ones."""
    assert bad.value is not None
    right, inside, cut = bad.right or {}, set(), []
    todo = [bad.value]
    while todo:
        value = todo.pop()
        n = value.node
        if n is None or id(n) in inside:
            continue
        inside.add(id(n))
        for v in n.inputs():
            if v in right and v is not bad.value:
                if v not in cut:
                    cut.append(v)
            else:
                todo.append(v)
    return [n for n in bad.graph.nodes if id(n) in inside], cut


def _bind_code(
    sides: _Sides, names: TorchNames, code: Code, lowered: Lowered, bad: BadPass | None = None
) -> None:
    """Gives the MLX side its inputs: the program's inputs, torch's values, weights by their
    recipe.
    """
    params = (bad.graph if bad else lowered.graph).param_of()
    lines: list[str] = []
    for value in code.inputs:
        p = params.get(value)
        variable = Code.variable(value)
        if p is None or p.recipe is None:
            node = lowered.weight_node[p.sources[0]] if p else lowered.tensor_node[value]
            given = names.given(node)
            sides.mlx_args.append(given)
            lines.append(f"{variable} = {given}")
            continue
        recipe = Code({})
        for v, path in zip(p.recipe.inputs, p.sources, strict=True):
            given = names.given(lowered.weight_node[path])
            sides.mlx_args.append(given)
            recipe.writer.env[v] = ast.Name(given)
        for n in p.recipe.nodes[:-1]:
            lines += recipe.add(n)
        result = p.recipe.ret.args[0]
        assert isinstance(result, Value)
        lines.append(f"{variable} = {ast.unparse(recipe.writer.env[result])}")
        code.writer.used_ops |= recipe.writer.used_ops
    sides.mlx_lines += [*lines, *code.lines]
    sides.helpers = code.helpers()
    sides.mlx_args = list(dict.fromkeys(sides.mlx_args))


class TorchNames:
    """Writes source nodes as torch calls; inputs of both sides are named after source nodes."""

    def __init__(self, lowered: Lowered, sides: _Sides) -> None:
        self.lowered = lowered
        self.sides = sides
        self.names: dict[fx.Node, str] = {}

    def given(self, node: fx.Node) -> str:
        """The name of an input of the script that is the node's value."""
        name = f"t_{node.name}"
        self.sides.given.setdefault(name, self.lowered.torch[node])
        return name

    def argument(self, node: fx.Node) -> str:
        """An argument of ``original`` that is the node's value."""
        name = self.names[node] = self.given(node)
        self.sides.torch_args.append(name)
        return name

    def add(self, node: fx.Node, stop: set[fx.Node]) -> None:
        """Lines that compute the node from the nodes of ``stop``, which are arguments."""
        for source in node.all_input_nodes:
            value = self.lowered.torch.get(source)
            if source in self.names or (
                not isinstance(value, (tuple, list)) and not _is_tensor(value)
            ):
                continue
            picked = node.target is operator.getitem
            if source.op == "call_function" and (source not in stop or picked):
                self.add(source, stop)
            else:
                self.argument(source)
        name = self.names[node] = f"t_{node.name}"
        args = [self.text(a) for a in node.args]
        args += [f"{k}={self.text(a)}" for k, a in node.kwargs.items()]
        if node.target is operator.getitem:
            self.sides.torch_lines.append(f"{name} = {args[0]}[{args[1]}]")
        else:
            self.sides.torch_lines.append(f"{name} = {_callee(node.target)}({', '.join(args)})")

    def text(self, arg: Any) -> str:
        """An argument of a torch call as source."""
        import torch
        import torch.fx as fx

        if isinstance(arg, fx.Node):
            return self.names.get(arg) or self.text(self.lowered.torch.get(arg))
        if isinstance(arg, (list, tuple)):
            inner = ", ".join(self.text(a) for a in arg)
            return f"[{inner}]" if isinstance(arg, list) else f"({inner},)" if arg else "()"
        if isinstance(arg, torch.device):
            return f"torch.device({str(arg)!r})"
        if isinstance(arg, float) and not math.isfinite(arg):
            return f'float("{arg}")'
        return repr(arg)


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "detach")


def _callee(target: Any) -> str:
    """``torch.ops.aten.add.Tensor``; recurrences that capture has wrapped are ATen's own."""
    text = str(target)
    if text.startswith("p2m.") and "pack" not in text:
        return f"torch.ops.aten.{text.split('.')[1]}.input"
    return f"torch.ops.{text}"


def _title(lowered: Lowered, node: fx.Node) -> str:
    from pytorch_to_mlx.validate.bisect import place

    at = place(lowered.captured, node)
    origin = Path(at["origin"].rpartition(":")[0]).name
    line = at["origin"].rpartition(":")[2]
    where = f" in {at['module']}" if at["module"] else ""
    return f"{at['op']}{where}" + (f" ({origin}:{line})" if origin else "")


# -- writing ----------------------------------------------------------------------------------


def _write(folder: Path, sides: _Sides, title: str, tolerance: float) -> str:
    """Writes the script; large inputs are drawn afresh if the fault shows then too."""
    path = folder / NAME
    size = sum(t.numel() * t.element_size() for t in sides.given.values() if hasattr(t, "numel"))
    if size > EMBEDDED:
        path.write_text(_text(sides, title, tolerance, drawn=True), encoding="utf-8")
        if shows_fault(path):
            return NAME
    path.write_text(_text(sides, title, tolerance, drawn=False), encoding="utf-8")
    return NAME


def shows_fault(path: Path) -> bool:
    """Whether the script ends with 1."""
    command = [sys.executable, str(path)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=SECONDS)
    return done.returncode == 1


def _text(sides: _Sides, title: str, tolerance: float, *, drawn: bool) -> str:
    lines = [f"    found[{n!r}] = {_tensor(t, drawn)}" for n, t in sides.given.items()]
    torch_args = list(dict.fromkeys(sides.torch_args))
    text = _SCRIPT.format(
        title=title.replace("\\", "/").replace('"""', "'''"),
        tolerance=tolerance,
        inputs="\n".join(lines) or "    pass",
        torch_args=", ".join(torch_args),
        torch_lines="\n".join(f"    {line}" for line in sides.torch_lines),
        torch_results=", ".join(sides.torch_results),
        helpers="\n\n\n".join(sides.helpers),
        mlx_args=", ".join(sides.mlx_args),
        mlx_lines="\n".join(f"    {line}" for line in sides.mlx_lines),
        mlx_results=", ".join(sides.mlx_results),
        torch_names=repr(torch_args),
        mlx_names=repr(sides.mlx_args),
    )
    return format_source(text)


def _tensor(value: Any, drawn: bool) -> str:
    """A tensor as an expression: numbers, bytes, or a draw of the same kind."""
    import torch

    if not isinstance(value, torch.Tensor):
        return f"torch.tensor({value!r})"
    value = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
    shape = tuple(value.shape)
    if value.numel() <= LITERAL and not value.is_complex():
        numbers = (
            repr(value.flatten().tolist()).replace("inf", "math.inf").replace("nan", "math.nan")
        )
        return f"torch.tensor({numbers}, dtype={value.dtype}).reshape({shape})"
    if drawn and value.is_floating_point():
        wide = value.double()
        spread, mean = float(wide.std()), float(wide.mean())
        return f"(torch.randn({shape}) * {spread!r} + {mean!r}).to({value.dtype})"
    if drawn and not value.is_complex() and value.dtype != torch.bool:
        low, high = int(value.min()), int(value.max()) + 1
        return f"torch.randint({low}, {high}, {shape}, dtype={value.dtype})"
    raw = value.flatten().view(torch.uint8).numpy().tobytes()
    return f"stored({base64.b64encode(raw).decode()!r}, {value.dtype}, {shape})"
