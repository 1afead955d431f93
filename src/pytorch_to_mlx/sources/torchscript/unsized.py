"""Tensors whose size changes from round to round of a loop, which torch's own loops refuse.

Before the loop ``p2m::unsized`` gives such a dim a size that nobody knows; in its body
``p2m::sized_like`` says of what comes out that it still has this size, and after it ``unsized``
gives it another one. Both only copy.
"""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def register() -> Any:
    """Defines the ops once a process; returns the library, which must stay alive."""
    import torch

    library = torch.library.Library("p2m", "FRAGMENT")
    library.define("unsized(Tensor x, int[] dims) -> Tensor")
    library.define("sized_like(Tensor x, Tensor like) -> Tensor")
    for name in ("unsized", "sized_like"):
        library.impl(name, lambda x, _: x.clone(), "CompositeExplicitAutograd")

    def unsized(x: Any, dims: list[int]) -> Any:
        context = torch.library.get_ctx()
        shape = [context.new_dynamic_size() if i in dims else n for i, n in enumerate(x.shape)]
        return x.new_empty(shape)

    torch.library.register_fake("p2m::unsized", unsized, lib=library)
    torch.library.register_fake(
        "p2m::sized_like", lambda x, like: x.new_empty(like.shape), lib=library
    )
    return library


def unsized(x: Any, dims: set[int]) -> Any:
    """The same tensor; what size these dims have is forgotten."""
    import torch

    register()
    return torch.ops.p2m.unsized(x, sorted(dims))


def sized_like(x: Any, like: Any) -> Any:
    """The same tensor, as if it had the shape of another one."""
    import torch

    register()
    return torch.ops.p2m.sized_like(x, like)
