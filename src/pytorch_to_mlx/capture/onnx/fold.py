"""Weights that an ONNX model holds as 8-bit codes, for MLX's quantized layers.

A product by such weights becomes ``MatMulNBits`` of 8 bits, which MLX has (``nn.QuantizedLinear``):
the codes, scales and zero points stay exactly what they are. Activations are not rounded to codes
any more, but stay within their bounds. So the result is another function than the model as written,
by the size of those roundings.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper, numpy_helper

from pytorch_to_mlx.capture.onnx.load import opsets_of
from pytorch_to_mlx.capture.onnx.tensors import module_of
from pytorch_to_mlx.capture.onnx.values import producers, taken

MICROSOFT = "com.microsoft"
BLOCKS = (128, 64, 32)
_CODES = ("int8", "uint8")


@dataclass
class Folded:
    """A model whose products take 8-bit weights; names of the nodes that were folded, and of the
    quantized ops that were not, with the reason."""

    model: onnx.ModelProto
    folded: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)


def fold_quantized(model: onnx.ModelProto) -> Folded:
    """A copy of a model (functions inlined, tensors inside) with its 8-bit products folded."""
    out = onnx.ModelProto()
    out.CopyFrom(model)
    work = _Work(out)
    for rule in (work.unround, work.dynamic_product, work.integer_product, work.product):
        work.each(rule)
    work.each(work.stored_floats)
    work.sweep()
    left = {n.name or n.output[0]: work.reasons.get(n.output[0], _kept(n)) for n in out.graph.node
            if _is_quantized(n)}  # fmt: skip
    left |= {k: v for k, v in work.reasons.items() if k not in left}
    if work.folded and not any(o.domain == MICROSOFT for o in out.opset_import):
        out.opset_import.append(helper.make_operatorsetid(MICROSOFT, 1))
    return Folded(out, work.folded, left)


def _is_quantized(node: onnx.NodeProto) -> bool:
    name = node.op_type
    return "Integer" in name or name.startswith(("QLinear", "Quantize", "Dequantize", "Dynamic"))


def _kept(node: onnx.NodeProto) -> str:
    return f"{node.op_type} computes with codes, which no layer of MLX does"


class _Work:
    """The graph being rewritten; ``held`` are its constants by name."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.opset = opsets_of(model).get("", 1)
        self.held = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        for node in self.graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.held[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        self.makers = producers(self.graph)
        self.folded: list[str] = []
        self.reasons: dict[str, str] = {}

    def each(self, rule: Callable[[onnx.NodeProto], list[onnx.NodeProto] | None]) -> None:
        """Puts what a rule makes of a node in its place."""
        nodes: list[onnx.NodeProto] = []
        for node in self.graph.node:
            made = rule(node)
            nodes += [node] if made is None else made
        fresh = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
        del self.graph.node[:]
        self.graph.node.extend(fresh)
        self.makers = producers(self.graph)

    def maker(self, name: str, *ops: str) -> onnx.NodeProto | None:
        node = self.makers.get(name)
        return node if node is not None and node.op_type in ops else None

    def unround(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """``DequantizeLinear(QuantizeLinear(x))`` rounds ``x`` and keeps it between the numbers of
        the lowest and highest code, which tools make use of (they leave a Relu out before it). The
        bounds stay."""
        codes = self.maker(node.input[0], "QuantizeLinear") if node.input else None
        if node.op_type != "DequantizeLinear" or codes is None or codes.input[0] in self.held:
            return None
        known = [self.held.get(n, np.empty(0)) for x in (node, codes) for n in x.input[1:]]
        if len(known) != 4 or any(v.size != 1 for v in known) or self.opset < 11:
            return None
        scale, zero, scale_before, zero_before = known
        if scale != scale_before or zero != zero_before or zero.dtype.kind not in "iu":
            return None
        bounds = np.iinfo(zero.dtype)
        names = [f"{node.output[0]}.{end}" for end in ("low", "high")]
        for name, code in zip(names, (bounds.min, bounds.max), strict=True):
            number = (float(code) - float(zero.reshape(()))) * scale.reshape(())
            self._hold(name, np.asarray(number, scale.dtype))
        given_names = [codes.input[0], *names]
        return [helper.make_node("Clip", given_names, [node.output[0]], node.name)]

    # -- rules -------------------------------------------------------------------------------------

    def product(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """``MatMul(x, DequantizeLinear(codes))``, and Gemm."""
        if node.op_type not in ("MatMul", "Gemm") or node.domain:
            return None
        weight = self.maker(node.input[1], "DequantizeLinear")
        if weight is None or weight.input[0] not in self.held:
            return None
        set_ = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        plain = set_.get("alpha", 1.0) == set_.get("beta", 1.0) == 1.0 and not set_.get("transA")
        if not plain:
            self._leave(node, "a Gemm with factors, or of a transposed input")
            return None
        given = {a.name: helper.get_attribute_value(a) for a in weight.attribute}
        if given.get("block_size"):
            self._leave(node, "its scales come in blocks")
            return None
        rest = [self.held.get(n) for n in weight.input[1:]]
        zero = rest[1] if len(rest) > 1 else None
        bias = node.input[2] if len(node.input) > 2 else ""
        rows = bool(set_.get("transB"))
        axis = int(given.get("axis", 1))
        return self._fold(node, node.input[0], weight.input[0], rest[0], zero, bias, rows, axis)

    def dynamic_product(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """``DynamicQuantizeMatMul``."""
        if node.op_type != "DynamicQuantizeMatMul" or node.input[1] not in self.held:
            return None
        given = [*node.input, "", "", ""]
        scale, zero = self.held.get(given[2]), self.held.get(given[3])
        return self._fold(node, given[0], given[1], scale, zero, given[4], False, 1)

    def integer_product(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """``Mul(Cast(MatMulInteger(codes of x, w)), x_scale * w_scale)``."""
        if node.op_type != "Mul" or node.domain:
            return None
        for product, scales in (node.input, tuple(node.input)[::-1]):
            cast, factor = self.maker(product, "Cast"), self.maker(scales, "Mul")
            total = None if cast is None else self.maker(cast.input[0], "MatMulInteger")
            x = None if total is None else self.maker(total.input[0], "DynamicQuantizeLinear")
            if total is None or x is None or factor is None or x.output[1] not in factor.input:
                continue
            other = next(n for n in factor.input if n != x.output[1])
            if total.input[1] not in self.held or other not in self.held:
                continue
            zero = self.held.get(total.input[3]) if len(total.input) > 3 else None
            return self._fold(
                node, x.input[0], total.input[1], self.held[other], zero, "", False, 1
            )
        return None

    def stored_floats(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """Codes of weights that are no product's become floats: convolutions, tables, biases."""
        if node.op_type != "DequantizeLinear" or node.input[0] not in self.held:
            return None
        rest = [self.held.get(n, np.empty(0)) for n in node.input[1:] if n]
        if not all(r.size for r in rest) or any(
            a.name == "block_size" and a.i for a in node.attribute
        ):
            return None
        codes = self.held[node.input[0]]
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        scale, zero = (self._spread(r, codes, axis) for r in (*rest, np.array(0))[:2])
        value = ((codes.astype(np.float32) - zero.astype(np.float32)) * scale).astype(scale.dtype)
        self._hold(node.output[0], value)
        return []

    @staticmethod
    def _spread(values: np.ndarray, codes: np.ndarray, axis: int) -> np.ndarray:
        if values.size == 1 or codes.ndim < 2:
            return values.reshape(()) if values.size == 1 else values
        shape = [1] * codes.ndim
        shape[axis] = -1
        return values.reshape(shape)

    # -- what the rules make -----------------------------------------------------------------------

    def _leave(self, node: onnx.NodeProto, reason: str) -> None:
        self.reasons[node.name or node.output[0]] = reason

    def _fold(
        self, node: onnx.NodeProto, x: str, weight: str, scale: np.ndarray | None,
        zero: np.ndarray | None, bias: str, rows: bool, axis: int,
    ) -> list[onnx.NodeProto] | None:  # fmt: skip
        """The product as one by packed codes; ``rows`` where these have a row for each output."""
        codes = self.held[weight]
        if codes.ndim != 2 or codes.dtype.name not in _CODES or scale is None:
            self._leave(node, "its weights are no matrix of 8-bit codes")
            return None
        outer = axis % 2 == (0 if rows else 1)
        if scale.size > 1 and not outer:
            self._leave(node, "its scales lie along the inputs")
            return None
        shift = 128 if codes.dtype == np.int8 else 0
        table = (codes if rows else codes.T).astype(np.int16) + shift
        outputs, inputs = table.shape
        block = next((b for b in BLOCKS if inputs % b == 0), 0)
        if not block:
            self._leave(node, f"its {inputs} inputs do not divide into groups of 32")
            return None
        count = inputs // block
        low = np.zeros((), np.int16) if zero is None else zero.astype(np.int16)
        each = [np.broadcast_to(v.reshape(-1, 1), (outputs, count)) for v in (scale, low + shift)]
        packed = table.astype(np.uint8).reshape(outputs, count, block)
        name = node.name or node.output[0]
        base = self._layer_name(node, weight)
        names = [f"{base}.{leaf}" for leaf in ("weight", "scales", "zeros")]
        self._hold(names[0], packed)
        self._hold(names[1], each[0].astype(np.float32))
        self._hold(names[2], each[1].astype(np.uint8))
        self.folded.append(name)
        given = [x, *names]
        sizes = {"K": inputs, "N": outputs, "bits": 8, "block_size": block}
        result = node.output[0] if not bias else f"{node.output[0]}_product"
        product = helper.make_node("MatMulNBits", given, [result], name, domain=MICROSOFT, **sizes)
        if not bias:
            return [product]
        return [product, helper.make_node("Add", [result, bias], [node.output[0]], f"{name}_bias")]

    def _layer_name(self, node: onnx.NodeProto, weight: str) -> str:
        """A name for the layer: its module's, else that of its weights without what says codes."""
        wish = module_of(node) or re.sub(r"([._](weight|quantized|codes))+$", "", weight) or "layer"
        base, n = wish, 2
        while any(f"{base}.{leaf}" in self.held for leaf in ("weight", "scales", "zeros")):
            base, n = f"{wish}_{n}", n + 1
        return base

    def _hold(self, name: str, array: np.ndarray) -> None:
        if name not in self.held:
            array = np.ascontiguousarray(array) if array.ndim else array
            self.held[name] = array
            self.graph.initializer.append(numpy_helper.from_array(array, name))

    def sweep(self) -> None:
        """Drops nodes and constants that nothing takes any more."""
        while True:
            used = {o.name for o in self.graph.output} | {
                n for x in self.graph.node for n in taken(x)
            }
            dead = [n for n in self.graph.node if not used & set(n.output)]
            if not dead:
                break
            for node in dead:
                self.graph.node.remove(node)
        for tensor in [t for t in self.graph.initializer if t.name not in used]:
            self.graph.initializer.remove(tensor)
