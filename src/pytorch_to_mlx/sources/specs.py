"""Example inputs from a line of text: ``x=2x3x224x224:float32,ids=1x12:int64[0,1000)``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pytorch_to_mlx.errors import InputError
from pytorch_to_mlx.sources.nest import split_positional

FLOATS = ("float16", "bfloat16", "float32", "float64")
INTEGERS = {
    "int8": (-128, 127),
    "int16": (-32768, 32767),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint8": (0, 255),
}
DTYPES = (*FLOATS, *INTEGERS, "bool", "complex64")
_ALIASES = {
    "float": "float32",
    "half": "float16",
    "double": "float64",
    "int": "int32",
    "long": "int64",
}
#: 16 GiB of float32: an example input above this is a slip of the keyboard.
_MAX_ELEMENTS = 2**32

EXAMPLE = 'e.g. "x=2x3x224x224:float32,ids=1x12:int64[0,1000)"'

_NAME = re.compile(r"[A-Za-z_]\w*(\.\w+)*|\d+(\.\w+)*")
_SHAPE = re.compile(r"\d+(x\d+)*")
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"\[\s*({_NUMBER})\s*,\s*({_NUMBER})\s*([)\]])")
_TAIL = re.compile(r"(?P<dtype>[A-Za-z]\w*)?\s*(?P<range>\[.*)?")


@dataclass(frozen=True)
class InputSpec:
    """One example input.

    ``name`` is forward's argument (dotted for nested inputs; ``"0"``, ``"1"`` for positional ones),
    ``shape`` may be empty (a scalar array), values lie in ``[low, high)``. Without a range floats
    are standard normal and integers 0 or 1.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        text = f"{self.name}={'x'.join(map(str, self.shape)) or 'scalar'}:{self.dtype}"
        if self.low is None or self.high is None:
            return text
        if self.dtype in INTEGERS:
            return f"{text}[{int(self.low)},{int(self.high)})"
        return f"{text}[{self.low!r},{self.high!r})"

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """A seeded array of this shape and dtype; bfloat16, which numpy lacks, comes as float32."""
        if self.dtype == "bool":
            return rng.integers(0, 2, self.shape).astype(bool)
        if self.dtype in INTEGERS:
            low, high = (0, 2) if self.low is None or self.high is None else (self.low, self.high)
            return rng.integers(int(low), int(high), self.shape, dtype=self.dtype)
        if self.dtype == "complex64":
            real, imaginary = rng.standard_normal((2, *self.shape)).astype(np.float32)
            return np.asarray(real + 1j * imaginary, np.complex64)
        dtype = "float32" if self.dtype == "bfloat16" else self.dtype
        if self.low is None or self.high is None:
            return np.asarray(rng.standard_normal(self.shape), dtype)
        return np.asarray(rng.uniform(self.low, self.high, self.shape), dtype)


def parse_shapes(text: str) -> list[InputSpec]:
    """Parses ``--shapes``; entries without a name are positional.

    Each entry is ``[name=]AxBxC[:dtype][[low,high)]``; ``scalar`` is the empty shape. Raises
    ``InputError`` that quotes the entry at fault.
    """
    entries = _split(text)
    if not entries:
        raise InputError("--shapes is empty", hint=EXAMPLE)
    specs: list[InputSpec] = []
    for entry in entries:
        positional = str(sum(spec.name.isdecimal() for spec in specs))
        specs.append(_parse_entry(entry, positional))
    names = [spec.name for spec in specs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"--shapes names {', '.join(twice)} more than once")
    return specs


def notes(specs: Iterable[InputSpec]) -> list[str]:
    """What a user should know about drawn inputs: integers without a range are only 0 or 1."""
    return [
        f"input {s.name}: integers drawn from [0, 2); give a range to cover more, "
        f"e.g. {s.name}={'x'.join(map(str, s.shape)) or 'scalar'}:{s.dtype}[0,1000)"
        for s in specs
        if s.dtype in INTEGERS and s.low is None
    ]


def draw_arrays(specs: Sequence[InputSpec], seed: int = 0) -> dict[str, np.ndarray]:
    """One seeded array a spec, by name; an input's values do not depend on its neighbours."""
    return {
        spec.name: spec.draw(np.random.default_rng([seed, index]))
        for index, spec in enumerate(specs)
    }


def draw_tensors(
    specs: Sequence[InputSpec], seed: int = 0
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Example ``(args, kwargs)`` as torch tensors of the specs' dtypes, nested by their names."""
    import torch

    tensors = {}
    for spec, array in zip(specs, draw_arrays(specs, seed).values(), strict=True):
        tensors[spec.name] = torch.from_numpy(array).to(getattr(torch, spec.dtype))
    return split_positional(tensors)


def _split(text: str) -> list[str]:
    """Splits at commas that stand outside a range's brackets."""
    entries = [""]
    inside = False
    for char in text:
        inside = (inside or char == "[") and char not in ")]"
        if char == "," and not inside:
            entries.append("")
        else:
            entries[-1] += char
    stripped = [entry.strip() for entry in entries]
    if stripped == [""]:
        return []
    if "" in stripped:
        raise InputError(f"--shapes {text!r} has an empty entry", hint=EXAMPLE)
    return stripped


def _parse_entry(entry: str, positional: str) -> InputSpec:
    name, equals, rest = entry.partition("=")
    if not equals:
        name, rest = positional, entry
    name, rest = name.strip(), rest.strip()
    if not _NAME.fullmatch(name):
        raise InputError(f"{entry!r}: {name!r} is no input name", hint=EXAMPLE)
    shape_text, _, tail = rest.partition(":")
    shape = _parse_shape(shape_text.strip(), entry)
    match = _TAIL.fullmatch(tail.strip())
    if match is None:
        raise InputError(f"{entry!r}: {tail!r} is no dtype", hint=EXAMPLE)
    dtype = match["dtype"] or "float32"
    dtype = _ALIASES.get(dtype, dtype)
    if dtype not in DTYPES:
        raise InputError(f"{entry!r}: unknown dtype {dtype!r}", hint=f"known: {', '.join(DTYPES)}")
    low, high = _parse_range(match["range"], dtype, entry)
    return InputSpec(name, shape, dtype, low, high)


def _parse_shape(text: str, entry: str) -> tuple[int, ...]:
    if text in ("scalar", "()"):
        return ()
    if not _SHAPE.fullmatch(text):
        raise InputError(f"{entry!r}: {text!r} is no shape", hint=EXAMPLE)
    shape = tuple(int(size) for size in text.split("x"))
    elements = 1
    for size in shape:
        elements *= size
    if elements > _MAX_ELEMENTS:
        raise InputError(f"{entry!r}: {elements:,} elements are too many for an example input")
    return shape


def _parse_range(text: str | None, dtype: str, entry: str) -> tuple[float | None, float | None]:
    if not text:
        return None, None
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{entry!r}: {text!r} is no range", hint="write [low,high) or [low,high]")
    if dtype in INTEGERS:
        return _integer_range(match, dtype, entry)
    if dtype not in FLOATS:
        raise InputError(f"{entry!r}: {dtype} takes no range")
    low, high = float(match[1]), float(match[2])
    if not low < high:
        raise InputError(f"{entry!r}: the range is empty")
    return low, high


def _integer_range(match: re.Match[str], dtype: str, entry: str) -> tuple[int, int]:
    try:
        low, high = int(match[1]), int(match[2])
    except ValueError as error:
        raise InputError(f"{entry!r}: {dtype} needs whole numbers in its range") from error
    high += match[3] == "]"
    least, most = INTEGERS[dtype]
    if not low < high:
        raise InputError(f"{entry!r}: the range is empty")
    if low < least or high > most + 1:
        raise InputError(f"{entry!r}: the range leaves {dtype}'s {least}..{most}")
    return low, high
