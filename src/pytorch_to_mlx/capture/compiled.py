"""``torch.compile`` inside a model, taken off: what it wraps computes the same.

A compiled submodule is an ``OptimizedModule`` around the real one, which torch cannot trace, and
whose name for it (``_orig_mod``) says nothing. While the model is captured its parent holds the
real one. A compiled method or function stays as it is and runs as the Python that it was written
in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.capture.dispatch import is_handing

if TYPE_CHECKING:
    from torch import nn

    from pytorch_to_mlx.capture.program import Captured

INNER = "_orig_mod"


@dataclass
class TakenOff:
    """Paths of the modules inside, by those of what wrapped them."""

    modules: dict[str, str] = field(default_factory=dict)
    tensors: dict[str, str] = field(default_factory=dict)  # names in a state dict to plain ones

    def note(self, captured: Captured) -> None:
        """Lets what was captured answer to the wrapped names too, and says what was done."""
        for wrapped, plain in self.tensors.items():
            if wrapped not in captured.tensors:
                captured.aliases.setdefault(wrapped, captured.aliases.get(plain, plain))
        if self.modules:
            found = list(self.modules.values())
            named = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
            captured.warnings.append(
                f"torch.compile was taken off {named}: names have no {INNER!r} there"
            )


@contextmanager
def without_compiled(root: nn.Module) -> Iterator[TakenOff]:
    """Within, no submodule is a compiled one; the wrappers are put back afterwards."""
    wrapped = list(root.state_dict(keep_vars=True)) if _any_compiled(root) else []
    changed: list[tuple[dict[str, Any], str, Any]] = []
    taken = TakenOff()
    try:
        for path, parent in list(root.named_modules()):
            for name, child in list(parent._modules.items()):
                inner = _inside(child)
                if inner is child:
                    continue
                changed.append((parent._modules, name, child))
                parent._modules[name] = inner
                below = f"{path}.{name}" if path else name
                taken.modules[below] = _plain(below)
        taken.tensors = {name: _plain(name) for name in wrapped if name != _plain(name)}
        yield taken
    finally:
        for table, name, child in changed:
            table[name] = child


@contextmanager
def run_as_written() -> Iterator[None]:
    """Within, what ``torch.compile`` decorates runs as the Python that it was written in.

    ``torch.cond`` and its like compile their branches at every call, by a backend that only runs
    them: those do.
    """
    import torch

    compile_ = torch.compile

    def compiled(model: Any = None, **options: Any) -> Any:
        if options.get("backend", "inductor") == "inductor":
            return model if model is not None else lambda function: function
        return _as_ever(compile_(model, **options))

    torch.compile = compiled
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        torch.compile = compile_


def _as_ever(compiled: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        if is_handing():  # dynamo would give the function up, now and for later calls
            return compiled(*args, **kwargs)
        with as_dynamo_likes():
            return compiled(*args, **kwargs)

    return run


@contextmanager
def as_dynamo_likes() -> Iterator[None]:
    """Within, compiled functions are torch's own matter again: its strict export opens them."""
    import torch

    with torch.compiler.set_stance("default"):
        yield


def _any_compiled(root: nn.Module) -> bool:
    return any(_inside(m) is not m for m in root.modules())


def _inside(module: Any) -> Any:
    import torch

    while isinstance(module, torch._dynamo.eval_frame.OptimizedModule):
        module = getattr(module, INNER)
    return module


def _plain(path: str) -> str:
    return ".".join(part for part in path.split(".") if part != INNER)
