"""Recurrent stacks as ``nn.LSTM``, ``nn.GRU`` and ``nn.RNN`` layers, one a layer and direction.

Given::

    y, h, c = ops.lstm(x, zeros, zeros, (w_ih, w_hh, b_ih, b_hh), has_biases=True, num_layers=1)

with ``x`` [T, B, I], the result works batch-first (the layout pass removes the transposes)::

    y, cell = nn.LSTM(x.transpose(1, 0, 2), Wx=w_ih, Wh=w_hh, bias=b_ih + b_hh)

Packed sequences, projections and weights that are computed at run time keep the function.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Builder, Graph, Node, Value, call
from pytorch_to_mlx.graph.build import call_layer
from pytorch_to_mlx.passes.base import PassReport

_CELLS = {"ops.lstm": "nn.LSTM", "ops.gru": "nn.GRU", "ops.rnn_tanh": "nn.RNN"}


def run(graph: Graph, report: PassReport) -> None:
    """Replaces every recurrent call whose weights are weights."""
    weights = set(graph.param_of())
    with Builder(graph) as builder:
        for node in list(graph.nodes):
            if node.target not in _CELLS:
                continue
            reason = _refusal(node, weights)
            if reason:
                report.refuse(node, reason)
                continue
            with builder.before(node):
                results = _Stack(node).build(builder)
            for old, new in zip(node.outputs, results, strict=True):
                new.hint = old.hint
                graph.replace(old, new)
            graph.erase(node)
            report.applied += 1


def _bind(node: Node) -> dict[str, Any]:
    states = ["h0", "c0"] if node.target == "ops.lstm" else ["h0"]
    names = ["x", *states, "params", "has_biases", "num_layers", "bidirectional", "batch_sizes"]
    defaults = {"has_biases": True, "num_layers": 1, "bidirectional": False, "batch_sizes": None}
    return {**defaults, **dict(zip(names, node.args, strict=False)), **node.kwargs}


def _refusal(node: Node, weights: set[Value]) -> str:
    a = _bind(node)
    if a["batch_sizes"] is not None:
        return "packed sequences have no nn layer"
    if any(p not in weights for p in a["params"]):
        return "its weights are computed at run time"
    each = 4 if a["has_biases"] else 2
    if len(a["params"]) != each * a["num_layers"] * (2 if a["bidirectional"] else 1):
        return "projections have no nn layer"
    return ""


class _Stack:
    """The layers of one recurrent call."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.cell = _CELLS[node.target]
        a = _bind(node)
        self.x, self.params, self.biases = a["x"], a["params"], a["has_biases"]
        self.layers, self.directions = a["num_layers"], 2 if a["bidirectional"] else 1
        self.states = [a["h0"], *([a["c0"]] if "c0" in a else [])]

    def build(self, builder: Builder) -> list[Value]:
        x = self.x.transpose(1, 0, 2)
        finals: list[list[Value]] = [[] for _ in self.states]
        for layer in range(self.layers):
            outs = []
            for direction in range(self.directions):
                out, ends = self._direction(x, layer, direction, builder)
                outs.append(out)
                for kind, end in zip(finals, ends, strict=True):
                    kind.append(end)
            x = outs[0] if len(outs) == 1 else call(mx.concatenate, tuple(outs), axis=-1)
        ends = [
            f[0].reshape(1, *f[0].dims) if len(f) == 1 else call(mx.stack, tuple(f)) for f in finals
        ]
        return [x.transpose(1, 0, 2), *ends]

    def _direction(
        self, x: Value, layer: int, direction: int, builder: Builder
    ) -> tuple[Value, list[Value]]:
        k = layer * self.directions + direction
        params, config = self._weights(k)
        step = slice(None, None, -1) if direction else None
        given = call("getitem", x, (slice(None), step)) if step else x
        args: tuple[Any, ...] = (given,)
        if not all(_is_zero(s) for s in self.states):
            args = (given, *(call("getitem", s, (k,)) for s in self.states))
        result = call_layer(self.cell, args, params, **config)
        node = builder.nodes[-1]
        if self.layers * self.directions > 1:
            node.label = ("backward" if direction else "forward") + (
                f"_{layer}" if self.layers > 1 else ""
            )
        results = result if isinstance(result, tuple) else (result,)
        ends = [call("getitem", r, (slice(None), -1)) for r in results]
        out = results[0]
        return (call("getitem", out, (slice(None), step)) if step else out), ends

    def _weights(self, k: int) -> tuple[dict[str, Value], dict[str, Any]]:
        each = 4 if self.biases else 2
        w_ih, w_hh, *bias = self.params[k * each : (k + 1) * each]
        config = {"input_size": w_ih.dims[1], "hidden_size": w_hh.dims[1], "bias": bool(bias)}
        if self.cell == "nn.RNN":
            return {"Wxh": w_ih, "Whh": w_hh} | (
                {"bias": bias[0] + bias[1]} if bias else {}
            ), config
        params = {"Wx": w_ih, "Wh": w_hh}
        if bias and self.cell == "nn.LSTM":
            params["bias"] = bias[0] + bias[1]
        elif bias:
            size = int(w_hh.dims[1])
            gates = call("getitem", bias[1], (slice(None, 2 * size),))
            zeros = call("getitem", bias[1], (slice(2 * size, None),)) * 0.0
            params["b"] = bias[0] + call(mx.concatenate, (gates, zeros), axis=0)
            params["bhn"] = call("getitem", bias[1], (slice(2 * size, None),))
        return params, config


def _is_zero(state: Any) -> bool:
    """Whether an initial state is all zeros by construction."""
    node = state.node if isinstance(state, Value) else None
    while node is not None and node.target in (
        "mx.transpose",
        "mx.reshape",
        "mx.broadcast_to",
        "mx.astype",
        "getitem",
    ):
        first = node.args[0]
        node = first.node if isinstance(first, Value) else None
    return node is not None and (
        node.target == "mx.zeros"
        or (node.target == "mx.full" and node.args[1] == 0)
        or node.target == "mx.zeros_like"
    )
