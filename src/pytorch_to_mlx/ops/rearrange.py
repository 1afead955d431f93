"""Rearranging where axes, repeats or bounds are only known when the model runs."""

from __future__ import annotations

import math

import mlx.core as mx


def squeeze_at(x: mx.array, axes: tuple[int, ...]) -> mx.array:
    """``x`` without the given axes of size 1."""
    return mx.squeeze(x, list(axes)) if axes else x


def squeeze_to(x: mx.array, rank: int) -> mx.array:
    """``x`` without its axes of size 1.

    Raises:
        ValueError: that does not leave ``rank`` axes.
    """
    y = mx.squeeze(x)
    if y.ndim != rank:
        raise ValueError(f"sizes {x.shape} squeeze to {y.ndim} axes; the code is for {rank}")
    return y


def unsqueeze_at(x: mx.array, axes: tuple[int, ...]) -> mx.array:
    """``x`` with axes of size 1 at these places of the result."""
    rank = x.ndim + len(axes)
    for axis in sorted(a % rank for a in axes):
        x = mx.expand_dims(x, axis)
    return x


def tile_by(x: mx.array, repeats: tuple[int, ...]) -> mx.array:
    """``x`` repeated along each axis; a repeat of 0 gives an empty array."""
    if 0 in repeats:
        shape = [n * r for n, r in zip(x.shape, repeats, strict=True)]
        return mx.zeros(shape, dtype=x.dtype)
    return mx.tile(x, list(repeats))


def range_of(start: float, limit: float, delta: float, dtype: mx.Dtype) -> mx.array:
    """``start, start + delta, …`` below (above for a negative ``delta``) ``limit``."""
    count = max(math.ceil((limit - start) / delta), 0)
    return (start + mx.arange(count).astype(dtype) * delta).astype(dtype)


def slice_at(
    x: mx.array,
    starts: tuple[int, ...],
    ends: tuple[int, ...],
    axes: tuple[int, ...],
    steps: tuple[int, ...],
) -> mx.array:
    """``x[start:end:step]`` along each of the axes, bounds clamped as ONNX does."""
    key = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        low = None if step < 0 and end < -x.shape[axis] else end
        key[axis] = slice(start, low, step)
    return x[tuple(key)]


def gather_nd(x: mx.array, indices: mx.array, batch_dims: int = 0) -> mx.array:
    """``x`` at the places that rows of ``indices`` name; negative ones count from the end.

    ``x`` [*batch, *places, *rest], ``indices`` [*batch, *shape, k]. Source: ONNX ``GatherND``.
    """
    batch, k = x.shape[:batch_dims], indices.shape[-1]
    key = [
        mx.arange(n).reshape([1] * i + [n] + [1] * (indices.ndim - 2 - i))
        for i, n in enumerate(batch)
    ]
    key += [indices[..., i] for i in range(k)]
    return x[tuple(key)]


def scatter_nd(
    x: mx.array, indices: mx.array, updates: mx.array, reduction: str = "none"
) -> mx.array:
    """A copy of ``x`` with ``updates`` written (or added, multiplied, min, max) at the places that
    rows of ``indices`` name.

    ``indices`` [*shape, k], ``updates`` [*shape, *x.shape[k:]]. Source: ONNX ``ScatterND``.
    """
    sizes = x.shape[: indices.shape[-1]]
    key = tuple(
        mx.where(indices[..., i] < 0, indices[..., i] + n, indices[..., i])
        for i, n in enumerate(sizes)
    )
    if reduction == "none":
        out = mx.array(x)
        out[key] = updates
        return out
    at = x.at[key]
    if reduction == "add":
        return at.add(updates)
    if reduction == "mul":
        return at.multiply(updates)
    return at.maximum(updates) if reduction == "max" else at.minimum(updates)


def scatter_elements(
    x: mx.array, indices: mx.array, updates: mx.array, axis: int = 0, reduction: str = "none"
) -> mx.array:
    """A copy of ``x`` with each of ``updates`` written at its own place, whose coordinate along
    ``axis`` is the index. Source: ONNX ``ScatterElements``.
    """
    axis %= x.ndim
    places = [
        mx.broadcast_to(
            mx.arange(n).reshape([n if a == i else 1 for a in range(x.ndim)]), indices.shape
        )
        for i, n in enumerate(indices.shape)
    ]
    places[axis] = indices.astype(mx.int64)
    rows = mx.stack([p.astype(mx.int64) for p in places], axis=-1)
    return scatter_nd(x, rows, updates, reduction)


def pad_at(
    x: mx.array,
    pads: tuple[tuple[int, int], ...],
    axes: tuple[int, ...],
    mode: str = "constant",
    value: float | mx.array = 0,
) -> mx.array:
    """``x`` with (low, high) pads along the given axes; negative ones cut.

    Modes other than ``"constant"`` take the places that the padding mirrors (``"reflect"``),
    repeats (``"edge"``) or wraps around to (``"wrap"``). Source: ONNX ``Pad``.
    """
    for axis, (low, high) in zip(axes, pads, strict=True):
        axis %= x.ndim
        size = x.shape[axis]
        places = mx.arange(-low, size + high)
        inside = mx.clip(places, 0, max(size - 1, 0))
        if mode == "reflect":
            period = max(2 * (size - 1), 1)
            folded = places % period
            inside = mx.minimum(folded, period - folded) if size > 1 else mx.zeros_like(places)
        elif mode == "wrap":
            inside = places % size
        if mode == "constant" and size == 0:
            shape = [places.size if i == axis else n for i, n in enumerate(x.shape)]
            x = mx.broadcast_to(mx.array(value, dtype=x.dtype), shape)
            continue
        padded = mx.take(x, inside, axis=axis)
        if mode == "constant":
            valid = ((places >= 0) & (places < size)).reshape(-1, *(1,) * (x.ndim - 1 - axis))
            padded = mx.where(valid, padded, mx.array(value, dtype=x.dtype))
        x = padded
    return x


def reshape_by(x: mx.array, sizes: tuple[int, ...]) -> mx.array:
    """``x`` reshaped; 0 keeps the size of that axis and -1 stands for what is left."""
    shape = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    if -1 in shape:
        rest = -math.prod(shape)
        shape[shape.index(-1)] = x.size // rest if rest else 0
    return x.reshape(shape)


def center_crop_pad(x: mx.array, sizes: tuple[int, ...], axes: tuple[int, ...]) -> mx.array:
    """``x`` cut or padded with zeros at both ends of the axes; an odd element more goes to the end.
    Source: ONNX ``CenterCropPad``."""
    key, widths = [slice(None)] * x.ndim, [(0, 0)] * x.ndim
    for size, axis in zip(sizes, axes, strict=True):
        cut, grow = max(x.shape[axis] - size, 0), max(size - x.shape[axis], 0)
        key[axis] = slice(cut // 2, cut // 2 + size)
        widths[axis] = (grow // 2, grow - grow // 2)
    return mx.pad(x[tuple(key)], widths)


def tensor_scatter(
    cache: mx.array,
    update: mx.array,
    starts: mx.array | None = None,
    axis: int = -2,
    circular: bool = False,
) -> mx.array:
    """``cache`` with ``update`` written along ``axis`` from each batch row's own start [N] (0 where
    there is none); ``circular`` wraps around at the end. Source: ONNX ``TensorScatter``."""
    axis %= cache.ndim
    steps = mx.arange(update.shape[axis]).reshape(-1, *(1,) * (cache.ndim - 1 - axis))
    places = steps if starts is None else steps + starts.reshape(-1, *(1,) * (cache.ndim - 1))
    if circular:
        places = places % cache.shape[axis]
    return mx.put_along_axis(cache, mx.broadcast_to(places, update.shape), update, axis=axis)


def reverse_sequences(
    x: mx.array, lengths: mx.array, time_axis: int = 0, batch_axis: int = 1
) -> mx.array:
    """Each sequence of the batch backwards up to its length [B]; what lies beyond stays."""
    steps = mx.arange(x.shape[time_axis])[:, None]
    places = mx.where(steps < lengths, lengths - 1 - steps, steps)
    if time_axis > batch_axis:
        places = places.T
    shape = [x.shape[a] if a in (time_axis, batch_axis) else 1 for a in range(x.ndim)]
    return mx.take_along_axis(x, places.reshape(shape), axis=time_axis)
