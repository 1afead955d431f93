"""Names of constructor arguments and of class variants; options of library calls."""

from __future__ import annotations

import pytest

from pytorch_to_mlx.codegen.expressions import options_by_name
from pytorch_to_mlx.codegen.roles import role
from pytorch_to_mlx.codegen.variants import Variant, variant_names
from pytorch_to_mlx.graph import Value
from pytorch_to_mlx.graph.dtypes import DType


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        (["in_channels", "out_channels"], "channels"),
        (["output_dims", "input_dims"], "hidden_dim"),
        (["dims", "in_channels", "in_channels"], "in_channels"),
        (["out_channels", "input_dims", "output_dims"], "out_dim"),
        (["dims"], "dim"),
        (["stride", "stride"], "stride"),
    ],
)
def test_roles(labels: list[str], name: str) -> None:
    assert role(labels) == name


def test_variants_say_where_they_are() -> None:
    encoder = Variant(["encoder.block"], {})
    decoder = Variant(["decoder.block", "decoder.last"], {})
    assert variant_names("T5Stack", [encoder, decoder]) == ["T5EncoderStack", "T5DecoderStack"]


def test_variants_say_what_they_have() -> None:
    plain = Variant(["a.0", "a.1"], {"up": "nn.Linear"})
    more = Variant(["a.2"], {"up": "nn.Linear", "skip_proj": "nn.Linear"})
    other = Variant(["a.3"], {"up": "nn.Conv1d"})
    assert variant_names("Up", [plain, more, other]) == ["Up", "UpWithSkipProj", "UpWithConv1d"]


def test_options_are_named_and_defaults_left_out() -> None:
    assert options_by_name("sort", ["x", -1, False], {}) == (["x"], {})
    assert options_by_name("sort", ["x", 1, True], {}) == (
        ["x"],
        {"axis": 1, "descending": True},
    )
    assert options_by_name("topk", ["x", 2, -1], {}) == (["x", 2], {})


def test_an_array_after_an_option_that_is_left_out_goes_by_name() -> None:
    array = Value((3,), DType("float32"))
    args = ["x", "y", False, array]
    assert options_by_name("searchsorted", args, {}) == (["x", "y"], {"sorter": array})
