"""``load`` of a package's ``model.py``, so that it makes quantized layers before it loads them."""

from __future__ import annotations

import ast

from pytorch_to_mlx.errors import OutputError

_MAKE = """\
# How layers are quantized: bits, group size and mode by path, from config.json.
config = json.loads((Path(__file__).parent / "config.json").read_text(encoding="utf-8"))
layers = config["quantization"]["layers"]
nn.quantize({model}, class_predicate=lambda path, _: layers.get(path, False))
"""


def with_quantized_layers(source: str) -> str:
    """The text of ``model.py`` with ``nn.quantize`` before ``load_weights``; the rest stays as it
    is, whatever its owner has made of it.

    Raises:
        OutputError: it has no ``load`` that calls ``load_weights``.
    """
    tree = ast.parse(source)
    loads = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "load"]
    calls = [s for n in loads for s in n.body if _loads_weights(s)]
    if len(calls) != 1:
        raise OutputError(
            "model.py has no function load with one load_weights in it",
            hint="put back what convert wrote there",
        )
    call = calls[0]
    assert isinstance(call, ast.Expr)
    assert isinstance(call.value, ast.Call)
    assert isinstance(call.value.func, ast.Attribute)
    lines = source.splitlines(keepends=True)
    made = _MAKE.format(model=ast.unparse(call.value.func.value))
    indented = [f"{' ' * call.col_offset}{line}" for line in made.splitlines(keepends=True)]
    at = call.lineno - 1
    lines[at:at] = indented
    if not any(isinstance(n, ast.Import) and n.names[0].name == "json" for n in tree.body):
        at = next(
            n.lineno - 1
            for n in tree.body
            if isinstance(n, (ast.Import, ast.ImportFrom)) and not _is_future(n)
        )
        lines.insert(at, "import json\n")
    return "".join(lines)


def _loads_weights(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Call)
        and isinstance(statement.value.func, ast.Attribute)
        and statement.value.func.attr == "load_weights"
    )


def _is_future(node: ast.Import | ast.ImportFrom) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"
