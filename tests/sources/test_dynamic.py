from __future__ import annotations

import pytest
import torch
from torch.export import Dim

from pytorch_to_mlx.errors import InputError
from pytorch_to_mlx.sources import complete_dynamic_shapes, parse_dynamic, to_dynamic_shapes


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x:0,2", {"x": {0: "", 2: ""}}),
        ("x:0,2;ids:1", {"x": {0: "", 2: ""}, "ids": {1: ""}}),
        ("x:0=batch,ids:0=batch,1", {"x": {0: "batch"}, "ids": {0: "batch", 1: ""}}),
        (" batch.ids:0  mask:-1 ", {"batch.ids": {0: ""}, "mask": {-1: ""}}),
    ],
)
def test_parse(text: str, found: dict[str, dict[int, str]]) -> None:
    assert parse_dynamic(text) == found


@pytest.mark.parametrize("text", ["", "x", "0,1", "x:", "x:a", "x:0,0", "x:0=1"])
def test_slips_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_dynamic(text)


class Model(torch.nn.Module):
    def forward(self, x, batch, **extra):
        return x + batch["ids"] + extra["bias"]


def test_completed_shapes_export() -> None:
    args = (torch.ones(4, 3), {"ids": torch.ones(4, 3), "unused": torch.ones(1)})
    kwargs = {"bias": torch.ones(3)}
    partial = to_dynamic_shapes(parse_dynamic("0:0=n,batch.ids:-2=n"))
    shapes = complete_dynamic_shapes(partial, Model(), args, kwargs)
    assert shapes["batch"]["unused"] is None
    assert shapes["bias"] is None
    assert list(shapes["batch"]["ids"]) == [0]
    assert shapes["x"][0] is shapes["batch"]["ids"][0]


def test_completed_shapes_are_accepted_by_export() -> None:
    class Two(torch.nn.Module):
        def forward(self, x, y):
            return x + y

    args = (torch.ones(4, 3), torch.ones(3))
    shapes = complete_dynamic_shapes(to_dynamic_shapes(parse_dynamic("x:0")), Two(), args, {})
    program = torch.export.export(Two(), args, dynamic_shapes=shapes, strict=False)
    assert program.module()(torch.ones(7, 3), torch.ones(3)).shape == (7, 3)


def test_unknown_inputs_and_axes_are_refused() -> None:
    args = (torch.ones(2), {"ids": torch.ones(2)})
    kwargs = {"bias": torch.ones(2)}
    for shapes, words in [
        ({"z": {0: Dim.DYNAMIC}}, "name z"),
        ({"x": {1: Dim.DYNAMIC}}, "axis 1 of x"),
        ({"batch": {"mask": {0: Dim.DYNAMIC}}}, "batch.mask"),
    ]:
        with pytest.raises(InputError, match=words):
            complete_dynamic_shapes(shapes, Model(), args, kwargs)
    assert complete_dynamic_shapes("auto", Model(), args, kwargs) == "auto"
    assert complete_dynamic_shapes(None, Model(), args, kwargs) is None
