"""Rules of readable emitted code, each a function from a parsed listing to its offences."""

from __future__ import annotations

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

LINE_LENGTH = 100

# Names of graph nodes, as traces number them: no name for a value of a model.
TRACE_NAME = re.compile(
    r"^_?(v|getitem|add|sub|mul|div|truediv|floordiv|neg|pow|mm|bmm|addmm|matmul|linear|conv[123]d|"
    r"view|reshape|permute|transpose|expand|squeeze|unsqueeze|slice|select|cat|stack|split|clone|"
    r"to|type_as|masked_fill|softmax|relu|gelu|silu|sigmoid|tanh|layer_norm|dropout|arange|zeros|"
    r"ones|full|where|eq|ne|lt|le|gt|ge|mean|sum|rsqrt|embedding|scaled_dot_product_attention|"
    r"sym_size|index|index_select|alias|copy|detach|lift_fresh_copy)(_default)?(_?\d+)$"
)
SYMBOL = re.compile(r"\b[su]\d+\b")
ELEMENTWISE = {
    "add", "subtract", "multiply", "divide", "where", "maximum", "minimum", "power", "logical_and",
    "logical_or", "equal", "greater", "less", "greater_equal", "less_equal",
}  # fmt: skip


@dataclass(frozen=True)
class Offence:
    line: int
    what: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}"


Rule = Callable[[ast.Module], Iterator[Offence]]


def classes(tree: ast.Module) -> list[ast.ClassDef]:
    return [n for n in tree.body if isinstance(n, ast.ClassDef)]


def methods(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """Methods of the model's classes; the library's helper functions are judged where they live."""
    for cls in classes(tree):
        yield from (n for n in cls.body if isinstance(n, ast.FunctionDef))


def calls(node: ast.AST, name: str) -> bool:
    """Whether a node calls a method or an ``mx`` function of this name."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == name
    )


def operand(node: ast.Call) -> ast.expr | None:
    """What a method or an ``mx`` function is applied to."""
    assert isinstance(node.func, ast.Attribute)
    if isinstance(node.func.value, ast.Name) and node.func.value.id == "mx":
        return node.args[0] if node.args else None
    return node.func.value


def _adjacent(tree: ast.Module, name: str) -> Iterator[Offence]:
    """A call of ``name`` on what ``name`` has just made, directly or through a local."""
    for method in methods(tree):
        made: dict[str, bool] = {}
        for statement in method.body:
            for node in ast.walk(statement):
                if not calls(node, name):
                    continue
                assert isinstance(node, ast.Call)
                inner = operand(node)
                local = isinstance(inner, ast.Name) and made.get(inner.id, False)
                if local or (inner is not None and calls(inner, name)):
                    yield Offence(node.lineno, f"{name} of {name}: {ast.unparse(node)}")
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                made[statement.targets[0].id] = calls(statement.value, name)


def no_adjacent_transposes(tree: ast.Module) -> Iterator[Offence]:
    yield from _adjacent(tree, "transpose")


def no_adjacent_casts(tree: ast.Module) -> Iterator[Offence]:
    yield from _adjacent(tree, "astype")


def no_adjacent_reshapes(tree: ast.Module) -> Iterator[Offence]:
    yield from _adjacent(tree, "reshape")
    yield from _adjacent(tree, "expand_dims")


def no_whole_slices(tree: ast.Module) -> Iterator[Offence]:
    """``x[:]`` and ``x[:, :]`` take everything."""
    whole = ast.dump(ast.Slice())
    for method in methods(tree):
        for node in ast.walk(method):
            if isinstance(node, ast.Subscript):
                key = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
                if all(ast.dump(k) == whole for k in key):
                    yield Offence(node.lineno, f"takes everything: {ast.unparse(node)}")


def no_trace_names(tree: ast.Module) -> Iterator[Offence]:
    for method in methods(tree):
        names = [(a.arg, method.lineno) for a in method.args.args]
        for node in ast.walk(method):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.append((node.id, node.lineno))
        for name, line in dict(names).items():
            if TRACE_NAME.match(name) or SYMBOL.fullmatch(name):
                yield Offence(line, f"{name} is a trace's name")
    for cls in classes(tree):
        for node in ast.walk(cls):
            if isinstance(node, ast.Constant) and SYMBOL.search(str(node.value)):
                yield Offence(node.lineno, f"a trace's symbol in {node.value!r}")


def no_idle_broadcasts(tree: ast.Module) -> Iterator[Offence]:
    """What broadcasts anyway needs no ``mx.broadcast_to``."""
    for method in methods(tree):
        for node in ast.walk(method):
            operands: list[ast.expr] = []
            if isinstance(node, ast.BinOp):
                operands = [node.left, node.right]
            elif isinstance(node, ast.Compare):
                operands = [node.left, *node.comparators]
            elif isinstance(node, ast.Call) and any(calls(node, e) for e in ELEMENTWISE):
                operands = list(node.args)
            for item in operands:
                if calls(item, "broadcast_to") or calls(item, "tile"):
                    yield Offence(item.lineno, f"broadcasts by itself: {ast.unparse(item)}")


def no_constant_logic(tree: ast.Module) -> Iterator[Offence]:
    """``mx.array(True) & mask`` is ``mask``; ``mx.arange(n) >= 0`` is always true."""
    for method in methods(tree):
        for node in ast.walk(method):
            if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitAnd, ast.BitOr)):
                for item in (node.left, node.right):
                    if calls(item, "array"):
                        yield Offence(node.lineno, f"a constant in logic: {ast.unparse(node)}")


def no_unused_attributes(tree: ast.Module) -> Iterator[Offence]:
    for cls in classes(tree):
        used = {
            node.attr
            for other in classes(tree)
            for node in ast.walk(other)
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
        }
        for node in ast.walk(cls):
            if not (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)):
                continue
            if node.attr not in used:
                yield Offence(node.lineno, f"{cls.name}.{node.attr} is never read")


def no_unused_helpers(tree: ast.Module) -> Iterator[Offence]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name != "load":
            others = (n for n in tree.body if n is not node)
            if not any(
                isinstance(n, ast.Name) and n.id == node.name for o in others for n in ast.walk(o)
            ):
                yield Offence(node.lineno, f"{node.name} is never called")


def no_unused_locals(tree: ast.Module) -> Iterator[Offence]:
    for method in methods(tree):
        stored: dict[str, int] = {a.arg: method.lineno for a in method.args.args[1:]}
        loaded: set[str] = set()
        for node in ast.walk(method):
            if isinstance(node, ast.Name):
                if isinstance(node.ctx, ast.Store):
                    stored.setdefault(node.id, node.lineno)
                else:
                    loaded.add(node.id)
        for name, line in stored.items():
            if name not in loaded and name != "_":
                yield Offence(line, f"{name} is never used")


def no_equal_classes(tree: ast.Module) -> Iterator[Offence]:
    """Blocks of equal structure share a class: bodies compared with locals and names numbered."""
    seen: dict[str, str] = {}
    for cls in classes(tree):
        shape = _shape(cls)
        if shape in seen:
            yield Offence(cls.lineno, f"{cls.name} equals {seen[shape]}")
        seen[shape] = cls.name


def _shape(cls: ast.ClassDef) -> str:
    text = []
    for method in (n for n in cls.body if isinstance(n, ast.FunctionDef)):
        copy = ast.parse(ast.unparse(method)).body[0]
        assert isinstance(copy, ast.FunctionDef)
        if ast.get_docstring(copy):
            copy.body = copy.body[1:]
        names: dict[str, str] = {}
        for node in ast.walk(copy):
            if isinstance(node, ast.arg):
                node.arg = names.setdefault(node.arg, f"n{len(names)}")
        for node in ast.walk(copy):
            if isinstance(node, ast.Name):
                if isinstance(node.ctx, ast.Store):
                    names.setdefault(node.id, f"n{len(names)}")
                node.id = names.get(node.id, node.id)
        text.append(ast.dump(copy))
    return "\n".join(text)


def lists_are_looped(tree: ast.Module) -> Iterator[Offence]:
    """Children of one class in a list are called in a loop, not by number."""
    for cls in classes(tree):
        equal = _equal_lists(cls)
        for method in (n for n in cls.body if isinstance(n, ast.FunctionDef)):
            numbered: Counter[str] = Counter()
            for node in ast.walk(method):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Subscript)
                    and isinstance(node.func.slice, ast.Constant)
                    and isinstance(node.func.value, ast.Attribute)
                ):
                    numbered[node.func.value.attr] += 1
            for name, count in numbered.items():
                if name in equal and count > 1:
                    yield Offence(method.lineno, f"{cls.name}.{name} is no loop")


def _equal_lists(cls: ast.ClassDef) -> set[str]:
    """Attributes that hold lists of several instances of one class."""
    found = set()
    for node in ast.walk(cls):
        if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute)):
            continue
        value = node.value
        if isinstance(value, ast.ListComp):
            found.add(node.targets[0].attr)
        if isinstance(value, ast.List) and len(value.elts) > 1:
            makers = {ast.unparse(e.func) for e in value.elts if isinstance(e, ast.Call)}
            if len(makers) == 1:
                found.add(node.targets[0].attr)
    return found


def no_numbered_twins(tree: ast.Module) -> Iterator[Offence]:
    """``features2``, ``conv1_bn`` as a value's name: a name for its role, or the same name
    again.
    """
    for method in methods(tree):
        stored = {
            n.id: n.lineno
            for n in ast.walk(method)
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        known = set(stored) | {a.arg for a in method.args.args}
        for name in known:
            match = re.fullmatch(r"(.*[a-z])_?\d+", name)
            if match and match[1] in known:
                line = stored.get(name, method.lineno)
                yield Offence(line, f"{name} beside {match[1]}: what is its role?")


def every_class_is_called(tree: ast.Module) -> Iterator[Offence]:
    """A module whose code sits in its parent is only a bag of weights."""
    for cls in classes(tree):
        if not any(isinstance(n, ast.FunctionDef) and n.name != "__init__" for n in cls.body):
            yield Offence(cls.lineno, f"{cls.name} has no __call__")


def no_calls_of_grandchildren(tree: ast.Module) -> Iterator[Offence]:
    """``self.layers[3].self_attn.q_proj(x)`` does a child's work; a tied head may reach for it."""
    for method in methods(tree):
        loops = {
            n.target.id
            for n in ast.walk(method)
            if isinstance(n, ast.For) and isinstance(n.target, ast.Name)
        }
        for node in ast.walk(method):
            if not isinstance(node, ast.Call) or calls(node, "as_linear"):
                continue
            depth, target = 0, node.func
            while isinstance(target, (ast.Attribute, ast.Subscript)):
                depth += isinstance(target, ast.Attribute)
                target = target.value
            own = isinstance(target, ast.Name) and target.id in loops | {"self"}
            if own and depth > (ast.unparse(target) == "self"):
                yield Offence(node.lineno, f"a grandchild: {ast.unparse(node.func)}")


RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        no_trace_names, no_numbered_twins, no_adjacent_transposes, no_adjacent_casts,
        no_adjacent_reshapes, no_whole_slices, no_idle_broadcasts, no_constant_logic,
        no_unused_attributes, no_unused_helpers, no_unused_locals, no_equal_classes,
        lists_are_looped, every_class_is_called, no_calls_of_grandchildren,
    )
}  # fmt: skip


def ruff(code: str) -> str:
    """What ruff objects to: undefined and unused names, syntax, lines over 100 columns."""
    from ruff.__main__ import find_ruff_bin

    command = [
        str(find_ruff_bin()), "check", "--isolated", "--quiet", "--select", "F,E9,E501",
        "--line-length", str(LINE_LENGTH), "--output-format", "concise", "-",
    ]  # fmt: skip
    done = subprocess.run(command, input=code, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
