"""Puts ``model.py`` together: imports, library functions, classes, ``load``."""

from __future__ import annotations

import ast
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import sympy

from pytorch_to_mlx.codegen.attributes import Attributes
from pytorch_to_mlx.codegen.classes import ClassBuilder, ClassCode, class_ast
from pytorch_to_mlx.codegen.context import Context, Method
from pytorch_to_mlx.codegen.expressions import constant
from pytorch_to_mlx.codegen.homes import Homes, find_homes, leaf
from pytorch_to_mlx.codegen.library import library_source
from pytorch_to_mlx.codegen.methods import MethodWriter
from pytorch_to_mlx.codegen.queries import makers_of_sizes
from pytorch_to_mlx.codegen.regions import Region, build_regions
from pytorch_to_mlx.codegen.root_inputs import nests
from pytorch_to_mlx.codegen.sequences import Sequences
from pytorch_to_mlx.codegen.size_names import name_sizes, names_of
from pytorch_to_mlx.codegen.sizes import is_long
from pytorch_to_mlx.codegen.source_names import class_line
from pytorch_to_mlx.errors import CodegenError
from pytorch_to_mlx.files import printable
from pytorch_to_mlx.graph import Graph, Param, Tree, Value
from pytorch_to_mlx.graph.dims import python_source

LINE_LENGTH = 100

_LOAD = '''
def load(path: str | Path = Path(__file__).parent) -> {root}:
    """The model with the weights of the package folder ``path`` (``model*.safetensors``)."""
    model = {root}()
    weights: dict[str, mx.array] = {{}}
    for file in sorted(Path(path).glob("model*.safetensors")):
        weights.update(mx.load(str(file)))
{doubles}    model.load_weights(list(weights.items()), strict=True)
    model.eval()
    return model
'''


_DOUBLES = """    with mx.stream(mx.cpu):  # float64 is stored as pairs of uint32
        for name in {names}:
            weights[name] = weights[name].view(mx.float64).squeeze(-1)
"""


@dataclass
class ModelCode:
    """The emitted source and how source names map to it."""

    text: str
    root_class: str
    weights: dict[str, Param]  # emitted name -> weight
    modules: dict[str, str]  # source module path -> emitted path
    argument_names: list[str]
    renames: dict[str, str]  # source weight path -> emitted name, where they differ


def emit(graph: Graph, *, description: str = "", formatted: bool = True) -> ModelCode:
    """The source of a graph; without ``formatted`` it is only to be run, not read.

    Raises:
        CodegenError: a node has no written form, or the written file is no valid Python.
    """
    if not graph.size_names:
        name_sizes(graph, {})
    sequences = Sequences(graph)
    while True:
        homes = find_homes(graph, sequences)
        root = build_regions(graph, homes)
        if sequences.revise(homes, root):
            continue
        regions = root.walk()
        attributes = Attributes(graph, homes, {r.frame.path for r in regions})
        context = Context(graph, homes, attributes, graph.param_of())
        for region in reversed(regions):
            _write(context, region)
        lacking = {r.frame.path for r, m in context.methods.items() if m.extra} & homes.sequences
        if not lacking:
            break
        sequences.reject(lacking)
    if unknown := context.methods[root].extra:
        sizes = ", ".join(str(e) for e in unknown)
        raise CodegenError(f"no input and no result tells the sizes {sizes} that the code needs")
    classes = ClassBuilder(graph, homes, attributes, context, root).build()
    helpers, _ = library_source(context.used_ops)
    body = [_class(c, graph) for c in classes]
    root_name = classes[-1].name
    title = description or f"{graph.name} in MLX."
    weights = _weights(homes, attributes)
    doubles = [name for name, p in weights.items() if p.value.dtype == "float64"]
    text = _file(title, helpers, body, root_name, doubles=doubles, formatted=formatted)
    renames = {_source_of(p): name for name, p in weights.items() if _source_of(p) != name}
    modules = {path: attributes.target(path) for path in attributes.parts}
    return ModelCode(text, root_name, weights, modules, context.methods[root].arguments, renames)


def _source_of(p: Param) -> str:
    """A weight's own name in the source; a computed one goes by the name it was given."""
    return p.sources[0] if p.recipe is None and p.sources else p.path


def _write(context: Context, region: Region) -> None:
    method = MethodWriter(context, region).write()
    lacked = {r: m.extra for r, m in context.methods.items()}
    if pinned := makers_of_sizes(region, method.extra, lacked):
        method = MethodWriter(context, region, pinned).write()
    context.methods[region] = method
    same_module = [
        r for r in context.methods if r.frame.path == region.frame.path and r is not region
    ]
    mine = _canonical(method)
    for other in same_module:
        if _canonical(context.methods[other]) == mine:
            method.name = context.methods[other].name
            break
    else:
        used = {context.methods[r].name for r in same_module}
        method.name = "__call__" if "__call__" not in used else f"call_{len(used) + 1}"
    context.method_names[region] = method.name


def _canonical(method: Method) -> str:
    """The method's text with arguments and locals numbered."""
    names = {a: f"a{i}" for i, a in enumerate(method.arguments)}
    module = ast.parse(ast.unparse(ast.fix_missing_locations(ast.Module(method.body, []))))
    for node in ast.walk(module):
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                names.setdefault(node.id, f"n{len(names)}")
            node.id = names.get(node.id, node.id)
    return f"{len(method.arguments)}:{ast.dump(module)}"


# -- classes
# -----------------------------------------------------------------------------------------


def _class(code: ClassCode, graph: Graph) -> str:
    init, methods, stored = class_ast(code)
    body: list[ast.stmt] = [ast.Expr(ast.Constant(_docstring(code, graph)))]
    body.append(_constructor(code, init, stored, graph))
    is_root = code.instances[0].path == ""
    body.extend(_method(m, graph if is_root and m.name == "__call__" else None) for m in methods)
    base = ast.parse("nn.Module", mode="eval").body
    node = ast.ClassDef(code.name, [base], [], body, [])
    return ast.unparse(ast.fix_missing_locations(node))


def _docstring(code: ClassCode, graph: Graph) -> str:
    module = code.instances[0]
    cls = graph.classes.get(module.path, "")
    for methods in (m for m in module.methods):
        for node in methods.region.nodes():
            for file, _ in reversed(node.origin.stack):
                line = class_line(file, cls)
                if line:
                    return f"{printable(cls)} ({printable(Path(file).name)}:{line})."
    return f"{printable(cls) or code.name}."


def _constructor(
    code: ClassCode, init: list[ast.stmt], stored: list[str], graph: Graph
) -> ast.FunctionDef:
    body: list[ast.stmt] = [ast.parse("super().__init__()").body[0]]
    body += [ast.parse(f"self.{p} = {p}").body[0] for p in stored]
    body += init
    frozen = _buffers(code, graph)
    if frozen:
        body.append(ast.parse(f"self.freeze(keys={frozen!r}, recurse=False)").body[0])
    annotations = dict.fromkeys(code.parameters, "int")
    for i, parameter in code.slots.items():
        kinds = {type(m.values[i]).__name__ for m in code.instances}
        text = next((k for k in ("bool", "float", "str") if k in kinds), annotations[parameter])
        annotations[parameter] = f"{text} | None" if "NoneType" in kinds else text
    names = [*(p for p in code.parameters if p not in code.defaults), *code.defaults]
    args = [
        ast.arg("self"),
        *(ast.arg(p, ast.parse(annotations[p], mode="eval").body) for p in names),
    ]
    return _function("__init__", args, body, None, [constant(d) for d in code.defaults.values()])


def _buffers(code: ClassCode, graph: Graph) -> list[str]:
    """Attributes of a class that are no trainable parameters."""
    path = code.instances[0].path
    inner = {leaf(p.path): p for p in graph.params.values() if p.path.rpartition(".")[0] == path}
    names = []
    for s in code.instances[0].init:
        if (
            isinstance(s, ast.Assign)
            and isinstance(s.value, ast.Call)
            and ast.unparse(s.value.func) == "mx.zeros"
        ):
            attr = s.targets[0].attr  # type: ignore[attr-defined]
            if attr in inner and inner[attr].kind != "parameter":
                names.append(attr)
    return names


def _method(method: Method, graph: Graph | None) -> ast.FunctionDef:
    sizes = len(method.extra)
    args, later = [ast.arg("self")], list[ast.arg]()
    rest: ast.arg | None = None
    count = len(method.arguments) - sizes
    trees = nests(graph.in_tree) if graph and graph.in_tree else {}
    for i, a in enumerate(method.arguments):
        kind = "mx.array" if i < count else "int"
        nested = [t for k, t in trees.items() if k == a and t.kind != "leaf"]
        if nested:
            kind = {"dict": "dict", "tuple": "tuple", "list": "list"}.get(
                nested[0].kind, "mx.array"
            )
        if a in method.optional:
            kind = f"{kind} | None"
        if nested and nested[0].spread:
            rest = ast.arg(a, ast.parse(_item_kind(nested[0]), mode="eval").body)
            continue
        own = args if rest is None else later
        own.append(ast.arg(a, ast.parse(kind, mode="eval").body))
    body = list(method.body)
    if graph is not None:
        if has_float64(graph):  # MLX computes it on the CPU only
            item = ast.withitem(ast.parse("mx.stream(mx.cpu)", mode="eval").body)
            body = [ast.With([item], body, lineno=0)]
        body.insert(0, ast.Expr(ast.Constant(_signature_text(graph))))
    defaults: list[ast.expr] = [ast.Constant(None) for _ in method.optional]
    function = _function(method.name, args, body, _return_annotation(method), defaults)
    function.args.vararg, function.args.kwonlyargs = rest, later
    function.args.kw_defaults = [None] * len(later)
    return function


def has_float64(graph: Graph) -> bool:
    """Whether anything in a graph is of dtype float64."""
    values = [v for _, n in graph.walk() for v in n.outputs]
    weights = [p.value for p in graph.params.values()]
    return any(v.dtype == "float64" for v in (*values, *weights, *graph.inputs))


def _item_kind(spread: Tree) -> str:
    """The type of what ``*args`` takes."""
    kinds = {c.kind for c in spread.children}
    only = kinds.pop() if len(kinds) == 1 else ""
    kind = {"leaf": "mx.array", "dict": "dict", "tuple": "tuple", "list": "list"}
    return kind.get(only, "object")


#: Annotations of what is no array.
_PYTHON = {"int": "int", "float": "float", "bool": "bool"}


def _return_annotation(method: Method) -> ast.expr:
    last = method.body[-1]
    value = last.value if isinstance(last, ast.Return) else None
    kinds = [_PYTHON.get(k, "mx.array") for k in last.__dict__.get("kinds", ())]
    text = kinds[0] if len(kinds) == 1 else "mx.array"
    if isinstance(value, ast.Tuple) and not value.elts:
        text = "tuple[()]"
    elif isinstance(value, ast.Tuple) or (value is not None and "count" in value.__dict__):
        parts = value.elts if isinstance(value, ast.Tuple) else []
        count = len(parts) or value.__dict__["count"]
        if len(kinds) != count:
            kinds = ["mx.array"] * count
        several = f"tuple[{', '.join(kinds)}]"
        unknown = count > 3 or any(isinstance(e, ast.Starred) for e in parts)
        unknown = unknown and set(kinds) == {"mx.array"}
        text = "tuple[mx.array, ...]" if unknown else several
    elif isinstance(value, ast.Dict):
        text = "dict[str, mx.array]"
    elif isinstance(value, ast.List):
        text = "list[mx.array]"
    elif value is None or isinstance(value, ast.Constant):
        text = "None"
    return ast.parse(text, mode="eval").body


def _signature_text(graph: Graph) -> str:
    """Dtypes and shapes of inputs and outputs, sizes named as the method's body would name them."""
    from pytorch_to_mlx.graph.ir import iter_values

    names = names_of(graph)
    lines = [f"{printable(v.hint)}: {_type(v, names)}" for v in graph.inputs if v.kind == "array"]
    outs = [_type(v, names) for v in iter_values(graph.ret.args[: _outputs(graph)])]
    if len(outs) > 3:
        outs = [*outs[:3], "..."]
    text = f"{', '.join(lines)} -> {', '.join(outs) or 'nothing'}"
    if len(text) <= LINE_LENGTH - 14:
        return text
    indented = "".join(f"\n            {line}" for line in lines)
    return f"Takes and gives:{indented}\n            -> {', '.join(outs)}\n        "


def _type(v: Value, names: dict[sympy.Symbol, str]) -> str:
    if v.kind != "array":
        return v.kind
    sizes = ("_" if is_long(d) else python_source(d, names) for d in v.dims)
    return f"{v.dtype}[{', '.join(sizes)}]"


def _outputs(graph: Graph) -> int:
    tree = graph.out_tree or Tree("none")
    return sum(1 for _ in tree.leaves())


def _function(
    name: str,
    args: list[ast.arg],
    body: list[ast.stmt],
    returns: ast.expr | None,
    defaults: list[ast.expr],
) -> ast.FunctionDef:
    arguments = ast.arguments([], args, None, [], [], None, defaults)
    return ast.FunctionDef(name, arguments, body, [], returns, lineno=0)


# -- file
# --------------------------------------------------------------------------------------------


def _weights(homes: Homes, attributes: Attributes) -> dict[str, Param]:
    """Every weight by its name in the emitted package."""
    out: dict[str, Param] = {}
    for place in homes.layers.values():
        for name, p in place.params.items():
            out[f"{attributes.target(place.path)}.{name}"] = p
    for path, p in homes.plain.items():
        out[attributes.target(path)] = p
    return dict(sorted(out.items()))


def _file(
    description: str,
    helpers: list[str],
    classes: list[str],
    root: str,
    *,
    doubles: list[str],
    formatted: bool,
) -> str:
    code = "\n\n\n".join([*helpers, *classes])
    header = f'"""{_safe(description)}"""\n\nfrom __future__ import annotations\n\n'
    imports = ["import math\n"] if "math." in code else []
    imports.append("from pathlib import Path\n\nimport mlx.core as mx\nimport mlx.nn as nn\n\n\n")
    text = (
        header
        + "".join(imports)
        + code
        + "\n\n"
        + _LOAD.format(root=root, doubles=_DOUBLES.format(names=tuple(doubles)) if doubles else "")
    )
    return format_source(text) if formatted else text


def _safe(text: str) -> str:
    return printable(text).replace("\\", "\\\\").replace('"', "'")


def format_source(text: str) -> str:
    """The text as ``ruff format`` writes it.

    Raises:
        CodegenError: the text is no valid Python.
    """
    try:
        ast.parse(text)
    except SyntaxError as error:
        raise CodegenError(
            f"the written code is no valid Python at line {error.lineno}: {error.msg}"
        ) from error
    command = [ruff_binary(), "format", "--isolated", "--line-length", str(LINE_LENGTH), "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CodegenError(f"ruff could not format the written code: {done.stderr.strip()}")
    return _bare_tuples(done.stdout)


def _bare_tuples(text: str) -> str:
    """``return (a, b)`` as ``return a, b`` (``x, y = (a, b)`` too), which the formatter leaves as
    it finds it."""

    def bare(match: re.Match[str]) -> str:
        inner = ast.parse(match[2]).body[0] if _parses(match[2]) else None
        several = isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Tuple)
        return f"{match[1]}{match[2]}" if several else match[0]

    return re.sub(r"(?m)^( +(?:return|\w+(?:, \w+)+ =) )\(([^()\n].*,.*)\)$", bare, text)


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def ruff_binary() -> str:
    """Path of the ruff executable that comes with the pinned dependency."""
    from ruff.__main__ import find_ruff_bin

    return str(find_ruff_bin())
