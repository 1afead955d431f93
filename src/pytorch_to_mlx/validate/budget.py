"""How long a proof may take: what must be compared always is, the rest while there is time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pytorch_to_mlx.errors import InputError

SECONDS = 300.0  # small models are done long before


@dataclass
class Budget:
    """Seconds from now on; ``left_out`` names what they were not enough for, of ``planned``."""

    seconds: float = SECONDS
    planned: int = 0
    left_out: list[str] = field(default_factory=list)
    clock: Callable[[], float] = time.monotonic
    started: float = field(init=False)

    def __post_init__(self) -> None:
        if not self.seconds >= 0:
            raise InputError(
                f"a budget of {self.seconds} seconds makes no sense", hint="choose one like 300"
            )
        self.started = self.clock()

    @property
    def left(self) -> float:
        """Seconds left; negative when what had to be done took longer."""
        return self.seconds - (self.clock() - self.started)

    def part(self, share: float) -> Budget:
        """A budget of a share of what is left, with a list of its own."""
        return Budget(max(0.0, share * self.left), clock=self.clock)

    def allows(self, cost: float) -> bool:
        """Whether something of this many seconds fits."""
        return cost <= self.left

    def take(self, name: str, cost: float, *, required: bool = False) -> bool:
        """Whether to do one of the planned things; the name is kept if not."""
        self.planned += 1
        if required or self.allows(cost):
            return True
        self.left_out.append(name)
        return False

    def add(self, part: Budget) -> None:
        """Takes over what a part planned and left out."""
        self.planned += part.planned
        self.left_out += part.left_out

    def to_dict(self) -> dict[str, Any]:
        """The report's ``budget`` section (no measured times: those vary)."""
        return {"seconds": self.seconds, "planned": self.planned, "left_out": list(self.left_out)}
