"""Clean-up passes: dead code, repeated calls, no-ops, merged views.

:data:`CLEAN` lists them in the order they run in; running the list twice reaches what it opens up itself.
"""

from __future__ import annotations

from pytorch_to_mlx.passes.base import Pass
from pytorch_to_mlx.passes.clean import cse, dead_code, identity, views

CLEAN: list[tuple[str, Pass]] = [
    ("dead_code", dead_code.run),
    ("identity", identity.run),
    ("cse", cse.run),
    ("views", views.run),
    ("identity_after_views", identity.run),
    ("dead_code_after_views", dead_code.run),
]
