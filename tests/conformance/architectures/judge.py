"""One architecture, start to finish: converted, saved, loaded, compared with the original.

A verdict is ``"pass"`` or the reason why not, in one line. What is compared is the package on disk,
at the example's sizes, at two other sizes of every dynamic dimension (1 among them where the
original accepts it) and with all dimensions at other sizes at once. A size that the original
refuses does not count; one that only the package refuses is a failure, unless the case says why
that dimension is limited.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlx.core as mx
import torch

import pytorch_to_mlx as p2m
from pytorch_to_mlx.errors import InputError
from tests.conformance.architectures.case import Architecture, Case, Inputs, Sizes
from tests.golden.compare import assert_leaf, leaves

LEAST_CHANGE = 1e-2  # of scale: what other inputs must change, or the comparison shows nothing
WANTED = 2  # other sizes a dimension

Convert = Callable[..., Any]


class Failed(Exception):
    """The verdict's reason."""


@dataclass
class Facts:
    """What is recorded of an architecture besides its verdict."""

    family: str = ""
    model: str = ""
    parameters: int = 0
    dynamic: list[str] = field(default_factory=list)
    fixed: dict[str, str] = field(default_factory=dict)
    limited: dict[str, str] = field(default_factory=dict)
    lines: int = 0
    sizes: list[dict[str, int]] = field(default_factory=list)


def judge(found: Architecture, convert: Convert = p2m.convert) -> dict[str, Any]:
    """The architecture's record: its facts, and ``verdict``."""
    facts = Facts()
    try:
        check(found.case(), facts, convert)
        verdict = "pass"
    except Exception as error:  # noqa: BLE001 - every fault is a verdict
        verdict = reason(error)
    return {"kind": found.kind, **vars(facts), "verdict": verdict}


def reason(error: BaseException) -> str:
    """One line; the class is left out where the words are this module's own."""
    ops = getattr(error, "ops", None)
    if ops:
        return "; ".join(dict.fromkeys(f"{o.op}: {o.reason}" for o in ops))[:300]
    text = " ".join(str(error).split())
    own = isinstance(error, (Failed, AssertionError)) and text
    return (text if own else f"{type(error).__name__}: {text}")[:300]


def check(case: Case, facts: Facts, convert: Convert = p2m.convert) -> None:
    """Converts and compares; fills in the facts on the way.

    Raises:
        Exception: of whichever stage fails; ``Failed`` or ``AssertionError`` where outputs differ.
    """
    facts.model = type(case.module).__name__
    facts.family = getattr(getattr(case.module, "config", None), "model_type", "") or facts.model
    facts.parameters = sum(p.numel() for p in case.module.parameters())
    wanted = dynamic_axes(case)
    facts.fixed = dict(case.fixed)
    example = case.draw(case.sizes, 1)
    want = run_original(case, example)
    moved = leaves(run_original(case, case.draw(case.sizes, 2)))
    _depends_on_inputs(leaves(want), moved)
    calls = accepted_sizes(case)
    facts.sizes = [dict(case.sizes), *calls]
    with tempfile.TemporaryDirectory() as folder:
        converted = convert(case.module, (), copy.deepcopy(example))
        package = p2m.load(converted.save(Path(folder) / "package"))
        facts.lines = len(package.code.splitlines())
        facts.dynamic = _check_dims(wanted, package.config, case.fixed)
        refused = [
            sizes
            for seed, sizes in enumerate(facts.sizes, start=3)
            if not _compare(case, package, sizes, seed)
        ]
    facts.sizes = [sizes for sizes in facts.sizes if sizes not in refused]
    facts.limited = dict(case.limited)
    _check_limits(case, [*facts.sizes], [*refused])


def dynamic_axes(case: Case) -> dict[str, str]:
    """``"input:axis"`` of what follows a size, and that size's name.

    Raises:
        Failed: an axis neither follows a size nor is said to be fixed, or both.
    """
    base = _shapes(case.draw(case.sizes, 1))
    follows: dict[str, str] = {}
    for name in case.sizes:
        for size in case.tried(name):
            other = _shapes(case.draw({**case.sizes, name: size}, 1))
            follows |= {axis: name for axis in base if base[axis] != other[axis]}
    silent = sorted(set(base) - set(follows) - set(case.fixed))
    if silent:
        raise Failed(f"the case says nothing of {', '.join(silent)}")
    wrong = sorted((set(follows) & set(case.fixed)) | (set(case.fixed) - set(base)))
    if wrong:
        raise Failed(f"the case says wrongly that {', '.join(wrong)} is fixed")
    return follows


def _shapes(inputs: Inputs) -> dict[str, int]:
    return {
        f"{name}:{axis}": size
        for name, value in leaves(inputs).items()
        if isinstance(value, torch.Tensor)
        for axis, size in enumerate(value.shape)
    }


def accepted_sizes(case: Case) -> list[dict[str, int]]:
    """Per dimension every size tried that the original takes, then one call with all at others.

    Raises:
        Failed: the original itself takes fewer than two others of a dimension.
    """
    calls: list[dict[str, int]] = []
    together = dict(case.sizes)
    for name in case.sizes:
        taken = []
        for size in case.tried(name):
            sizes = {**case.sizes, name: size}
            try:
                run_original(case, case.draw(sizes, 3))
            except Exception:  # noqa: BLE001 - whatever a model raises is its refusal
                continue
            taken.append(size)
            calls.append(sizes)
        if len(taken) < WANTED:
            raise Failed(f"the original takes only {taken} as other sizes of {name}")
        together[name] = taken[-1]
    if len(case.sizes) > 1:
        run_original(case, case.draw(together, 3))
        calls.append(together)
    return calls


def run_original(case: Case, inputs: Inputs) -> Any:
    """The original's outputs on copies of the inputs.

    A copy of the model is called: some keep what they saw (a window cut to the smallest image).
    """
    with torch.no_grad():
        return copy.deepcopy(case.module)(**copy.deepcopy(inputs))


def _depends_on_inputs(first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
    """Other inputs must move some output, or equal outputs would prove nothing."""
    for name, a in first.items():
        b = second.get(name)
        if not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor):
            continue
        if a.shape != b.shape or a.numel() == 0:
            continue
        x, y = a.to(torch.complex128), b.to(torch.complex128)
        if not bool(torch.isfinite(x.abs()).any()):
            continue
        scale = float(x[torch.isfinite(x.abs())].abs().max())
        change = torch.nan_to_num((x - y).abs(), nan=0.0, posinf=0.0)
        if float(change.max()) > LEAST_CHANGE * max(scale, 1e-6):
            return
    raise Failed("the original's outputs hardly depend on its inputs")


def _check_dims(
    wanted: Mapping[str, str], config: Mapping[str, Any], fixed: Mapping[str, str]
) -> list[str]:
    """The dims that came out dynamic, which must be those wanted."""
    found = {
        f"{spec['name']}:{axis}"
        for spec in config["inputs"]
        for axis, size in enumerate(spec.get("shape", ()))
        if isinstance(size, str)
    }
    why = {s["where"]: s["reason"] for s in config["dims"].get("static", ())}
    frozen = sorted(set(wanted) - found)
    if frozen:
        raise Failed("; ".join(f"{axis} was frozen: {why.get(axis, '')}" for axis in frozen))
    freed = sorted(found & set(fixed))
    if freed:
        raise Failed(f"{', '.join(freed)} came out dynamic, though said to be fixed")
    return sorted(found)


def _check_limits(
    case: Case, compared: list[dict[str, int]], refused: list[dict[str, int]]
) -> None:
    """A limited dimension has other sizes that work, and some that do not."""
    for name in case.limited:
        size = case.sizes[name]
        if not any(sizes[name] not in (1, size) for sizes in compared):
            raise Failed(f"no other {name} than {size} was compared")
        if not any(sizes[name] != size for sizes in refused):
            raise Failed(f"the case says wrongly that {name} is limited")


def _compare(case: Case, package: Any, sizes: Sizes, seed: int) -> bool:
    """Whether the package takes these sizes, which then were compared."""
    inputs = case.draw(sizes, seed)
    theirs = leaves(run_original(case, inputs))
    at = ", ".join(f"{name} {size}" for name, size in sizes.items())
    try:
        ours = leaves(package(**_tensors(inputs, package)))
    except InputError as error:
        if any(sizes[name] != case.sizes[name] for name in case.limited):
            return False
        raise Failed(f"at {at} the package refuses: {error}") from error
    except Exception as error:
        raise Failed(f"at {at} the package raises {type(error).__name__}: {error}") from error
    if list(ours) != list(theirs):
        raise Failed(f"at {at} outputs {', '.join(ours)} instead of {', '.join(theirs)}")
    if not theirs:
        raise Failed("the original has no outputs")
    mx.eval([v for v in ours.values() if isinstance(v, mx.array)])
    for name, want in theirs.items():
        try:
            assert_leaf(name, ours[name], want, case.tolerance)
        except AssertionError as error:
            raise Failed(f"at {at}: {error}") from error
    return True


def _tensors(inputs: Inputs, package: Any) -> Inputs:
    """The arguments that the package takes: options became constants of the conversion."""
    keys = set(package.package.in_tree.keys)
    return {name: value for name, value in inputs.items() if name in keys}
