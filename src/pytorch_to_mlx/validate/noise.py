"""Weights changed by noise for a while, in the source that both sides read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from pytorch_to_mlx.capture.inference import ordinary

if TYPE_CHECKING:
    import torch

    from pytorch_to_mlx.capture.program import Captured

PIECE = 1 << 22  # elements of a tensor that are changed at a time


@contextmanager
def changed(
    tensors: Mapping[str, torch.Tensor],
    paths: Sequence[str],
    strength: float,
    rng: np.random.Generator,
) -> Iterator[None]:
    """Within, the tensors are changed in place by noise of ``strength`` times their own size.

    What is nowhere negative (variances, scales) stays so; a tensor of zeros gets noise of that
    size.
    """
    import torch

    writable = {p: ordinary(tensors[p]) for p in paths}
    saved = {p: tensor.detach().clone() for p, tensor in writable.items()}
    try:
        with torch.no_grad():
            for p in paths:
                _add_noise(writable[p], saved[p], strength, rng)
        yield
    finally:
        with torch.no_grad():
            for p, value in saved.items():
                writable[p].copy_(value)


@contextmanager
def edited(
    captured: Captured, paths: Sequence[str], strength: float, rng: np.random.Generator
) -> Iterator[None]:
    """:func:`changed` for any frontend: both sides see the changed tensors within."""
    if captured.frontend != "onnx":
        with changed(captured.tensors, paths, strength, rng):
            yield
        return
    table = captured.program.edited
    try:
        for p in paths:
            table[p] = _noisy(captured.program.tensors[p], strength, rng)
        yield
    finally:
        table.clear()


def _noisy(value: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """What :func:`_add_noise` does, for numpy."""
    if np.iscomplexobj(value):
        return _noisy(np.ascontiguousarray(value).view(value.real.dtype), strength, rng).view(
            value.dtype
        )
    wide = value.astype(np.float64)
    noise = rng.standard_normal(wide.shape)
    if wide.size and wide.min() >= 0 and wide.max() > 0:
        out = wide * np.exp(strength * np.clip(noise, -2, 2))
    else:
        out = wide + strength * (float(np.sqrt(np.square(wide).mean())) or 1.0) * noise
    return np.asarray(out, dtype=value.dtype)


def _add_noise(
    tensor: torch.Tensor, value: torch.Tensor, strength: float, rng: np.random.Generator
) -> None:
    """Writes a noisy ``value`` into ``tensor``, piece by piece: it may be a billion numbers."""
    import torch

    if value.is_complex():
        tensor, value = torch.view_as_real(tensor), torch.view_as_real(value)
    positive = value.numel() > 0 and float(value.min()) >= 0 and float(value.max()) > 0
    flat = value.contiguous().view(-1)
    pieces = flat.split(PIECE)
    squares = sum(float(piece.double().square().sum()) for piece in pieces)
    size = strength * ((squares / max(1, flat.numel())) ** 0.5 or 1.0)
    out = tensor.view(-1) if tensor.is_contiguous() else torch.empty_like(flat)
    for piece, target in zip(pieces, out.split(PIECE), strict=True):
        noise = torch.from_numpy(rng.standard_normal(piece.numel())).to(value.device)
        if positive:
            target.copy_(piece.double() * torch.exp(strength * noise.clamp(-2, 2)))
        else:
            target.copy_(piece.double() + size * noise)
    if not tensor.is_contiguous():
        tensor.copy_(out.view(tensor.shape))
