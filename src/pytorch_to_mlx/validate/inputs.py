"""Inputs to compare at: fresh draws that keep what matters of the example's, other sizes, edges."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from pytorch_to_mlx.errors import InputError

Inputs = dict[str, Any]  # by input name: numpy arrays, or Python numbers

_BINARY: dict[type, Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}


def to_numpy(value: Any) -> Any:
    """An example input as numpy in the precision that MLX stores; numbers as they are.

    bfloat16 becomes float32 (exactly), float64 float32.
    """
    if isinstance(value, (bool, int, float)) or value is None:
        return value
    if type(value).__module__.partition(".")[0] == "torch":
        import torch

        value = value.detach().cpu().resolve_conj().resolve_neg()
        if value.dtype is torch.bfloat16:
            value = value.float()
        value = value.numpy()
    elif type(value).__module__.startswith("mlx"):
        import mlx.core as mx

        value = value.astype(mx.float32) if value.dtype == mx.bfloat16 else value
    array = np.array(value)
    narrow = {np.dtype(np.float64): np.float32, np.dtype(np.complex128): np.complex64}
    return array.astype(narrow.get(array.dtype, array.dtype))


def size_of(dim: int | str, sizes: Mapping[str, int]) -> int:
    """A size of ``config.json``: a number, a symbol, or arithmetic over symbols.

    Raises:
        InputError: the expression is none that this project writes, or a symbol is unknown.
    """
    if isinstance(dim, int):
        return dim
    return _evaluate(ast.parse(dim, mode="eval").body, sizes)


def _evaluate(e: ast.expr, sizes: Mapping[str, int]) -> int:
    if isinstance(e, ast.Constant) and isinstance(e.value, int):
        return e.value
    if isinstance(e, ast.Name) and e.id in sizes:
        return sizes[e.id]
    if isinstance(e, ast.BinOp) and type(e.op) in _BINARY:
        return _BINARY[type(e.op)](_evaluate(e.left, sizes), _evaluate(e.right, sizes))
    if isinstance(e, ast.UnaryOp) and isinstance(e.op, ast.USub):
        return -_evaluate(e.operand, sizes)
    if isinstance(e, ast.Call) and isinstance(e.func, ast.Name) and e.func.id in ("max", "min"):
        values = [_evaluate(a, sizes) for a in e.args]
        return max(values) if e.func.id == "max" else min(values)
    raise InputError(f"the size {ast.unparse(e)!r} cannot be evaluated")


# -- sizes ------------------------------------------------------------------------------------


#: How far above a wanted size one that fits is looked for, in steps.
_NEAR = 64

Fits = Callable[[Mapping[str, int]], bool]  # whether a change of sizes keeps to all conditions


def _any(change: Mapping[str, int]) -> bool:
    return True


def other_sizes(
    symbols: Mapping[str, Mapping[str, Any]], fits: Fits = _any
) -> list[list[dict[str, int]]]:
    """For every symbol two other sizes, the smaller first (the least allowed one, mostly 1, unless
    the example has it), each as the size that changes."""
    found = ([{n: v} for v in sorted(sizes[:2])] for n, sizes in _choices(symbols, fits).items())
    return [changes for changes in found if changes]


def grown_sizes(symbols: Mapping[str, Mapping[str, Any]], fits: Fits = _any) -> dict[str, int]:
    """Sizes of which all differ from the example's; empty for a single symbol."""
    grown = {name: v[-1] for name, v in _choices(symbols, fits).items() if v}
    return grown if len(grown) > 1 and fits(grown) else {}


def _choices(symbols: Mapping[str, Mapping[str, Any]], fits: Fits) -> dict[str, list[int]]:
    """Sizes that each symbol may take alone, or with those of equal size along."""

    def may_be(name: str, value: int) -> bool:
        change = {name: value}
        return fits(change) or fits(moved_together(change, symbols))

    return {
        name: candidates(info, 3 + 2 * i, partial(may_be, name))
        for i, (name, info) in enumerate(symbols.items())
    }


def candidates(
    info: Mapping[str, Any], step: int, fits: Callable[[int], bool] = lambda v: True
) -> list[int]:
    """Other sizes than the example's: the least allowed, one above, one more; each the nearest one
    above that fits.
    """
    size, multiple = int(info["size"]), int(info.get("multiple_of") or 1)
    low, high = int(info.get("min") or 1), info.get("max")
    least = max(multiple, -(-low // multiple) * multiple)
    wanted = [least, size + step * multiple, size - multiple, size + multiple, size + 7 * multiple]
    above = ((v + k * multiple for k in range(_NEAR)) for v in wanted)
    found = dict.fromkeys(next(filter(fits, near), size) for near in above)
    return [v for v in found if v != size and v >= least and (high is None or v <= int(high))][:3]


def moved_together(
    change: Mapping[str, int], symbols: Mapping[str, Mapping[str, Any]]
) -> dict[str, int]:
    """The change with every symbol of equal example size along."""
    together = dict(change)
    for name, value in change.items():
        for other, info in symbols.items():
            if info["size"] == symbols[name]["size"]:
                together[other] = value
    return together


# -- draws ------------------------------------------------------------------------------------


def draw(example: Any, shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    """Fresh values for one input.

    Masks (bools, zeros and ones, a few float levels) and running positions keep their structure;
    other integers stay within the seen range (in order, where they are), floats keep mean and
    spread, and signs where all are the same.
    """
    if not isinstance(example, np.ndarray):
        return example
    if is_structural(example):
        return resized(example, shape, int(rng.integers(1 << 30)))
    if example.size == 0:
        return np.zeros(shape, example.dtype)
    if example.dtype.kind in "iu":
        low, high = int(example.min()), int(example.max())
        drawn = rng.integers(low, high, shape, dtype=np.int64, endpoint=True).astype(example.dtype)
        return _in_order_of(example, drawn)
    if example.dtype.kind == "c":
        real, imag = rng.standard_normal(shape), rng.standard_normal(shape)
        spread = float(np.abs(example).std()) or 1.0
        return np.asarray(spread * (real + 1j * imag)).astype(example.dtype)
    return _floats(example, shape, rng)


def _in_order_of(example: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The drawn integers in ascending or descending order, from the same first one, where the
    example is so: where bags start, or the lengths of a batch, say.
    """
    if example.ndim == 0 or example.shape[-1] < 3 or not drawn.size:
        return drawn
    steps = np.diff(example.astype(np.int64), axis=-1)
    first = np.unique(example[..., 0])
    if not steps.any() or first.size > 1 or not ((steps >= 0).all() or (steps <= 0).all()):
        return drawn
    out = np.sort(drawn, axis=-1)
    out = np.ascontiguousarray(out if (steps >= 0).all() else out[..., ::-1])
    out[..., 0] = first[0]
    return out


def _floats(example: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    values = example[np.isfinite(example)].astype(np.float64)
    if not values.size or not values.any():
        return np.asarray(rng.standard_normal(shape)).astype(example.dtype)
    low, high = float(values.min()), float(values.max())
    if low >= 0 or high <= 0:
        if low == high:
            low, high = sorted((0.5 * low, 1.5 * low))
        return np.asarray(rng.uniform(low, high, shape)).astype(example.dtype)
    spread = float(values.std()) or 1.0
    return np.asarray(rng.normal(values.mean(), spread, shape)).astype(example.dtype)


def is_structural(example: Any) -> bool:
    """Whether an input is a mask or a running position, whose arrangement matters."""
    if not isinstance(example, np.ndarray):
        return True
    if example.dtype.kind == "b" or is_range(example):
        return True
    if example.size <= 4:
        return example.dtype.kind == "f" and not np.isfinite(example).all()
    seen = np.unique(example[~np.isnan(example)] if example.dtype.kind == "f" else example)
    if example.dtype.kind in "iu":
        return bool(np.isin(seen, (0, 1)).all())
    levels = example.dtype.kind == "f" and seen.size <= 2 and example.size > 8 and example.any()
    return bool(levels or (example.dtype.kind == "f" and np.isinf(example).any()))


def is_range(example: np.ndarray) -> bool:
    """Whether the last axis counts up by one."""
    if example.dtype.kind not in "iu" or example.ndim == 0 or example.shape[-1] < 2:
        return False
    return bool((np.diff(example.astype(np.int64), axis=-1) == 1).all())


def resized(example: np.ndarray, shape: tuple[int, ...], turn: int = 0) -> np.ndarray:
    """A mask at another size: rows and columns are repeated or dropped evenly, so that causal and
    padded masks stay so; rows of a batch are taken in turn; no row becomes all false that was
    not.
    """
    if is_range(example):
        out = example[..., :1] + np.arange(shape[-1], dtype=example.dtype)
        return np.ascontiguousarray(_pick(out, shape, 0))
    out = _pick(example, shape, turn)
    if example.dtype.kind in "biu" and example.ndim and example.size and out.size:
        had_empty = bool((~example.astype(bool).any(axis=-1)).any())
        empty = ~out.astype(bool).any(axis=-1)
        if not had_empty and empty.any():
            first = int(example.astype(bool).reshape(-1, example.shape[-1])[0].argmax())
            out[empty, first * shape[-1] // example.shape[-1]] = 1
    return out


def _pick(example: np.ndarray, shape: tuple[int, ...], turn: int) -> np.ndarray:
    out = example
    for axis, size in enumerate(shape):
        old = example.shape[axis]
        if axis == 0 and example.ndim > 1 and old != example.shape[-1]:
            index = (np.arange(size) + turn) % max(old, 1)
        elif size == out.shape[axis]:
            continue
        else:
            index = (np.arange(size) * old + old // 2) // max(size, 1)
            index = np.minimum(index, old - 1)
        out = np.take(out, index, axis=axis)
    return np.array(out)


# -- edges ------------------------------------------------------------------------------------


def has_floats(examples: Inputs) -> bool:
    return any(
        isinstance(e, np.ndarray) and e.dtype.kind in "fc" and not is_structural(e)
        for e in examples.values()
    )


def scaled(examples: Inputs, factor: float) -> Inputs:
    """Every float input (masks apart) times a factor."""
    return _floats_by(examples, lambda e: (e * factor).astype(e.dtype))


def with_non_finite(examples: Inputs) -> Inputs:
    """One NaN at the end and one infinity at the beginning of every float input."""

    def put(e: np.ndarray) -> np.ndarray:
        out = e.copy()
        if out.size:
            out.flat[-1] = np.nan
        if out.size > 2:
            out.flat[0] = np.inf
        return out

    return _floats_by(examples, put)


def _floats_by(examples: Inputs, change: Callable[[np.ndarray], np.ndarray]) -> Inputs:
    out = dict(examples)
    for name, e in examples.items():
        if isinstance(e, np.ndarray) and e.dtype.kind in "fc" and not is_structural(e):
            out[name] = change(e)
    return out


def integer_ends(examples: Inputs) -> list[tuple[str, Inputs]]:
    """All integers at the least, then at the largest value seen (masks and positions as they
    are).
    """
    found: list[tuple[str, Inputs]] = []
    for label, end in (("least integers", np.min), ("largest integers", np.max)):
        out = dict(examples)
        for name, e in examples.items():
            free = isinstance(e, np.ndarray) and e.dtype.kind in "iu" and not is_structural(e)
            if free and e.size:
                out[name] = np.full_like(e, end(e))
        if any(out[n] is not examples[n] for n in out):
            found.append((label, out))
    return found
