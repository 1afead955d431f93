"""Turns structural calls whose arguments are weights into ``nn`` layers.

Given::

    y = ops.linear(x, @fc.weight, @fc.bias)

Result::

    y = nn.Linear(x, input_dims=64, output_dims=96, bias=True, weight=@fc.weight, bias=@fc.bias)

so that the emitted model has ``self.fc = nn.Linear(64, 96)``, which quantizes, loads and trains as
usual. A
linear call with an embedding's weight becomes that embedding's ``as_linear``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from pytorch_to_mlx.graph import Builder, Graph, Node, Value, call, is_static
from pytorch_to_mlx.graph.build import attach_outputs
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.passes import through_codes
from pytorch_to_mlx.passes.base import PassReport

# Up to this size the maximum of windows that do not overlap is taken slice by slice (measured:
# benchmarks.variants).
MAX_TAPS = 8

Plan = tuple[str, tuple[Any, ...], dict[str, Any], dict[str, Value], str]


def run(graph: Graph, report: PassReport) -> None:
    """Replaces each structural call that an ``nn`` layer does."""
    weights = set(graph.param_of())
    _split_shared_biases(graph, weights)
    planned = _planned(graph, weights)
    sets: dict[Value, set[frozenset[Value]]] = defaultdict(set)  # by each weight in them
    for *_, plan in planned:
        for value in (held := frozenset(plan[3].values())):
            sets[value].add(held)
    made: dict[tuple[Value, ...], tuple[str, dict[str, Any]]] = {}
    for owner, node, plan in planned:
        target, args, config, params, method = plan
        key = tuple(params.values())
        if key and target != "nn.Embedding" and _held_by_more(key, sets[key[0]]):
            report.refuse(node, "another layer holds these weights and more")
            continue
        if key and made.setdefault(key, (target, config)) != (target, config):
            report.refuse(node, "another layer uses the same weights with other settings")
            continue
        _replace(owner, node, target, args, config, params, method)
        report.applied += 1
    _tie_embeddings(graph, report)


def _held_by_more(key: tuple[Value, ...], sets: set[frozenset[Value]]) -> bool:
    return any(frozenset(key) < other for other in sets)


def _planned(graph: Graph, weights: set[Value]) -> list[tuple[Graph, Node, Plan]]:
    """Every call that a layer can do, with the graph that it is in."""
    found = []
    for owner, node in list(graph.walk()):
        planner = PLANNERS.get(node.target)
        plan = planner(node, weights) if planner else None
        if plan is not None:
            found.append((owner, node, plan))
    return found


def _replace(
    graph: Graph,
    node: Node,
    target: str,
    args: tuple[Any, ...],
    config: dict[str, Any],
    params: dict[str, Value],
    method: str,
) -> Node:
    layer = Node(target, args, config, params=params, scope=node.scope, origin=node.origin)
    layer.method = method
    layer.label = node.label
    outputs = node.outputs
    graph.insert_before(node, [layer])
    node.set_args((), {}, {})
    graph.nodes.remove(node)
    attach_outputs(layer, outputs)
    return layer


def _split_shared_biases(graph: Graph, weights: set[Value]) -> None:
    """A bias that several linear layers share stays with the first; the others add it.

    So does an output layer on an embedding's table, which stays one weight.
    """
    owner: dict[Value, Value] = {}
    tables = {
        _bind(n, "weight ids", {})["weight"] for _, n in graph.walk() if n.target == "ops.embedding"
    }
    for g, node in list(graph.walk()):
        if node.target != "ops.linear":
            continue
        a = _bind(node, "x weight bias", {"bias": None})
        if a["bias"] not in weights:
            continue
        first = owner.setdefault(a["bias"], a["weight"]) is a["weight"]
        if first and a["weight"] not in tables:
            continue
        alone = _is_alone(g, node)
        with Builder(g) as builder, builder.before(node):
            y = call("ops.linear", a["x"], a["weight"]) + a["bias"]
        if y.node is not None and alone:
            y.node.scope = node.scope[:-1]  # no class for one addition
        g.replace(node.output, y)
        g.erase(node)


def _is_alone(graph: Graph, node: Node) -> bool:
    """Whether a module below the root does nothing but this call."""
    inside = [n for n in graph.nodes if len(node.scope) > 1 and node.scope[-1] in n.scope]
    return inside == [node]


def _bind(node: Node, names: str, defaults: dict[str, Any]) -> dict[str, Any]:
    values = dict(zip(names.split(), node.args, strict=False))
    return {**defaults, **values, **node.kwargs}


def _is_weight(v: Any, weights: set[Value], rank: int) -> bool:
    return v in weights and v.ndim == rank and all(is_static(d) for d in v.dims)


def _optional(v: Any, weights: set[Value]) -> bool:
    return v is None or _is_weight(v, weights, 1)


def _linear(node: Node, weights: set[Value]) -> Plan | None:
    a = _bind(node, "x weight bias", {"bias": None})
    if (
        not _is_weight(a["weight"], weights, 2)
        or not _optional(a["bias"], weights)
        or a["x"].ndim < 1
    ):
        return None
    out, inp = a["weight"].dims
    params = {"weight": a["weight"]} | ({"bias": a["bias"]} if a["bias"] is not None else {})
    config = {"input_dims": inp, "output_dims": out, "bias": a["bias"] is not None}
    return "nn.Linear", (a["x"],), config, params, ""


def _quantized_linear(node: Node, weights: set[Value]) -> Plan | None:
    a = _bind(node, "x weight scales biases block bits bias", {"bias": None})
    params = {name: a[name] for name in ("weight", "scales", "biases")}
    if not all(_is_weight(v, weights, 2) for v in params.values()):
        return None
    if not _optional(a["bias"], weights):
        return None
    params |= {"bias": a["bias"]} if a["bias"] is not None else {}
    out, groups = a["scales"].dims
    inputs = int(groups) * int(a["block"])
    if a["x"].ndim < 1 or a["x"].dims[-1] != inputs:
        return None
    sizes = {"input_dims": inputs, "output_dims": out, "bias": a["bias"] is not None}
    config = {**sizes, "group_size": a["block"], "bits": a["bits"]}
    return "nn.QuantizedLinear", (a["x"],), config, params, ""


def _embedding(node: Node, weights: set[Value]) -> Plan | None:
    a = _bind(node, "weight ids", {})
    if not _is_weight(a["weight"], weights, 2):
        return None
    rows, dims = a["weight"].dims
    return (
        "nn.Embedding",
        (a["ids"],),
        {"num_embeddings": rows, "dims": dims},
        {"weight": a["weight"]},
        "",
    )


def _spatial(value: Any, rank: int) -> Any:
    """One number where all axes agree."""
    items = value if isinstance(value, tuple) else (value,) * rank
    return items[0] if len(set(items)) == 1 else tuple(items)


def _conv(rank: int, transposed: bool) -> Callable[[Node, set[Value]], Plan | None]:
    names = (
        "x weight bias stride padding output_padding dilation groups"
        if transposed
        else "x weight bias stride padding dilation groups"
    )
    defaults = {
        "bias": None,
        "stride": 1,
        "padding": 0,
        "output_padding": 0,
        "dilation": 1,
        "groups": 1,
    }

    def plan(node: Node, weights: set[Value]) -> Plan | None:
        a = _bind(node, names, defaults)
        if not _is_weight(a["weight"], weights, rank + 2) or not _optional(a["bias"], weights):
            return None
        if a["groups"] != 1 and (transposed or rank == 3):
            return None
        shape = a["weight"].dims
        kernel, inner = shape[1:-1], shape[-1]
        config: dict[str, Any] = {
            "in_channels": inner * (1 if transposed else a["groups"]),
            "out_channels": shape[0],
            "kernel_size": _spatial(tuple(kernel), rank) if rank > 1 else kernel[0],
        }
        for key in (
            "stride",
            "padding",
            "dilation",
            *(("output_padding",) if transposed else ("groups",)),
        ):
            value = a[key]
            single = 0 if key in ("padding", "output_padding") else 1
            value = value if key == "groups" else _spatial(value, rank)
            if rank == 1 and isinstance(value, tuple):
                return None
            if value != single:
                config[key] = value
        if not _fits(config, rank, transposed):
            return None
        config["bias"] = a["bias"] is not None
        params = {"weight": a["weight"]} | ({"bias": a["bias"]} if a["bias"] is not None else {})
        if transposed and _tiles(config, tuple(kernel)):
            keys = ("in_channels", "out_channels", "bias")
            tiled = {k: config[k] for k in keys} | {"kernel_size": tuple(kernel)}
            return "ops.ConvTransposeTiles", (a["x"],), tiled, params, ""
        name = f"nn.Conv{'Transpose' if transposed else ''}{rank}d"
        return name, (a["x"],), config, params, ""

    return plan


def _tiles(config: dict[str, Any], kernel: tuple[Any, ...]) -> bool:
    """Whether a transposed convolution's stride is its kernel, and nothing else is asked for."""
    plain = max(kernel) > 1 and not {"padding", "dilation", "output_padding"} & set(config)
    return plain and _spatial(config.get("stride", 1), len(kernel)) == _spatial(kernel, len(kernel))


def _fits(config: dict[str, Any], rank: int, transposed: bool) -> bool:
    """Whether MLX's layer takes these arguments (paddings that differ before and after are for
    ``ops``).
    """
    import inspect

    import mlx.nn as nn

    cls = getattr(nn, f"Conv{'Transpose' if transposed else ''}{rank}d")
    known = set(inspect.signature(cls.__init__).parameters)
    flat = all(isinstance(v, int) or all(isinstance(x, int) for x in v) for v in config.values())
    return flat and set(config) <= known


def _norm(target: str, names: str) -> Callable[[Node, set[Value]], Plan | None]:
    def plan(node: Node, weights: set[Value]) -> Plan | None:
        a = _bind(node, names, {"bias": None})
        if not _is_weight(a["weight"], weights, 1) or not _optional(a["bias"], weights):
            return None
        config: dict[str, Any] = {"dims": a["weight"].dims[0], "eps": a["eps"]}
        params = {"weight": a["weight"]}
        if target == "nn.LayerNorm":
            if a["bias"] is not None:
                params["bias"] = a["bias"]
            else:
                config["bias"] = False
        return target, (a["x"],), config, params, ""

    return plan


def _prelu(node: Node, weights: set[Value]) -> Plan | None:
    """One number for all, or one for each place of the last axis."""
    a = _bind(node, "x weight", {})
    x, weight = a["x"], a["weight"]
    if not _is_weight(weight, weights, 1) or not x.ndim or weight.dims[0] not in (1, x.dims[-1]):
        return None
    return "nn.PReLU", (x,), {"num_parameters": weight.dims[0]}, {"weight": weight}, ""


def _batch_norm(node: Node, weights: set[Value]) -> Plan | None:
    a = _bind(node, "x mean var weight bias eps", {"weight": None, "bias": None, "eps": 1e-5})
    if not all(_is_weight(a[k], weights, 1) for k in ("mean", "var")):
        return None
    if a["x"].ndim > 4:  # nn.BatchNorm takes no volumes
        return None
    affine = a["weight"] is not None
    if (
        affine != (a["bias"] is not None)
        or not _optional(a["weight"], weights)
        or not _optional(a["bias"], weights)
    ):
        return None
    params = {"running_mean": a["mean"], "running_var": a["var"]}
    config: dict[str, Any] = {"num_features": a["mean"].dims[0], "eps": a["eps"]}
    if affine:
        params = {"weight": a["weight"], "bias": a["bias"], **params}
    else:
        config["affine"] = False
    return "nn.BatchNorm", (a["x"],), config, params, ""


def _group_norm(node: Node, weights: set[Value]) -> Plan | None:
    a = _bind(node, "x groups weight bias eps", {"weight": None, "bias": None, "eps": 1e-5})
    if (
        a["weight"] is None
        or a["bias"] is None
        or not all(_is_weight(a[k], weights, 1) for k in ("weight", "bias"))
    ):
        return None
    config = {
        "num_groups": a["groups"],
        "dims": a["weight"].dims[0],
        "eps": a["eps"],
        "pytorch_compatible": True,
    }
    return "nn.GroupNorm", (a["x"],), config, {"weight": a["weight"], "bias": a["bias"]}, ""


def _rope(node: Node, weights: set[Value]) -> Plan | None:
    a = _bind(node, "x dims", {"freqs": None, "scale": 1.0, "offset": 0})
    if a["freqs"] is not None or a["offset"] != 0 or isinstance(a["base"], Value):
        return None
    config = {
        "dims": a["dims"],
        "traditional": a["traditional"],
        "base": a["base"],
        "scale": a["scale"],
    }
    return "nn.RoPE", (a["x"],), config, {}, ""


def _pool(kind: str) -> Callable[[Node, set[Value]], Plan | None]:
    def plan(node: Node, weights: set[Value]) -> Plan | None:
        names = "x kernel stride padding dilation ceil_mode"
        if kind == "Avg":
            names = "x kernel stride padding ceil_mode count_include_pad divisor_override"
        defaults = {"dilation": (1,), "ceil_mode": False, "count_include_pad": True}
        a = _bind(node, names, {**defaults, "divisor_override": None})
        rank = len(a["kernel"])
        padded = any(a["padding"])
        plain = set(a["dilation"]) == {1} and not a["ceil_mode"] and a["divisor_override"] is None
        if not plain or (padded and not a["count_include_pad"]) or a["x"].ndim != rank + 2:
            return None
        if not DType(str(a["x"].dtype)).is_floating or rank > 3:
            return None
        config = {"kernel_size": _spatial(a["kernel"], rank), "stride": _spatial(a["stride"], rank)}
        config["padding"] = _spatial(a["padding"], rank)
        if config["stride"] == config["kernel_size"]:
            del config["stride"]
        if kind == "Max" and "stride" not in config and not padded and max(a["kernel"]) <= MAX_TAPS:
            kernel = tuple(a["kernel"]) * (rank if len(a["kernel"]) == 1 else 1)
            return "ops.MaxPool", (a["x"],), {"kernel_size": kernel}, {}, ""
        return f"nn.{kind}Pool{rank}d", (a["x"],), config, {}, ""

    return plan


PLANNERS: dict[str, Callable[[Node, set[Value]], Plan | None]] = {
    "ops.linear": _linear,
    "ops.matmul_of_blocks": _quantized_linear,
    "ops.dequantize_linear": through_codes.plan,
    "ops.embedding": _embedding,
    "ops.batch_norm": _batch_norm,
    "nn.prelu": _prelu,
    "ops.group_norm": _group_norm,
    "mx.fast.rope": _rope,
    "ops.max_pool": _pool("Max"),
    "ops.avg_pool": _pool("Avg"),
    "mx.fast.rms_norm": _norm("nn.RMSNorm", "x weight eps"),
    "mx.fast.layer_norm": _norm("nn.LayerNorm", "x weight bias eps"),
    **{f"ops.conv{r}d": _conv(r, False) for r in (1, 2, 3)},
    **{f"ops.conv_transpose{r}d": _conv(r, True) for r in (1, 2, 3)},
}


def _tie_embeddings(graph: Graph, report: PassReport) -> None:
    """``nn.Linear`` without bias on an embedding's weight becomes that embedding's
    ``as_linear``.
    """
    tables = {n.params["weight"]: n for _, n in graph.walk() if n.target == "nn.Embedding"}
    for owner, node in list(graph.walk()):
        if node.target not in ("nn.Linear", "ops.linear"):
            continue
        a = {
            **dict(zip(("x", "weight", "bias"), node.args, strict=False)),
            **node.kwargs,
            **node.params,
        }
        table = tables.get(a.get("weight"))  # type: ignore[arg-type]
        if table is None:
            continue
        bias = a.get("bias")
        if isinstance(bias, Value):
            report.refuse(node, "a tied output layer with a bias stays a plain product")
            continue
        _replace(
            owner,
            node,
            "nn.Embedding",
            (node.args[0],),
            dict(table.kwargs),
            dict(table.params),
            "as_linear",
        )
        report.applied += 1
