"""Control flow nodes as Python statements."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from pytorch_to_mlx.errors import CodegenError
from pytorch_to_mlx.graph import Node

if TYPE_CHECKING:
    from pytorch_to_mlx.codegen.methods import MethodWriter


class ControlFlow:
    """Writes ``if``, ``while`` and ``for`` nodes into a method."""

    def __init__(self, writer: MethodWriter) -> None:
        self.writer = writer

    def write(self, node: Node) -> None:
        raise CodegenError(f"{node.target} has no written form")


__all__ = ["ControlFlow", "ast"]
