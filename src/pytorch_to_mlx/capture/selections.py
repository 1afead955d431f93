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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_MOST_TURNS = 256  # of a loop over what nonzero finds
_MOST_SKIPPED = 4


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


@dataclass
class Selections:
    """How loops and masks are traced; with ``every_row`` masks select every row.

    Attributes:
        met: a word for each place where that made a difference.
        skip: turns that no loop takes, because the code fails in them whatever is selected: there
            may be more classes than experts.
        turn: the turn that a loop is at.
    """

    every_row: bool = False
    met: list[str] = field(default_factory=list)
    skip: set[int] = field(default_factory=set)
    turn: int | None = None

    def skips(self, error: Exception) -> bool:
        """Whether to try again without the turn that failed."""
        if self.turn is None or not isinstance(error, (IndexError, KeyError, AttributeError)):
            return False
        self.skip.add(self.turn)
        self.turn = None
        return len(self.skip) <= _MOST_SKIPPED

    def turns(self, count: int) -> Iterator[Row]:
        for i in range(count):
            if i not in self.skip:
                self.turn = i
                yield Row([Place(i)])
        self.turn = None


@contextmanager
def selecting(how: Selections | None) -> Iterator[None]:
    """Within, loops over what nonzero finds take every turn."""
    from torch.overrides import TorchFunctionMode

    if how is None:
        yield
        return

    selected = _Selected(how)

    class Mode(TorchFunctionMode):
        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            return selected.call(function, args, kwargs or {})

    with Mode():
        yield


class _Selected:
    """Which index tensors list every place of a mask, with that mask's values."""

    def __init__(self, how: Selections) -> None:
        self.how = how
        self.own = _EVERY_ROW if how.every_row else _EVERY_TURN
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

        self.how.met.append("places")
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
        self.how.met.append("turns")
        return self.how.turns(turns)

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
        self.how.met.append("rows")
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
