"""Recurrent stacks as layers, one a layer of the stack, its weights in ``mlx.nn``'s layout.

Given::

    y, h, c = ops.lstm(x, zeros, zeros, (w_ih, w_hh, b_ih, b_hh), has_biases=True, num_layers=1)

with ``x`` [T, B, I], the result works batch-first (the layout pass removes the transposes)::

    y, h, c = ops.LSTMLayer(x.transpose(1, 0, 2), Wx=w_ih, Wh=w_hh, bias=b_ih + b_hh)

The layers of ``ops`` run both directions in one matmul a step and the rest of the step in one
compiled kernel: 1.5 to 3 times as fast as ``nn.LSTM`` and ``nn.GRU`` (docs/performance.md). Only
over sequences known to have one or two steps are those as fast, and emitted instead. Packed
sequences and weights that are computed at run time keep the function. What is made of weights alone
(ONNX orders gates in another way) counts as a weight: it is folded later.
"""

from __future__ import annotations

from collections.abc import Container
from itertools import chain, count
from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Builder, Graph, Node, Value, call, is_static
from pytorch_to_mlx.graph.build import call_layer
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.fold_weights import weights_behind, weights_only

_LAYERS = {
    "ops.lstm": "ops.LSTMLayer",
    "ops.gru": "ops.GRULayer",
    "ops.rnn_tanh": "ops.RNNLayer",
    "ops.rnn_relu": "ops.RNNLayer",
}
# Over at most so many steps a layer of nn is as fast (measured: benchmarks.variants).
SHORT = 2


def run(graph: Graph, report: PassReport) -> None:
    """Replaces every recurrent call whose weights are weights."""
    param_of, static = graph.param_of(), weights_only(graph)
    stacks: dict[Node, tuple[_Stack, str]] = {}
    owner_of = {n: owner for owner, n in graph.walk()}
    for node in owner_of:
        if node.target not in _LAYERS:
            continue
        stack = _Stack(node)
        reason = stack.refusal(static)
        if reason:
            report.refuse(node, reason)
            continue
        weight = weights_behind(stack.params[0], static)[0]
        stacks[node] = (stack, param_of[weight].path)
    labels = _labels(graph, list(stacks.values()))
    for node, names in zip(stacks, labels, strict=True):
        with Builder(owner_of[node]) as builder, builder.before(node):
            results = _Stack(node).build(builder, names)
        for old, new in zip(node.outputs, results, strict=True):
            new.hint = old.hint
            graph.replace(old, new)
        owner_of[node].erase(node)
        report.applied += 1


def _labels(graph: Graph, stacks: list[tuple[_Stack, str]]) -> list[list[str]]:
    """What the layers of each stack (with a weight's path) are called: places in a list of their
    module; empty where a module has only one.

    torch calls a stack at once, ONNX layer by layer.
    """
    names = _Names([*graph.classes, *(p.path for p in graph.params.values())])
    single: dict[str, list[str]] = {}
    for stack, path in stacks:
        if stack.layers == 1:
            single.setdefault(path.rpartition(".")[0], []).append(path)
    several = {
        owner: (names.of(owner), paths)
        for owner, paths in single.items()
        if len(set(paths)) == len(paths) > 1
    }
    found = []
    for stack, path in stacks:
        owner = path.rpartition(".")[0]
        if stack.layers > 1:
            name = names.of(owner)
            found.append([f"{name}.{k}" for k in range(stack.layers)])
        elif owner in several:
            name, paths = several[owner]
            found.append([f"{name}.{paths.index(path)}"])
        else:
            found.append([""])
    return found


class _Names:
    """What the list of a stack's layers is called beside the other names of its module."""

    def __init__(self, paths: list[str]) -> None:
        self.taken = set(paths)
        for parts in (path.split(".") for path in paths):
            self.taken.update(".".join(parts[:n]) for n in range(1, len(parts)))

    def of(self, owner: str) -> str:
        """A name that is free in the module ``owner``, and from now on taken."""
        later = (f"recurrent_layers_{n}" for n in count(2))
        for name in chain(("layers", "recurrent_layers"), later):
            path = f"{owner}.{name}".lstrip(".")
            if path not in self.taken:
                self.taken.add(path)
                return name
        raise AssertionError("unreachable: the names do not end")


def _bind(node: Node) -> dict[str, Any]:
    states = ["h0", "c0"] if node.target == "ops.lstm" else ["h0"]
    names = ["x", *states, "params", "has_biases", "num_layers", "bidirectional", "lengths"]
    defaults = {"has_biases": True, "num_layers": 1, "bidirectional": False, "lengths": None}
    return {**defaults, **dict(zip(names, node.args, strict=False)), **node.kwargs}


class _Stack:
    """The layers of one recurrent call."""

    def __init__(self, node: Node) -> None:
        self.target = node.target
        a = _bind(node)
        self.x, self.params, self.biases = a["x"], a["params"], a["has_biases"]
        self.packed = a["lengths"] is not None
        self.layers, self.directions = a["num_layers"], 2 if a["bidirectional"] else 1
        self.states = [a["h0"], *([a["c0"]] if "c0" in a else [])]
        self.each = len(self.params) // (self.layers * self.directions)
        self.projected = self.each > (4 if self.biases else 2)
        steps = self.x.dims[0]
        self.short = is_static(steps) and int(steps) <= SHORT

    def refusal(self, weights: Container[Value]) -> str:
        """Why the call stays a function; empty if it need not."""
        if self.packed:
            return "packed sequences have no layer"
        if any(p not in weights for p in self.params):
            return "its weights are computed at run time"
        return ""

    def build(self, builder: Builder, labels: list[str]) -> list[Value]:
        """The stack's outputs: the sequence [T, B, D * H] and the final states."""
        x = self.x.transpose(1, 0, 2)
        finals: list[list[Value]] = [[] for _ in self.states]
        plain = self.short and not self.projected and self.target in ("ops.lstm", "ops.gru")
        for layer in range(self.layers):
            if plain:
                x, ends = self._plain(x, layer, builder)
            else:
                x, *ends = self._layer(x, layer)
                builder.nodes[-1].label = labels[layer]
            for kind, end in zip(finals, ends, strict=True):
                kind.append(end)
        ends = [f[0] if len(f) == 1 else call(mx.concatenate, tuple(f), axis=0) for f in finals]
        return [x.transpose(1, 0, 2), *ends]

    def _layer(self, x: Value, layer: int) -> tuple[Value, ...]:
        """A layer of ``ops``: its outputs and final states [D, B, H]."""
        parts = [self._weights(layer * self.directions + d) for d in range(self.directions)]
        w = {k: _joined([p[k] for p in parts]) for k in parts[0]}
        params, config = {"Wx": w["w_ih"], "Wh": w["w_hh"]}, self._config(parts[0])
        if self.target == "ops.gru" and self.biases:
            params |= {"bx": w["b_ih"], "bh": w["b_hh"]}
        elif self.biases:
            params["bias"] = w["b_ih"] + w["b_hh"]
        if self.projected:
            params["Wp"], config["projection_size"] = w["w_hr"], parts[0]["w_hr"].dims[0]
        if self.target == "ops.rnn_relu":
            config["nonlinearity"] = "relu"
        if self.directions == 2:
            config["bidirectional"] = True
        first = layer * self.directions
        out: tuple[Value, ...] = call_layer(
            _LAYERS[self.target],
            (x, *self._given(slice(first, first + self.directions))),
            params,
            **config,
        )
        return out

    def _given(self, index: int | slice) -> list[Value]:
        """The initial states of a layer or direction; none where all are zero."""
        if all(_is_zero(s) for s in self.states):
            return []
        if isinstance(index, slice) and self.layers == 1:
            return self.states
        return [call("getitem", s, (index,)) for s in self.states]

    def _weights(self, k: int) -> dict[str, Value]:
        """The weights of one layer and direction by torch's names."""
        names = ["w_ih", "w_hh", *(["b_ih", "b_hh"] if self.biases else [])]
        names += ["w_hr"] if self.projected else []
        return dict(zip(names, self.params[k * self.each : (k + 1) * self.each], strict=True))

    def _config(self, w: dict[str, Value]) -> dict[str, Any]:
        gates = {"ops.lstm": 4, "ops.gru": 3}.get(self.target, 1)
        return {
            "input_size": w["w_ih"].dims[1],
            "hidden_size": int(w["w_hh"].dims[0]) // gates,
            "bias": bool(self.biases),
        }

    # -- one or two steps --------------------------------------------------------------------------

    def _plain(self, x: Value, layer: int, builder: Builder) -> tuple[Value, list[Value]]:
        """``nn.LSTM`` or ``nn.GRU``, one a direction: the outputs and final states [D, B, H]."""
        outs, finals = [], []
        for direction in range(self.directions):
            out, ends = self._direction(x, layer, direction, builder)
            outs.append(out)
            finals.append(ends)
        states = [
            e[0].reshape(1, *e[0].dims) if len(e) == 1 else call(mx.stack, e)
            for e in zip(*finals, strict=True)
        ]
        return outs[0] if len(outs) == 1 else call(mx.concatenate, tuple(outs), axis=-1), states

    def _direction(
        self, x: Value, layer: int, direction: int, builder: Builder
    ) -> tuple[Value, list[Value]]:
        k = layer * self.directions + direction
        step = slice(None, None, -1) if direction else None
        given = call("getitem", x, (slice(None), step)) if step else x
        w = self._weights(k)
        result = call_layer(
            "nn.LSTM" if self.target == "ops.lstm" else "nn.GRU",
            (given, *self._given(k)),
            self._nn_params(w),
            **self._config(w),
        )
        if self.layers * self.directions > 1:
            builder.nodes[-1].label = ("backward" if direction else "forward") + (
                f"_{layer}" if self.layers > 1 else ""
            )
        results = result if isinstance(result, tuple) else (result,)
        ends = [call("getitem", r, (slice(None), -1)) for r in results]
        out = results[0]
        return (call("getitem", out, (slice(None), step)) if step else out), ends

    def _nn_params(self, w: dict[str, Value]) -> dict[str, Value]:
        params = {"Wx": w["w_ih"], "Wh": w["w_hh"]}
        if self.biases and self.target == "ops.lstm":
            params["bias"] = w["b_ih"] + w["b_hh"]
        elif self.biases:
            size = int(w["w_hh"].dims[1])
            gates = call("getitem", w["b_hh"], (slice(None, 2 * size),))
            last = call("getitem", w["b_hh"], (slice(2 * size, None),))
            params["b"] = w["b_ih"] + call(mx.concatenate, (gates, last * 0.0), axis=0)
            params["bhn"] = last
        return params


def _joined(parts: list[Value]) -> Value:
    """The weights of the directions, one below the other."""
    joined: Value = call(mx.concatenate, tuple(parts), axis=0) if len(parts) > 1 else parts[0]
    return joined


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
        or (node.target == "mx.array" and node.args[0] == 0)
        or (node.target == "mx.full" and node.args[1] == 0)
        or node.target == "mx.zeros_like"
    )
