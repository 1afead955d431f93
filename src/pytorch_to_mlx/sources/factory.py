"""``file.py:factory``: a callable in the user's own file that builds the model."""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib.util
import sys
import traceback
import types
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.errors import SourceError
from pytorch_to_mlx.sources.arrays import as_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

_RETURNS = "it must return the module, or (module, args, kwargs[, dynamic_shapes])"


@dataclass
class Made:
    """What a factory returned; ``dynamic_shapes`` is ``"auto"`` unless it says otherwise."""

    model: Any
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] | None = None
    dynamic_shapes: Any = "auto"


def is_factory(text: str) -> bool:
    """Whether a source names a callable of a Python file (``file.py:factory``)."""
    file, colon, name = text.rpartition(":")
    return bool(colon) and file.endswith(".py") and not name.startswith(("/", "\\"))


def call_factory(text: str) -> Made:
    """Runs ``file.py:factory``; naming it is the user's consent.

    Raises ``SourceError``, with the user's own line, when the file or callable is missing or fails.
    """
    file, _, name = text.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise SourceError(f"no such file: {path}", hint="write file.py:factory")
    with _importable(path.resolve().parent):
        module = _execute(path.resolve())
        factory = _attribute(module, name, path)
        if is_module(factory):
            return Made(factory)
        try:
            return unpack(factory(), text)
        except SourceError:
            raise
        except Exception as error:  # whatever the user's code raises is shown as theirs
            raise _in_user_code(f"{text} failed", error, path) from error


def unpack(value: Any, name: str) -> Made:
    """A factory's return value: a module, or a tuple led by one. Raises ``SourceError``."""
    if not isinstance(value, tuple):
        if not is_module(value):
            raise SourceError(f"{name} returned {_kind(value)}", hint=_RETURNS)
        return Made(value)
    if not 1 <= len(value) <= 4 or not is_module(value[0]):
        kinds = ", ".join(_kind(item) for item in value[:5])
        raise SourceError(f"{name} returned a tuple ({kinds})", hint=_RETURNS)
    defaults: tuple[Any, ...] = (None, (), None, "auto")
    model, args, kwargs, dynamic = value + defaults[len(value) :]
    args = () if args is None else args
    if isinstance(args, Mapping) and len(value) == 2:
        args, kwargs = (), args
    if not isinstance(args, (tuple, list)):  # (module, x) means one argument
        args = (args,)
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise SourceError(f"{name} returned kwargs of type {_kind(kwargs)}", hint=_RETURNS)
    return Made(model, as_tensors(tuple(args)), as_tensors(dict(kwargs or {})), dynamic)


def is_module(value: Any) -> bool:
    """Whether a value is a live model: an ``nn.Module`` or an ``ExportedProgram``."""
    import torch

    return isinstance(value, (torch.nn.Module, torch.export.ExportedProgram))


def with_method(module: torch.nn.Module, name: str) -> torch.nn.Module:
    """A shallow copy of ``module`` whose ``forward`` is another of its methods.

    It shares parameters, buffers and children, so every name stays the source's. While the method
    runs, ``self.forward`` is the original again, for methods that call it. The module's own hooks,
    which belong to ``forward``, are left out. Raises ``SourceError``.
    """
    if name == "forward":
        return module
    method = getattr(module, name, None)
    if not isinstance(method, types.MethodType) or method.__self__ is not module:
        known = _methods(module)
        hint = f"its own methods: {', '.join(known)}" if known else ""
        raise SourceError(f"{type(module).__name__} has no method {name!r}", hint=hint)
    function = method.__func__

    @functools.wraps(function)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        patched = self.__dict__.pop("forward")
        try:
            return function(self, *args, **kwargs)
        finally:
            self.__dict__["forward"] = patched

    clone = copy.copy(module)
    for hooks in ("_forward_hooks", "_forward_pre_hooks"):
        clone.__dict__[hooks] = OrderedDict()
    clone.__dict__["forward"] = types.MethodType(forward, clone)
    return clone


def _methods(module: torch.nn.Module) -> list[str]:
    import torch

    own = [base for base in type(module).__mro__ if base not in torch.nn.Module.__mro__]
    names = {name for base in own for name, item in vars(base).items() if callable(item)}
    return sorted(name for name in names if not name.startswith("_"))


def _execute(path: Path) -> types.ModuleType:
    """Imports a file under a name of its own; it stays in ``sys.modules``, as dataclasses need."""
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    name = f"_p2m_source_{path.stem}_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SourceError(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _in_user_code(f"importing {path.name} failed", error, path) from error
    return module


def _attribute(module: types.ModuleType, name: str, path: Path) -> Callable[[], Any]:
    found = getattr(module, name, None)
    if callable(found):
        return found
    own = [key for key, item in vars(module).items() if _is_own(item, module.__name__)]
    hint = f"it defines: {', '.join(own)}" if own else "it defines no functions or classes"
    what = f"no callable {name!r}" if name else "name the factory after the colon"
    raise SourceError(f"{path}: {what}", hint=hint)


def _is_own(item: Any, module_name: str) -> bool:
    return callable(item) and getattr(item, "__module__", None) == module_name


def _in_user_code(what: str, error: BaseException, path: Path) -> SourceError:
    """The innermost line of the user's file that led to an error."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if f.filename == str(path.resolve()) and f.lineno]
    if isinstance(error, SyntaxError) and error.lineno:
        lines = [error.lineno]
    origin = f"{path}:{lines[-1]}" if lines else str(path)
    text = (str(error).strip().splitlines() or [""])[0]
    return SourceError(f"{what}: {type(error).__name__}: {text}".rstrip(": "), origin=origin)


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Lets the user's file import its neighbours, as ``python file.py`` would."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))


def _kind(value: Any) -> str:
    return "None" if value is None else type(value).__name__
