"""Weights changed one at a time: the package's outputs must follow the original's.

Random weights hide branches (a zero-initialised layer contributes nothing), so equal outputs
alone do not prove that every weight is used, and used in the right place.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from pytorch_to_mlx.graph.dtypes import mlx_dtype
from pytorch_to_mlx.package import arrays
from pytorch_to_mlx.package.writer import SourceTensors, import_script
from pytorch_to_mlx.validate.compare import FLOOR, cosine, is_inexact
from pytorch_to_mlx.validate.noise import edited
from pytorch_to_mlx.validate.result import Case
from pytorch_to_mlx.validate.subject import Outputs, PackageFailed, SourceRefuses, Subject

if TYPE_CHECKING:
    import torch

    from pytorch_to_mlx.capture.program import Captured
    from pytorch_to_mlx.validate.run import Plan

ALL_BELOW = 24
ZEROS_ALONE = 48  # zero-initialised tensors beyond this many are changed together, kind by kind
LEAST_CHANGE = 1e-3  # of the output's scale: well above float32 rounding
NOISE = 3e-6
LEAST_COSINE = 0.999
STRENGTHS = (0.1, 1.0, 10.0, 0.01)
LEAST_PROBES = 3
DRAWS = 3  # of a change after which integers differ
INTEGERS = "integer outputs differ with the changed weight"
MARGIN = 1.5  # a change costs both sides' runs and the weights' conversion
LITERAL = 8  # elements up to which an ONNX constant is written into the code

Sides = tuple[list[Outputs], list[Outputs]]  # the original's outputs and the package's


@dataclass
class Outcome:
    """What became of the outputs when some tensors changed."""

    paths: list[str]
    moved: float = 0.0  # of the original's outputs, as a fraction of their scale
    cosine: float | None = None
    reason: str | None = None
    strength: float = 0.0
    stepped: bool = False  # whether integers changed, alike on both sides


@dataclass
class _Probe:
    """What every change is judged with: both sides' outputs with the weights as they are, and the
    package's weights that come from each source tensor.
    """

    subject: Subject
    script: Any
    dependents: Mapping[str, list[str]]
    given: Case
    tolerance: float


def perturb_weights(subject: Subject, given: Case, plan: Plan) -> dict[str, Any]:
    """The report's ``perturbation`` section; the source's tensors are as before afterwards.

    ``given`` is the case that was run with the weights as they are. As many changes are made as the
    budget allows, three at least: where it does not allow one a tensor, several change at once.
    """
    assert subject.captured is not None
    script = import_script(subject.package.folder / "convert_weights.py")
    dependents = emitted_names(script, subject.captured)
    fixed = written_out(subject.captured, dependents)
    tensors = {p: t for p, t in subject.captured.tensors.items() if p not in fixed}
    if subject.captured.frontend == "onnx":  # what conversion computed is not in the file
        tensors = {p: t for p, t in tensors.items() if p in subject.captured.persistent}
    probe = _Probe(subject, script, dependents, given, plan.tolerance)
    groups = sample(tensors, plan.seed)
    order = shared(
        groups, most=max(LEAST_PROBES, int(plan.budget.left / (MARGIN * max(given.seconds, 1e-3))))
    )
    outcomes: list[Outcome] = []
    left_out: list[str] = []
    slowest = given.seconds
    with plan.bars.stage("perturb weights", len(order)) as stage:
        for i, paths in enumerate(order):
            if i >= LEAST_PROBES and not plan.budget.allows(slowest):
                left_out += paths
                continue
            started = time.monotonic()
            outcomes += probed(probe, paths, np.random.default_rng([plan.seed, i]))
            slowest = max(slowest, time.monotonic() - started)
            stage.advance()
    failed = [o for o in outcomes if o.reason]
    return {
        "checked": sum(len(o.paths) for o in outcomes),
        "changes": len(outcomes),
        "left_out": left_out,
        "failed": [p for o in failed for p in o.paths],
        "inert": [p for o in outcomes if not o.reason and o.cosine is None for p in o.paths],
        "least_cosine": min((o.cosine for o in outcomes if o.cosine is not None), default=None),
        "reasons": [f"{', '.join(o.paths)}: {o.reason}" for o in failed],
        "strengths": {o.paths[0]: o.strength for o in failed},
        "written_out": fixed,
        "of": sum(map(_holds_numbers, subject.captured.tensors.values())),
    }


# -- which ------------------------------------------------------------------------------------


def sample(tensors: Mapping[str, torch.Tensor], seed: int) -> list[list[str]]:
    """Float and complex tensors to change: all of up to 24; else one of each kind (the path without
    numbers), all that are zero throughout, and a draw of others. Each group changes together.
    """
    paths = [p for p, t in tensors.items() if _holds_numbers(t) and arrays.count_of(t)]
    if len(paths) <= ALL_BELOW:
        return [[p] for p in paths]
    rng = np.random.default_rng(seed)
    kinds: dict[str, list[str]] = {}
    for p in paths:
        kinds.setdefault(re.sub(r"\d+", "#", p), []).append(p)
    zeros = [p for p in paths if not bool(tensors[p].any())]
    chosen = {members[int(rng.integers(len(members)))] for members in kinds.values()}
    chosen |= set(zeros[:ZEROS_ALONE])
    order = [paths[i] for i in rng.permutation(len(paths))]
    while len(chosen) < ALL_BELOW:
        chosen.add(next(p for p in order if p not in chosen))
    groups = [[p] for p in paths if p in chosen]
    rest: dict[str, list[str]] = {}
    for p in zeros[ZEROS_ALONE:]:
        if p not in chosen:
            rest.setdefault(re.sub(r"\d+", "#", p), []).append(p)
    return groups + list(rest.values())


def _holds_numbers(tensor: Any) -> bool:
    return is_inexact(arrays.dtype_name(tensor))


def written_out(captured: Captured, dependents: Mapping[str, list[str]]) -> list[str]:
    """Buffers and constants whose values the code holds itself (rotary frequencies as ``nn.RoPE``):
    a change cannot follow them, but the outputs prove their values.

    Not those that are all zeros or all ones, which could be missing without a trace.
    """
    parameters = _parameters(captured)
    return [
        path
        for path, t in captured.tensors.items()
        if path not in dependents
        and path not in parameters
        and arrays.count_of(t)
        and not (_could_be_missing(t) and not _is_setting(captured, t))
    ]


def _could_be_missing(tensor: Any) -> bool:
    return bool((tensor == 0).all() or (tensor == 1).all())


def _is_setting(captured: Captured, tensor: Any) -> bool:
    """Whether a tensor of an ONNX model is a number that other sources have in their code."""
    return captured.frontend == "onnx" and arrays.count_of(tensor) <= LITERAL


def _parameters(captured: Captured) -> set[str]:
    """What training changes; of an ONNX model the floats of rank 1 and more that are no scales."""
    if captured.frontend == "onnx":
        tensors = captured.tensors.items()
        return {n for n, t in tensors if arrays.is_floating(t) and arrays.count_of(t) > LITERAL}
    signature = captured.program.graph_signature
    return {captured.canonical(str(p)) for p in signature.parameters}


def shared(groups: list[list[str]], most: int) -> list[list[str]]:
    """At most so many groups: neighbours (tensors of one layer) go to different ones."""
    if len(groups) <= most:
        return groups
    return [[p for group in groups[i::most] for p in group] for i in range(most)]


class _Asked(Mapping[str, mx.array]):
    """Zeros for every source tensor; remembers which were asked for."""

    def __init__(self, captured: Captured) -> None:
        self.captured = captured
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> mx.array:
        path = self.captured.canonical(name)
        self.names.add(path)
        tensor = self.captured.tensors[path]
        dtype = arrays.dtype_name(tensor)
        if not isinstance(tensor, mx.array):
            dtype = {"float64": "float32", "complex128": "complex64"}.get(dtype, dtype)
        return mx.zeros(tuple(tensor.shape), mlx_dtype(dtype))

    def __iter__(self) -> Iterator[str]:
        return iter(self.captured.tensors)

    def __len__(self) -> int:
        return len(self.captured.tensors)


def emitted_names(script: Any, captured: Captured) -> dict[str, list[str]]:
    """The package's weights that each source tensor goes into, by the package's own rules."""
    found: dict[str, list[str]] = {}
    with mx.stream(mx.cpu):
        for name in script.NAMES:
            asked = _Asked(captured)
            script.weight(name, asked)  # lazy: nothing is computed
            for path in asked.names:
                found.setdefault(path, []).append(name)
    return found


# -- how --------------------------------------------------------------------------------------


def probed(probe: _Probe, paths: list[str], rng: np.random.Generator) -> list[Outcome]:
    """What became of the outputs when tensors changed together; if they did not follow, of the
    halves, so that a tensor is named.
    """
    outcome = _strong_enough(probe, paths, rng)
    if outcome.reason is None or len(paths) == 1:
        return [outcome]
    half = len(paths) // 2
    parts = [o for part in (paths[:half], paths[half:]) for o in probed(probe, part, rng)]
    return parts if any(o.reason for o in parts) else [outcome]


def _strong_enough(probe: _Probe, paths: list[str], rng: np.random.Generator) -> Outcome:
    """Changes some tensors, more strongly if the outputs hardly move, and compares the two
    changes.
    """
    best = Outcome(paths)
    seed = int(rng.integers(1 << 31))
    for strength in STRENGTHS:
        outcome = _once(probe, paths, strength, seed)
        for again in range(1, DRAWS):  # a near tie (of two scores) is one at one draw only
            if outcome is None or outcome.reason != INTEGERS:
                break
            outcome = _once(probe, paths, strength, seed + again)
        if outcome is None:  # this strength leads to NaN, or the original refuses it
            continue
        best = outcome
        if outcome.reason or outcome.moved >= LEAST_CHANGE or outcome.stepped:
            break
    return best


def _once(probe: _Probe, paths: list[str], strength: float, seed: int) -> Outcome | None:
    subject = probe.subject
    captured = subject.captured
    assert captured is not None
    outcome = Outcome(paths, strength=strength)
    with edited(captured, paths, strength, np.random.default_rng(seed)):
        try:
            source = subject.run_source(probe.given.calls)
        except SourceRefuses:
            return None
        if not _finite(source):
            return None
        names = list(dict.fromkeys(n for p in paths for n in probe.dependents.get(p, ())))
        try:
            package = run_with_weights(subject, probe.script, names, probe.given.calls)
        except PackageFailed as error:
            outcome.reason = f"the package failed with changed weights: {error}"
            return outcome
        if not _decided(subject, source, package, probe.given.calls):
            return None
    assert probe.given.wanted is not None
    assert probe.given.got is not None
    return judge(outcome, (probe.given.wanted, probe.given.got), (source, package), probe.tolerance)


def _decided(
    subject: Subject, source: list[Outputs], package: list[Outputs], calls: Sequence[Any]
) -> bool:
    """Whether integers that differ are more than rounding: False where an ONNX original gives
    other ones in float64 itself (detections in another order, say)."""
    captured = subject.captured
    if captured is None or captured.frontend != "onnx" or _same_integers(source, package):
        return True
    try:
        wide = subject.run_source(calls, "float64")
    except SourceRefuses:
        return True
    return _same_integers(source, wide)


def _same_integers(a: list[Outputs], b: list[Outputs]) -> bool:
    return all(
        np.array_equal(v.values, y[n].values)
        for x, y in zip(a, b, strict=True)
        for n, v in x.items()
        if n in y and not is_inexact(v.dtype)
    )


def run_with_weights(
    subject: Subject, script: Any, names: Sequence[str], calls: Sequence[Any]
) -> list[Outputs]:
    """The package's outputs with some of its weights converted anew from the source's tensors."""
    tensors = SourceTensors(subject.captured)  # type: ignore[arg-type]
    with subject.fresh() as model:
        with mx.stream(mx.cpu):
            weights = [(n, script.weight(n, tensors)) for n in names]
            mx.eval([w for _, w in weights])
        model.load_weights(weights, strict=False)
        return subject.run_package(calls)


def judge(outcome: Outcome, before: Sides, after: Sides, tolerance: float) -> Outcome:
    """Fills in how far the outputs moved and whether in the same direction and as far."""
    moved_source, moved_package, exact = _changes(before, after)
    if not exact:
        outcome.reason = INTEGERS
        return outcome
    outcome.stepped = not _same_integers(before[0], after[0])
    outcome.moved = float(np.abs(moved_source).max()) if moved_source.size else 0.0
    other = float(np.abs(moved_package).max()) if moved_package.size else 0.0
    if outcome.moved < max(NOISE, tolerance / 20):
        if other > max(LEAST_CHANGE, tolerance):
            outcome.reason = (
                f"moves the package's outputs by {other:.2g} of scale, the original's not"
            )
        elif outcome.stepped:
            outcome.cosine = 1.0
        return outcome
    outcome.cosine = cosine(moved_source, moved_package)
    if outcome.moved < LEAST_CHANGE and abs(other - outcome.moved) <= tolerance:
        return outcome  # moves the outputs, but hardly more than rounding does
    ratio = float(np.linalg.norm(moved_package) / np.linalg.norm(moved_source))
    if outcome.cosine < LEAST_COSINE:
        outcome.reason = f"the outputs do not follow: cosine {outcome.cosine:.4f}"
    elif not 0.98 < ratio < 1.02:
        outcome.reason = f"the outputs follow {ratio:.3f} times as far"
    elif len(outcome.paths) > 1:  # one of them could be lost among the others' changes
        apart = float(np.abs(moved_package - moved_source).max())
        if apart > max(LEAST_CHANGE, 10 * tolerance):
            outcome.reason = f"the outputs follow up to {apart:.2g} of scale"
    return outcome


def _changes(before: Sides, after: Sides) -> tuple[np.ndarray, np.ndarray, bool]:
    """Both sides' changes of all float outputs, by scale; whether integers agree."""
    ours: list[np.ndarray] = []
    theirs: list[np.ndarray] = []
    exact = True
    for before_s, before_p, after_s, after_p in zip(*before, *after, strict=True):
        for name, want in after_s.items():
            got, old = after_p[name], before_s[name]
            if not is_inexact(want.dtype):
                exact &= np.array_equal(want.values, got.values)
                continue
            if want.values.shape != old.values.shape:  # how many were found has changed
                exact &= _close(want.values, got.values)
                continue
            finite = np.isfinite(old.values) & np.isfinite(want.values)
            scale = max(float(np.abs(old.values[finite]).max(initial=0.0)), FLOOR)
            scale = max(scale, float(np.abs(want.values[finite]).max(initial=0.0)))
            theirs.append(_real((want.values - old.values)[finite] / scale))
            ours.append(_real((got.values - before_p[name].values)[finite] / scale))
    empty = np.zeros(0)
    return np.concatenate(theirs or [empty]), np.concatenate(ours or [empty]), exact


def _close(want: np.ndarray, got: np.ndarray) -> bool:
    """Whether arrays that a change gave another shape agree, to less than a change counts."""
    if want.shape != got.shape:
        return False
    scale = float(np.abs(want[np.isfinite(want)]).max(initial=FLOOR))
    return np.allclose(got, want, rtol=0, atol=LEAST_CHANGE * scale, equal_nan=True)


def _real(a: np.ndarray) -> np.ndarray:
    a = np.nan_to_num(a.astype(np.complex128 if np.iscomplexobj(a) else np.float64))
    return np.concatenate([a.real, a.imag]) if np.iscomplexobj(a) else a


def _finite(calls: list[Outputs]) -> bool:
    """Whether at least half of every float output is finite."""
    return all(
        not is_inexact(a.dtype) or not a.values.size or np.isfinite(a.values).mean() > 0.5
        for outputs in calls
        for a in outputs.values()
    )
