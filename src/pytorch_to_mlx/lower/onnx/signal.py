"""Fourier transforms, mel filters and sequences turned round."""

from __future__ import annotations

from typing import Any

from pytorch_to_mlx.graph import Value, call, rules_ops  # noqa: F401 - registers its rules
from pytorch_to_mlx.graph.dims import Dim, FloorDiv, as_dim, is_static
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.lower.onnx import Unsupported, lowers
from pytorch_to_mlx.lower.onnx._casts import convert
from pytorch_to_mlx.lower.onnx._common import (
    array,
    axis_of,
    call_as,
    cast,
    element,
    fresh,
    getitem,
    host,
    ints,
    number,
    tagged,
)
from pytorch_to_mlx.lower.onnx._context import node
from pytorch_to_mlx.lower.onnx._dtypes import element_name
from pytorch_to_mlx.ops import complex as parts
from pytorch_to_mlx.ops import rearrange, signal


def _half(n: Dim) -> Dim:
    """Bins of a one-sided spectrum."""
    return int(n) // 2 + 1 if is_static(n) else as_dim(FloorDiv(n, 2) + 1)


@lowers("DFT", since=20)
def dft(
    input: Value, dft_length: Any = None, axis: Any = None, inverse: int = 0, onesided: int = 0
) -> Value:
    """DFT(T1 input, T2? dft_length, I? axis, int inverse, int onesided) -> T1 output"""
    (along,) = (-2,) if axis is None else ints(axis)
    length = None if dft_length is None else ints(dft_length)[0]
    dims = list(input.dims)
    dims[-1] = 1 if inverse and onesided else 2
    if is_static(along):
        at = axis_of(along, input.ndim)
        along = at
        n = length if length is not None else dims[at]
        if inverse and onesided:
            dims[at] = length if length is not None else as_dim(2 * (dims[at] - 1))
        else:
            dims[at] = _half(n) if onesided else n
    elif onesided or length is not None:  # which axis changes its size is not known
        stated = node().declared[0] if node().declared else None
        known = stated.dims if stated is not None and stated.dims else (None,) * len(dims)
        dims[:-1] = [fresh() if d is None else d for d in known[: len(dims) - 1]]
    given: dict[str, Any] = {} if length is None else {"n": length}
    given |= {"inverse": True} if inverse else {}
    given |= {"onesided": True} if onesided else {}
    return call_as(signal.dft, [(tuple(dims), str(input.dtype))], input, along, **given)


@lowers("DFT", since=17)
def dft_17(
    input: Value, dft_length: Any = None, *, axis: int = 1, inverse: int = 0, onesided: int = 0
) -> Value:
    """DFT(T1 input, T2? dft_length, int axis, int inverse, int onesided) -> T1 output"""
    return dft(input, dft_length, (axis,), inverse, onesided)


@lowers("STFT", since=17)
def stft(
    signal_: Value,
    frame_step: Any,
    window: Value | None = None,
    frame_length: Any = None,
    *,
    onesided: int = 1,
) -> Value:
    """STFT(T1 signal, T2 frame_step, T1? window, T2? frame_length, int onesided) -> T1 output"""
    (step,) = ints(frame_step)
    if frame_length is not None:
        (length,) = ints(frame_length)
    elif window is not None:
        length = window.dims[0]
    else:
        raise Unsupported("a short-time transform without a window or the length of frames")
    x = cast(signal_, "float32")
    if x.ndim == 3:
        x = call(parts.view_as_complex, x) if x.dims[-1] == 2 else getitem(x, ..., 0)
    half = bool(onesided) and x.dtype != "complex64"
    given: dict[str, Any] = {"hop_length": step, "center": False, "onesided": half}
    if window is not None:
        given["window"] = cast(window, "float32")
    reach = x.dims[-1] - length
    frames = reach // step if is_static(reach) and is_static(step) else FloorDiv(reach, step)
    bins = _half(length) if half else length
    dims = (x.dims[0], bins, as_dim(frames + 1))
    spectrum = call_as(signal.stft, [(dims, "complex64")], x, length, **given)
    out: Value = call(parts.view_as_real, spectrum.transpose(0, 2, 1))
    return cast(out, str(signal_.dtype))


@lowers("MelWeightMatrix", since=17)
def mel_weight_matrix(
    num_mel_bins: Any,
    dft_length: Any,
    sample_rate: Any,
    lower_edge_hertz: Any,
    upper_edge_hertz: Any,
    output_datatype: int = 1,
) -> Any:
    """MelWeightMatrix(T1 num_mel_bins, T1 dft_length, T1 sample_rate, T2 lower_edge_hertz,
    T2 upper_edge_hertz, int output_datatype) -> T3 output"""
    (mels,), (length,), (rate,) = (ints(v) for v in (num_mel_bins, dft_length, sample_rate))
    edges = [number(v) for v in (lower_edge_hertz, upper_edge_hertz)]
    low, high = (host(v, "float") if isinstance(v, Value) else v for v in edges)
    out = call_as(
        signal.mel_weights, [((_half(length), mels), "float32")], mels, length, rate, low, high
    )
    return convert(out, element_name(output_datatype))


@lowers("ReverseSequence", since=10)
def reverse_sequence(
    input: Value, sequence_lens: Any, batch_axis: int = 1, time_axis: int = 0
) -> Value:
    """ReverseSequence(T input, I sequence_lens, int batch_axis, int time_axis) -> T Y"""
    lengths = cast(array(sequence_lens), DType("int32"))
    axes = {"time_axis": time_axis, "batch_axis": batch_axis}
    given = {} if (time_axis, batch_axis) == (0, 1) else axes
    out = call(rearrange.reverse_sequences, input, lengths, **given)
    return tagged(out, element(input))
