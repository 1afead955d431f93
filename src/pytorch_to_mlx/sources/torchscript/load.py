"""TorchScript archives: foreign files, tried in a process of their own before they are loaded."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx import memory
from pytorch_to_mlx.errors import SourceError
from pytorch_to_mlx.sources.torchscript.archive import damaged_part
from pytorch_to_mlx.sources.trial import attempt

if TYPE_CHECKING:
    import torch


#: What torch raises on archives that are cut short, overwritten or made up.
_DAMAGE = (
    RuntimeError, ValueError, OSError, LookupError, TypeError, AttributeError, ArithmeticError,
)  # fmt: skip


@dataclass(frozen=True)
class Call:
    """The call at which a script is converted."""

    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    method: str = "forward"

    def pickled(self) -> bytes:
        """Its inputs for the child; none where they are objects that only this process knows."""
        try:
            return pickle.dumps((tuple(self.args), dict(self.kwargs)))
        except (pickle.PicklingError, TypeError, AttributeError, RuntimeError):
            return pickle.dumps(((), {}))


def load_script(path: Path, call: Call = Call()) -> torch.jit.ScriptModule:
    """The module of a TorchScript archive.

    A damaged archive may end the process that reads it, or never come to an end: it is read in a
    child first, whose time and memory are bounded, and its method is run there on the examples.

    Raises:
        SourceError: it cannot be read, or does not come to an end.
        CaptureError: its code does what a converted model must not.
    """

    def refused(reason: str) -> SourceError:
        return SourceError(
            f"{path} cannot be loaded and run as TorchScript: {reason}",
            hint="is it damaged? Pass smaller inputs if it is only large or slow",
        )

    request = {"path": str(path.absolute()), "call": call.pickled(), "method": call.method}
    attempt(
        f"{__name__}:trial",
        request,
        size=path.stat().st_size,
        refused=refused,
        needs=["torch"],
    )
    script = _load(path)
    tensors = [*script.parameters(), *script.buffers()]  # views may be far larger than the file
    memory.require(memory.tensor_bytes(tensors), f"the tensors of {path}", "is the file damaged?")
    return script


def trial(path: str, call: bytes, method: str) -> None:
    """What the child does: loads the archive, and runs the module that it is rebuilt as."""
    import torch

    from pytorch_to_mlx.sources.factory import with_method
    from pytorch_to_mlx.sources.torchscript.rebuild import rebuild

    if wrong := damaged_part(Path(path)):
        raise _damaged(Path(path), wrong)
    module = with_method(rebuild(_load(Path(path))), method)
    args, kwargs = pickle.loads(call)  # of the parent's making
    if not args and not kwargs:
        return
    with torch.no_grad():
        try:
            module(*args, **kwargs)
        except MemoryError:
            raise
        except Exception as error:
            if "allocate" in str(error):
                raise MemoryError from error
            # else the inputs do not fit, which capture will say better


def _load(path: Path) -> torch.jit.ScriptModule:
    import torch

    try:
        return on_cpu(torch.jit.load(str(path), map_location="cpu"))
    except _DAMAGE as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise _damaged(path, (lines or [type(error).__name__])[0][:300]) from error


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
