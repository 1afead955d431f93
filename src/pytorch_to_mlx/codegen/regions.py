"""Rebuilds the calls of modules: a tree of regions, each a contiguous run of calls with inputs and
outputs.

The order of calls may change within what the data dependencies allow, so that each call of a module
is one
piece. Where that is impossible (fusion or sharing tied a module to what surrounds it in both
directions) the module is written inline in its parent.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Union

import sympy

from pytorch_to_mlx.codegen.forms import is_random
from pytorch_to_mlx.codegen.homes import Homes, is_ancestor
from pytorch_to_mlx.graph import Frame, Graph, Node, Value
from pytorch_to_mlx.graph.dims import free_symbols
from pytorch_to_mlx.graph.ir import IF, RETURN

Item = Union[Node, "Region"]


@dataclass(eq=False)
class Region:
    """One call of one module: its items in order, the values it takes and gives."""

    frame: Frame
    items: list[Item] = field(default_factory=list)
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    branches: dict[Graph, list[Item]] = field(default_factory=dict)  # of the ``if``s among items

    def nodes(self) -> list[Node]:
        out: list[Node] = []
        for item in self.items:
            out.extend(item.nodes() if isinstance(item, Region) else [item])
        return out

    def walk(self) -> list[Region]:
        out = [self]
        for item in (*self.items, *(i for items in self.branches.values() for i in items)):
            if isinstance(item, Region):
                out.extend(item.walk())
        return out


def build_regions(graph: Graph, homes: Homes) -> Region:
    """The region of the root module."""
    symbols = symbol_makers(graph)
    nodes = [n for n in graph.nodes if n.target != RETURN]
    root = Region(homes.frames[graph.nodes[0]][0] if graph.nodes else Frame("", graph.name))
    _fill(root, nodes, 1, homes, symbols)
    _interfaces(root, homes.owner_of, set(iter_return(graph)), holders(graph))
    return root


def _fill(
    region: Region, nodes: list[Node], depth: int, homes: Homes, symbols: dict[sympy.Symbol, Node]
) -> None:
    """Arranges what a region does, its branches too."""
    region.items = _arrange(nodes, depth, homes, symbols)
    todo = [n for n in region.items if isinstance(n, Node)]
    while todo:
        node = todo.pop()
        for sub in node.subgraphs.values() if node.target == IF else ():
            inner = [n for n in sub.nodes if n.target != RETURN]
            items = _arrange(inner, depth, homes, _made_inside(sub))
            region.branches[sub] = items
            todo += [n for n in items if isinstance(n, Node)]


def _made_inside(branch: Graph) -> dict[sympy.Symbol, Node]:
    """The node of a branch that makes each symbol which only it knows."""
    outer = {s for v in branch.free_values() for d in v.shape or () for s in free_symbols(d)}
    return {s: n for s, n in symbol_makers(branch).items() if s not in outer}


def symbol_makers(graph: Graph) -> dict[sympy.Symbol, Node]:
    """The node that makes each symbol which the data decides."""
    made: dict[sympy.Symbol, Node] = {}
    inputs = {
        s for v in graph.inputs for d in (v.shape or ()) for s in getattr(d, "free_symbols", ())
    }
    for node in graph.nodes:
        for v in node.outputs:
            if v.symbol is not None and v.symbol not in inputs:
                made.setdefault(v.symbol, node)
    for node in graph.nodes:
        for v in node.outputs:
            for d in v.shape or ():
                for s in getattr(d, "free_symbols", ()):
                    if s not in inputs:
                        made.setdefault(s, node)
    return made


def iter_return(graph: Graph) -> list[Value]:
    return graph.ret.inputs() if graph.nodes and graph.ret.target == RETURN else []


def _dependencies(nodes: list[Node], symbols: dict[sympy.Symbol, Node]) -> dict[Node, list[Node]]:
    inside = set(nodes)
    out: dict[Node, list[Node]] = {}
    last_random: Node | None = None
    for n in nodes:
        deps = [v.node for v in n.inputs() if v.node is not None and v.node in inside]
        deps += [
            symbols[s]
            for s in n.symbols()
            if s in symbols and symbols[s] in inside and symbols[s] is not n
        ]
        if is_random(n.target):
            if last_random is not None:
                deps.append(last_random)
            last_random = n
        out[n] = deps
    return out


def _arrange(
    nodes: list[Node], depth: int, homes: Homes, symbols: dict[sympy.Symbol, Node]
) -> list[Item]:
    """Groups the nodes of one region by the child module they belong to, in dependency order."""
    while True:
        group_of: dict[Node, object] = {}
        members: dict[object, list[Node]] = defaultdict(list)
        for n in nodes:
            frames = homes.frames[n]
            key: object = frames[depth].key if len(frames) > depth else n
            group_of[n] = key
            members[key].append(n)
        deps = _dependencies(nodes, symbols)
        order, stuck = _sort(nodes, group_of, members, deps)
        if not stuck:
            break
        _inline(stuck, members, depth, homes)
    items: list[Item] = []
    for key in order:
        group = members[key]
        if isinstance(key, Node):
            items.append(key)
            continue
        region = Region(homes.frames[group[0]][depth])
        _fill(region, group, depth + 1, homes, symbols)
        items.append(region)
    return items


def _sort(
    nodes: list[Node],
    group_of: dict[Node, object],
    members: dict[object, list[Node]],
    deps: dict[Node, list[Node]],
) -> tuple[list[object], list[object]]:
    """Groups in dependency order, earliest first; the groups that cycles keep from being placed."""
    position = {n: i for i, n in enumerate(nodes)}
    first = {key: min(position[n] for n in group) for key, group in members.items()}
    waits: dict[object, set[object]] = {key: set() for key in members}
    feeds: dict[object, set[object]] = defaultdict(set)
    for n in nodes:
        for d in deps[n]:
            a, b = group_of[d], group_of[n]
            if a != b:
                waits[b].add(a)
                feeds[a].add(b)
    ready = [(first[k], i, k) for i, (k, w) in enumerate(waits.items()) if not w]
    heapq.heapify(ready)
    order: list[object] = []
    tick = len(members)
    while ready:
        _, _, key = heapq.heappop(ready)
        order.append(key)
        for nxt in feeds[key]:
            waits[nxt].discard(key)
            if not waits[nxt]:
                tick += 1
                heapq.heappush(ready, (first[nxt], tick, nxt))
    return order, _on_cycles({k for k in members if waits[k]}, waits)


def _on_cycles(stuck: set[object], waits: dict[object, set[object]]) -> list[object]:
    """Of the groups that cannot be placed, those that others which cannot be placed wait for."""
    while True:
        needed = {k for key in stuck for k in waits[key]} & stuck
        if needed == stuck:
            return [k for k in waits if k in stuck]
        stuck = needed


def _inline(
    stuck: list[object], members: dict[object, list[Node]], depth: int, homes: Homes
) -> None:
    """Takes one module out of the hierarchy: the smallest that is part of a cycle."""
    modules = [k for k in stuck if not isinstance(k, Node)]
    if not modules:
        raise AssertionError("calls depend on each other in a cycle")
    smallest = min(modules, key=lambda k: len(members[k]))
    for n in members[smallest]:
        inside = (i for sub in n.subgraphs.values() for _, i in sub.walk() if i in homes.frames)
        for each in (n, *inside):
            frames = homes.frames[each]
            homes.frames[each] = frames[:depth] + frames[depth + 1 :]


def _interfaces(
    region: Region, owner: dict[Value, str], needed: set[Value], holder: dict[Node, Node]
) -> None:
    """Fills inputs and outputs: what is used from outside (weights of other modules too), and what
    others (or ``needed``) use.
    """
    inside = region.nodes()
    made = {v for n in inside for v in n.outputs}
    used = dict.fromkeys(v for n in inside for v in n.inputs())
    path = region.frame.path
    own = {v for v in used if v in owner and is_ancestor(path, owner[v], strict=False)}
    region.inputs = [v for v in used if v not in made and v not in own]
    members = set(inside)
    region.outputs = [
        v
        for n in inside
        for v in n.outputs
        if v in needed
        or any(holder[u] not in members and u.target != RETURN for u in v.users if u in holder)
    ]
    region.outputs += _counts_for_others(region, inside, holder)
    for item in region.items:
        if isinstance(item, Region):
            _interfaces(item, owner, needed, holder)
    for branch, items in region.branches.items():
        returned, inner_holder = iter_return(branch), holders(branch)
        for item in items:
            if isinstance(item, Region):
                _interfaces(item, owner, set(returned), inner_holder)
                if set(item.outputs) == set(returned):
                    item.outputs = returned


def _counts_for_others(region: Region, inside: list[Node], holder: dict[Node, Node]) -> list[Value]:
    """Sizes that a region reads out of the data and that others mention, such as how many tokens
    each expert gets; but for those that the shapes of its results tell."""
    counts = {
        v.symbol: v
        for n in inside
        for v in n.outputs
        if n.target == "host.item" and isinstance(v.symbol, sympy.Symbol)
    }
    if not counts:
        return []
    members = set(inside)
    asked = {s for n, top in holder.items() if top not in members for s in n.symbols()}
    told = {d for v in region.outputs for d in v.shape or ()}
    return [
        v for s, v in counts.items() if s in asked and s not in told and v not in region.outputs
    ]


def holders(graph: Graph) -> dict[Node, Node]:
    """For every node, those of subgraphs included, the top-level node that holds it."""
    found: dict[Node, Node] = {}
    for node in graph.nodes:
        found[node] = node
        for sub in node.subgraphs.values():
            found.update((inner, node) for _, inner in sub.walk())
    return found


__all__ = ["Region", "build_regions", "iter_return", "symbol_makers"]
