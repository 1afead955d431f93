"""Arrays as small PNG images inside the page, written by hand: no imaging library is needed."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

MAX_PIXELS = 240

# Stops of a perceptually even map from dark violet to yellow (matplotlib's viridis).
STOPS = np.array(
    [(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], np.float64
)
NOT_FINITE = (220, 38, 38)


def reduced(image: np.ndarray, how: Callable[..., Any]) -> np.ndarray:
    """Blocks of ``image`` [H, W(, 3)] reduced by ``how`` so that no side exceeds MAX_PIXELS."""
    for axis in (0, 1):
        if image.shape[axis] > MAX_PIXELS:
            parts = np.array_split(image, MAX_PIXELS, axis=axis)
            image = np.stack([how(part, axis=axis) for part in parts], axis=axis)
    return image


def data_address(image: np.ndarray, low: float, high: float) -> str:
    """``image`` [H, W] (colour-mapped) or [H, W, 3] scaled from [low, high], as a data address.

    What is not finite is red.
    """
    level = np.clip((image - low) / ((high - low) or 1.0), 0.0, 1.0)
    bad = ~np.isfinite(level)
    level = np.where(bad, 0.0, level)
    pixels = level * 255 if level.ndim == 3 else _coloured(level)
    rgb = pixels.round().astype(np.uint8)
    rgb[bad.any(axis=2) if bad.ndim == 3 else bad] = NOT_FINITE
    return "data:image/png;base64," + base64.b64encode(_encoded(rgb)).decode()


def _coloured(level: np.ndarray) -> np.ndarray:
    at = level * (len(STOPS) - 1)
    index = np.minimum(at.astype(int), len(STOPS) - 2)
    share = (at - index)[..., None]
    return STOPS[index] * (1 - share) + STOPS[index + 1] * share


def _encoded(rgb: np.ndarray) -> bytes:
    """The PNG file of 8-bit ``rgb`` [H, W, 3] (PNG specification, W3C, sections 5 and 11)."""
    height, width = rgb.shape[:2]
    rows = b"".join(b"\0" + rgb[y].tobytes() for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
