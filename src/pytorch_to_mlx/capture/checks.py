"""Checks of values (``if (x < 0).any(): raise``, ``assert ok.all()``), left out while tracing.

Such a check says which inputs are valid and computes nothing, but it asks a tensor for its truth,
which an export does not know. While a model is captured, a tensor (or a comparison of numbers read
from one) that is asked in the test of an ``assert``, or of an ``if`` that only raises or warns,
answers so that neither happens. Every other question stays torch's to refuse.
"""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import FrameType
from typing import Any

from pytorch_to_mlx.capture.program import is_foreign

# line, end line, column and end column (in bytes), as code objects have them
Span = tuple[int, int, int, int]
_TELLING = frozenset("warn warning warning_once warn_once info debug print log error".split())


@contextmanager
def passing_checks(notes: list[str]) -> Iterator[None]:
    """Within, checks of unknown values pass; one note on each is added to ``notes``."""
    import torch
    from torch.fx.experimental import symbolic_shapes

    tensor, symbolic = torch.Tensor.__bool__, torch.SymBool.__bool__
    symbolic_shapes.uninteresting_files().add(__file__)  # torch names the line that asks, not this

    def of_tensor(self: Any) -> bool:
        frame = sys._getframe(1)
        truth = passing_truth(frame) if _is_unknown(self) else None
        if truth is None:
            return tensor(self)
        _note(notes, frame)
        return truth

    def of_symbol(self: Any) -> bool:
        frame = sys._getframe(1)
        # torch's own code compares sizes everywhere, and must learn of what it may not assume.
        own = is_foreign(frame.f_code.co_filename) or not symbolic_shapes.free_unbacked_symbols(
            self
        )
        truth = None if own else passing_truth(frame)
        if truth is None:
            return symbolic(self)
        torch._check(self if truth else torch.sym_not(self))
        _note(notes, frame)
        return truth

    try:
        torch.Tensor.__bool__ = of_tensor
        torch.SymBool.__bool__ = of_symbol
        yield
    finally:
        del torch.Tensor.__bool__  # the inherited one shows again
        torch.SymBool.__bool__ = symbolic


def _note(notes: list[str], frame: FrameType) -> None:
    where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
    note = f"the check of values at {where} is taken to pass; the converted model does not check"
    if note not in notes:
        notes.append(note)


def _is_unknown(tensor: Any) -> bool:
    from torch._subclasses.fake_tensor import FakeTensor
    from torch._subclasses.functional_tensor import FunctionalTensor

    return isinstance(tensor, (FakeTensor, FunctionalTensor))


def passing_truth(frame: FrameType) -> bool | None:
    """What the value whose truth a frame asks for must answer for its check to pass.

    ``None`` where the question is not part of the test of a check, or the file cannot be read.
    """
    checks = _checks(frame.f_code.co_filename)
    if not hasattr(frame.f_code, "co_positions"):  # before Python 3.11
        line = frame.f_lineno
        truths = {t for (start, end, *_), t in checks.items() if start <= line <= end}
        return truths.pop() if len(truths) == 1 else None
    positions: list[Span] = list(frame.f_code.co_positions())
    at = frame.f_lasti // 2
    here = positions[at]
    # A jump has the place of its statement in some versions of Python; before it stands the value.
    while at and here not in checks and positions[at] == here:
        at -= 1
    return checks.get(here, checks.get(positions[at]))


@lru_cache(maxsize=512)
def _checks(file: str) -> dict[Span, bool]:
    """The parts of the tests of a file's checks, each with the truth that lets its check pass."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return {}
    found: dict[Span, bool] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            _add(node.test, True, found)
        elif isinstance(node, ast.If) and _only_tells(node.body):
            _add(node.test, False, found)
        elif isinstance(node, ast.If) and node.orelse and isinstance(node.orelse[-1], ast.Raise):
            _add(node.test, True, found)
    return found


def _add(test: ast.expr, truth: bool, found: dict[Span, bool]) -> None:
    if isinstance(test, ast.BoolOp):
        for part in test.values:
            _add(part, truth, found)
        return
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        _add(test.operand, not truth, found)
        truth = not truth  # asked of the operand, whichever of both the code names
    assert test.end_lineno is not None
    assert test.end_col_offset is not None
    found[test.lineno, test.end_lineno, test.col_offset, test.end_col_offset] = truth


def _only_tells(body: list[ast.stmt]) -> bool:
    """Whether statements raise in the end, or do nothing but warn."""
    return isinstance(body[-1], ast.Raise) or all(map(_is_telling, body))


def _is_telling(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
        return False
    function = statement.value.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in _TELLING
