from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytorch_to_mlx.errors import InputError
from pytorch_to_mlx.sources.nest import nest, split_positional
from pytorch_to_mlx.sources.specs import (
    DTYPES,
    FLOATS,
    INTEGERS,
    InputSpec,
    draw_arrays,
    draw_tensors,
    notes,
    parse_shapes,
)

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,6}(\.[a-z0-9_]{1,4}){0,2}", fullmatch=True)
SHAPES = st.lists(st.integers(0, 5), max_size=4).map(tuple)


@st.composite
def specs(draw: st.DrawFn) -> InputSpec:
    name, shape, dtype = draw(NAMES), draw(SHAPES), draw(st.sampled_from(DTYPES))
    low: float | None = None
    high: float | None = None
    if dtype in INTEGERS and draw(st.booleans()):
        least, most = INTEGERS[dtype]
        low = draw(st.integers(least, most))
        high = draw(st.integers(int(low) + 1, most + 1))
    elif dtype in FLOATS and draw(st.booleans()):
        finite = st.floats(-100, 100, allow_nan=False)
        low, high = sorted(draw(st.lists(finite, min_size=2, max_size=2, unique=True)))
    return InputSpec(name, shape, dtype, low, high)


@given(st.lists(specs(), min_size=1, max_size=4, unique_by=lambda s: s.name))
def test_text_and_specs_are_inverse(wanted: list[InputSpec]) -> None:
    assert parse_shapes(",".join(map(str, wanted))) == wanted


@given(specs(), st.integers(0, 3))
def test_arrays_have_the_shape_dtype_and_range_asked_for(spec: InputSpec, seed: int) -> None:
    array = draw_arrays([spec], seed)[spec.name]
    assert array.shape == spec.shape
    assert array.dtype.name == ("float32" if spec.dtype == "bfloat16" else spec.dtype)
    if spec.low is not None and spec.high is not None and array.size:
        slack = 1e-2 * max(abs(spec.low), abs(spec.high)) if spec.dtype in FLOATS else 0
        assert spec.low - slack <= array.min()
        assert array.max() <= spec.high + slack if spec.dtype in FLOATS else array.max() < spec.high
    np.testing.assert_array_equal(array, draw_arrays([spec], seed)[spec.name])


@given(st.text(max_size=30))
def test_any_text_parses_or_is_refused_as_input(text: str) -> None:
    try:
        assert parse_shapes(text)
    except InputError as error:
        assert "\n" not in str(error)


def test_commas_inside_a_range_do_not_split() -> None:
    parsed = parse_shapes("x=2x3x224x224:float32, ids=1x12:int64[0,1000), m=4:bool")
    assert parsed == [
        InputSpec("x", (2, 3, 224, 224), "float32"),
        InputSpec("ids", (1, 12), "int64", 0, 1000),
        InputSpec("m", (4,), "bool"),
    ]


def test_shorthands() -> None:
    assert parse_shapes("2x3,t=scalar:long[1,5],y=4:half") == [
        InputSpec("0", (2, 3)),
        InputSpec("t", (), "int64", 1, 6),
        InputSpec("y", (4,), "float16"),
    ]
    assert parse_shapes("x=2:int8[0,3]")[0].high == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("x=2x3,,y=1", "empty entry"),
        ("x=2xx3", "'2xx3' is no shape"),
        ("x=axb", "no shape"),
        ("x=2:float8", "unknown dtype 'float8'"),
        ("x=2:int64[5,5)", "empty"),
        ("x=2:int64[0.5,2)", "whole numbers"),
        ("x=2:uint8[0,300)", "uint8's 0..255"),
        ("x=2:bool[0,1)", "takes no range"),
        ("x=2:int64[0;5)", "no range"),
        ("x=2,x=3", "more than once"),
        ("9x=2", "no input name"),
        ("x=100000x100000", "too many"),
    ],
)
def test_slips_are_named(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_shapes(text)


def test_default_integers_are_said() -> None:
    said = notes(parse_shapes("ids=1x4:int64,n=2:int32[0,9),x=2"))
    assert len(said) == 1
    assert "ids=1x4:int64[0,1000)" in said[0]


def test_tensors_have_torch_dtypes_and_nesting() -> None:
    args, kwargs = draw_tensors(
        parse_shapes(
            "2x3:bfloat16,batch.ids=2:int64[5,6),batch.past.0=1,batch.past.1=1,c=2:complex64"
        )
    )
    assert [a.dtype for a in args] == [torch.bfloat16]
    assert kwargs["batch"]["ids"].tolist() == [5, 5]
    assert isinstance(kwargs["batch"]["past"], tuple)
    assert kwargs["c"].dtype == torch.complex64


def test_an_input_does_not_depend_on_later_ones() -> None:
    alone = draw_arrays(parse_shapes("x=4"), 3)["x"]
    np.testing.assert_array_equal(alone, draw_arrays(parse_shapes("x=4,y=2"), 3)["x"])


def test_nesting_refuses_a_value_that_is_also_a_group() -> None:
    with pytest.raises(InputError, match="both"):
        nest({"x": 1, "x.y": 2})
    with pytest.raises(InputError, match="both"):
        nest({"x.y": 2, "x": 1})
    with pytest.raises(InputError, match="numbered"):
        split_positional({"1": 1})
