"""Clean-up passes: dead code, repeated calls, no-ops, merged views, constants.

:data:`CLEAN` lists them in the order they run in. A pass that comes twice finds what those between
opened up.
"""

from __future__ import annotations

from pytorch_to_mlx.passes.base import Pass
from pytorch_to_mlx.passes.clean import (
    broadcast,
    constants,
    cse,
    dead_code,
    identity,
    narrow_ints,
    size_arrays,
    view_chains,
    views,
)

CLEAN: list[tuple[str, Pass]] = [
    ("dead_code", dead_code.run),
    ("size_arrays", size_arrays.run),
    ("constants", constants.run),
    ("identity", identity.run),
    ("cse", cse.run),
    ("broadcast", broadcast.run),
    ("views", views.run),
    ("view_chains", view_chains.run),
    ("identity", identity.run),
    ("cse", cse.run),
    ("narrow_ints", narrow_ints.run),
    ("dead_code", dead_code.run),
]
