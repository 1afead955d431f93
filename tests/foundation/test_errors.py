from __future__ import annotations

import pytest

from pytorch_to_mlx import errors
from pytorch_to_mlx.errors import ConversionError, LoweringError, UnsupportedOp, ValidationError

STAGES = [
    item
    for item in vars(errors).values()
    if isinstance(item, type) and issubclass(item, ConversionError) and item is not ConversionError
]


def test_every_stage_has_its_class_and_exit_code() -> None:
    assert len({cls.stage for cls in STAGES}) == len(STAGES) == 8
    assert {cls for cls in STAGES if cls.exit_code != 2} == {ValidationError}


@pytest.mark.parametrize("cls", STAGES)
def test_one_line_with_all_facts(cls: type[ConversionError]) -> None:
    error = cls(
        "kernel is\n dilated", op="aten.conv", module_path="a.b", origin="m.py:3", hint="use 1"
    )
    line = "aten.conv: kernel is  dilated (in a.b, at m.py:3); use 1"
    assert str(error).splitlines() == [line]
    assert error.to_dict()["stage"] == cls.stage
    assert error.to_dict()["origin"] == "m.py:3"


def test_facts_are_not_repeated() -> None:
    error = ConversionError("aten.conv fails in a.b", op="aten.conv", module_path="a.b")
    assert str(error) == "aten.conv fails in a.b"
    assert str(ConversionError("Stop.", hint="Go on.")) == "Stop. Go on."


def test_ops_are_listed() -> None:
    ops = [UnsupportedOp("aten.a", "x", "f.py:1", "reason", "hint"), UnsupportedOp("aten.b")]
    error = LoweringError(ops=iter(ops))
    assert str(error).splitlines() == [
        "2 ops cannot be converted",
        "  - aten.a: reason (in x, at f.py:1); hint",
        "  - aten.b",
    ]
    assert error.to_dict()["ops"][0]["hint"] == "hint"
    assert str(LoweringError(ops=ops[:1])).startswith("1 op cannot")
