"""Lists whose length is a size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class Appended:
    """A list to which a loop of unknown count appended: the first items, then a stack of the rest
    along a new first axis.
    """

    first: list[Any]
    rest: Any

    def __len__(self) -> int:
        raise ValueError("a list of unknown length")

    @property
    def count(self) -> Any:
        return self.rest.shape[0] + len(self.first)

    def stacked(self) -> Any:
        """All items along a new first axis."""
        import torch

        return torch.cat([torch.stack(self.first), self.rest]) if self.first else self.rest

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
        return self.stacked()[i]
