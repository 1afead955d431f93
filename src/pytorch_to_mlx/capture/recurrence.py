"""LSTM, GRU and RNN as opaque ops during capture, so that their length and batch stay dynamic.

``torch.export`` specialises ``aten.lstm`` and its kin at the example's length. While a model is
captured, ``torch._VF.lstm`` (which ``nn.LSTM.forward`` calls) is ``p2m::lstm`` instead: the same
schema as ``aten.lstm.input``, a real kernel (ATen's) and a fake one that only knows shapes. Packed
sequences are the matter of :mod:`~pytorch_to_mlx.capture.packing`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from pytorch_to_mlx.capture.packing import define, padded_packs

NAMES = ("lstm", "gru", "rnn_tanh", "rnn_relu")
_REST = (
    "Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, "
    "bool bidirectional, bool batch_first"
)


def _fake_lstm(x: Any, hx: Any, *rest: Any) -> Any:
    return (_output(x, hx[0], rest[5]), hx[0].new_empty(hx[0].shape), hx[1].new_empty(hx[1].shape))


def _fake_single(x: Any, hx: Any, *rest: Any) -> Any:
    return _output(x, hx, rest[5]), hx.new_empty(hx.shape)


def _output(x: Any, hx: Any, bidirectional: bool) -> Any:
    """[T, B, D * H], or [B, T, D * H] batch first; H is the state's size (projected, if so)."""
    return x.new_empty((*x.shape[:2], hx.shape[2] * (2 if bidirectional else 1)))


@cache
def register() -> Any:
    """Defines the ``p2m`` ops once a process; returns the library, which must stay alive."""
    import torch

    library = torch.library.Library("p2m", "DEF")
    for name in NAMES:
        state = "Tensor[] hx" if name == "lstm" else "Tensor hx"
        results = "(Tensor, Tensor, Tensor)" if name == "lstm" else "(Tensor, Tensor)"
        library.define(f"{name}(Tensor input, {state}, {_REST}) -> {results}")
        library.impl(name, getattr(torch.ops.aten, name).input, "CompositeExplicitAutograd")
        fake = _fake_lstm if name == "lstm" else _fake_single
        torch.library.register_fake(f"p2m::{name}", fake, lib=library)
    define(library, NAMES)
    return library


@contextmanager
def opaque_recurrences() -> Iterator[None]:
    """Within, nn.LSTM, nn.GRU and nn.RNN call the ``p2m`` ops; ``torch._VF`` is restored after."""
    import torch

    register()
    functions = torch._VF.__dict__
    replacements = {name: getattr(torch.ops.p2m, name) for name in NAMES}
    before = {name: functions[name] for name in replacements if name in functions}
    try:
        for name, function in replacements.items():
            setattr(torch._VF, name, function)
        with padded_packs():
            yield
    finally:
        for name in replacements:
            delattr(torch._VF, name)
        for name, function in before.items():
            setattr(torch._VF, name, function)
