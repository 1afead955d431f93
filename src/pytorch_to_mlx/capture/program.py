"""What capture hands to lowering: a program and what it lost of the source."""

from __future__ import annotations

import linecache
import re
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.graph import Tree

if TYPE_CHECKING:
    from pytorch_to_mlx.capture.reference import MakeReference, Reference, ReferenceOutput

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')
_PYTHON = sysconfig.get_paths()["stdlib"]
_OWN = str(Path(__file__).resolve().parents[1])

Bound = dict[tuple[str, int], list[tuple[str, "str | None"]]]


@dataclass
class Captured:
    """A normalised program.

    ``frontend`` says which lowering reads ``program``: for ``"aten"`` an ``ExportedProgram``,
    functional and decomposed to the ops that lowering knows; for ``"onnx"`` an ``OnnxProgram``.

    ``tensors`` maps canonical paths to the source's tensors (shared ones once, its own memory);
    ``aliases`` maps every other path to its canonical one, ``module_aliases`` does so for modules.
    ``classes`` and ``signatures`` describe modules by path (class name; forward's argument names).

    ``input_names`` names every input leaf of the program in order (dotted for nested ones;
    constants and ``None`` included). ``in_tree``'s leaves hold the position among the array inputs;
    ``out_tree``'s the position among the program's user outputs, named by ``output_names``.

    ``bound`` maps ``(module path, call)`` to the arguments of that call: ``(forward's argument
    name, FX node name in program)``, with ``None`` for what is no array of the graph.

    ``dims`` is ``{"symbols": {name: {"where": ["x:0"], "min", "max", "multiple_of", "size"}},
    "static": [{"where": "x:1", "size": 80, "reason": ...}]}``; ``max`` is ``None`` where unbounded,
    ``size`` the example's.

    ``size_names`` are the names that the user gave to dims, by input name and axis.

    ``example_inputs`` holds the example tensors by input name, as the user gave them.
    ``example_outputs`` is what the source made of them (one call), where capture ran it.
    ``persistent`` names the tensors of the source's state dict (not constants, nor state that was a
    plain attribute).
    """

    program: Any
    name: str
    tensors: Mapping[str, Any]
    in_tree: Tree
    out_tree: Tree
    input_names: list[str]
    aliases: dict[str, str] = field(default_factory=dict)
    module_aliases: dict[str, str] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    signatures: dict[str, list[str]] = field(default_factory=dict)
    dims: dict[str, Any] = field(default_factory=dict)
    size_names: dict[tuple[str, int], str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    user_files: tuple[str, ...] = ()
    bound: Bound = field(default_factory=dict)
    output_names: list[str] = field(default_factory=list)
    example_inputs: dict[str, Any] = field(default_factory=dict)
    example_outputs: list[ReferenceOutput] | None = None
    persistent: set[str] = field(default_factory=set)
    make_reference: MakeReference | None = None
    frontend: str = "aten"
    element_types: list[str] = field(default_factory=list)  # of the outputs
    custom: dict[str, str] = field(default_factory=dict)  # op -> the function that was given for it
    provided: list[dict[str, Any]] = field(default_factory=list)  # those functions and their proofs
    folded: dict[str, Any] = field(default_factory=dict)  # 8-bit products of the source, if folded
    as_written: Any = None  # the reference of the source before folding
    op_calls: dict[str, list[Any]] = field(
        default_factory=dict
    )  # proven calls of them, by function

    def reference(self, dtype: str | None = None) -> Reference:
        """The original model as a function of named inputs; see ``Reference``.

        ``dtype`` (``"float16"``, ``"bfloat16"``, ``"float32"``) runs a copy in that precision.
        """
        if self.make_reference is None:
            raise ValueError("this program was captured without its original")
        return self.make_reference(dtype)

    def canonical(self, path: str) -> str:
        """The path under which a shared tensor is stored."""
        return self.aliases.get(path, path)

    def module_path(self, path: str) -> str:
        """The first path of a module that the source reaches by several."""
        return self.module_aliases.get(path, path)

    def source_line(self, stack_trace: str | None) -> tuple[str, int, str]:
        """File, line and text of the innermost frame of the user's code (not torch's)."""
        return innermost_user_line(stack_trace)


def innermost_user_line(stack_trace: str | None) -> tuple[str, int, str]:
    """File, line and text of the last frame in a printed traceback that is not torch's or ours."""
    frames = [(m["file"], int(m["line"])) for m in _FRAME.finditer(stack_trace or "")]
    own = [f for f in frames if not is_foreign(f[0])] or frames
    if not own:
        return "", 0, ""
    file, line = own[-1]
    return file, line, linecache.getline(file, line).strip()


def is_foreign(file: str) -> bool:
    """Whether a frame's file is torch's, numpy's, Python's or ours: not the user's code."""
    libraries = [sys.modules.get(name) for name in ("torch", "numpy")]
    folders = [_OWN, *(str(Path(lib.__file__ or "").parent) for lib in libraries if lib)]
    in_python = file.startswith(_PYTHON) and "site-packages" not in file
    return file.startswith("<") or in_python or any(file.startswith(f) for f in folders)
