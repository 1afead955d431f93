"""Sequences and optionals: Python lists and ``None`` while lowering, so that nothing is left of
them in the code but their elements.

So how many elements a sequence has must be known at conversion, unless a loop puts one behind the
others each time: that is an array of stacked ones.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
import onnx

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.graph.build import current_builder
from pytorch_to_mlx.graph.dims import as_dim, dims_equal, is_static
from pytorch_to_mlx.lower.onnx import Unsupported, lowers
from pytorch_to_mlx.lower.onnx._common import array, axis_of, element, getitem, ints, tagged
from pytorch_to_mlx.lower.onnx._control import body_results
from pytorch_to_mlx.lower.onnx._values import Growing, Known, Stacked, known


def elements(sequence: Any) -> list[Any]:
    """The elements of a sequence.

    Raises:
        Unsupported: it is no sequence, or one whose length only the running model knows.
    """
    if not isinstance(sequence, list):
        raise Unsupported("a sequence whose length only the running model knows")
    return sequence


def place(position: Any, count: int, last: int) -> int:
    """A known position, counted from the front; ``last`` is the largest that is allowed.

    Raises:
        Unsupported: only the running model knows it, or there is no such place.
    """
    if not isinstance(position, Known) or position.symbolic:
        raise Unsupported("a place in a sequence that only the running model knows")
    at = int(position.array.reshape(-1)[0])
    if not -count <= at <= last:
        raise Unsupported(f"the place {at} in a sequence of {count}")
    return at + count if at < 0 else at


@lowers("SequenceEmpty", since=11)
def sequence_empty(dtype: int = 1) -> list[Any]:
    """SequenceEmpty(int dtype) -> S output"""
    return []


@lowers("SequenceConstruct", since=11)
def sequence_construct(*inputs: Any) -> list[Any]:
    """SequenceConstruct(T inputs...) -> S output_sequence"""
    return list(inputs)


@lowers("SequenceInsert", since=11)
def sequence_insert(input_sequence: Any, tensor: Any, position: Any = None) -> Any:
    """SequenceInsert(S input_sequence, T tensor, I? position) -> S output_sequence"""
    if isinstance(input_sequence, Growing) and position is None:
        return Growing(input_sequence, tensor)
    given = elements(input_sequence)
    at = len(given) if position is None else place(position, len(given), len(given))
    return [*given[:at], tensor, *given[at:]]


@lowers("SequenceErase", since=11)
def sequence_erase(input_sequence: Any, position: Any = None) -> list[Any]:
    """SequenceErase(S input_sequence, I? position) -> S output_sequence"""
    given = elements(input_sequence)
    if not given:
        raise Unsupported("nothing to erase from an empty sequence")
    at = len(given) - 1 if position is None else place(position, len(given), len(given) - 1)
    return [*given[:at], *given[at + 1 :]]


@lowers("SequenceAt", since=11)
def sequence_at(input_sequence: Any, position: Any) -> Any:
    """SequenceAt(S input_sequence, I position) -> T tensor; elements of one shape may be chosen
    from by the running model."""
    if isinstance(input_sequence, Stacked):
        return _chosen(input_sequence.array, position)
    given = elements(input_sequence)
    if isinstance(position, Known) and not position.symbolic:
        return given[place(position, len(given), len(given) - 1)]
    arrays = [array(v) for v in given]
    if not arrays or any(not _alike(arrays[0], v) for v in arrays):
        raise Unsupported("a choice from arrays of different shapes that the running model makes")
    return tagged(_chosen(call(mx.stack, tuple(arrays)), position), element(arrays[0]))


def _chosen(stacked: Value, position: Any) -> Value:
    """The array at a place that data says."""
    if isinstance(position, Known):
        return getitem(stacked, position.item())
    index = array(position)
    index = index if index.ndim == 0 else call(mx.reshape, index, ())
    return call(mx.take, stacked, index, axis=0)


def _alike(a: Value, b: Value) -> bool:
    same = len(a.dims) == len(b.dims) and a.dtype == b.dtype
    return same and all(dims_equal(x, y) for x, y in zip(a.dims, b.dims, strict=True))


@lowers("SequenceLength", since=11)
def sequence_length(input_sequence: Any) -> Known:
    """SequenceLength(S input_sequence) -> I length"""
    if isinstance(input_sequence, Stacked):
        return known(input_sequence.array.dims[0])
    return known(len(elements(input_sequence)))


@lowers("ConcatFromSequence", since=11)
def concat_from_sequence(input_sequence: Any, axis: int, new_axis: int = 0) -> Value:
    """ConcatFromSequence(S input_sequence, int axis, int new_axis) -> T concat_result"""
    if isinstance(input_sequence, Stacked):
        return _joined(input_sequence.array, axis, bool(new_axis))
    arrays = [array(v) for v in elements(input_sequence)]
    if not arrays:
        raise Unsupported("the concatenation of an empty sequence")
    at = axis_of(axis, arrays[0].ndim + (1 if new_axis else 0))
    joined = call(mx.stack if new_axis else mx.concatenate, tuple(arrays), axis=at)
    return tagged(joined, element(arrays[0]))


def _joined(stacked: Value, axis: int, new_axis: bool) -> Value:
    """Stacked arrays behind each other along an axis, or along one of their own."""
    at = axis_of(axis, stacked.ndim if new_axis else stacked.ndim - 1)
    order = list(range(1, stacked.ndim))
    order.insert(at, 0)
    moved = stacked if at == 0 else stacked.transpose(*order)
    if new_axis:
        return moved
    dims = moved.dims
    return moved.reshape(*dims[:at], as_dim(dims[at] * dims[at + 1]), *dims[at + 2 :])


@lowers("SplitToSequence", since=11)
def split_to_sequence(
    input: Value, split: Any = None, axis: int = 0, keepdims: int = 1
) -> list[Any]:
    """SplitToSequence(T input, I? split, int axis, int keepdims) -> S output_sequence"""
    at = axis_of(axis, input.ndim)
    edge: Any = 0
    parts = []
    for size in _sizes(input.dims[at], split):
        key: list[Any] = [slice(None)] * input.ndim
        key[at] = slice(edge, as_dim(edge + size))
        if split is None and not keepdims:
            key[at] = edge
        parts.append(tagged(getitem(input, *key), element(input)))
        edge = as_dim(edge + size)
    return parts


def _sizes(length: Any, split: Any) -> tuple[Any, ...]:
    """The sizes of the parts: those given, or as many of the given (or of one) as fit."""
    if split is not None and split.ndim == 1:
        return ints(split)
    (each,) = (1,) if split is None else ints(split)
    if not is_static(length) or not is_static(each):
        raise Unsupported("a split into as many parts as only the running model knows")
    whole, rest = divmod(int(length), int(each))
    return (int(each),) * whole + ((rest,) if rest else ())


@lowers("SequenceMap", since=17)
def sequence_map(
    input_sequence: Any, *additional_inputs: Any, body: onnx.GraphProto
) -> tuple[Any, ...]:
    """SequenceMap(S input_sequence, V additional_inputs..., graph body) -> S out_sequence..."""
    rows = []
    for i, item in enumerate(elements(input_sequence)):
        others = (v[i] if isinstance(v, list) else v for v in additional_inputs)
        rows.append(body_results(body, (item, *others), current_builder()))
    return tuple([row[k] for row in rows] for k in range(len(body.output)))


# -- optionals -------------------------------------------------------------------------------------


@lowers("Optional", since=15)
def optional(input: Any = None, type: Any = None) -> Any:
    """Optional(V? input, type_proto type) -> O output"""
    return input


@lowers("OptionalHasElement", since=15)
def optional_has_element(input: Any = None) -> Known:
    """OptionalHasElement(O? input) -> B output"""
    return Known(np.array(input is not None), "bool")


@lowers("OptionalGetElement", since=15)
def optional_get_element(input: Any) -> Any:
    """OptionalGetElement(O input) -> V output"""
    if input is None:
        raise Unsupported("the element of an optional that is absent")
    return input
