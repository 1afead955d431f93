"""Names of lists after what is in them, and of elements after their list."""

from __future__ import annotations

import re

_PLAIN = frozenset("x h y z out h_x".split())
_LONGEST = 16


def plural_of(name: str, otherwise: str) -> str:
    """``skips`` for ``skip``; ``otherwise`` for a name that says nothing or too much."""
    base = re.sub(r"_?\d+$", "", name)
    if not base or base in _PLAIN or len(base) > _LONGEST:
        return otherwise
    return base if base.endswith("s") else f"{base}s"


def singular_of(name: str, otherwise: str) -> str:
    """``layer`` for ``layers``, ``entry`` for ``entries``; ``otherwise`` for what is no plural."""
    if name.endswith("ies"):
        return name[:-3] + "y"
    if name.endswith("s") and not name.endswith("ss") and len(name) > 2:
        return name[:-1]
    return otherwise


def own_name(path: str) -> str:
    """A module's name in its parent; in a list (``layers.0``) what the list is called, as one."""
    *above, last = path.split(".")
    while last.isdigit() and above:
        last = above.pop()
    return last if path.endswith(last) else singular_of(last, last)
