"""Every ATen op of a run through a function of one's own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

#: Calls an op, with its positional and its keyword arguments, and gives its result.
Handler = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


def handing(handle: Handler) -> AbstractContextManager[Any]:
    """Within, each op is given to ``handle``, those in branches and loops of torch's too."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Mode(TorchDispatchMode):
        supports_higher_order_operators = True
        opens_branches = True

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            if isinstance(func, torch._ops.HigherOrderOperator):
                return func(*(_within(self, a) for a in args), **kwargs)
            return handle(func, args, kwargs)

    return Mode()


def _within(mode: Any, argument: Any) -> Any:
    """A branch, which runs under the mode again; other arguments as they are."""
    if not callable(argument):
        return argument

    def branch(*args: Any, **kwargs: Any) -> Any:
        with mode:
            return argument(*args, **kwargs)

    return branch


def is_handing() -> bool:
    """Whether ops are handed to a function now."""
    from torch.utils._python_dispatch import _get_current_dispatch_mode

    return getattr(_get_current_dispatch_mode(), "opens_branches", False)
