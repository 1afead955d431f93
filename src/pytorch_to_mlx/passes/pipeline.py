"""The passes in order."""

from __future__ import annotations

from collections import Counter

from pytorch_to_mlx.graph import Graph
from pytorch_to_mlx.passes import fold_weights, growing_concat, layers, recurrent, scopes, sink
from pytorch_to_mlx.passes.base import Pass, PassReport
from pytorch_to_mlx.passes.clean import CLEAN
from pytorch_to_mlx.passes.fuse import FUSE, parts, upsample
from pytorch_to_mlx.passes.layout import channels_last

OPTIONAL = frozenset({"conv_batch_norm"})


def passes(*, fold_batch_norm: bool = True) -> list[tuple[str, Pass]]:
    """Name and function of every pass, in order."""
    fuse = [(n, p) for n, p in FUSE if fold_batch_norm or n not in OPTIONAL]
    return [
        *CLEAN,
        ("recurrent", recurrent.run),
        *fuse,
        ("upsample", upsample.run),
        ("fold_weights", fold_weights.run),
        ("channels_last", channels_last.run),
        ("parts", parts.run),
        *CLEAN,
        ("fold_weights", fold_weights.run),
        ("layers", layers.run),
        *[(n, p) for n, p in CLEAN if n in ("dead_code", "cse")],
        ("scopes", scopes.run),
        ("growing_concat", growing_concat.run),
        ("sink", sink.run),
    ]


def optimise(graph: Graph, *, fold_batch_norm: bool = True) -> list[PassReport]:
    """Runs every pass on a graph (in place) and returns what each did."""
    reports: dict[str, PassReport] = {}
    for name, run in passes(fold_batch_norm=fold_batch_norm):
        report = reports.setdefault(name, PassReport(name))
        before = _calls(graph)
        run(graph, report)
        report.made += _calls(graph) - before
    return list(reports.values())


def _calls(graph: Graph) -> Counter[str]:
    return Counter(node.target for _, node in graph.walk())
