"""Ways of writing one layer for MLX, timed beside each other: ``python -m benchmarks.variants``.

What a pass or an op emits where MLX has several ways is decided by these figures.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytorch_to_mlx.blas import load_blas

load_blas()

import mlx.core as mx  # noqa: E402 (after the BLAS)
import mlx.nn as nn  # noqa: E402
import numpy as np  # noqa: E402

from pytorch_to_mlx.ops.conv_layers import ConvTransposeTiles  # noqa: E402
from pytorch_to_mlx.ops.pooling_layers import MaxPool  # noqa: E402
from pytorch_to_mlx.ops.recurrent_layers import GRULayer, LSTMLayer  # noqa: E402

Step = Callable[[mx.array, mx.array], tuple[mx.array, mx.array]]


def main() -> int:
    """Times every group of variants and writes medians in ms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--small", action="store_true", help="sizes for a small CPU")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    result = {name: timed(group, args.rounds) for name, group in groups(small=args.small).items()}
    args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    sys.stderr.write(json.dumps(result, indent=1) + "\n")
    return 0


def groups(*, small: bool) -> dict[str, dict[str, Callable[[], mx.array]]]:
    """The variants by what they compute; every group's first is the usual way."""
    sizes = (4, 30, 64) if small else (16, 200, 512)
    steps = {
        f"bidirectional {kind} layer, {'one step' if n == 1 else f'{n} steps'}": recurrent_variants(
            kind, sizes[0], n, sizes[2]
        )
        for kind, n in (("LSTM", 1), ("LSTM", 2), ("LSTM", 4), ("GRU", sizes[1]))
    }
    return {
        "bidirectional LSTM layer": lstm_variants(*sizes),
        **steps,
        "LSTM layer in one direction": recurrent_variants("LSTM", *sizes, both=False),
        "maximum over 2x2 windows": pool_variants(*((2, 32, 64) if small else (4, 256, 64)), 2),
        "transposed convolution, 2x2, stride 2": tile_variants(
            *((1, 16, 64) if small else (4, 64, 256))
        ),
        "convolution over 64 samples": conv_variants(
            *((2, 64, 32, 16) if small else (64, 191, 1024, 128))
        ),
        "depthwise convolution over 7 samples": depthwise_variants(
            *((2, 64, 32) if small else (8, 1000, 512))
        ),
    }


def timed(variants: dict[str, Callable[[], mx.array]], rounds: int) -> dict[str, Any]:
    """Median ms and difference to the first variant (of its scale), in interleaved rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    first = np.array(next(iter(variants.values()))().astype(mx.float32))
    differences = {}
    for name, function in variants.items():
        mx.eval(function())
        value = np.array(function().astype(mx.float32))
        differences[name] = float(np.abs(value - first).max() / np.abs(first).max())
    for _ in range(rounds):
        for name, function in variants.items():
            start = time.perf_counter()
            mx.eval(function())
            seconds[name].append(time.perf_counter() - start)
    return {
        name: {"median_ms": float(np.median(s)) * 1e3, "difference": differences[name]}
        for name, s in seconds.items()
    }


# -- recurrences -----------------------------------------------------------------------------------


def _cell(gates: mx.array, c: mx.array) -> tuple[mx.array, mx.array]:
    i, f, g, o = mx.split(gates, 4, axis=-1)
    c = mx.sigmoid(f) * c + mx.sigmoid(i) * mx.tanh(g)
    return mx.sigmoid(o) * mx.tanh(c), c


def lstm_variants(batch: int, length: int, hidden: int) -> dict[str, Callable[[], mx.array]]:
    """One bidirectional LSTM layer, [B, T, H] to [B, T, 2H]."""
    x = mx.random.normal((batch, length, hidden))
    forward, backward = nn.LSTM(hidden, hidden), nn.LSTM(hidden, hidden)
    mx.eval(x, forward.parameters(), backward.parameters())
    cell = mx.compile(_cell)

    def layers(x: mx.array) -> mx.array:
        a, _ = forward(x)
        b, _ = backward(x[:, ::-1])
        return mx.concatenate([a, b[:, ::-1]], axis=-1)

    def direction(layer: nn.LSTM, x: mx.array, step: Step) -> mx.array:
        projected = x @ layer.Wx.T + layer["bias"]
        h = c = mx.zeros((batch, hidden))
        out, weight = [], layer.Wh.T
        for t in range(length):
            h, c = step(mx.addmm(projected[:, t], h, weight), c)
            out.append(h)
        return mx.stack(out, axis=1)

    def one_by_one(x: mx.array, step: Step = cell) -> mx.array:
        a = direction(forward, x, step)
        b = direction(backward, x[:, ::-1], step)
        return mx.concatenate([a, b[:, ::-1]], axis=-1)

    def both(x: mx.array, step: Step = cell) -> mx.array:
        pair = mx.stack([x, x[:, ::-1]]).reshape(2, batch * length, hidden)
        inputs = mx.stack([forward.Wx.T, backward.Wx.T])
        bias = mx.stack([forward["bias"], backward["bias"]])[:, None]
        projected = (pair @ inputs + bias).reshape(2, batch, length, 4 * hidden)
        steps = mx.split(projected.transpose(2, 0, 1, 3), length)
        weight = mx.stack([forward.Wh.T, backward.Wh.T])
        h = c = mx.zeros((2, batch, hidden))
        out = []
        for now in steps:
            h, c = step(mx.addmm(now[0], h, weight), c)
            out.append(h)
        y = mx.stack(out, axis=2)
        return mx.concatenate([y[0], y[1][:, ::-1]], axis=-1)

    def chunked(x: mx.array, size: int = 10) -> mx.array:
        def some(projected: mx.array, h: mx.array, c: mx.array, weight: mx.array) -> Any:
            out = []
            for t in range(size):
                h, c = _cell(mx.addmm(projected[:, t], h, weight), c)
                out.append(h)
            return mx.stack(out, axis=1), h, c

        steps = mx.compile(some)

        def run(layer: nn.LSTM, x: mx.array) -> mx.array:
            projected = x @ layer.Wx.T + layer["bias"]
            h = c = mx.zeros((batch, hidden))
            out, weight = [], layer.Wh.T
            for start in range(0, length, size):
                y, h, c = steps(projected[:, start : start + size], h, c, weight)
                out.append(y)
            return mx.concatenate(out, axis=1)

        return mx.concatenate([run(forward, x), run(backward, x[:, ::-1])[:, ::-1]], axis=-1)

    emitted = LSTMLayer(hidden, hidden, bidirectional=True)
    emitted.update({k: mx.concatenate([forward[k], backward[k]]) for k in ("Wx", "Wh", "bias")})
    whole_emitted = mx.compile(lambda x: emitted(x)[0])
    whole, whole_both = mx.compile(layers), mx.compile(lambda x: both(x, _cell))
    return {
        "nn.LSTM": lambda: layers(x),
        "nn.LSTM, whole graph compiled": lambda: whole(x),
        "compiled cell": lambda: one_by_one(x),
        "compiled cell, both directions in one matmul": lambda: both(x),
        "both directions in one matmul, whole graph compiled": lambda: whole_both(x),
        "ten steps compiled": lambda: chunked(x),
        "emitted layer": lambda: emitted(x)[0],
        "emitted layer, whole graph compiled": lambda: whole_emitted(x),
    }


def recurrent_variants(
    kind: str, batch: int, length: int, hidden: int, *, both: bool = True
) -> dict[str, Callable[[], mx.array]]:
    """The layer of ``nn`` (one a direction) and the emitted one, [B, T, H] to [B, T, D * H]."""
    x = mx.random.normal((batch, length, hidden))
    plain = [getattr(nn, kind)(hidden, hidden) for _ in range(2 if both else 1)]
    emitted: Any = {"LSTM": LSTMLayer, "GRU": GRULayer}[kind](hidden, hidden, bidirectional=both)
    weights = {k: mx.concatenate([layer[k] for layer in plain]) for k in ("Wx", "Wh")}
    if kind == "LSTM":
        weights["bias"] = mx.concatenate([layer["bias"] for layer in plain])
    else:
        weights["bx"] = mx.concatenate([layer["b"] for layer in plain])
        gates = mx.zeros(2 * hidden)
        weights["bh"] = mx.concatenate([p for layer in plain for p in (gates, layer["bhn"])])
    emitted.update(weights)
    mx.eval(x, emitted.parameters(), [layer.parameters() for layer in plain])

    def outputs(layer: Any, x: mx.array) -> mx.array:
        y = layer(x)
        return y[0] if isinstance(y, tuple) else y

    def layers(x: mx.array) -> mx.array:
        forward = outputs(plain[0], x)
        if not both:
            return forward
        return mx.concatenate([forward, outputs(plain[1], x[:, ::-1])[:, ::-1]], axis=-1)

    compiled, compiled_emitted = mx.compile(layers), mx.compile(lambda x: outputs(emitted, x))
    return {
        f"nn.{kind}": lambda: layers(x),
        f"nn.{kind}, whole graph compiled": lambda: compiled(x),
        "emitted layer": lambda: outputs(emitted, x),
        "emitted layer, whole graph compiled": lambda: compiled_emitted(x),
    }


# -- pooling and transposed convolutions -----------------------------------------------------------


def pool_variants(
    batch: int, size: int, channels: int, kernel: int
) -> dict[str, Callable[[], mx.array]]:
    """A maximum over square windows side by side, [B, S, S, C]."""
    x = mx.random.normal((batch, size, size, channels))
    mx.eval(x)
    plain = nn.MaxPool2d(kernel)
    slices = MaxPool((kernel, kernel))
    compiled, compiled_slices = mx.compile(plain), mx.compile(slices)
    return {
        "nn.MaxPool2d": lambda: plain(x),
        "nn.MaxPool2d, compiled": lambda: compiled(x),
        "emitted layer (slices)": lambda: slices(x),
        "emitted layer (slices), compiled": lambda: compiled_slices(x),
    }


def tile_variants(batch: int, size: int, channels: int) -> dict[str, Callable[[], mx.array]]:
    """A transposed convolution that doubles an image and halves its channels."""
    x = mx.random.normal((batch, size, size, channels))
    plain = nn.ConvTranspose2d(channels, channels // 2, 2, stride=2)
    tiles = ConvTransposeTiles(channels, channels // 2, (2, 2))
    tiles.update(plain.parameters())
    mx.eval(x, plain.parameters())
    return {
        "nn.ConvTranspose2d": lambda: plain(x),
        "emitted layer (one matmul)": lambda: tiles(x),
    }


# -- convolutions ----------------------------------------------------------------------------------


def conv_variants(
    batch: int, length: int, channels: int, out: int, kernel: int = 64
) -> dict[str, Callable[[], mx.array]]:
    """A wide convolution along time, [B, L, C] to [B, L - 63, out]."""
    x = mx.random.normal((batch, length, channels))
    w = mx.random.normal((out, kernel, channels)) / (kernel * channels) ** 0.5
    flat = w.reshape(out, -1).T
    by_tap = w.transpose(1, 2, 0)
    mx.eval(x, w, flat, by_tap)
    left = length - kernel + 1
    strides = (length * channels, channels, 1)

    def windows() -> mx.array:
        rows = mx.as_strided(x, (batch, left, kernel * channels), strides)
        return rows @ flat

    def taps() -> mx.array:
        total = x[:, :left] @ by_tap[0]
        for k in range(1, kernel):
            total = mx.addmm(total, x[:, k : k + left], by_tap[k])
        return total

    return {
        "mx.conv1d": lambda: mx.conv1d(x, w),
        "mx.conv2d": lambda: mx.conv2d(x[:, :, None], w[:, :, None])[:, :, 0],
        "windows as a matmul": windows,
        "a matmul a tap": taps,
    }


def depthwise_variants(
    batch: int, length: int, channels: int, kernel: int = 7
) -> dict[str, Callable[[], mx.array]]:
    """A depthwise convolution along time, [B, L, C] to [B, L - 6, C]."""
    x = mx.random.normal((batch, length, channels))
    w = mx.random.normal((channels, kernel, 1))
    mx.eval(x, w)
    left = length - kernel + 1

    @mx.compile
    def summed(x: mx.array, w: mx.array) -> mx.array:
        return sum(
            (x[:, k : k + left] * w[:, k, 0] for k in range(1, kernel)), x[:, :left] * w[:, 0, 0]
        )

    return {
        "mx.conv1d, groups": lambda: mx.conv1d(x, w, groups=channels),
        "sum over the taps, compiled": lambda: summed(x, w),
    }


if __name__ == "__main__":
    sys.exit(main())
