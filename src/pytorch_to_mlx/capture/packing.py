"""Packed sequences during capture: padded ones with their lengths.

How torch packs a batch depends on the values of its lengths, which an export does not know. A
recurrence over the packed batch gives what one over the padded batch gives, if every sequence keeps
its state from where it ends. So, while a model is captured, a ``PackedSequence`` holds the padded
batch [T, B, ...] as ``data`` and the lengths [1, B] as ``batch_sizes``; ``nn.LSTM`` and its kin run
``p2m::packed_lstm`` on it, and ``pad_packed_sequence`` writes the padding value past the ends. The
length of what that returns is data (the longest sequence), unless ``total_length`` is given.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PACK, PAD = "_pack_padded_sequence", "_pad_packed_sequence"
_REST = (
    "Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, "
    "bool bidirectional"
)


def define(library: Any, names: tuple[str, ...]) -> None:
    """Adds the ops for packed batches to the ``p2m`` library."""
    import torch

    for name in names:
        state = "Tensor[] hx" if name == "lstm" else "Tensor hx"
        results = "(Tensor, Tensor, Tensor)" if name == "lstm" else "(Tensor, Tensor)"
        schema = f"packed_{name}(Tensor input, Tensor lengths, {state}, {_REST}) -> {results}"
        library.define(schema)
        kernel = functools.partial(_recurrence, name)
        library.impl(f"packed_{name}", kernel, "CompositeExplicitAutograd")
        torch.library.register_fake(f"p2m::packed_{name}", _fake_recurrence, lib=library)
    library.define(
        "pad_packed(Tensor data, Tensor lengths, float padding_value, SymInt? total_length)"
        " -> Tensor"
    )
    library.impl("pad_packed", _pad, "CompositeExplicitAutograd")
    torch.library.register_fake("p2m::pad_packed", _fake_pad, lib=library)


def _fake_recurrence(x: Any, lengths: Any, hx: Any, *rest: Any) -> Any:
    states = hx if isinstance(hx, (list, tuple)) else [hx]
    features = states[0].shape[2] * (2 if rest[5] else 1)
    out = x.new_empty((*x.shape[:2], features))
    return (out, *(h.new_empty(h.shape) for h in states))


def _recurrence(name: str, x: Any, lengths: Any, hx: Any, *rest: Any) -> Any:
    """ATen's kernel for packed data, between packing and padding."""
    import torch
    from torch.nn.utils import rnn

    packed = rnn.pack_padded_sequence(x, lengths.cpu(), enforce_sorted=False)
    order, back = packed.sorted_indices, packed.unsorted_indices
    states = [h.index_select(1, order) for h in (hx if isinstance(hx, (list, tuple)) else [hx])]
    op = getattr(torch.ops.aten, name).data
    given = states if name == "lstm" else states[0]
    out, *last = op(packed.data, packed.batch_sizes, given, *rest)
    padded, _ = rnn.pad_packed_sequence(packed._replace(data=out), total_length=x.shape[0])
    return (padded, *(h.index_select(1, back) for h in last))


def _fake_pad(data: Any, lengths: Any, padding_value: float, total_length: Any) -> Any:
    import torch

    steps = torch.library.get_ctx().new_dynamic_size() if total_length is None else total_length
    return data.new_empty((steps, *data.shape[1:]))


def _pad(data: Any, lengths: Any, padding_value: float, total_length: Any) -> Any:
    import torch

    steps = int(lengths.max()) if total_length is None else int(total_length)
    out = data.new_full((steps, *data.shape[1:]), padding_value)
    both = min(steps, data.shape[0])
    inside = torch.arange(both)[:, None] < lengths
    out[:both][inside] = data[:both][inside]
    return out


def _pack(x: Any, lengths: Any, batch_first: bool) -> Any:
    return (x.transpose(0, 1) if batch_first else x), lengths.unsqueeze(0)


def _unpack(
    data: Any, batch_sizes: Any, batch_first: bool, padding_value: float, steps: Any
) -> Any:
    """``steps`` is the first size of ``batch_sizes``, 1, where no total length is given."""
    import torch

    lengths = batch_sizes[0]
    total = None if isinstance(steps, int) and steps == 1 else steps
    out = torch.ops.p2m.pad_packed(data, lengths, float(padding_value), total)
    return (out.transpose(0, 1) if batch_first else out), lengths


def _forward(original: Callable[..., Any]) -> Callable[..., Any]:
    """The ``forward`` of a recurrent module that takes padded batches as packed ones."""
    import torch
    from torch.nn.utils.rnn import PackedSequence

    @functools.wraps(original)
    def forward(self: Any, input: Any, hx: Any = None) -> Any:
        if not isinstance(input, PackedSequence):
            return original(self, input, hx)
        data, lengths, order, back = input
        several = self.mode == "LSTM"
        if hx is None:
            count = self.num_layers * (2 if self.bidirectional else 1)
            sizes = [self.proj_size or self.hidden_size, *([self.hidden_size] * several)]
            states = [data.new_zeros((count, data.shape[1], size)) for size in sizes]
            hx = tuple(states) if several else states[0]
        else:
            hx = self.permute_hidden(hx, order)
        op = getattr(torch.ops.p2m, f"packed_{self.mode.lower()}")
        out, *last = op(
            data,
            lengths[0],
            list(hx) if several else hx,
            self._flat_weights,
            self.bias,
            self.num_layers,
            self.dropout,
            self.training,
            self.bidirectional,
        )
        ends = self.permute_hidden(tuple(last) if several else last[0], back)
        return PackedSequence(out, lengths, order, back), ends

    return forward


@contextmanager
def padded_packs() -> Iterator[None]:
    """Within, packed sequences are padded ones with lengths; torch's own come back after."""
    import torch

    functions = torch._VF.__dict__
    kinds = (torch.nn.RNN, torch.nn.LSTM, torch.nn.GRU)
    before = {name: functions[name] for name in (PACK, PAD) if name in functions}
    forwards = [kind.forward for kind in kinds]
    try:
        for kind, forward in zip(kinds, forwards, strict=True):
            kind.forward = _forward(forward)
        torch._VF.__dict__.update({PACK: _pack, PAD: _unpack})
        yield
    finally:
        for kind, forward in zip(kinds, forwards, strict=True):
            kind.forward = forward
        for name in (PACK, PAD):
            delattr(torch._VF, name)
        for name, function in before.items():
            setattr(torch._VF, name, function)
