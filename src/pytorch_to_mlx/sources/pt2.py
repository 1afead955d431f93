"""``.pt2`` archives: checked before torch reads them, for some of what they hold would run as code.

``torch.export.load`` unpickles sample inputs and odd tensors without ``weights_only``, evaluates
shape expressions with ``sympy.sympify``, calls whatever function a node names, compiles guards, and
writes names of values, weights and arguments into source that it runs.
A file from elsewhere may therefore run anything; what a plain export never holds is refused here.
"""

from __future__ import annotations

import ast
import builtins
import io
import json
import logging
import pickle
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.errors import SourceError
from pytorch_to_mlx.sources.pt2_names import unsafe_names

if TYPE_CHECKING:
    import torch

_TARGET = re.compile(
    r"torch\.ops(\.[A-Za-z]\w*|\._[a-z]\w*){2,3}"
    r"|torch\._?sym_[a-z]+|torch\.utils\._sympy\.functions\.\w+"
    r"|_?operator\.(?!call|methodcaller|attrgetter)\w+|math\.\w+"
)
_PURE_BUILTINS = {"abs", "min", "max", "pow", "round", "int", "float", "bool", "True", "False"}
_EXPRESSION = (
    ast.Expression, ast.Call, ast.keyword, ast.Name, ast.Load, ast.Constant, ast.BinOp, ast.UnaryOp,
    ast.operator, ast.unaryop, ast.Compare, ast.cmpop, ast.BoolOp, ast.boolop, ast.Tuple,
)  # fmt: skip
_TRUST = "if you trust where it comes from, add --trust-code (it can run any code)"


def load_program(path: Path, *, trust_code: bool = False) -> torch.export.ExportedProgram:
    """Loads the exported program of an archive, whatever its extension.

    Raises ``SourceError`` when it is damaged, of another torch, holds no program called ``model``,
    or (without ``trust_code``) holds something that would run code.
    """
    import torch

    try:
        if not trust_code:
            reason = next(_unsafe(path), "")
            if reason:
                raise SourceError(f"{path} is not a plain exported program: {reason}", hint=_TRUST)
        _require_model(path)
        with path.open("rb") as file, _quiet_torch():
            program = torch.export.load(file)
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError) as error:
        raise SourceError(
            f"{path} is cut short or damaged: {_first_line(error)}",
            hint="download or export it again",
        ) from error
    except SourceError:
        raise
    except Exception as error:  # torch has many classes for what its format does not allow
        raise SourceError(
            f"{path} cannot be read by torch {torch.__version__}: {_first_line(error)}",
            hint=f"it was exported by torch {_torch_version(path) or 'of an unknown version'}",
        ) from error
    if not trust_code and hasattr(program, "_guards_code"):
        program._guards_code = []  # source text that torch would compile; only checks input sizes
    return program


def _unsafe(path: Path) -> Iterator[str]:
    """Reasons why reading the archive could run code."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
        if damaged:
            raise SourceError(f"{path} is damaged ({damaged})", hint="download or export it again")
        entries = {_inner(name): name for name in archive.namelist()}
        if len({inner.casefold() for inner in entries}) < len(archive.namelist()):
            yield "it holds several programs in one"
        for inner, name in entries.items():
            if "custom_obj" in inner or "opaque_obj" in inner:
                yield f"it holds a pickled Python object ({inner})"
            if _is_pickle(inner) and not _only_tensors(archive.read(name)):
                yield f"{inner} holds Python objects, not only tensors"
            if inner.endswith("_config.json"):
                yield from _unsafe_payloads(archive, name, entries)
            elif inner.endswith(".json"):
                program = json.loads(archive.read(name))
                yield from _unsafe_graph(program)
                yield from unsafe_names(program)


def _inner(name: str) -> str:
    """An entry's path without the archive's root folder (older archives have none)."""
    root, slash, rest = name.partition("/")
    return rest if slash and root not in ("models", "data", "extra_files") else name


def _is_pickle(inner: str) -> bool:
    """Entries that are always read with ``torch.load``."""
    old = re.fullmatch(r"serialized_\w+\.(pt|json)", inner) and "program" not in inner
    return bool(old) or inner.startswith("data/sample_inputs/")


def _unsafe_payloads(archive: zipfile.ZipFile, name: str, entries: dict[str, str]) -> Iterator[str]:
    """Weights and constants that a config marks as pickled."""
    config = json.loads(archive.read(name)).get("config", {})
    folder = _inner(name).rpartition("/")[0]
    for tensor, payload in config.items():
        if payload.get("use_pickle"):
            entry = entries.get(f"{folder}/{payload.get('path_name')}")
            if entry is None or not _only_tensors(archive.read(entry)):
                yield f"the weight {tensor} holds Python objects, not only tensors"


def _only_tensors(data: bytes) -> bool:
    import torch

    if not data:
        return True
    try:
        torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError):
        return False
    return True


def _unsafe_graph(value: Any) -> Iterator[str]:
    """Node targets that are no ops, and shape expressions that are no arithmetic."""
    if isinstance(value, list):
        for item in value:
            yield from _unsafe_graph(item)
    elif isinstance(value, dict):
        target, expression = value.get("target"), value.get("expr_str")
        is_node = "inputs" in value and "outputs" in value
        if is_node and isinstance(target, str) and not _TARGET.fullmatch(target):
            yield f"a node calls {target!r}, which is no op"
        if isinstance(expression, str) and not is_arithmetic(expression):
            yield f"a size is {expression[:60]!r}, which is no arithmetic"
        for item in value.values():
            yield from _unsafe_graph(item)


def is_arithmetic(text: str) -> bool:
    """Whether a size's expression only combines symbols, numbers and sympy's functions."""
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    for node in ast.walk(tree):
        if not isinstance(node, _EXPRESSION):
            return False
        if isinstance(node, ast.Name):
            forbidden = hasattr(builtins, node.id) and node.id not in _PURE_BUILTINS
            if forbidden or node.id.startswith("_"):
                return False
        if isinstance(node, ast.Call) and not isinstance(node.func, ast.Name):
            return False
        if isinstance(node, ast.Constant) and not _is_plain(node.value):
            return False
    return True


def _is_plain(constant: Any) -> bool:
    """A number, or a symbol's name; any other text could be evaluated in its turn."""
    if isinstance(constant, str):
        return re.fullmatch(r"[A-Za-z]\w*", constant) is not None
    return isinstance(constant, (bool, int, float))


def _require_model(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        models = [
            match[1]
            for name in archive.namelist()
            if (match := re.fullmatch(r"models/(.+)\.json", _inner(name)))
        ]
    if models and "model" not in models:
        raise SourceError(
            f"{path} holds the programs {', '.join(models)}, but none called 'model'",
            hint="save the one that is meant with torch.export.save",
        )


def _torch_version(path: Path) -> str:
    """The torch that wrote the archive, if it says so."""
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if _inner(name) in ("models/model.json", "serialized_exported_program.json"):
                    return str(json.loads(archive.read(name)).get("torch_version") or "")
    except (zipfile.BadZipFile, ValueError, OSError):
        return ""
    return ""


@contextmanager
def _quiet_torch() -> Iterator[None]:
    """Keeps torch's own tracebacks out of the log: the error says what they say, in one line."""
    loggers = [logging.getLogger(n) for n in ("torch.export", "torch.export.pt2_archive._package")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
