"""The table of ONNX lowerings: domain, op and the opset from which a lowering holds."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

from pytorch_to_mlx.lower.registry import F, Lowering

#: Spellings of the standard domain.
STANDARD = ("", "ai.onnx")


class VersionedRegistry:
    """Lowerings by domain and op; of several, the newest that the model's opset includes is taken.

    ``@lowers("Reshape", since=5)`` holds from opset 5 on, until a lowering with a higher ``since``.
    """

    def __init__(self) -> None:
        self._table: dict[tuple[str, str], dict[int, Lowering]] = {}

    def lowers(self, *names: str, since: int = 1, domain: str = "") -> Callable[[F], F]:
        """Decorator: registers a function for the named ops of a domain.

        Raises:
            ValueError: an op has a lowering for this ``since`` already.
        """

        def register(fn: F) -> F:
            for name in names:
                versions = self._table.setdefault((plain_domain(domain), name), {})
                if since in versions:
                    raise ValueError(
                        f"two lowerings for {domain or 'ai.onnx'}.{name} since {since}: "
                        f"{versions[since].__module__} and {fn.__module__}"
                    )
                versions[since] = fn
            return fn

        return register

    def find(self, domain: str, op: str, opset: int) -> Lowering | None:
        """The lowering of an op in a model of this opset, or None."""
        versions = self._table.get((plain_domain(domain), op), {})
        order = sorted(versions)
        at = bisect_right(order, opset)
        return versions[order[at - 1]] if at else None

    def names(self) -> list[str]:
        """``domain.op`` of every lowering."""
        return sorted(f"{d or 'ai.onnx'}.{op}" for d, op in self._table)


def plain_domain(domain: str) -> str:
    return "" if domain in STANDARD else domain
