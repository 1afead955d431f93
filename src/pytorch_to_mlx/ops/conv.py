"""Convolutions beyond the plain ``mx.conv*`` calls; channels-last.

Inputs are [N, L, C], [N, H, W, C] or [N, D, H, W, C]; the rank says how many spatial axes.
Weights are MLX's own: [O, k..., I / groups], for a transposed convolution too. From torch's layout
that is ``weight.movedim(1, -1)`` for a convolution, ``conv_transpose_weight`` for a transposed one.
"""

from __future__ import annotations

import mlx.core as mx


def conv_padded(
    x: mx.array,
    weight: mx.array,
    stride: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    groups: int = 1,
) -> mx.array:
    """Convolution with a (low, high) zero padding for each spatial axis; floating point only."""
    low = [before for before, _ in padding]
    high = [after for _, after in padding]
    if x.ndim == 5 and groups != 1:
        x = mx.pad(x, [(0, 0), *padding, (0, 0)])
        return conv3d_grouped(x, weight, stride, (0, 0, 0), dilation, groups)
    return mx.conv_general(
        x,
        weight,
        stride=list(stride),
        padding=(low, high),
        kernel_dilation=list(dilation),
        groups=groups,
    )


def conv_same(
    x: mx.array, weight: mx.array, dilation: tuple[int, ...], groups: int = 1
) -> mx.array:
    """``padding="same"``: stride 1, output as large as the input, any odd pad on the high side."""
    totals = [d * (k - 1) for d, k in zip(dilation, weight.shape[1:-1], strict=True)]
    padding = tuple((total // 2, total - total // 2) for total in totals)
    return conv_padded(x, weight, (1,) * len(totals), padding, dilation, groups)


def conv3d_grouped(
    x: mx.array,
    weight: mx.array,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> mx.array:
    """``conv3d`` with groups, which MLX lacks: one ``mx.conv3d`` a group, or taps if depthwise.

    ``x`` is [N, D, H, W, C], ``weight`` [O, kD, kH, kW, C / groups].
    """
    if weight.shape[-1] == 1 and weight.shape[0] == groups:
        return conv3d_depthwise(x, weight, stride, padding, dilation)
    parts = [
        mx.conv3d(
            part,
            kernel,
            stride=(stride[0], stride[1], stride[2]),
            padding=(padding[0], padding[1], padding[2]),
            dilation=(dilation[0], dilation[1], dilation[2]),
        )
        for part, kernel in zip(mx.split(x, groups, -1), mx.split(weight, groups, 0), strict=True)
    ]
    return mx.concatenate(parts, axis=-1)


def conv3d_depthwise(
    x: mx.array,
    weight: mx.array,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> mx.array:
    """``conv3d`` of each channel by its own kernel, ``weight`` [C, kD, kH, kW, 1]: a sum over taps.

    Summed in float32 for half types.
    """
    dtype = x.dtype
    x = mx.pad(x, [(0, 0), *((p, p) for p in padding), (0, 0)])
    if dtype in (mx.float16, mx.bfloat16):
        x, weight = x.astype(mx.float32), weight.astype(mx.float32)
    kernel = weight.shape[1:-1]
    spans = [
        (size - d * (k - 1) - 1) // s * s + 1
        for size, k, s, d in zip(x.shape[1:-1], kernel, stride, dilation, strict=True)
    ]
    total: mx.array | None = None
    for tap in range(kernel[0] * kernel[1] * kernel[2]):
        place = (tap // (kernel[1] * kernel[2]), tap // kernel[2] % kernel[1], tap % kernel[2])
        depth, row, column = (
            slice(at * d, at * d + span, s)
            for at, d, span, s in zip(place, dilation, spans, stride, strict=True)
        )
        term = x[:, depth, row, column] * weight[:, place[0], place[1], place[2], 0]
        total = term if total is None else total + term
    assert total is not None
    return total.astype(dtype)


def conv_integer(
    x: mx.array,
    weight: mx.array,
    stride: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    groups: int = 1,
) -> mx.array:
    """Convolution of integers, wrapping in the dtype of ``x``: a sum over the kernel taps."""
    x = mx.pad(x, [(0, 0), *padding, (0, 0)])
    kernel = weight.shape[1:-1]
    sizes = [
        (size - d * (k - 1) - 1) // s + 1
        for size, k, s, d in zip(x.shape[1:-1], kernel, stride, dilation, strict=True)
    ]
    features, inputs = weight.shape[0], weight.shape[-1]
    taps = 1
    for k in kernel:
        taps *= k
    weight = weight.reshape(groups, features // groups, taps, inputs)
    y = mx.zeros((x.shape[0], *sizes, groups, features // groups), dtype=x.dtype)
    for tap in range(taps):
        window = [slice(None)]
        rest = tap
        for k, s, d, size in zip(
            kernel[::-1], stride[::-1], dilation[::-1], sizes[::-1], strict=True
        ):
            start = rest % k * d
            rest //= k
            window.insert(1, slice(start, start + (size - 1) * s + 1, s))
        part = x[tuple(window)].reshape(x.shape[0], *sizes, groups, 1, inputs)
        y = y + (part * weight[:, :, tap]).sum(axis=-1).astype(x.dtype)
    return y.reshape(x.shape[0], *sizes, features)


def conv_complex(
    x: mx.array,
    weight: mx.array,
    stride: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    groups: int = 1,
) -> mx.array:
    """Convolution of complex64 arrays, by real ones of their parts."""
    parts, how = real_above_imaginary(x), (stride, padding, dilation, groups)
    by_real = conv_padded(parts, mx.real(weight), *how)
    return product_of_parts(by_real, conv_padded(parts, mx.imag(weight), *how))


def real_above_imaginary(x: mx.array) -> mx.array:
    """The real and the imaginary part of [N, ...] as [2 * N, ...]."""
    return mx.concatenate([mx.real(x), mx.imag(x)])


def product_of_parts(by_real: mx.array, by_imaginary: mx.array) -> mx.array:
    """The complex product, from those of both parts [2 * N, ...] with either part of a weight."""
    (a, b), (c, d) = mx.split(by_real, 2), mx.split(by_imaginary, 2)
    return a - d + 1j * (b + c)


def conv_transpose_weight(weight: mx.array, groups: int = 1) -> mx.array:
    """torch's ``conv_transpose`` weight [I, O / groups, k...] as MLX's [O, k..., I / groups]."""
    inputs, features, *kernel = weight.shape
    weight = weight.reshape(groups, inputs // groups, features, *kernel)
    weight = mx.moveaxis(weight, 1, -1)
    return weight.reshape(groups * features, *kernel, inputs // groups)


def conv_transpose(
    x: mx.array,
    weight: mx.array,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    output_padding: tuple[int, ...],
    groups: int = 1,
) -> mx.array:
    """``conv_transpose{1,2,3}d`` in full generality: groups in 3-D, padding wider than the kernel.

    Where the padding fits the kernel (and there are no 3-D groups) this is one MLX call.
    """
    reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[1:-1], strict=True)]
    grouped = x.ndim == 5 and groups != 1
    plain = all(
        p <= r and (extra <= p or not grouped)
        for p, r, extra in zip(padding, reach, output_padding, strict=True)
    )
    if plain:
        return conv_transpose_plain(x, weight, stride, padding, dilation, output_padding, groups)
    zeros = (0,) * len(stride)
    y = conv_transpose_plain(x, weight, stride, zeros, dilation, zeros, groups)
    # The whole result, cut by the padding; what output_padding asks for beyond it is zero.
    missing = [max(extra - p, 0) for p, extra in zip(padding, output_padding, strict=True)]
    y = mx.pad(y, [(0, 0), *((0, m) for m in missing), (0, 0)])
    window = [slice(None)]
    for size, p, extra in zip(y.shape[1:-1], padding, output_padding, strict=True):
        window.append(slice(p, size - max(p - extra, 0)))
    return y[tuple(window)]


def conv_transpose_plain(
    x: mx.array,
    weight: mx.array,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    output_padding: tuple[int, ...],
    groups: int,
) -> mx.array:
    """The ``mx.conv_transpose*`` call for the rank of the input, or its grouped 3-D stand-in."""
    if x.ndim == 3:
        return mx.conv_transpose1d(
            x, weight, stride[0], padding[0], dilation[0], output_padding[0], groups
        )
    if x.ndim == 4:
        return mx.conv_transpose2d(
            x,
            weight,
            (stride[0], stride[1]),
            (padding[0], padding[1]),
            (dilation[0], dilation[1]),
            (output_padding[0], output_padding[1]),
            groups,
        )
    if groups != 1:
        return conv_transpose3d_grouped(
            x, weight, stride, padding, dilation, output_padding, groups
        )
    return mx.conv_transpose3d(
        x,
        weight,
        (stride[0], stride[1], stride[2]),
        (padding[0], padding[1], padding[2]),
        (dilation[0], dilation[1], dilation[2]),
        (output_padding[0], output_padding[1], output_padding[2]),
    )


def conv_transpose3d_grouped(
    x: mx.array,
    weight: mx.array,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    output_padding: tuple[int, ...],
    groups: int,
) -> mx.array:
    """``conv_transpose3d`` with groups: a ``mx.conv_transpose2d`` a depth tap, placed and added.

    ``x`` is [N, D, H, W, C], ``weight`` [O, kD, kH, kW, C / groups]; output_padding <= padding.
    """
    N, D, H, W, C = x.shape
    taps = weight.shape[1]
    planes = x.reshape(N * D, H, W, C)
    reach = dilation[0] * (taps - 1)
    y: mx.array | None = None
    for tap in range(taps):
        term = mx.conv_transpose2d(
            planes,
            weight[:, tap],
            (stride[1], stride[2]),
            (padding[1], padding[2]),
            (dilation[1], dilation[2]),
            (output_padding[1], output_padding[2]),
            groups,
        )
        term = term.reshape(N, D, 1, *term.shape[1:])
        # Zeros between the planes for the stride, then the tap's own offset.
        term = mx.pad(term, [(0, 0), (0, 0), (0, stride[0] - 1), (0, 0), (0, 0), (0, 0)])
        term = term.reshape(N, D * stride[0], *term.shape[3:])[:, : (D - 1) * stride[0] + 1]
        start = tap * dilation[0]
        term = mx.pad(term, [(0, 0), (start, reach - start), (0, 0), (0, 0), (0, 0)])
        y = term if y is None else y + term
    assert y is not None
    return y[:, padding[0] : y.shape[1] - padding[0] + output_padding[0]]


def conv_transpose_integer(
    x: mx.array,
    weight: mx.array,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    output_padding: tuple[int, ...],
    groups: int = 1,
) -> mx.array:
    """Transposed convolution of integers: of ``x`` spread by zeros with the kernel turned round."""
    sizes = [(n - 1) * s + 1 for n, s in zip(x.shape[1:-1], stride, strict=True)]
    spread = mx.zeros((x.shape[0], *sizes, x.shape[-1]), dtype=x.dtype)
    places = (slice(None), *(slice(None, None, s) for s in stride))
    spread[places] = x
    turned = (slice(None), *(slice(None, None, -1) for _ in stride))
    reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[1:-1], strict=True)]
    ends = tuple((r, r + extra) for r, extra in zip(reach, output_padding, strict=True))
    y = conv_integer(spread, weight[turned], (1,) * len(stride), ends, dilation, groups)
    # Padding wider than the kernel's reach cuts, so the whole is made first.
    kept = [slice(p, n - p) for p, n in zip(padding, y.shape[1:-1], strict=True)]
    cut = (slice(None), *kept)
    return y[cut]


def conv_transpose_complex(
    x: mx.array,
    weight: mx.array,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    output_padding: tuple[int, ...],
    groups: int = 1,
) -> mx.array:
    """Transposed convolution of complex64 arrays, by real ones of their parts."""
    parts, how = real_above_imaginary(x), (stride, padding, dilation, output_padding, groups)
    by_real = conv_transpose(parts, mx.real(weight), *how)
    return product_of_parts(by_real, conv_transpose(parts, mx.imag(weight), *how))
