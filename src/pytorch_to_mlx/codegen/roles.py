"""Names of constructor arguments: the role that a number has in all the places where it is used."""

from __future__ import annotations

from collections.abc import Sequence

_INTO = {"in_channels", "input_dims", "in_dim"}
_OUT_OF = {"out_channels", "output_dims", "out_dim"}
_PLAIN = {"dims": "dim", "num_features": "dim", "num_embeddings": "vocab_size"}


def role(labels: Sequence[str]) -> str:
    """One name for a number that layers take under several (in the order of their use).

    What the first layers give and later ones take is hidden; what the first take and the last give
    is the module's own size. ``labels`` are names of the layers' arguments.
    """
    sizes = [x for x in labels if x in _INTO | _OUT_OF]
    if not sizes:
        return _PLAIN.get(labels[0], labels[0])
    kind = "channels" if all(x.endswith("channels") for x in sizes) else "dim"
    taken_first, taken_last = sizes[0] in _INTO, sizes[-1] in _INTO
    if taken_first and not taken_last:
        return kind
    if taken_first:
        return f"in_{kind}"
    return f"hidden_{kind}" if taken_last else f"out_{kind}"
