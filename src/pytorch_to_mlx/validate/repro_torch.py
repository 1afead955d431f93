"""The torch side of a script that shows a fault: the program's nodes as torch calls."""

from __future__ import annotations

import math
import operator
from collections.abc import Set
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.graph import Value
from pytorch_to_mlx.validate.repro import LITERAL, SourceSide, encoded, numbers

if TYPE_CHECKING:
    import torch.fx as fx

    from pytorch_to_mlx.validate.lowered_torch import TorchLowered

_SOURCE = '''def inputs() -> dict[str, torch.Tensor]:
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
    return mx.array(tensor.resolve_conj().resolve_neg().contiguous().numpy())


@torch.no_grad()
def original({args}):
    """What the original computes."""
{lines}
    return [{results}]'''


class TorchSide(SourceSide):
    """Writes source nodes as torch calls; inputs of both sides are named after source nodes."""

    imports = "import torch"

    def __init__(self, lowered: TorchLowered) -> None:
        super().__init__()
        self.lowered = lowered
        self.names: dict[fx.Node, str] = {}
        self.lines: list[str] = []
        self.results: list[str] = []

    def value(self, key: fx.Node) -> str:
        name = f"t_{key.name}"
        self.given.setdefault(name, self.lowered.actual[key])
        return name

    def stand_in(self, value: Value) -> str:
        return self.value(self.lowered.tensor_node[value])

    def weight(self, path: str) -> str:
        return self.value(self.lowered.weight_node[path])

    def _argument(self, node: fx.Node) -> None:
        """An argument of ``original`` that is the node's value."""
        name = self.names[node] = self.value(node)
        self.args.append(name)

    def add(self, key: fx.Node, stop: Set[fx.Node]) -> None:
        for source in key.all_input_nodes:
            value = self.lowered.actual.get(source)
            if source in self.names or (
                not isinstance(value, (tuple, list)) and not self.lowered.is_array(value)
            ):
                continue
            picked = key.target is operator.getitem
            if source.op == "call_function" and (source not in stop or picked):
                self.add(source, stop)
            else:
                self._argument(source)
        name = self.names[key] = f"t_{key.name}"
        args = [self._written(a) for a in key.args]
        args += [f"{k}={self._written(a)}" for k, a in key.kwargs.items()]
        if key.target is operator.getitem:
            self.lines.append(f"{name} = {args[0]}[{args[1]}]")
        else:
            self.lines.append(f"{name} = {_callee(key.target)}({', '.join(args)})")

    def add_result(self, key: fx.Node, value: Value | None = None) -> None:
        became = self.lowered.env[key]
        name = self.names[key]
        if value is not None and not isinstance(became, Value):
            name = f"{name}[{list(became).index(value)}]"
        self.results.append(name)

    def _written(self, arg: Any) -> str:
        """An argument of a torch call as source."""
        import torch
        import torch.fx as fx

        if isinstance(arg, fx.Node):
            return self.names.get(arg) or self._written(self.lowered.actual.get(arg))
        if isinstance(arg, (list, tuple)):
            inner = ", ".join(self._written(a) for a in arg)
            return f"[{inner}]" if isinstance(arg, list) else f"({inner},)" if arg else "()"
        if isinstance(arg, torch.device):
            return f"torch.device({str(arg)!r})"
        if isinstance(arg, float) and not math.isfinite(arg):
            return f'float("{arg}")'
        return repr(arg)

    def nbytes(self) -> int:
        tensors = [t for t in self.given.values() if hasattr(t, "numel")]
        return sum(t.numel() * t.element_size() for t in tensors)

    def text(self, *, drawn: bool) -> str:
        lines = [f"    found[{n!r}] = {_tensor(t, drawn)}" for n, t in self.given.items()]
        return _SOURCE.format(
            inputs="\n".join(lines) or "    pass",
            args=", ".join(dict.fromkeys(self.args)),
            lines="\n".join(f"    {line}" for line in self.lines),
            results=", ".join(self.results),
        )


def _callee(target: Any) -> str:
    """``torch.ops.aten.add.Tensor``; recurrences that capture has wrapped are ATen's own."""
    text = str(target)
    if text.startswith("p2m.") and "pack" not in text:
        return f"torch.ops.aten.{text.split('.')[1]}.input"
    return f"torch.ops.{text}"


def _tensor(value: Any, drawn: bool) -> str:
    """A tensor as an expression: numbers, bytes, or a draw of the same kind."""
    import torch

    if not isinstance(value, torch.Tensor):
        return f"torch.tensor({value!r})"
    value = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
    shape = tuple(value.shape)
    if value.numel() <= LITERAL and not value.is_complex():
        flat = numbers(value.flatten().tolist())
        return f"torch.tensor({flat}, dtype={value.dtype}).reshape({shape})"
    if drawn and value.is_floating_point():
        wide = value.double()
        spread, mean = float(wide.std()), float(wide.mean())
        return f"(torch.randn({shape}) * {spread!r} + {mean!r}).to({value.dtype})"
    if drawn and not value.is_complex() and value.dtype != torch.bool:
        low, high = int(value.min()), int(value.max()) + 1
        return f"torch.randint({low}, {high}, {shape}, dtype={value.dtype})"
    raw = value.flatten().view(torch.uint8).numpy().tobytes()
    return f"stored({encoded(raw)}, {value.dtype}, {shape})"
