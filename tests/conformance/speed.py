"""Makes thousands of exports in one process bearable: torch rebuilds the same tables at each."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch._C import DispatchKey
from torch._ops import OperatorBase

Register = Callable[[Callable[..., Any]], Callable[..., Any]]


def remember_tables() -> None:
    """Caches the set of composite ops and registers kernels without building type annotations.

    Nothing of what is exported changes: no op is registered between two exports of this process.
    """
    from torch.export import decomp_utils, exported_program

    collect = cache(exported_program._collect_all_valid_cia_ops)
    exported_program._collect_all_valid_cia_ops = collect
    decomp_utils._collect_all_valid_cia_ops = collect
    register = OperatorBase.py_impl

    def py_impl(op: Any, key: Any) -> Register:
        if type(key) is not DispatchKey or key == DispatchKey.Python or key in op.py_kernels:
            return register(op, key)

        def inner(fn):
            op.py_kernels[key] = fn
            op._dispatch_cache.clear()
            return fn

        return inner

    OperatorBase.py_impl = py_impl
    torch.set_num_threads(1)
