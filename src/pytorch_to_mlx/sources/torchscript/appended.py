"""Lists whose length is a size, or decided by data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


class Item(NamedTuple):
    """What the items of a list are: tensors of one shape, or numbers."""

    shape: tuple[Any, ...]
    dtype: Any
    number: bool

    @staticmethod
    def of(value: Any) -> Item:
        """Of a tensor or an integer.

        Raises:
            ValueError: it is neither.
        """
        import torch

        if isinstance(value, torch.Tensor):
            return Item(tuple(value.shape), value.dtype, False)
        if isinstance(value, (int, torch.SymInt)) and not isinstance(value, bool):
            return Item((), torch.int64, True)
        raise ValueError(f"it appends a {type(value).__name__} to a list of unknown length")


@dataclass
class Appended:
    """A list to which a loop or branch of unknown course appended: the first items, then a stack of
    the rest along a new first axis. ``numbers``: its items are integers.
    """

    first: list[Any]
    rest: Any
    numbers: bool = False

    @staticmethod
    def grown(items: Any, item: Item) -> Appended:
        """A list as one that may grow by such items."""
        import torch

        if isinstance(items, Appended):
            return Appended([], items.stacked(), items.numbers)
        if not items:
            return Appended([], torch.zeros((0, *item.shape), dtype=item.dtype), item.number)
        if any(Item.of(v)[1:] != item[1:] for v in items):
            raise ValueError("it appends to a list of other items")
        return Appended([], torch.stack([_as_tensor(v) for v in items]), item.number)

    def __len__(self) -> int:
        raise ValueError("a list of unknown length")

    @property
    def item(self) -> Item:
        """What its items are."""
        return Item(tuple(self.rest.shape[1:]), self.rest.dtype, self.numbers)

    @property
    def count(self) -> Any:
        return self.rest.shape[0] + len(self.first)

    def append(self, item: Any) -> None:
        """Adds an item."""
        import torch

        self.rest = torch.cat([self.rest, _as_tensor(item).unsqueeze(0)])

    def extend(self, items: Any) -> None:
        """Adds several items."""
        for item in items:
            self.append(item)

    def __iadd__(self, items: Any) -> Appended:
        self.extend(items)
        return self

    def reverse(self) -> None:
        """Turns it round, in place."""
        import torch

        self.first, self.rest = [], torch.flip(self.stacked(), (0,))

    def stacked(self) -> Any:
        """All items along a new first axis."""
        import torch

        if not self.first:
            return self.rest
        return torch.cat([torch.stack([_as_tensor(v) for v in self.first]), self.rest])

    def stack(self, dim: int = 0) -> Any:
        """``torch.stack`` of the list."""
        import torch

        return torch.movedim(self.stacked(), 0, dim)

    def cat(self, dim: int = 0) -> Any:
        """``torch.cat`` of the list."""
        import torch

        dim = dim if dim >= 0 else dim + self.rest.ndim - 1
        return torch.movedim(self.stacked(), 0, dim).flatten(dim, dim + 1)

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return self._part(i)
        found = self.stacked().select(0, i)
        return found.item() if self.numbers else found

    def _part(self, part: slice) -> Appended:
        """A slice of it, as a list of its own."""
        import torch

        rest, step = self.stacked(), part.step or 1
        if step < 0 and part.start is None and part.stop is None:
            rest = torch.flip(rest, (0,))[::-step]
        elif step > 0:
            rest = rest[part.start : part.stop : step]
        else:
            raise ValueError("it takes a part of a list of unknown length backwards")
        return Appended([], rest, self.numbers)

    def taken_apart(self, count: int) -> list[Any]:
        """Its items, of which there must be so many."""
        return list(self.stacked().unbind(0)) if not self.first else [self[i] for i in range(count)]


def _as_tensor(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return value
    return torch.scalar_tensor(value, dtype=torch.int64)
