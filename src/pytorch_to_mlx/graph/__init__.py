"""The intermediate representation: a flat graph of MLX calls.

See :mod:`pytorch_to_mlx.graph.ir` for the data types, :mod:`.dims` for symbolic sizes,
:mod:`.build` for the ``call`` helper that lowerings and passes use, :mod:`.infer` for the shape and
dtype rules, and :mod:`.text` for the printed form.
"""

from pytorch_to_mlx.graph.build import Builder, call, current_builder
from pytorch_to_mlx.graph.dims import Dim, Expr, FloorDiv, Mod, dims_equal, is_static, symbol
from pytorch_to_mlx.graph.ir import Arg, Frame, Graph, Node, Origin, Param, Tree, Value

__all__ = [
    "Arg",
    "Builder",
    "Dim",
    "Expr",
    "FloorDiv",
    "Frame",
    "Graph",
    "Mod",
    "Node",
    "Origin",
    "Param",
    "Tree",
    "Value",
    "call",
    "current_builder",
    "dims_equal",
    "is_static",
    "symbol",
]
