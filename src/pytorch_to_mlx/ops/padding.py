"""Padding as torch does it, on any axes; a negative pad crops.

Every function takes ``pads``: one (low, high) pair for each axis of the input.
"""

from __future__ import annotations

import mlx.core as mx


def crop_nd(x: mx.array, pads: tuple[tuple[int, int], ...]) -> mx.array:
    """Cut ``-low`` and ``-high`` elements off where pads are negative; ignore the others."""
    if all(low >= 0 and high >= 0 for low, high in pads):
        return x
    return x[
        tuple(
            slice(max(-low, 0), size - max(-high, 0))
            for size, (low, high) in zip(x.shape, pads, strict=True)
        )
    ]


def grow_only(pads: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
    """The pads with negative entries (crops) replaced by zero."""
    return [(max(low, 0), max(high, 0)) for low, high in pads]


def pad_constant(
    x: mx.array, pads: tuple[tuple[int, int], ...], value: float | int | bool = 0
) -> mx.array:
    """Pad with ``value``, cast to the dtype of ``x`` (``constant_pad_nd``)."""
    return mx.pad(crop_nd(x, pads), grow_only(pads), constant_values=mx.array(value, dtype=x.dtype))


def pad_reflect(x: mx.array, pads: tuple[tuple[int, int], ...]) -> mx.array:
    """Pad with the mirror image, edge not repeated (``reflection_pad{1,2,3}d``).

    Raises ValueError where a pad is not smaller than the axis, as torch does.
    """
    for size, (low, high) in zip(x.shape, pads, strict=True):
        if max(low, high) >= size and max(low, high) > 0:
            raise ValueError(
                f"reflection padding {(low, high)} must be smaller than the axis {size}"
            )
    return crop_nd(mx.pad(x, grow_only(pads), mode="reflect"), pads)


def pad_replicate(x: mx.array, pads: tuple[tuple[int, int], ...]) -> mx.array:
    """Pad by repeating the edge (``replication_pad{1,2,3}d``)."""
    return crop_nd(mx.pad(x, grow_only(pads), mode="edge"), pads)


def pad_circular(x: mx.array, pads: tuple[tuple[int, int], ...]) -> mx.array:
    """Pad by wrapping around (``F.pad(mode="circular")``).

    A pad may be as long as its axis (after cropping), not longer: ValueError, as in torch.
    """
    x = crop_nd(x, pads)
    for axis, (low, high) in enumerate(pads):
        size = x.shape[axis]
        if max(low, high) > size:
            raise ValueError(
                f"circular padding {(low, high)} wraps around the axis of {size} twice"
            )
        before = (slice(None),) * axis
        parts = [x]
        if low > 0:
            parts.insert(0, x[before + (slice(size - low, size),)])
        if high > 0:
            parts.append(x[before + (slice(0, high),)])
        x = mx.concatenate(parts, axis=axis) if len(parts) > 1 else x
    return x


def pad_nd(
    x: mx.array,
    pads: tuple[tuple[int, int], ...],
    mode: str = "constant",
    value: float | int | bool = 0,
) -> mx.array:
    """``F.pad`` with ``mode`` one of constant, reflect, replicate, circular."""
    if mode == "constant":
        return pad_constant(x, pads, value)
    if mode == "reflect":
        return pad_reflect(x, pads)
    if mode == "replicate":
        return pad_replicate(x, pads)
    if mode == "circular":
        return pad_circular(x, pads)
    raise ValueError(f"padding mode {mode!r} is none of constant, reflect, replicate, circular")
