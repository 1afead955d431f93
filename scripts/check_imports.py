"""Fails when an import points against the architecture's arrows, or a source file grew too long.

    capture, lower, passes, codegen -> graph        lower -> ops        ops -> mlx, numbers, typing

torch is imported only by the rooms that meet it, and only inside functions (or for type checkers),
so that ``import pytorch_to_mlx`` works without it. ``mlx_inference`` works without the converter
and whatever the converter reads; the converter takes nothing of it but the BLAS.
Usage: ``python scripts/check_imports.py [src/pytorch_to_mlx src/mlx_inference]``.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "pytorch_to_mlx"
RUNTIME = "mlx_inference"
MAX_LINES = 420

#: Rooms everyone may use: they know nothing of the others.
SHARED = {"errors", "files", "memory", "progress", "blas", "version"}

#: What each room may import of the others; rooms not listed (api, cli) may import any.
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "blas": set(),
    "version": set(),
    "files": set(),
    "memory": set(),
    "progress": set(),
    "ops": set(),
    "graph": {
        "ops"
    },  # a node's target may be a function of ops/; graph resolves it to infer shapes
    "sources": set(),
    "capture": {"graph", "sources"},
    "lower": {"graph", "ops", "capture"},
    "passes": {"graph", "ops"},
    "codegen": {"graph", "ops"},
    "weights": {"graph"},
    "report": set(),
    "package": {"graph", "codegen", "weights", "capture"},
    # They take packages apart and put them together again, so they may lean on nearly everything.
    "benchmark": {"api", "graph", "capture", "sources", "package", "converted"},
    "quantize": {"api", "graph", "package", "weights", "converted"},
    "validate": {
        "api",
        "graph",
        "codegen",
        "capture",
        "lower",
        "passes",
        "weights",
        "package",
        "converted",
        "reporting",
        "report",
        "sources",
    },
}

#: The rooms that may import torch (lazily); paths below the package.
TORCH_ROOMS = (
    "capture/",
    "lower/aten/",
    "sources/",
    "validate/",
    "benchmark/",
    "custom/",  # the ops that a user's functions are compared with
    "weights/",
    "package/arrays.py",  # golden tensors from the source
    "reporting.py",  # the versions that a report names
    "cli/coverage.py",  # torch knows which ops are core
)

#: The rooms that may import onnx; whoever needs them imports them inside functions.
ONNX_ROOMS = ("capture/onnx/", "lower/onnx/", "onnx_backend.py")
ONNX = {"onnx", "onnx_ir", "onnxscript", "onnxruntime", "ml_dtypes", "google"}

#: ops/ travels inside emitted code, so it may lean on nothing but these (the registry stays here).
OPS_STAY_HOME = {"ops/registry.py"}
OPS_OUTSIDE = {"mlx", "math", "typing", "collections", "functools", "itertools", "__future__"}

#: What the runtime never imports, not even inside functions.
CONVERTERS_OWN = {PACKAGE, "torch"} | ONNX
#: What the converter imports of the runtime, and where.
FROM_RUNTIME = {"blas.py": f"{RUNTIME}.blas"}


@dataclass(frozen=True)
class Import:
    """One imported module name, where it stands, and whether importing the file runs it."""

    module: str
    line: int
    lazy: bool


def imports(tree: ast.Module, package: str) -> Iterator[Import]:
    """Every import of a file; relative ones resolved against ``package``."""

    def visit(node: ast.AST, lazy: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            inner = lazy or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                inner = True
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, child.lineno, lazy)
            elif isinstance(child, ast.ImportFrom):
                yield from _from(child, package, lazy)
            else:
                yield from visit(child, inner)

    yield from visit(tree, False)


def _from(node: ast.ImportFrom, package: str, lazy: bool) -> Iterator[Import]:
    parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    base = ".".join([*parts, *([node.module] if node.module else [])])
    if base == PACKAGE:  # `from pytorch_to_mlx import ops` names the room after `import`
        for alias in node.names:
            yield Import(f"{base}.{alias.name}", node.lineno, lazy)
    else:
        yield Import(base, node.lineno, lazy)


def check_file(path: Path, root: Path) -> list[str]:
    """The complaints about one file below the package's ``root``."""
    relative = path.relative_to(root)
    source = path.read_text(encoding="utf-8")
    complaints = []
    lines = source.count("\n")
    if lines > MAX_LINES:
        complaints.append(f"{path}:1: {lines} lines, more than {MAX_LINES}; split it by meaning")
    room = relative.parts[0].removesuffix(".py")
    package = ".".join([root.name if root.name == RUNTIME else PACKAGE, *relative.parent.parts])
    try:
        tree = ast.parse(source, str(path))
    except SyntaxError as error:
        return [f"{path}:{error.lineno}: does not parse: {error.msg}"]
    for found in imports(tree, package):
        if root.name == RUNTIME:
            reason = _forbidden_in_runtime(found)
        else:
            reason = _forbidden(found, room, relative.as_posix())
        if reason:
            complaints.append(f"{path}:{found.line}: imports {found.module}: {reason}")
    return complaints


def _forbidden_in_runtime(found: Import) -> str:
    """Why an import is not allowed in the runtime; empty if it is."""
    top = found.module.split(".")[0]
    return f"{RUNTIME} runs without {top}" if top in CONVERTERS_OWN else ""


def _forbidden(found: Import, room: str, relative: str) -> str:
    """Why an import is not allowed; empty if it is."""
    top, *rest = found.module.split(".")
    if top == RUNTIME:
        allowed_here = FROM_RUNTIME.get(relative) == found.module
        return "" if allowed_here else f"the converter takes only the BLAS from {RUNTIME}"
    if top == PACKAGE:
        target = rest[0] if rest else ""
        allowed = ARROWS.get(room)
        if target and allowed is not None and target != room and target not in allowed | SHARED:
            return f"the arrow {room} -> {target} is not allowed"
        if room == "ops" and target != "ops":
            return (
                "ops/ travels inside emitted code and may import only mlx, math, typing and itself"
            )
        return ""
    if room == "ops" and top not in OPS_OUTSIDE and relative not in OPS_STAY_HOME:
        return "ops/ travels inside emitted code and may import only mlx, math, typing and itself"
    if top in ONNX and not relative.startswith(ONNX_ROOMS):
        return f"{top} belongs to {', '.join(ONNX_ROOMS)}"
    if top == "onnxruntime" and not found.lazy:
        return "onnxruntime is only the reference of validation: import it inside functions"
    if top == "torch" and relative.startswith(("capture/onnx/", "lower/onnx/")):
        return "the ONNX path needs no torch"
    if top == "torch":
        if not relative.startswith(TORCH_ROOMS):
            return f"torch belongs to {', '.join(TORCH_ROOMS)}"
        if not found.lazy:
            return "torch is imported inside functions, so that the package needs no torch"
    return ""


def main(arguments: list[str]) -> int:
    """Checks every file of the packages; returns the exit status."""
    source = Path(__file__).resolve().parent.parent / "src"
    roots = [Path(a) for a in arguments] or [source / PACKAGE, source / RUNTIME]
    complaints, count = [], 0
    for root in roots:
        files = sorted(root.rglob("*.py"))
        if not files:
            print(f"error: no Python files under {root}", file=sys.stderr)
            return 2
        complaints += [line for path in files for line in check_file(path, root)]
        count += len(files)
    print("\n".join(complaints) or f"import arrows hold in {count} files")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
