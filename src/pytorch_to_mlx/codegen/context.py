"""What the writers of code share: methods as written so far, and what they were written from."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

import sympy

from pytorch_to_mlx.codegen.attributes import Attributes
from pytorch_to_mlx.codegen.homes import Homes
from pytorch_to_mlx.codegen.regions import Region
from pytorch_to_mlx.graph import Graph, Param, Value


@dataclass
class Method:
    """A rendered call: arguments, statements, and what the caller must add for sizes
    (``extra``).
    """

    region: Region
    arguments: list[str]
    body: list[ast.stmt]
    extra: list[sympy.Expr] = field(default_factory=list)
    called: list[tuple[str, str]] = field(default_factory=list)
    name: str = "__call__"
    optional: dict[str, str] = field(default_factory=dict)  # with what is taken instead, if any


@dataclass
class Context:
    """What all methods of a model share."""

    graph: Graph
    homes: Homes
    attributes: Attributes
    param_of: dict[Value, Param]
    methods: dict[Region, Method] = field(default_factory=dict)
    method_names: dict[Region, str] = field(default_factory=dict)
    used_ops: set[str] = field(default_factory=set)
