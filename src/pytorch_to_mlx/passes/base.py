"""What a pass is: a function that changes a graph in place and says what it did and what it
refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from pytorch_to_mlx.graph import Graph, Node


@dataclass
class PassReport:
    """How often a pass applied, and where it nearly did and why not."""

    name: str
    applied: int = 0
    refusals: list[tuple[str, str]] = field(default_factory=list)
    made: Counter[str] = field(default_factory=Counter)  # calls that there are more of since

    def refuse(self, node: Node, reason: str) -> None:
        """Records a near miss: the pattern was there, the rewrite would have been wrong."""
        path = node.scope[-1].path if node.scope else ""
        self.refusals.append((f"{path} ({node.origin})", reason))


Pass = Callable[[Graph, PassReport], None]
