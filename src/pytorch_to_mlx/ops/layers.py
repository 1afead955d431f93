"""What ``nn`` layers compute, as functions of their weights; attention masks and experts."""

from __future__ import annotations

import mlx.core as mx

from pytorch_to_mlx.ops.conv import conv3d_grouped, conv_transpose


def linear(x: mx.array, weight: mx.array, bias: mx.array | None = None) -> mx.array:
    """``x @ weight.T + bias`` over the last axis; ``weight`` is [out, in]."""
    y = x @ weight.T
    return y if bias is None else y + bias


def embedding(weight: mx.array, ids: mx.array) -> mx.array:
    """Rows of ``weight`` [vocabulary, features]: ids [...] to [..., features]."""
    return weight[ids]


def batch_norm(
    x: mx.array,
    mean: mx.array,
    var: mx.array,
    weight: mx.array | None = None,
    bias: mx.array | None = None,
    eps: float = 1e-5,
) -> mx.array:
    """torch's batch_norm in eval: the last (channel) axis normalised with given statistics [C]."""
    scale = mx.rsqrt(var + eps)
    if weight is not None:
        scale = scale * weight
    y = (x - mean) * scale
    return y if bias is None else y + bias


def group_norm(
    x: mx.array,
    groups: int,
    weight: mx.array | None = None,
    bias: mx.array | None = None,
    eps: float = 1e-5,
) -> mx.array:
    """torch's group_norm of channels-last x [N, ..., C]: each group of channels, over all space.

    Half types are normalised in float32: sums over space overflow in float16.
    """
    n, c = x.shape[0], x.shape[-1]
    grouped = x.reshape(n, -1, groups, c // groups)
    if x.dtype in (mx.float16, mx.bfloat16):
        grouped = grouped.astype(mx.float32)
    mean = mx.mean(grouped, axis=(1, 3), keepdims=True)
    var = mx.var(grouped, axis=(1, 3), keepdims=True)
    y = ((grouped - mean) * mx.rsqrt(var + eps)).astype(x.dtype).reshape(x.shape)
    if weight is not None:
        y = y * weight
    return y if bias is None else y + bias


def bilinear(
    x1: mx.array, x2: mx.array, weight: mx.array, bias: mx.array | None = None
) -> mx.array:
    """torch's bilinear: ``y[o] = x1 @ weight[o] @ x2 + bias[o]``; weight [out, in1, in2]."""
    out, in1, in2 = weight.shape
    left = (x1 @ weight.transpose(1, 0, 2).reshape(in1, out * in2)).reshape(
        *x1.shape[:-1], out, in2
    )
    y = (left @ x2[..., None]).squeeze(-1)
    return y if bias is None else y + bias


def zero_masked_rows(out: mx.array, mask: mx.array) -> mx.array:
    """Attention output [..., L, E] with 0 in rows whose ``mask`` [..., L or 1, S] hides every key.

    The mask is boolean (True keeps) or additive (-inf hides). torch gives 0 for such rows.
    """
    visible = mask if mask.dtype == mx.bool_ else mask != -mx.inf
    return mx.where(mx.any(visible, axis=-1, keepdims=True), out, mx.zeros_like(out))


def nan_masked_rows(out: mx.array, mask: mx.array) -> mx.array:
    """Attention output [..., L, E], NaN in rows whose ``mask`` [..., L or 1, S] hides every key.

    That is what softmax gives where all scores are -inf. True keeps a key.
    """
    return mx.where(mx.any(mask, axis=-1, keepdims=True), out, mx.nan)


def single(value: int) -> tuple[int, ...]:
    """A setting as a tuple for one axis."""
    return (value,)


def double(value: int | tuple[int, int]) -> tuple[int, ...]:
    """A setting as a tuple for two axes."""
    return (value,) * 2 if isinstance(value, int) else value


def triple(value: int | tuple[int, int, int]) -> tuple[int, ...]:
    """A setting as a tuple for three axes."""
    return (value,) * 3 if isinstance(value, int) else value


def conv1d(
    x: mx.array,
    weight: mx.array,
    bias: mx.array | None = None,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> mx.array:
    """torch's conv1d of channels-last x [N, L, C]; weight [O, k, C / groups]."""
    y = mx.conv1d(x, weight, stride, padding, dilation, groups)
    return y if bias is None else y + bias


def conv2d(
    x: mx.array,
    weight: mx.array,
    bias: mx.array | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> mx.array:
    """torch's conv2d of channels-last x [N, H, W, C]; weight [O, kH, kW, C / groups]."""
    y = mx.conv2d(x, weight, stride, padding, dilation, groups)
    return y if bias is None else y + bias


def conv3d(
    x: mx.array,
    weight: mx.array,
    bias: mx.array | None = None,
    stride: int | tuple[int, int, int] = 1,
    padding: int | tuple[int, int, int] = 0,
    dilation: int | tuple[int, int, int] = 1,
    groups: int = 1,
) -> mx.array:
    """torch's conv3d of channels-last x [N, D, H, W, C]; weight [O, kD, kH, kW, C / groups]."""
    if groups == 1:
        y = mx.conv3d(x, weight, stride, padding, dilation)
    else:
        y = conv3d_grouped(x, weight, triple(stride), triple(padding), triple(dilation), groups)
    return y if bias is None else y + bias


def conv_transpose1d(
    x: mx.array,
    weight: mx.array,
    bias: mx.array | None = None,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> mx.array:
    """torch's conv_transpose1d of channels-last x [N, L, C]; weight [O, k, C / groups]."""
    y = conv_transpose(
        x, weight, single(stride), single(padding), single(dilation), single(output_padding), groups
    )
    return y if bias is None else y + bias


def conv_transpose2d(
    x: mx.array,
    weight: mx.array,
    bias: mx.array | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    output_padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> mx.array:
    """torch's conv_transpose2d of channels-last x [N, H, W, C]; weight [O, kH, kW, C / groups]."""
    y = conv_transpose(
        x, weight, double(stride), double(padding), double(dilation), double(output_padding), groups
    )
    return y if bias is None else y + bias


def conv_transpose3d(
    x: mx.array,
    weight: mx.array,
    bias: mx.array | None = None,
    stride: int | tuple[int, int, int] = 1,
    padding: int | tuple[int, int, int] = 0,
    output_padding: int | tuple[int, int, int] = 0,
    dilation: int | tuple[int, int, int] = 1,
    groups: int = 1,
) -> mx.array:
    """torch's conv_transpose3d of channels-last x [N, D, H, W, C]; weight [O, kD, kH, kW, C / g]"""
    y = conv_transpose(
        x, weight, triple(stride), triple(padding), triple(dilation), triple(output_padding), groups
    )
    return y if bias is None else y + bias


def group_members(offsets: mx.array, count: int) -> mx.array:
    """Which of ``count`` rows belongs to which group, bool [groups, count].

    Group g is the rows from ``offsets[g - 1]`` (0 for the first) up to ``offsets[g]``.
    """
    rows = mx.arange(count)
    starts = mx.concatenate([mx.zeros_like(offsets[:1]), offsets[:-1]])
    return (rows >= starts[:, None]) & (rows < offsets[:, None])


def grouped_matmul(x: mx.array, weight: mx.array, offsets: mx.array) -> mx.array:
    """Rows of x [S, I], sorted by group, each times the weight [groups, I, O] of its group: [S, O].

    Group g is the rows from ``offsets[g - 1]`` up to ``offsets[g]``; rows after the last are 0.
    """
    rows = mx.arange(x.shape[0])
    group = mx.sum(rows[:, None] >= offsets, axis=1)
    inside = group < weight.shape[0]
    group = mx.minimum(group, weight.shape[0] - 1)
    dtype = x.dtype
    if mx.default_device() == mx.cpu:  # where gather_mm knows float32 only
        x, weight = x.astype(mx.float32), weight.astype(mx.float32)
    y = mx.gather_mm(x[:, None], weight, rhs_indices=group, sorted_indices=True).squeeze(1)
    return mx.where(inside[:, None], y, mx.zeros_like(y)).astype(dtype)


def expert_matmul(
    x: mx.array, weight: mx.array, experts: mx.array, sorted_indices: bool = False
) -> mx.array:
    """Each row of x [S, I] times the weight of its expert: weight [E, I, O], experts [S] to [S, O].

    For half precision: on the CPU, ``mx.gather_mm`` knows float32 only.
    """
    dtype = x.dtype
    if mx.default_device() == mx.cpu:
        x, weight = x.astype(mx.float32), weight.astype(mx.float32)
    y = mx.gather_mm(x[:, None], weight, rhs_indices=experts, sorted_indices=sorted_indices)
    return y.squeeze(1).astype(dtype)


def grouped_columns_matmul(x: mx.array, y: mx.array, offsets: mx.array) -> mx.array:
    """x [groups, M, K] times y [K, N], whose columns are grouped by ``offsets``: [M, N]."""
    members = group_members(offsets, y.shape[1])
    return mx.sum(mx.where(members[:, None], x @ y, 0), axis=0).astype(x.dtype)


def grouped_inner_matmul(x: mx.array, y: mx.array, offsets: mx.array) -> mx.array:
    """x [M, K] times y [K, N] for each group of the inner axis by ``offsets``: [groups, M, N]."""
    members = group_members(offsets, x.shape[1])
    return mx.where(members[:, None], x, mx.zeros_like(x)) @ y
