"""The body of one call of a module, as statements over its arguments."""

from __future__ import annotations

import ast
import copy
from typing import Any

import sympy

from pytorch_to_mlx.codegen import forms
from pytorch_to_mlx.codegen.block_sizes import BlockSizes
from pytorch_to_mlx.codegen.carried import without_copies
from pytorch_to_mlx.codegen.context import Context, Method
from pytorch_to_mlx.codegen.control import ControlFlow
from pytorch_to_mlx.codegen.expressions import Renderer, attribute_chain, name
from pytorch_to_mlx.codegen.homes import leaf
from pytorch_to_mlx.codegen.list_loops import Folder
from pytorch_to_mlx.codegen.locals import Allocator, Substitute, base_name, name_of_origin, shorten
from pytorch_to_mlx.codegen.loops import fold_loops, return_directly
from pytorch_to_mlx.codegen.names import argument, unique
from pytorch_to_mlx.codegen.nesting import nested_items
from pytorch_to_mlx.codegen.queries import (
    MAX_CALLS,
    MAX_WIDTH,
    complexity,
    contains,
    given_back,
    last_node,
    occurrences,
    positions_of_uses,
    width,
)
from pytorch_to_mlx.codegen.regions import Item, Region
from pytorch_to_mlx.codegen.root_inputs import argument_names, root_arguments
from pytorch_to_mlx.codegen.size_names import names_in
from pytorch_to_mlx.codegen.sizes import Sizes, asked_sizes
from pytorch_to_mlx.codegen.source_names import assigned_names, enclosing_class
from pytorch_to_mlx.graph import Node, Tree, Value
from pytorch_to_mlx.graph.ir import RAISE, iter_values

MAX_IN_DICT = 70  # of a value in a dict that is returned


class MethodWriter:
    """Writes one region, after its child regions (which say which sizes they lack)."""

    def __init__(
        self, context: Context, region: Region, pinned: frozenset[Value] = frozenset()
    ) -> None:
        self.context = context
        self.region = region
        self.pinned = pinned  # values with a variable of their own, for their sizes are asked for
        self.path = region.frame.path
        self.env: dict[Value, ast.expr] = {}
        self.wanted: dict[str, str] = {}
        self.statements: list[ast.stmt] = []
        self.made: set[Value] = set()
        self.depth = 0  # of nested statements
        self.blocks: list[BlockSizes] = []  # around what is being written
        self.defined_at: dict[Value, int] = {}
        self.is_root = self.path == "" and not region.frame.call
        arrays = list(region.inputs)
        if self.is_root:
            arrays += [v for v in context.graph.inputs if v not in arrays]
        self.arrays = arrays
        self.given = set(arrays)
        self.sizes = Sizes(arrays, names_in(context.graph, is_root=self.is_root))
        self.renderer = Renderer(self.value, self.sizes.expression, self.sizes.kept)
        self.asked = asked_sizes(region.nodes())
        self.given_back = given_back(context.graph, region) if self.is_root else region.outputs
        self.counts = self._count_uses()
        self.used_at = positions_of_uses(region)

    # -- values ------------------------------------------------------------------------------------

    def value(self, v: Value) -> ast.expr:
        if v in self.env:
            return copy.deepcopy(self.env[v])
        p = self.context.param_of.get(v)
        if p is None or v in self.given:
            return name(f"_v{v.id}")
        if p.path in self.context.homes.in_layer:
            layer, own = self.context.homes.in_layer[p.path]
            return ast.Attribute(self.self_path(layer), own, ast.Load())
        return self.self_path(p.path)

    def self_path(self, path: str) -> ast.expr:
        return attribute_chain(name("self"), self.context.attributes.chain(path, self.path))

    def _count_uses(self) -> dict[Value, int]:
        counts: dict[Value, int] = {}
        for item in self.region.items:
            used = item.inputs if isinstance(item, Region) else occurrences(item)
            for v in used:
                counts[v] = counts.get(v, 0) + 1
        for v in self.given_back:
            counts[v] = counts.get(v, 0) + 1
        for path, position in self.context.graph.states.items():
            stored = self.context.graph.ret.args[position]
            if isinstance(stored, Value) and path:
                counts[stored] = counts.get(stored, 0) + 1
        return counts

    # -- writing -----------------------------------------------------------------------------------

    def write(self) -> Method:
        for i, item in enumerate(self.region.items):
            if isinstance(item, Region):
                self._call_region(item, i)
            else:
                self._call_node(item, i)
        self._store_states()
        if self.is_root or self.region.outputs or not self.statements:
            self.statements.append(ast.Return(self._returned()))
            if not self.is_root:
                self.statements[-1].__dict__["kinds"] = [v.kind for v in self.region.outputs]
        return self._finish()

    def _call_node(self, node: Node, at: int) -> None:
        expression = self.expression(node)
        if expression is None:
            return
        in_list = isinstance(expression, ast.Call) and isinstance(expression.func, ast.Subscript)
        if len(node.outputs) == 1 and not in_list and self._inlines(node, expression, at):
            self.env[node.output] = expression
            self.wanted[f"_v{node.output.id}"] = base_name(node.output, node) or self._inherit(
                node, node.output, None
            )
            return
        self.assign(node.outputs, expression, node)

    def expression(self, node: Node) -> ast.expr | None:
        """A call as an expression; None for control flow and host values, which are written as
        statements.
        """
        if node.subgraphs or node.target == RAISE:
            ControlFlow(self).write(node)
            return None
        if node.target.startswith("ops."):
            self.context.used_ops.add(node.target[4:])
        if node.target == "host.item":
            self._host_item(node)
            return None
        if node not in self.context.homes.layer_of:
            return self.renderer.call(node)
        function = self.self_path(self.context.homes.layer_of[node])
        if node.method:
            function = ast.Attribute(function, node.method, ast.Load())
        return self.renderer.call(node, function)

    def declare(self, v: Value, node: Node) -> None:
        """A value that a compound statement assigns."""
        self.made.add(v)
        self.wanted[f"_v{v.id}"] = base_name(v, node) or "x"
        if isinstance(v.symbol, sympy.Symbol):
            self.sizes.bind(v.symbol, f"_v{v.id}")
        if not self.depth:
            self.defined_at[v] = len(self.statements)
            self.sizes.add_array(v)

    def _host_item(self, node: Node) -> None:
        """A number that the data decides: evaluates the array (a sync) and binds the size
        symbol.
        """
        v = node.output
        kind = {"int": "int", "float": "float", "bool": "bool"}[v.kind]
        call = ast.Call(ast.Attribute(self.renderer.arg(node.args[0]), "item", ast.Load()), [], [])
        self.assign([v], ast.Call(name(kind), [call], []), node)

    def _call_region(self, child: Region, at: int) -> None:
        expression = self.region_call(child)
        in_list = isinstance(self.self_path(child.frame.path), ast.Subscript)
        if not child.outputs:  # it only checks, or changes states
            self.statements.append(ast.Expr(expression))
        if len(child.outputs) == 1 and not in_list and self._inlines(child, expression, at):
            self.env[child.outputs[0]] = expression
            return
        self.assign(child.outputs, expression, last_node(child), region=child)

    def region_call(self, child: Region) -> ast.expr:
        """The call of another module."""
        function: ast.expr = self.self_path(child.frame.path)
        called = self.context.method_names.get(child, "__call__")
        if called != "__call__":
            function = ast.Attribute(function, called, ast.Load())
        args = [self.value(v) for v in child.inputs]
        args += [self.sizes.expression(e) for e in self.context.methods[child].extra]
        expression = ast.Call(function, args, [])
        expression.__dict__["paths"] = (child.frame.path,)
        expression.__dict__["arguments"] = tuple(self.context.methods[child].arguments)
        return expression

    def assign(
        self, outputs: list[Value], e: ast.expr, node: Node | None, region: Region | None = None
    ) -> None:
        if not outputs:
            return
        used = [v if v.uses or v.symbol is not None else None for v in outputs]
        targets: list[ast.expr] = [ast.Name(f"_v{v.id}" if v else "_", ast.Store()) for v in used]
        target = targets[0] if len(targets) == 1 else ast.Tuple(targets, ast.Store())
        self.statements.append(ast.Assign([target], e, lineno=0))
        for v in outputs:
            self.made.add(v)
            if isinstance(v.symbol, sympy.Symbol):
                self.sizes.bind(v.symbol, f"_v{v.id}")
            if not self.depth:
                self.defined_at[v] = len(self.statements)
                self.sizes.add_array(v)
            hint = self._name_in_parent(region, v) if region is not None else base_name(v, node)
            self.wanted[f"_v{v.id}"] = hint or self._inherit(node, v, region)

    def _name_in_parent(self, region: Region, value: Value) -> str:
        """The variable to which the calling statement assigns the module's result."""
        node = last_node(region)
        cls = self.region.frame.cls
        for file, line in reversed(node.origin.stack if node is not None else ()):
            if enclosing_class(file, line) == cls:
                names = assigned_names(file, line)
                if len(names) == len(region.outputs):
                    return shorten(names[region.outputs.index(value)])
                if len(region.outputs) == 1 and names:
                    return shorten(names[0])
        return base_name(value, value.node)

    def _inherit(self, node: Node | None, v: Value, region: Region | None) -> str:
        """Without a better name a value is called like what it was made from."""
        sources = (
            region.inputs if region is not None else (node.inputs() if node is not None else [])
        )
        for source in sources:
            wanted = self.wanted.get(f"_v{source.id}")
            if wanted == "mask":
                continue
            if wanted and source.kind == "array" and source.dtype == v.dtype and len(sources) <= 2:
                return wanted
        return "x"

    # -- inlining ----------------------------------------------------------------------------------

    def _inlines(self, item: Item, expression: ast.expr, at: int) -> bool:
        value = item.outputs[0]
        if self.counts.get(value, 0) != 1 or value.kind != "array" or value in self.pinned:
            return False
        if isinstance(item, Node) and (
            item.target in forms.OWN_LINE or forms.is_random(item.target)
        ):
            return False
        if self.sizes.tells(value, self.asked):
            return False  # only a variable's shape can be read
        user = self._user(value, at)
        if user is None and value not in self.given_back:  # it is only stored as a state
            return width(expression) <= MAX_WIDTH and "self." not in ast.unparse(expression)
        if user is None:
            in_dict = self.is_root and (self.context.graph.out_tree or Tree("none")).kind == "dict"
            return (
                value in self.region.outputs
                and len(self.region.outputs) == 1
                and not self.context.graph.states
                and (not in_dict or width(expression) <= MAX_IN_DICT)
            )
        if isinstance(user, Node) and user.subgraphs and value not in iter_values(user.args):
            return False
        if isinstance(user, Node) and (
            not user.subgraphs and (len(user.outputs) > 1 and width(expression) > 40)
        ):
            return False
        if self._first_argument_of_list_element(user, value):
            return False
        return width(expression) <= MAX_WIDTH and complexity(expression) <= MAX_CALLS

    def _user(self, value: Value, at: int) -> Item | None:
        later = next((i for i in self.used_at.get(value, ()) if i > at), None)
        return None if later is None else self.region.items[later]

    def _first_argument_of_list_element(self, user: Item, value: Value) -> bool:
        """Whether the user is ``self.layers[i](value)``: kept apart so that the calls fold into a
        loop.
        """
        if isinstance(user, Region):
            path, first = user.frame.path, user.inputs[0] if user.inputs else None
        elif user in self.context.homes.layer_of:
            path, first = self.context.homes.layer_of[user], user.args[0]
        else:
            return False
        return first is value and isinstance(self.context.attributes.parts[path], int)

    # -- ends --------------------------------------------------------------------------------------

    def _store_states(self) -> None:
        """Assigns new values of buffers in the module that makes them (or the root)."""
        graph = self.context.graph
        for path, position in graph.states.items():
            new = graph.ret.args[position]
            if self._owns_state(path, new):
                target = self.self_path(path)
                target.ctx = ast.Store()  # type: ignore[attr-defined]
                self.statements.append(ast.Assign([target], self.renderer.arg(new), lineno=0))

    def _owns_state(self, path: str, new: Any) -> bool:
        inner = [r for r in self.region.items if isinstance(r, Region)]
        made_inside = any(
            new in {v for n in r.nodes() for v in n.outputs} and contains(r, path) for r in inner
        )
        if made_inside or not contains(self.region, path):
            return False
        if self.is_root:
            return True
        return new in {v for n in self.region.nodes() for v in n.outputs}

    def _returned(self) -> ast.expr:
        if self.is_root:
            graph = self.context.graph
            return self.tree(graph.out_tree or Tree("none"), graph.ret.args)
        outs = [self.value(v) for v in self.region.outputs]
        return outs[0] if len(outs) == 1 else ast.Tuple(outs, ast.Load())

    def tree(self, tree: Tree, leaves: tuple[Any, ...]) -> ast.expr:
        """A nest of outputs as tuples, lists and dicts."""
        if tree.kind == "leaf":
            return self.renderer.arg(leaves[tree.index])
        if tree.kind in ("none", "const"):
            return self.renderer.arg(tree.value)
        items = [self.tree(c, leaves) for c in tree.children]
        if tree.kind == "dict":
            return ast.Dict([ast.Constant(k) for k in tree.keys], items)
        return ast.List(items, ast.Load()) if tree.kind == "list" else ast.Tuple(items, ast.Load())

    def _finish(self) -> Method:
        names, prologue = self._arguments()
        bind_names = self._bind_sizes(set(names.values()))
        extra_names = self._extra_arguments(set(names.values()) | set(bind_names.values()))
        sized = Substitute({**bind_names, **extra_names})
        body = [sized.visit(s) for s in (*prologue, *self.statements)]
        self.wanted = {**names, **self.wanted}
        given = [*names, *extra_names.values()]
        body = nested_items(Folder(body, given, self.wanted).fold(), given, self.wanted)
        reserved = {*bind_names.values(), *extra_names.values()}
        reserved |= {*self.context.used_ops, "mx", "nn", "math"}
        reserved |= set(self._argument_names(names)) - set(names.values())  # nests, taken apart
        allocator = Allocator(reserved)
        local = allocator.allocate(body, names, self.wanted, set())
        substitute = Substitute(local)
        body = [ast.fix_missing_locations(substitute.visit(s)) for s in body]
        body = return_directly(fold_loops(without_copies(body)))
        arguments = [*self._argument_names(names), *extra_names.values()]
        return Method(self.region, arguments, body, list(self.sizes.extra))

    def _arguments(self) -> tuple[dict[str, str], list[ast.stmt]]:
        """Names of the method's arguments by placeholder, and statements that take nested inputs
        apart.
        """
        if self.is_root:
            names, prologue, wanted = root_arguments(self.context.graph, set(self.sizes.arrays))
            self.wanted.update(wanted)
            return names, prologue
        known = {
            self.context.graph.current(v): n
            for n, v in self.context.graph.bound.get(self.region.frame.key, [])
        }
        taken: set[str] = set()
        names = {}
        for v in self.region.inputs:
            base = self._argument_base(v, known)
            free = (n for n in ("x", "h", "y", "z") if base == "x" and n not in taken)
            picked = next(free, unique(base, taken))
            taken.add(picked)
            names[f"_v{v.id}"] = picked
        return names, []

    def _argument_base(self, v: Value, known: dict[Value, str]) -> str:
        if v in known:
            return shorten(known[v])
        if v.node is not None and v.node.target == "mx.transpose" and v.node.args[0] in known:
            return shorten(known[v.node.args[0]])
        signature = self.context.graph.signatures.get(self.path, [])
        if len(self.region.inputs) == 1 and signature:
            first = next((x for x, n in known.items() if n == signature[0]), v)
            if first.dtype == v.dtype:
                return shorten(signature[0])
        if v in self.context.param_of:
            return shorten(leaf(self.context.param_of[v].path))
        if len(self.region.inputs) == 1 and not known and "float" in str(v.dtype):
            return "x"  # the caller's word for it would tell equal classes apart
        return base_name(v, v.node) or name_of_origin(v) or "x"

    def _argument_names(self, names: dict[str, str]) -> list[str]:
        if self.is_root:
            return argument_names(self.context.graph)
        return [names[f"_v{v.id}"] for v in self.region.inputs]

    def _bind_sizes(self, taken: set[str]) -> dict[str, str]:
        bindings, names = self.sizes.bindings(taken, self.value, self._written_names())
        front: list[ast.stmt] = []
        later: dict[int, list[ast.stmt]] = {}
        for value, statement in bindings:
            at = self.defined_at.get(value)
            if at is None:
                front.append(statement)
            else:
                later.setdefault(at, []).append(statement)
        rebuilt: list[ast.stmt] = list(front)
        for i, statement in enumerate(self.statements):
            rebuilt.extend(later.get(i, []))
            rebuilt.append(statement)
        rebuilt.extend(later.get(len(self.statements), []))
        self.statements = rebuilt
        return names

    def _written_names(self) -> set[str]:
        return {n.id for s in self.statements for n in ast.walk(s) if isinstance(n, ast.Name)}

    def _extra_arguments(self, taken: set[str]) -> dict[str, str]:
        """Sizes that no array in reach determines become arguments."""
        out: dict[str, str] = {}
        for i, e in enumerate(self.sizes.extra):
            base = "length" if isinstance(e, sympy.Symbol) else "size"
            out[f"_e{i}"] = unique(argument(base), taken | set(out.values()))
        return out
