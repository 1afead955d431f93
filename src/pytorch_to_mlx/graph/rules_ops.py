"""Inference rules of the layer-like functions of ``ops``, whose sizes involve floor divisions."""

from __future__ import annotations

from typing import Any

from pytorch_to_mlx.graph.dims import Dim, FloorDiv, as_dim, is_static, product
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.infer import rule
from pytorch_to_mlx.graph.ir import Value
from pytorch_to_mlx.graph.rules import broadcast


def _each(setting: Any, axes: int) -> tuple[Any, ...]:
    values = setting if isinstance(setting, tuple) else (setting,)
    return values * axes if len(values) == 1 else values


def _floor_div(a: Any, b: Any) -> Dim:
    return int(a) // int(b) if is_static(a) and is_static(b) else as_dim(FloorDiv(a, b))


def _both_sides(padding: Any) -> Any:
    return sum(padding) if isinstance(padding, tuple) else 2 * padding


@rule("ops.linear")
def _linear(x: Value, weight: Value, bias: Value | None = None) -> Any:
    return (*x.dims[:-1], weight.dims[0]), x.dtype


@rule("ops.embedding")
def _embedding(weight: Value, ids: Value) -> Any:
    return (*ids.dims, *weight.dims[1:]), weight.dtype


@rule("ops.conv1d", "ops.conv2d", "ops.conv3d")
def _conv(
    x: Value,
    weight: Value,
    bias: Value | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    n = x.ndim - 2
    settings = zip(
        x.dims[1:-1],
        weight.dims[1:-1],
        _each(stride, n),
        _each(padding, n),
        _each(dilation, n),
        strict=True,
    )
    sizes = [_floor_div(i + _both_sides(p) - d * (k - 1) - 1, s) + 1 for i, k, s, p, d in settings]
    return (x.dims[0], *sizes, weight.dims[0]), x.dtype


@rule("ops.conv_transpose1d", "ops.conv_transpose2d", "ops.conv_transpose3d")
def _conv_transpose(
    x: Value,
    weight: Value,
    bias: Value | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    n = x.ndim - 2
    settings = zip(
        x.dims[1:-1],
        weight.dims[1:-1],
        _each(stride, n),
        _each(padding, n),
        _each(output_padding, n),
        _each(dilation, n),
        strict=True,
    )
    sizes = [(i - 1) * s - 2 * p + d * (k - 1) + o + 1 for i, k, s, p, o, d in settings]
    return (x.dims[0], *(as_dim(v) for v in sizes), weight.dims[0]), x.dtype


@rule("ops.matmul_of_blocks")
def _matmul_of_blocks(x: Value, weight: Value, scales: Value, *_: Any) -> Any:
    return (*x.dims[:-1], scales.dims[0]), x.dtype


@rule("ops.batch_norm", "ops.group_norm", "ops.instance_norm", "ops.log_softmax")
def _same(x: Value, *_: Any, **__: Any) -> Any:
    return x.dims, x.dtype


@rule("ops.zero_masked_rows", "ops.nan_masked_rows")
def _masked_rows(out: Value, mask: Value) -> Any:
    return broadcast(out.dims, (*mask.dims[:-1], 1)), out.dtype


@rule("nn.prelu")
def _prelu(x: Value, alpha: Value) -> Any:
    return broadcast(x.dims, alpha.dims), x.dtype


@rule("ops.pad_constant", "ops.pad_reflect", "ops.pad_replicate", "ops.pad_circular")
def _pad(x: Value, pads: tuple[tuple[Dim, Dim], ...], *_: Any) -> Any:
    sizes = (as_dim(d + lo + hi) for d, (lo, hi) in zip(x.dims, pads, strict=True))
    return tuple(sizes), x.dtype


@rule("ops.conv_integer", "ops.conv_complex", "ops.conv_of_codes")
def _conv_general(
    x: Value, weight: Value, stride: Any, padding: Any, dilation: Any, groups: int = 1
) -> Any:
    return _conv(x, weight, None, stride, padding, dilation, groups)


def _pooled(
    x: Value, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[Dim, ...]:
    """Sizes after pooling; with ``ceil_mode`` a symbolic size is taken to fit the last window."""
    sizes = []
    settings = zip(kernel, stride, padding, dilation, strict=True)
    for size, (k, s, p, d) in zip(x.dims[-1 - len(kernel) : -1], settings, strict=True):
        reach = size + 2 * p - d * (k - 1) - 1
        count = (-_floor_div(-reach, s) if ceil_mode else _floor_div(reach, s)) + 1
        if ceil_mode and is_static(size) and (count - 1) * s >= size + p:
            count -= 1
        sizes.append(count)
    return (*x.dims[: -1 - len(kernel)], *sizes, x.dims[-1])


@rule("ops.max_pool")
def _max_pool(
    x: Value, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool = False
) -> Any:
    return _pooled(x, kernel, stride, padding, dilation, ceil_mode), x.dtype


@rule("ops.max_pool_with_indices")
def _max_pool_with_indices(
    x: Value, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool = False
) -> Any:
    shape = _pooled(x, kernel, stride, padding, dilation, ceil_mode)
    return [(shape, x.dtype), (shape, DType("int64"))]


@rule("ops.avg_pool")
def _avg_pool(
    x: Value, kernel: Any, stride: Any, padding: Any, ceil_mode: bool = False, **_: Any
) -> Any:
    return _pooled(x, kernel, stride, padding, (1,) * len(kernel), ceil_mode), x.dtype


def _resized(x: Value, sizes: Any) -> tuple[Dim, ...]:
    old = x.dims[-1 - len(sizes) : -1]
    new = (o if s is None else s for o, s in zip(old, sizes, strict=True))
    return (*x.dims[: -1 - len(sizes)], *new, x.dims[-1])


@rule("ops.adaptive_avg_pool", "ops.adaptive_max_pool")
def _adaptive(x: Value, output_size: Any) -> Any:
    return _resized(x, output_size), x.dtype


@rule("ops.adaptive_max_pool_with_indices")
def _adaptive_with_indices(x: Value, output_size: Any) -> Any:
    shape = _resized(x, output_size)
    return [(shape, x.dtype), (shape, DType("int64"))]


@rule("ops.max_unpool")
def _max_unpool(x: Value, indices: Value, output_size: Any) -> Any:
    return _resized(x, output_size), x.dtype


@rule("ops.fractional_max_pool")
def _fractional(x: Value, kernel: Any, output_size: Any, samples: Value) -> Any:
    shape = _resized(x, output_size)
    return [(shape, x.dtype), (shape, DType("int64"))]


@rule(
    "ops.interpolate_nearest",
    "ops.interpolate_linear",
    "ops.interpolate_cubic",
    "ops.interpolate_antialias",
)
def _interpolate(x: Value, size: Any, *_: Any, **__: Any) -> Any:
    return _resized(x, size), x.dtype


@rule("ops.grid_sample_linear", "ops.grid_sample_nearest", "ops.grid_sample_cubic")
def _grid_sample(x: Value, grid: Value, *_: Any, **__: Any) -> Any:
    return (x.dims[0], *grid.dims[1:-1], x.dims[-1]), x.dtype


@rule("ops.affine_grid")
def _affine_grid(theta: Value, size: Any, align_corners: bool = False) -> Any:
    return (theta.dims[0], *size, len(size)), theta.dtype


@rule("ops.unfold")
def _unfold(x: Value, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    rows, columns = _pooled(x, kernel, stride, padding, dilation, False)[1:-1]
    return (x.dims[0], product((rows, columns)), product((x.dims[-1], *kernel))), x.dtype


@rule("ops.fold")
def _fold(x: Value, output_size: Any, kernel: Any, *_: Any) -> Any:
    return (x.dims[0], *output_size, _floor_div(x.dims[-1], product(kernel))), x.dtype


@rule("ops.pixel_shuffle")
def _pixel_shuffle(x: Value, factor: int) -> Any:
    *lead, h, w, c = x.dims
    return (*lead, as_dim(h * factor), as_dim(w * factor), _floor_div(c, factor**2)), x.dtype


@rule("ops.pixel_unshuffle")
def _pixel_unshuffle(x: Value, factor: int) -> Any:
    *lead, h, w, c = x.dims
    return (*lead, _floor_div(h, factor), _floor_div(w, factor), as_dim(c * factor**2)), x.dtype


@rule("ops.channel_shuffle")
def _channel_shuffle(x: Value, groups: int) -> Any:
    return x.dims, x.dtype


def _recurrent(x: Value, states: tuple[Value, ...], bidirectional: bool) -> Any:
    features = states[0].dims[-1] * (2 if bidirectional else 1)
    out = [((*x.dims[:-1], as_dim(features)), x.dtype)]
    return out + [(s.dims, s.dtype) for s in states]


@rule("ops.lstm")
def _lstm(
    x: Value, h0: Value, c0: Value, params: Any, *, bidirectional: bool = False, **_: Any
) -> Any:
    return _recurrent(x, (h0, c0), bidirectional)


@rule("ops.gru", "ops.rnn_tanh", "ops.rnn_relu")
def _gru(x: Value, h0: Value, params: Any, *, bidirectional: bool = False, **_: Any) -> Any:
    return _recurrent(x, (h0,), bidirectional)


@rule("ops.general_lstm")
def _general_lstm(x: Value, h0: Value, c0: Value, params: Any, **settings: Any) -> Any:
    return _recurrent(x, (h0, c0), len(settings.get("backward", (False,))) == 2)


@rule("ops.general_gru", "ops.general_rnn")
def _general_gru(x: Value, h0: Value, params: Any, **settings: Any) -> Any:
    return _recurrent(x, (h0,), len(settings.get("backward", (False,))) == 2)


@rule("ops.past_end_zero", "ops.reverse_sequences")
def _past_end_zero(y: Value, lengths: Value, *_: Any, **__: Any) -> Any:
    return y.dims, y.dtype


def _recurrent_layer(x: Value, size: int, hidden_size: int, bidirectional: bool, cell: bool) -> Any:
    ways = 2 if bidirectional else 1
    batch, steps = x.dims[:2]
    ends = [(ways, batch, size), *([(ways, batch, hidden_size)] if cell else [])]
    return [((batch, steps, ways * size), x.dtype), *((end, x.dtype) for end in ends)]


@rule("ops.LSTMLayer")
def _lstm_layer(
    x: Value,
    *_: Any,
    hidden_size: int,
    bidirectional: bool = False,
    projection_size: int = 0,
    **__: Any,
) -> Any:
    return _recurrent_layer(x, projection_size or hidden_size, hidden_size, bidirectional, True)


@rule("ops.GRULayer", "ops.RNNLayer")
def _single_state_layer(
    x: Value, *_: Any, hidden_size: int, bidirectional: bool = False, **__: Any
) -> Any:
    return _recurrent_layer(x, hidden_size, hidden_size, bidirectional, False)


@rule("ops.lstm_cell")
def _lstm_cell(x: Value, h: Value, c: Value, *_: Value) -> Any:
    return [(h.dims, h.dtype), (c.dims, c.dtype)]


@rule("ops.gru_cell", "ops.rnn_cell")
def _cell(x: Value, h: Value, *_: Value, **__: Any) -> Any:
    return h.dims, h.dtype


@rule("ops.stft")
def _stft(
    x: Value,
    n_fft: int,
    *,
    hop_length: int | None = None,
    center: bool = True,
    onesided: bool | None = None,
    **_: Any,
) -> Any:
    half = x.dtype != "complex64" if onesided is None else onesided
    hop = n_fft // 4 if hop_length is None else hop_length
    length = x.dims[-1] + (2 * (n_fft // 2) if center else 0)
    frames = _floor_div(length - n_fft, hop) + 1
    bins = n_fft // 2 + 1 if half else n_fft
    return (*x.dims[:-1], bins, frames), DType("complex64")


@rule("ops.istft")
def _istft(
    spectrum: Value,
    n_fft: int,
    *,
    hop_length: int | None = None,
    center: bool = True,
    length: int | None = None,
    return_complex: bool = False,
    **_: Any,
) -> Any:
    hop = n_fft // 4 if hop_length is None else hop_length
    whole = hop * (spectrum.dims[-1] - 1) + (0 if center else n_fft)
    if center and n_fft % 2:
        whole = whole + 1
    size = whole if length is None else length
    return (*spectrum.dims[:-2], as_dim(size)), DType("complex64" if return_complex else "float32")


@rule("ops.bilinear")
def _bilinear(x1: Value, x2: Value, weight: Value, bias: Value | None = None) -> Any:
    return (*x1.dims[:-1], weight.dims[0]), x1.dtype


@rule("ops.embedding_bag")
def _embedding_bag(
    weight: Value, indices: Value, offsets: Value, *, include_last_offset: bool = False, **_: Any
) -> Any:
    bags: Any = offsets.dims[0]
    bags = as_dim(bags - 1) if include_last_offset else bags
    return (bags, weight.dims[1]), weight.dtype


@rule("ops.grouped_matmul")
def _grouped_matmul(x: Value, weight: Value, offsets: Value) -> Any:
    return (x.dims[0], weight.dims[2]), x.dtype


@rule("mx.gather_mm")
def _gather_mm(
    a: Value,
    b: Value,
    *,
    rhs_indices: Value,
    sorted_indices: bool = False,
) -> Any:
    return (rhs_indices.dims[0], a.dims[1], b.dims[2]), a.dtype


@rule("ops.expert_matmul")
def _expert_matmul(x: Value, weight: Value, experts: Value, *, sorted_indices: bool = False) -> Any:
    return (x.dims[0], weight.dims[2]), x.dtype


@rule("ops.grouped_columns_matmul")
def _grouped_columns_matmul(x: Value, y: Value, offsets: Value) -> Any:
    return (x.dims[1], y.dims[1]), x.dtype


@rule("ops.grouped_inner_matmul")
def _grouped_inner_matmul(x: Value, y: Value, offsets: Value) -> Any:
    return (offsets.dims[0], x.dims[0], y.dims[1]), x.dtype


@rule("nn.RoPE")
def _rope_layer(x: Value, **_: Any) -> Any:
    return x.dims, x.dtype
