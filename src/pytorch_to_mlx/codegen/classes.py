"""One class for all structurally equal modules; constants that differ become constructor
arguments.
"""

from __future__ import annotations

import ast
import copy
import inspect
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from pytorch_to_mlx.codegen import constructors
from pytorch_to_mlx.codegen.attributes import LAYERS, Attributes
from pytorch_to_mlx.codegen.context import Context, Method
from pytorch_to_mlx.codegen.homes import Homes
from pytorch_to_mlx.codegen.library import library_classes
from pytorch_to_mlx.codegen.list_names import own_name
from pytorch_to_mlx.codegen.loops import loop_single, trim_slices
from pytorch_to_mlx.codegen.merge import merge_variants
from pytorch_to_mlx.codegen.names import argument, class_name, unique
from pytorch_to_mlx.codegen.queries import in_order, is_slot
from pytorch_to_mlx.codegen.regions import Region
from pytorch_to_mlx.codegen.roles import role
from pytorch_to_mlx.codegen.row_names import RowNames
from pytorch_to_mlx.codegen.rows import Rows, unpack_rows
from pytorch_to_mlx.codegen.unify import Unset
from pytorch_to_mlx.codegen.variants import Variant, variant_names
from pytorch_to_mlx.graph import Graph

# Constructor arguments are given by position up to this many.
MAX_POSITIONAL = 3


@dataclass
class ModuleCode:
    """A module instance before merging: its constructor statements and methods."""

    path: str
    cls: str
    init: list[ast.stmt]
    methods: list[Method]
    class_def: ClassCode | None = None
    values: list[object] = field(default_factory=list)


@dataclass
class ClassCode:
    """A class of the emitted file; ``columns`` are the constants that its instances set."""

    name: str
    instances: list[ModuleCode]
    parameters: list[str] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    slots: dict[int, str] = field(default_factory=dict)
    defaults: dict[str, object] = field(default_factory=dict)  # of options, which come last


class ClassBuilder:
    """Walks the module tree from the leaves up and groups equal modules."""

    def __init__(
        self, graph: Graph, homes: Homes, attributes: Attributes, context: Context, root: Region
    ) -> None:
        self.graph, self.homes, self.attributes, self.context = graph, homes, attributes, context
        self.regions: dict[str, list[Region]] = defaultdict(list)
        for region in root.walk():
            self.regions[region.frame.path].append(region)
        self.names = library_classes()
        self.modules: dict[str, ModuleCode] = {}
        self.classes: list[ClassCode] = []
        self.row_names = RowNames(graph, homes)

    def build(self) -> list[ClassCode]:
        """Classes in the order they must appear in the file."""
        by_height: dict[int, list[str]] = defaultdict(list)
        self._height("", by_height)
        for height in sorted(by_height):
            groups: dict[str, list[ModuleCode]] = defaultdict(list)
            for path in by_height[height]:
                module = self._module(path)
                self.modules[path] = module
                groups[_skeleton(module)].append(module)
            by_class: dict[str, list[list[ModuleCode]]] = defaultdict(list)
            for group in groups.values():
                by_class[group[0].cls].append(group)
            for cls, variants in by_class.items():
                bodies = list(self.context.methods.values())
                self._name_variants(cls, merge_variants(variants, bodies, _skeleton))
        return self.classes

    def _is_module(self, path: str) -> bool:
        return (
            path not in self.homes.layers
            and path not in self.homes.plain
            and path not in self.homes.lists
            and path not in self.homes.sequences
        )

    def _height(self, path: str, by_height: dict[int, list[str]]) -> int:
        height = 0
        for child in self.attributes.children.get(path, []):
            below = self._height(child, by_height)
            height = max(
                height, 0 if child in self.homes.layers or child in self.homes.plain else below + 1
            )
        if self._is_module(path):
            by_height[height].append(path)
        return height

    # -- one module
    # ----------------------------------------------------------------------------------

    def _module(self, path: str) -> ModuleCode:
        init: list[ast.stmt] = []
        lengths: dict[str, int] = {}
        rows: dict[str, Rows] = {}
        children = self.attributes.children.get(path, [])
        if path in self.attributes.sequences:
            target = ast.Attribute(ast.Name("self", ast.Load()), LAYERS, ast.Store())
            elements = constructors.list_of([self._constructor(c) for c in children])
            init.append(ast.Assign([target], elements, lineno=0))
            lengths[f"self.{LAYERS}"] = len(children)
            children = []
        for child in children:
            name = str(self.attributes.parts[child])
            target = ast.Attribute(ast.Name("self", ast.Load()), name, ast.Store())
            init.append(ast.Assign([target], self._constructor(child), lineno=0))
            self._measure_lists(child, f"self.{name}", lengths, rows)
        methods = self._methods(path)
        for method in methods:
            method.body = loop_single(method.body, lengths)
            trim_slices(method.body, lengths)
            unpack_rows(method.body, rows, self.row_names)
        return ModuleCode(path, self._class_of(path), init, methods)

    def _measure_lists(
        self, path: str, text: str, lengths: dict[str, int], rows: dict[str, Rows]
    ) -> None:
        """How long the lists below a module are, and what is in those that are in lists."""
        lists, children = self.homes.lists, self.attributes.children
        if path in lists:
            lengths[text] = len(children[path])
            rows[text] = [children[c] if c in lists else None for c in children[path]]
        for child in children.get(path, []):
            part = self.attributes.parts[child]
            below = f"{text}[{part}]" if isinstance(part, int) else f"{text}.{part}"
            self._measure_lists(child, below, lengths, rows)

    def _constructor(self, path: str) -> ast.expr:
        if path in self.homes.layers:
            return constructors.layer(self.homes.layers[path])
        if path in self.homes.plain:
            return constructors.placeholder(self.homes.plain[path])
        if path in self.homes.lists:
            return constructors.list_of(
                [self._constructor(c) for c in self.attributes.children[path]]
            )
        if path in self.homes.sequences:
            return constructors.sequence_of(
                [self._constructor(c) for c in self.attributes.children[path]]
            )
        module = self.modules[path]
        assert module.class_def is not None
        code = module.class_def
        given = {k: module.values[c] for k, c in zip(code.parameters, code.columns, strict=True)}
        values = {k: constructors.constant(v) for k, v in given.items() if k not in code.defaults}
        function = ast.Name(code.name, ast.Load())
        options = [
            ast.keyword(k, constructors.constant(given[k]))
            for k, default in code.defaults.items()
            if given[k] != default
        ]
        if len(values) <= MAX_POSITIONAL:
            return ast.Call(function, list(values.values()), options)
        return ast.Call(function, [], [*(ast.keyword(k, v) for k, v in values.items()), *options])

    def _methods(self, path: str) -> list[Method]:
        """The distinct methods of a module, one for each different body among its calls."""
        out: list[Method] = []
        seen: set[str] = set()
        for region in self.regions.get(path, []):
            method = self.context.methods[region]
            if method.name not in seen:
                seen.add(method.name)
                out.append(method)
        return out

    def _class_of(self, path: str) -> str:
        cls = self.graph.classes.get(path, "")
        if not path:
            return class_name(self.graph.name, "Model")
        if cls in ("", "ModuleDict", "ModuleList", "Sequential", "ParameterList", "ParameterDict"):
            return class_name("".join(p.title() for p in own_name(path).split("_")), "Group")
        return class_name(cls)

    # -- groups
    # --------------------------------------------------------------------------------------

    def _name_variants(self, cls: str, variants: list[list[ModuleCode]]) -> None:
        made = [
            Variant([m.path for m in g], {k: ast.unparse(f) for k, f in _makers(g[0]).items()})
            for g in variants
        ]
        for name, group in zip(variant_names(cls, made), variants, strict=True):
            free = _free(name, self.names)
            self.names.add(free)
            self._make_class(free, group)

    def _make_class(self, name: str, group: list[ModuleCode]) -> None:
        code = ClassCode(name, group)
        for module in group:
            module.class_def = code
            module.values = [c.value for c in _constants(module)]
        by_position = {
            c.name: [p for p in c.parameters if p not in c.defaults] for c in self.classes
        }
        labels = _labels(group[0], by_position)
        options = {i for i, c in enumerate(_constants(group[0])) if "label" in c.__dict__}
        columns = list(enumerate(zip(*(m.values for m in group), strict=True)))
        columns.sort(key=lambda c: any(isinstance(v, Unset) for v in c[1]))
        of_vector: dict[Vector, list[int]] = defaultdict(list)
        for i, column in columns:
            vector = _completed(column, of_vector)
            _set(group, i, vector)
            if len(set(vector)) > 1:
                of_vector[vector].append(i)
        taken = {"self"}
        for used in sorted(of_vector.values()):
            name = _free_label(role([labels[i] for i in sorted(used)]), taken)
            taken.add(name)
            code.parameters.append(name)
            code.columns.append(used[0])
            code.slots.update(dict.fromkeys(used, name))
            if options.intersection(used):
                code.defaults[name] = _usual(_values_of(group, used[0]))
        self.classes.append(code)


class Typed(NamedTuple):
    """A constant that differs from equal ones of another type (``1`` and ``True``)."""

    value: object
    kind: type


Vector = tuple[Typed, ...]


def _completed(column: tuple[object, ...], known: Iterable[Vector]) -> Vector:
    """A column's values; where one does not matter, that of a known column that fits, else any."""
    wanted = [None if isinstance(v, Unset) else Typed(v, type(v)) for v in column]
    if None in wanted:
        for vector in known if any(w and w.kind is not bool for w in wanted) else ():
            if all(w is None or w == v for w, v in zip(wanted, vector, strict=True)):
                return vector
    usual = next((w for w in wanted if w is not None), Typed(0, int))
    return tuple(usual if w is None else w for w in wanted)


def _values_of(group: list[ModuleCode], column: int) -> tuple[object, ...]:
    """The values of one constant in all modules."""
    return tuple(m.values[column] for m in group)


def _set(group: list[ModuleCode], column: int, values: Vector) -> None:
    """Writes the values of a column where they did not matter."""
    for module, (value, _) in zip(group, values, strict=True):
        if isinstance(module.values[column], Unset):
            module.values[column] = value
            _constants(module)[column].value = value  # type: ignore[assignment]


def _usual(column: tuple[object, ...]) -> object:
    """The value of most; of a text that may be missing, none."""
    return None if None in column else max(column, key=list(column).count)


def class_ast(code: ClassCode) -> tuple[list[ast.stmt], list[Method], list[str]]:
    """Constructor body and methods of a class with its parameters in place of the constants.

    Returns the statements of ``__init__`` (without ``super().__init__()``), the methods, and the
    parameters that methods need (stored as attributes).
    """
    module = code.instances[0]
    methods = [replace(m, body=copy.deepcopy(m.body)) for m in module.methods]
    sample = ModuleCode(module.path, module.cls, copy.deepcopy(module.init), methods)
    slots = _constants(sample)
    in_init = len(_constants(ModuleCode("", "", sample.init, [])))
    stored: list[str] = []
    for i, slot in enumerate(slots):
        parameter = code.slots.get(i)
        if parameter is None:
            continue
        if i >= in_init and parameter not in stored:
            stored.append(parameter)
        _replace(slot, parameter, as_attribute=i >= in_init)
    replacer = _Replacer()
    init = [replacer.visit(s) for s in sample.init]
    for method in sample.methods:
        method.body = [replacer.visit(s) for s in method.body]
    for statement in init:
        constructors.prune_defaults(statement)
        constructors.open_single_lists(statement)
    return init, sample.methods, stored


def _replace(slot: ast.Constant, parameter: str, *, as_attribute: bool) -> None:
    name: ast.expr = ast.Name(parameter, ast.Load())
    if as_attribute:
        name = ast.Attribute(ast.Name("self", ast.Load()), parameter, ast.Load())
    slot.kind = None
    slot.__dict__["replacement"] = name


class _Replacer(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return node.__dict__.get("replacement", node)


def _makers(module: ModuleCode) -> dict[str, ast.expr]:
    """What makes each child: a class, or the whole expression of anything but a call."""
    found: dict[str, ast.expr] = {}
    for s in module.init:
        if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Attribute):
            found[s.targets[0].attr] = s.value.func if isinstance(s.value, ast.Call) else s.value
    return found


def _free_label(label: str, taken: set[str]) -> str:
    """The label, or a word for a second size of its kind (``hidden_channels``)."""
    kind = label.rpartition("_")[2]
    alternatives = [f"hidden_{kind}", f"inner_{kind}"] if kind in ("channels", "dim") else []
    return next((n for n in (label, *alternatives) if n not in taken), unique(label, taken))


def _free(name: str, taken: set[str]) -> str:
    n, out = 2, name
    while out in taken:
        out, n = f"{name}{n}", n + 1
    return out


def _constants(module: ModuleCode) -> list[ast.Constant]:
    """Numbers in constructor and methods, in a fixed order."""
    found: list[ast.Constant] = []
    for statement in [*module.init, *(s for m in module.methods for s in m.body)]:
        found += [n for n in in_order(statement) if is_slot(n)]  # type: ignore[misc]
    return found


def _labels(module: ModuleCode, known: dict[str, list[str]]) -> list[str]:
    """A parameter name for each constant: the layer argument it is passed to, else a neutral
    word.
    """
    labels: dict[int, str] = {}
    for statement in module.init:
        calls = [n for n in ast.walk(statement) if isinstance(n, ast.Call)]
        for call in [c for c in calls if ast.unparse(c.func) != "nn.Sequential"]:
            names = _argument_names(call, known)
            for i, a in enumerate(call.args):
                for n in ast.walk(a):
                    if is_slot(n):
                        labels.setdefault(id(n), names[i] if i < len(names) else "size")
            for k in call.keywords:
                for n in ast.walk(k.value):
                    if is_slot(n):
                        labels.setdefault(id(n), argument(k.arg or "value"))
    return [
        c.__dict__.get("label")
        or labels.get(id(c), "count" if isinstance(c.value, int) else "scale")
        for c in _constants(module)
    ]


def _argument_names(call: ast.Call, known: dict[str, list[str]]) -> list[str]:
    text = ast.unparse(call.func)
    if text in known:
        return known[text]
    if text == "range":
        return ["num_layers"]
    if text == "mx.zeros":
        return ["size"]
    cls = constructors.layer_class(text)
    if cls is None:
        return []
    return [p for p in inspect.signature(cls.__init__).parameters if p != "self"]


def _skeleton(module: ModuleCode) -> str:
    """Text that is equal for modules which one class can serve: numbers and local names masked."""
    parts = [module.cls]
    parts += [_mask(s, {}) for s in module.init]
    for method in module.methods:
        names = {a: f"a{i}" for i, a in enumerate(method.arguments)}
        parts.append(f"def {method.name}/{len(method.arguments)}")
        parts += [_mask(s, names) for s in method.body]
    return "\n".join(parts)


def _mask(statement: ast.stmt, names: dict[str, str]) -> str:
    s = copy.deepcopy(statement)
    for node in ast.walk(s):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id not in names:
            names[node.id] = f"n{len(names)}"
    for node in ast.walk(s):
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
        elif isinstance(node, ast.Constant) and is_slot(node):
            node.value = "?"
    return ast.dump(s)
