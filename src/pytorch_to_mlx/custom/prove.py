"""Whether a function of MLX computes what a torch op computes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx
import numpy as np

from pytorch_to_mlx.custom.record import Call, variations
from pytorch_to_mlx.graph.dtypes import mlx_dtype
from pytorch_to_mlx.lower.aten._given import schema_call
from pytorch_to_mlx.package.arrays import to_mlx
from pytorch_to_mlx.package.op_tests import OpCall, chosen

#: Largest error as a share of the result's scale, by the result's dtype; others must be equal.
TOLERANCES = {"float32": 2e-5, "complex64": 2e-5, "float16": 4e-3, "bfloat16": 3e-2}

_VARIED = 4  # captured calls that variations are made of


@dataclass
class Proof:
    """What was compared, and the first difference (empty: there is none); ``calls`` are a few of
    the cases, for the package's own test.
    """

    cases: Counter[str] = field(default_factory=Counter)
    calls: list[OpCall] = field(default_factory=list)
    refused: int = 0  # variations that the original itself does not take
    error: float = 0.0
    failure: str = ""

    @property
    def proven(self) -> bool:
        return not self.failure and self.cases["captured"] > 0

    def to_dict(self) -> dict[str, Any]:
        return {"cases": dict(self.cases), "refused": self.refused, "max_error": self.error}


Run = Callable[[list[Any], dict[str, Any]], Any]


def cases_of(op: Any, calls: Sequence[Call]) -> tuple[list[tuple[Call, list[Any]]], int]:
    """Captured calls and their variations with the original's results, and how many it refused.

    Raises:
        ValueError: the op writes to its arguments, or gives other results at a second call.
    """
    import torch

    if op._schema.is_mutable:
        raise ValueError("the op writes to its arguments")
    found: list[tuple[Call, list[Any]]] = []
    refused = 0
    for seed, call in enumerate(calls):
        for case in (call, *(variations(call, seed) if seed < _VARIED else ())):
            try:
                with torch.no_grad():
                    first, second = (op(*case.args, **case.kwargs) for _ in range(2))
            except Exception:
                if case.kind == "captured":
                    raise
                refused += 1
                continue
            wanted, again = _tensors(first), _tensors(second)
            same = zip(wanted, again, strict=True)
            if not all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in same):
                raise ValueError("the op gives other results at every call")
            found.append((case, wanted))
    return found, refused


def prove(op: Any, calls: Sequence[Call], run: Run) -> Proof:
    """Compares on captured calls, drawn values, other sizes and edges; stops at a difference.

    ``run`` takes positional and named arguments as the emitted code passes them.
    """
    proof = Proof()
    if not calls:
        proof.failure = "the original did not call it on the example inputs"
        return proof
    try:
        cases, proof.refused = cases_of(op, calls)
    except Exception as error:  # noqa: BLE001 - the original's own failure, told as the reason
        proof.failure = f"{type(error).__name__}: {error}"
        return proof
    compared: list[OpCall] = []
    for case, wanted in cases:
        args, kwargs = schema_call(op, _to_mlx(case.args), _to_mlx(case.kwargs))
        try:
            got = run(args, kwargs)
            results = list(got) if isinstance(got, (tuple, list)) else [got]
            problem, off = difference(results, wanted)
        except Exception as failed:  # noqa: BLE001 - whatever the function raises
            problem, off = f"it raises {type(failed).__name__}: {failed}", 0.0
        proof.error = max(proof.error, off)
        if problem:
            proof.failure = f"on {case.kind} inputs {_shapes(case)}: {problem}"
            return proof
        proof.cases[case.kind] += 1
        compared.append(OpCall(case.kind, tuple(args), kwargs, tuple(map(to_mlx, wanted))))
    proof.calls = chosen(compared)
    return proof


def difference(results: list[Any], wanted: list[Any]) -> tuple[str, float]:
    """What differs between arrays and tensors (empty: nothing), and the largest relative error."""
    if len(results) != len(wanted):
        return f"it gives {len(results)} results, not {len(wanted)}", 0.0
    worst = 0.0
    for i, (got, tensor) in enumerate(zip(results, wanted, strict=True)):
        want = to_mlx(tensor)
        if not isinstance(got, mx.array):
            return f"result {i} is a {type(got).__name__}, not an array", worst
        if got.shape != want.shape or got.dtype != want.dtype:
            there, here = (f"{a.dtype}{list(a.shape)}" for a in (want, got))
            return f"result {i} is {here}, not {there}", worst
        dtype = str(want.dtype).rpartition(".")[2]
        tolerance = TOLERANCES.get(dtype, 0.0)
        error = _error(_numpy(got), _numpy(want))
        if not error <= tolerance:
            return f"result {i} is off by {error:.2e} of its scale", error
        worst = max(worst, error)
    return "", worst


def _error(got: np.ndarray, want: np.ndarray) -> float:
    """The largest error as a share of the scale; infinite where what is not finite differs."""
    if want.dtype.kind not in "fc":
        return 0.0 if np.array_equal(got, want) else float("inf")
    finite = np.isfinite(want)
    if not np.array_equal(got[~finite], want[~finite], equal_nan=True):
        return float("inf")
    if not finite.any():
        return 0.0
    scale = max(float(np.abs(want[finite]).max()), 1e-30)
    return float(np.abs(got[finite] - want[finite]).max()) / scale


def _numpy(array: mx.array) -> np.ndarray:
    halves = (mx.bfloat16, mx.float16)
    return np.array(array.astype(mx.float32) if array.dtype in halves else array)


def _tensors(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]


def _to_mlx(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return to_mlx(value)
    if isinstance(value, (tuple, list)):
        return tuple(_to_mlx(v) for v in value)
    if isinstance(value, dict):
        return {k: _to_mlx(v) for k, v in value.items()}
    if isinstance(value, torch.dtype):
        from pytorch_to_mlx.lower.aten._program import torch_dtype

        return mlx_dtype(torch_dtype(value))
    return value


def _shapes(case: Call) -> str:
    shown = [
        f"{str(a.dtype).removeprefix('torch.')}{list(a.shape)}" if hasattr(a, "dtype") else repr(a)
        for a in (*case.args, *case.kwargs.values())
    ]
    return f"({', '.join(shown)})"
