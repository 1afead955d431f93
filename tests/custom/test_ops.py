"""Functions given for unknown ops: proven first, then part of the package."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import pytorch_to_mlx as p2m
from pytorch_to_mlx.cli.app import app
from pytorch_to_mlx.errors import CaptureError, InputError, LoweringError
from tests.package.processes import selftest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from models import clipped  # noqa: E402

MINE = HERE / "my_ops.py"


@torch.library.custom_op("p2mtest::noisy", mutates_args=())
def noisy(x: torch.Tensor) -> torch.Tensor:
    return x + torch.rand_like(x)


@noisy.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


class Noisy(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return noisy(x)


def same(package: Any, module: torch.nn.Module, rows: int) -> None:
    x = torch.randn(rows, 6)
    got = np.array(package(x.numpy()))
    np.testing.assert_allclose(got, module(x).detach().numpy(), atol=1e-5)


def own_tests(folder: Path) -> str:
    """What the package's own tests say, with mlx and pytest alone; "" if they pass."""
    done = selftest(folder, folder.parent / "plugins")
    return "" if done.returncode == 0 else done.stdout + done.stderr


def given(tmp_path: Path, body: str) -> Path:
    file = tmp_path / "ops.py"
    head = "import mlx.core as mx\nfrom pytorch_to_mlx import implements\n"
    pairs = MINE.read_text(encoding="utf-8").partition('@implements("p2mtest::split_pairs")')[2]
    rest = f'\n\n@implements("p2mtest::split_pairs"){pairs}'
    file.write_text(head + body + rest, encoding="utf-8")
    return file


def test_functions_of_a_file_travel_into_the_package(tmp_path: Path) -> None:
    module, args = clipped()
    p2m.convert(module, args, ops=MINE, output=tmp_path / "out")
    loaded = p2m.load(tmp_path / "out")
    for rows in (1, 3, 5):
        same(loaded, module, rows)
    code = (tmp_path / "out" / "model.py").read_text(encoding="utf-8")
    assert "# From my_ops.py: p2mtest::soft_clip, proven against the original." in code
    assert "# one round of clipping" in code
    assert "implements" not in code.replace("@implements", "")
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    by_op = {c["op"]: c["proof"]["cases"] for c in config["custom_ops"]}
    assert by_op["p2mtest::soft_clip"]["captured"] == 2
    assert {"drawn", "sizes", "size one", "edge"} <= set(by_op["p2mtest::split_pairs"])


def test_the_package_tests_the_given_functions_itself(tmp_path: Path) -> None:
    module, args = clipped()
    out = tmp_path / "out"
    p2m.convert(module, args, ops=MINE, output=out)
    text = (out / "test_custom_ops.py").read_text(encoding="utf-8")
    assert "# soft_clip is p2mtest::soft_clip, from my_ops.py; proven on" in text
    for kind in ("captured", "drawn", "sizes", "size one", "edge"):
        assert f'"soft_clip", "{kind}"' in text.replace("\n        ", " ")
    assert "test_custom_ops.py" in (out / "README.md").read_text(encoding="utf-8")
    assert own_tests(out) == ""
    code = (out / "model.py").read_text(encoding="utf-8")
    broken = code.replace("even + odd", "even - odd")
    assert broken != code
    (out / "model.py").write_text(broken, encoding="utf-8")
    said = own_tests(out)
    assert "split_pairs" in said
    assert "off by" in said


def test_validation_holds_with_given_ops() -> None:
    module, args = clipped()
    converted = p2m.convert(module, args, ops=[MINE])
    assert p2m.validate(converted).passed


def test_a_wrong_function_is_refused_with_where_it_differs(tmp_path: Path) -> None:
    module, args = clipped()
    file = given(
        tmp_path,
        '@implements("p2mtest::soft_clip")\n'
        "def clip_hard(x, limit=2.0, rounds=1):\n    return mx.clip(x, -limit, limit)\n",
    )
    with pytest.raises(LoweringError, match=r"clip_hard of ops\.py does not match it on captured"):
        p2m.convert(module, args, ops=file)


def test_right_on_the_captured_inputs_alone_is_not_enough(tmp_path: Path) -> None:
    module, args = clipped()
    file = given(
        tmp_path,
        '@implements("p2mtest::soft_clip")\n'
        "def soft_clip(x, limit=2.0, rounds=1):\n"
        "    x = x[:3]\n"
        "    for _ in range(rounds):\n        x = limit * mx.tanh(x / limit)\n    return x\n",
    )
    with pytest.raises(LoweringError, match="on sizes inputs"):
        p2m.convert(module, args, ops=file)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("import numpy as np\n{}    return np.tanh(x)\n", "uses np, which cannot travel"),
        ("{}    import os\n    return x\n", "uses import os, which cannot travel"),
        ("import functools\n@functools.cache\n{}    return x\n", "decorator that cannot travel"),
        ("def pad_constant(x):\n    return x\n{}    return pad_constant(x)\n", "pad_constant"),
        ("{}    return x +\n", "does not run: SyntaxError"),
    ],
)
def test_what_cannot_travel_is_said(tmp_path: Path, body: str, reason: str) -> None:
    start = '@implements("p2mtest::soft_clip")\ndef soft_clip(x, limit=2.0, rounds=1):\n'
    module, args = clipped()
    if "pad_constant" in body:
        text = body.format(start).replace(
            "return pad_constant(x)",
            "\n".join(
                [
                    "for _ in range(rounds):",
                    "        x = limit * mx.tanh(x / limit)",
                    "    return pad_constant(x)",
                ]
            ),
        )
    else:
        text = body.format(start)
    with pytest.raises(InputError, match=reason):
        p2m.convert(module, args, ops=given(tmp_path, text))


def test_an_op_that_draws_is_refused() -> None:
    @p2m.implements("p2mtest::noisy")
    def quiet(x: mx.array) -> mx.array:
        return x

    with pytest.raises(InputError, match="implements no op"):
        p2m.convert(Noisy(), (torch.ones(2, 3),), ops=quiet)  # no function of a file's own
    with pytest.raises(LoweringError, match="other results at every call"):
        p2m.convert(Noisy(), (torch.ones(2, 3),), ops=quiet_noise)


@p2m.implements("p2mtest::noisy")
def quiet_noise(x: mx.array) -> mx.array:
    return x


def test_an_op_that_the_model_lacks_is_told() -> None:
    module = torch.nn.Linear(2, 2)
    converted = p2m.convert(module, (torch.ones(1, 2),), ops=quiet_noise)
    assert any("p2mtest::noisy" in w and "not used" in w for w in converted.report["warnings"])


@pytest.mark.parametrize("name", ["relu", "a::b::c", "a::b; import os", "", "a::1"])
def test_a_mark_must_name_an_op(name: str) -> None:
    with pytest.raises(ValueError, match="names no op"):
        p2m.implements(name)


def test_the_command_line_prints_a_stub_that_runs(tmp_path: Path) -> None:
    source = f"{HERE / 'models.py'}:clipped"
    command = ["convert", "-i", source, "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2, result.output
    stub = result.output.partition("pass it as --ops.")[2]
    assert stub.count('@implements("p2mtest::soft_clip")') == 1
    assert "torch.ops.p2mtest.soft_clip(torch.randn([3, 6], dtype=torch.float32), 1.5)" in stub
    names: dict[str, Any] = {}
    exec(compile(stub, "stub", "exec", dont_inherit=True), names)
    assert names["p2mtest_soft_clip"].__defaults__ == (2.0, 1)
    done = CliRunner().invoke(app, [*command, "--ops", str(MINE), "--validate"])
    assert done.exit_code == 0, done.output


def test_onnx_models_are_refused_with_a_way_out(tmp_path: Path) -> None:
    import onnx

    info = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [2]) for n in "xy"]
    node = onnx.helper.make_node("Soft", ["x"], ["y"], domain="my.domain")
    graph = onnx.helper.make_graph([node], "g", info[:1], info[1:])
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("my.domain", 1)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    with pytest.raises(CaptureError, match=r"my\.domain:Soft.*FunctionProto"):
        p2m.convert(model)
    ops = tmp_path / "my_ops.py"
    ops.write_text(
        "import mlx.core as mx\nfrom pytorch_to_mlx import implements\n\n\n"
        '@implements("my.domain::Soft")\ndef soft(x: mx.array) -> mx.array:\n'
        "    return mx.tanh(x)\n"
    )
    with pytest.raises(InputError, match=r"my\.domain::Soft.*cannot be proven.*FunctionProto"):
        p2m.convert(model, ops=ops)
