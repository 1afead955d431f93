"""The ONNX side of a script that shows a fault: the nodes as a small model of their own, run by
onnxruntime."""

from __future__ import annotations

import re
from collections.abc import Set
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

import numpy as np

from pytorch_to_mlx.capture.onnx.values import declare, part_of, written
from pytorch_to_mlx.graph import Value
from pytorch_to_mlx.validate.repro import LITERAL, SourceSide, encoded, numbers

if TYPE_CHECKING:
    from pytorch_to_mlx.validate.lowered_onnx import OnnxLowered

_SOURCE = '''{model}


def inputs() -> dict[str, np.ndarray]:
    """The inputs, by name."""
    rng = np.random.default_rng(0)
    found = {{}}
{inputs}
    return found


def stored(text: str, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """An array from its bytes."""
    return np.frombuffer(base64.b64decode(text), dtype).reshape(shape)


def to_mlx(array: np.ndarray) -> mx.array:
    """The same numbers in MLX (floats and integers of fewer than 8 bits in wider ones)."""
    array, name = np.asarray(array), np.asarray(array).dtype.name
    if name == "bfloat16":
        return mx.array(array.astype(np.float32)).astype(mx.bfloat16)
    if name.startswith(("float8", "float4")):
        array = array.astype(np.float32)
    elif name in ("int4", "int2", "uint4", "uint2"):
        array = array.astype("uint8" if name.startswith("u") else "int8")
    return mx.array(array, dtype=mx.float64 if name == "float64" else None)


def original({args}) -> list[np.ndarray]:
    """What the original computes."""
    model = {parsed}
    feed = {feed}
    constants = {constants}
    for name, array in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    try:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    except Exception:  # an op or type that onnxruntime lacks
        session = onnx.reference.ReferenceEvaluator(model)
    return session.run(None, feed)'''


class OnnxSide(SourceSide):
    """Inputs of both sides are named after values of the graph."""

    imports = "\n".join(
        f"import {name}"
        for name in ("numpy as np", "onnx", "onnx.parser", "onnx.reference", "onnxruntime")
    )

    def __init__(self, lowered: OnnxLowered) -> None:
        super().__init__()
        self.lowered = lowered
        self.variables: dict[str, str] = {}
        self.model: Any = None
        self.needs: list[str] = []

    def value(self, key: str) -> str:
        return self._variable(key, self.lowered.actual[key])

    def _variable(self, key: str, value: Any) -> str:
        if key not in self.variables:
            wish = re.sub(r"\W+", "_", key, flags=re.ASCII).strip("_") or "x"
            wish = f"x_{wish}" if wish[0].isdigit() or iskeyword(wish) else wish
            name, n = wish, 2
            while name in self.given or name in ("mx", "nn", "np", "model", "feed", "folded"):
                name, n = f"{wish}_{n}", n + 1
            self.variables[key] = name
            self.given[name] = value
        return self.variables[key]

    def stand_in(self, value: Value) -> str:
        return self.value(self.lowered.source[value])

    def weight(self, path: str) -> str:
        if path in self.lowered.actual:
            return self.value(path)
        program = self.lowered.captured.program
        return self._variable(path, program.edited.get(path, program.tensors[path]))

    def add(self, key: str, stop: Set[str]) -> None:
        self.model, self.needs = part_of(self.lowered.model, key, stop)
        for name in self.needs:
            self.args.append(self.value(name))
            if not self._constant(name):
                declare(self.model, name, self.lowered.actual[name])

    def _constant(self, name: str) -> bool:
        """Whether the model itself holds the value: some ops want that."""
        maker = self.lowered.makers.get(name)
        known = self.lowered.captured.program.initializers
        return name in known or (maker is not None and maker.op_type == "Constant")

    def add_result(self, key: str, value: Value | None = None) -> None:
        """The model gives out the one value that it was made for."""

    def nbytes(self) -> int:
        return sum(np.asarray(v).nbytes for v in self.given.values())

    def text(self, *, drawn: bool) -> str:
        lines = [f"    found[{n!r}] = {_array(v, drawn)}" for n, v in self.given.items()]
        held = {n: self.variables[n] for n in self.needs}
        constants = {n: v for n, v in held.items() if self._constant(n)}
        text = written(self.model)
        if text is None:
            model = f"MODEL = {encoded(self.model.SerializeToString())}"
            parsed = "onnx.load_from_string(base64.b64decode(MODEL))"
        else:
            model = f'MODEL = """\n{_escaped(text)}"""'
            parsed = "onnx.parser.parse_model(MODEL)"
        return _SOURCE.format(
            model=model,
            inputs="\n".join(lines) or "    pass",
            args=", ".join(dict.fromkeys(self.args)),
            parsed=parsed,
            feed=_mapping({n: v for n, v in held.items() if n not in constants}),
            constants=_mapping(constants),
        )


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\")


def _mapping(variables: dict[str, str]) -> str:
    return "{" + ", ".join(f"{name!r}: {variable}" for name, variable in variables.items()) + "}"


def _array(value: Any, drawn: bool) -> str:
    """An array as an expression: numbers, bytes, or a draw of the same kind."""
    if isinstance(value, list):
        return f"[{', '.join(_array(v, drawn) for v in value)}]"
    shape, dtype = tuple(value.shape), value.dtype.name
    if value.size <= LITERAL and dtype in ("bool", "float32", "int32", "int64"):
        return f"np.array({numbers(value.reshape(-1).tolist())}, {dtype!r}).reshape({shape})"
    if drawn and value.dtype.kind == "f":
        wide = value.astype(np.float64)
        spread, mean = float(wide.std()), float(wide.mean())
        return f"(rng.standard_normal({shape}) * {spread!r} + {mean!r}).astype({dtype!r})"
    if drawn and value.dtype.kind in "iu":
        low, high = int(value.min()), int(value.max()) + 1
        return f"rng.integers({low}, {high}, {shape}, dtype={dtype!r})"
    return f"stored({encoded(np.ascontiguousarray(value).tobytes())}, {dtype!r}, {shape})"
