"""Loops over what a mask selects, as mixtures of experts write them, made traceable.

::

    for expert in hit.nonzero():                   # 1. for every expert
        which, token = torch.where(mask[expert])   # 2. every place, and whether it is set
        y = self.experts[expert](x[token])         # 2. every row
        out.index_add_(0, token, y)                # 2. zeros where the mask is not set

torch.export refuses such a loop, because the number of its turns depends on values. It may take its
turn for everything that could be found, since a turn without rows adds none (1). Where torch also
refuses that the number of rows depends on values, every row is computed (2). Both give the same
only where rows do not know of each other and what is written is all that counts: the caller has to
compare with the original.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_MOST_TURNS = 256  # of a loop over what nonzero finds


class Place(int):
    """A number of a loop's turn, with what one does to a tensor of rank 0."""

    def item(self) -> int:
        return int(self)

    tolist = item


class Row(list[Place]):
    """One row of what nonzero finds: its place along each axis."""

    def item(self) -> int:
        return int(self[0])

    def squeeze(self, *_: Any) -> Place:
        return self[0]

    def tolist(self) -> list[int]:
        return [int(place) for place in self]


@contextmanager
def selections(met: list[str], *, every_row: bool) -> Iterator[None]:
    """Within, loops over what nonzero finds take every turn, and with ``every_row`` masks select
    every row; ``met`` gets a word for each such place.
    """
    from torch.overrides import TorchFunctionMode

    class Mode(TorchFunctionMode):
        def __init__(self) -> None:
            super().__init__()
            self.selected = _Selected(met, every_row)

        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            return self.selected.call(function, args, kwargs or {})

    with Mode():
        yield


class _Selected:
    """Which index tensors list every place of a mask, with that mask's values."""

    def __init__(self, met: list[str], every_row: bool) -> None:
        self.met = met
        self.own = _EVERY_ROW if every_row else _EVERY_TURN
        self.places: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.lists: dict[int, tuple[torch.Tensor, Any]] = {}  # what nonzero gave, of how many
        self.masks: dict[int, torch.Tensor] = {}  # masks by which rows were read

    def call(self, function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """The function, or what stands for it."""
        own = self.own.get(getattr(function, "__name__", ""))
        if own is not None:
            result = own(self, args, kwargs)
            if result is not NotImplemented:
                return result
        result = function(*args, **kwargs)
        self._follow(args, result)
        return result

    def _follow(self, args: Any, result: Any) -> None:
        """Integers computed from a list of places alone (reshaped, cast) list the same places."""
        import torch

        if not self.places or not args or id(args[0]) not in self.places:
            return
        _, chosen = self.places[id(args[0])]
        results = result if isinstance(result, (tuple, list)) else [result]
        for made in results:
            integer = isinstance(made, torch.Tensor) and not made.is_floating_point()
            if integer and made.dtype is not torch.bool and made.ndim == 1:
                self.places[id(made)] = (made, chosen)

    def listed(self, mask: torch.Tensor) -> list[torch.Tensor]:
        """The place along each axis of every element, in order."""
        import torch

        self.met.append("places")
        sizes = list(mask.shape)
        flat = torch.arange(math.prod(sizes), device=mask.device)
        chosen = mask.reshape(-1) != 0
        found = []
        for axis in range(mask.ndim):
            below = math.prod(sizes[axis + 1 :])
            place = flat if axis == mask.ndim - 1 else flat // below
            found.append(place if axis == 0 else place % sizes[axis])
        for place in found:
            self.places[id(place)] = (place, chosen)
        return found

    # -- what stands for torch's functions --------------------------------------------------------

    def where(self, args: Any, kwargs: dict[str, Any]) -> Any:
        return tuple(self.listed(args[0])) if len(args) == 1 and not kwargs else NotImplemented

    def found(self, args: Any, kwargs: dict[str, Any]) -> Any:
        """What nonzero finds, of which it is noted how much it could be."""
        import torch

        if kwargs.get("as_tuple") or args[0].ndim != 1:
            return NotImplemented
        made = torch.nonzero(args[0])
        self.lists[id(made)] = (made, args[0].shape[0])
        return made

    def nonzero(self, args: Any, kwargs: dict[str, Any]) -> Any:
        import torch

        found = self.listed(args[0])
        if kwargs.get("as_tuple"):
            return tuple(found)
        made = torch.stack(found, 1)
        self.places[id(made)] = (made, self.places[id(found[0])][1])
        if len(found) == 1:
            self.lists[id(made)] = (made, args[0].shape[0])
        return made

    def unbind(self, args: Any, kwargs: dict[str, Any]) -> Any:
        """A loop over what nonzero finds takes its turn for every place of the mask."""
        along = args[1] if len(args) > 1 else kwargs.get("dim", 0)
        if id(args[0]) not in self.lists or along:
            return NotImplemented
        turns = self.lists[id(args[0])][1]
        if type(turns) is not int or turns > _MOST_TURNS:
            return NotImplemented
        self.met.append("turns")
        return [Row([Place(i)]) for i in range(turns)]

    def index_add(self, args: Any, kwargs: dict[str, Any], *, in_place: bool) -> Any:
        import torch

        if len(args) < 4 or id(args[2]) not in self.places:
            return NotImplemented
        into, axis, index, rows = args[:4]
        chosen = self.places[id(index)][1]
        shape = [1] * rows.ndim
        shape[axis] = -1
        kept = torch.where(chosen.reshape(shape), rows, 0)
        made = into.index_add_ if in_place else into.index_add
        return made(axis, index, kept, *args[4:], **kwargs)

    def read(self, args: Any, kwargs: dict[str, Any]) -> Any:
        """``x[mask]`` is every row of ``x``."""
        x, mask = args
        if not _is_mask(mask, x):
            return NotImplemented
        self.met.append("rows")
        self.masks[id(mask)] = mask
        return x.reshape(-1, *x.shape[mask.ndim :])

    def write(self, args: Any, kwargs: dict[str, Any]) -> Any:
        """``x[mask] = rows`` where rows were read by that mask; ``x[places] = rows``."""
        import torch

        into, at, rows = args
        if not isinstance(rows, torch.Tensor) or rows.ndim == 0:
            return NotImplemented
        if _is_mask(at, into) and id(at) in self.masks:
            chosen = at.reshape(*at.shape, *(1,) * (into.ndim - at.ndim))
            into.copy_(torch.where(chosen, rows.reshape(into.shape), into))
            return None
        if isinstance(at, torch.Tensor) and id(at) in self.places:
            chosen = self.places[id(at)][1].reshape(-1, *(1,) * (rows.ndim - 1))
            into[at] = torch.where(chosen, rows, into[at])
            return None
        return NotImplemented


def _is_mask(mask: Any, x: Any) -> bool:
    import torch

    both = isinstance(mask, torch.Tensor) and isinstance(x, torch.Tensor)
    return both and mask.dtype is torch.bool and 0 < mask.ndim <= x.ndim


_Own = Callable[[_Selected, Any, dict[str, Any]], Any]
_EVERY_TURN: dict[str, _Own] = {
    "nonzero": _Selected.found,
    "argwhere": _Selected.found,
    "unbind": _Selected.unbind,
}
_EVERY_ROW: dict[str, _Own] = {
    "where": _Selected.where,
    "nonzero": _Selected.nonzero,
    "argwhere": _Selected.nonzero,
    "unbind": _Selected.unbind,
    "index_add": lambda s, a, k: s.index_add(a, k, in_place=False),
    "index_add_": lambda s, a, k: s.index_add(a, k, in_place=True),
    "__getitem__": _Selected.read,
    "__setitem__": _Selected.write,
}
