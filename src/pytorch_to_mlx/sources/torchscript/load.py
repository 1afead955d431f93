"""TorchScript archives: foreign files, tried in a process of their own before they are loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.errors import SourceError
from pytorch_to_mlx.sources.torchscript.archive import short_storage

if TYPE_CHECKING:
    import torch

_SECONDS = 120.0
_SECONDS_PER_GIB = 60.0
#: What torch itself maps, and how much of the file's size reading may take.
_BASE_BYTES, _FACTOR = 16 << 30, 4

_TRIAL = """
import sys
try:
    import resource
    limit = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except (ImportError, ValueError, OSError):
    pass
import torch
try:
    torch.jit.load(sys.argv[1], map_location="cpu")
except Exception as error:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    print((lines or [type(error).__name__])[0][:300])
    sys.exit(3)
"""


def load_script(path: Path) -> torch.jit.ScriptModule:
    """The module of a TorchScript archive.

    A damaged archive may end the process that reads it, or never come to an end: it is read in a
    child first, whose time and memory are bounded.

    Raises:
        SourceError: it cannot be read.
    """
    import torch

    if wrong := short_storage(path):
        raise _damaged(path, wrong)
    size = path.stat().st_size
    seconds = _SECONDS + _SECONDS_PER_GIB * size / (1 << 30)
    command = [sys.executable, "-c", _TRIAL, str(path), str(_BASE_BYTES + _FACTOR * size)]
    try:
        child = subprocess.run(
            command,
            capture_output=True,
            timeout=seconds,
            text=True,
            errors="replace",
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise _damaged(path, f"it was not read within {seconds:.0f} s") from error
    if child.returncode:
        said = child.stdout.strip().splitlines()
        raise _damaged(path, said[-1] if said else "torch crashes on it")
    try:
        return on_cpu(torch.jit.load(str(path), map_location="cpu"))
    except (RuntimeError, ValueError, OSError) as error:
        raise _damaged(path, str(error).strip().splitlines()[0]) from error


def on_cpu(script: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """The script with every device that its code names changed to the CPU, in place.

    ``map_location`` moves tensors alone; code that was made for a GPU would fail without one.
    """
    from pytorch_to_mlx.sources.torchscript.graphs import walk

    for sub in script.modules():
        for name in sub._c._method_names():
            for node in walk(sub._c._get_method(name).graph):
                is_device = node.kind() == "prim::Constant" and node.outputsSize() == 1
                if is_device and node.output().type().kind() == "DeviceObjType":
                    node.s_("value", "cpu")
    return script


def _damaged(path: Path, text: str) -> SourceError:
    return SourceError(
        f"{path} is no readable TorchScript archive: {text}", hint="download or save it again"
    )


def is_trace(script: Any) -> bool:
    """Whether a module's code was traced: sizes became tensors there, which no script does."""
    from pytorch_to_mlx.sources.torchscript.graphs import walk

    for sub in script.modules():
        for name in sub._c._method_names():
            graph = sub._c._get_method(name).graph
            if any(node.kind() == "prim::NumToTensor" for node in walk(graph)):
                return True
    return False
