"""Quantized packages: chosen layers, files, errors, proof."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import pytorch_to_mlx as p2m
from pytorch_to_mlx.cli.app import app
from pytorch_to_mlx.converted import Converted
from pytorch_to_mlx.errors import InputError, OutputError
from pytorch_to_mlx.quantize.plan import find_layers
from tests.quantize.models import IDS, Convolutional, tagger

torch.set_num_threads(1)
ODD = ("last",)  # 20 columns


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    return p2m.convert(tagger(), IDS, output=tmp_path_factory.mktemp("plain") / "model")


def layers(made: Converted) -> dict[str, dict[str, Any]]:
    return {row["path"]: row for row in made.report["quantization"]["layers"]}


def test_roles_are_found_by_dataflow(plain: Converted) -> None:
    found = find_layers(plain.package)
    mixing = {"alpha", "beta", "gamma", "delta"}
    for path, role in found.roles.items():
        leaf = path.rpartition(".")[2]
        wanted = {"table": "embedding", "last": "head"}.get(leaf, "other")
        assert role == ("attention" if leaf in mixing else wanted), path
    assert found.attentions == 2
    assert not found.refused
    assert found.untraced is None


@pytest.mark.parametrize(
    ("how", "bits", "most"),
    [("8", {8}, 0.05), ("4", {4}, 0.4), ("mixed", {4, 8}, 0.4), ("mxfp8", {8}, 0.2)],
)
def test_presets(plain: Converted, how: str, bits: set[int], most: float) -> None:
    made = p2m.quantize(plain, how)
    section = made.report["quantization"]
    assert {row["bits"] for row in section["layers"]} == bits
    assert section["bytes"]["quantized"] < section["bytes"]["unquantized"]
    for output in section["outputs"]:
        assert 0 < output["original"] < most
    assert set(ODD) <= set(section["left"])
    for path in ODD:
        assert "do not divide" in section["left"][path]
        assert any(path in warning for warning in made.report["warnings"])
    if how == "mixed":
        roles = {row["role"]: row["bits"] for row in section["layers"]}
        assert roles == {"attention": 8, "embedding": 8, "other": 4}
    if how == "mxfp8":
        assert "bfloat16" in section["left"]["table"]
    assert p2m.validate(made).passed


@pytest.mark.parametrize("mode", ["mxfp4", "nvfp4"])
def test_four_bit_floats(plain: Converted, mode: str) -> None:
    made = p2m.quantize(plain, mode)
    assert {row["mode"] for row in layers(made).values()} == {mode}
    assert all(isinstance(m, nn.QuantizedLinear) for m in quantized_modules(made))
    assert p2m.validate(made).passed


def quantized_modules(made: Converted) -> list[nn.Module]:
    return [m for m in made.module.modules() if type(m).__name__.startswith("Quantized")]


def test_mixed_at_conversion_is_proven(tmp_path: Path) -> None:
    made = p2m.convert(tagger(), IDS, quantize="mixed", output=tmp_path / "q")
    kinds = {type(m).__name__ for m in quantized_modules(made)}
    assert kinds == {"QuantizedEmbedding", "QuantizedLinear"}
    proof = p2m.validate(made, budget=3)
    assert proof.passed, proof.summary()
    names = [case.name for case in proof.cases]
    assert any(n.startswith("unquantized: ") for n in names)
    assert any(n.startswith("quantized: ") for n in names)
    assert proof.quantization is not None
    assert all(0 < row["original"] < 0.4 for row in proof.quantization["outputs"])
    page = (made.path / "report.html").read_text(encoding="utf-8")
    assert "Quantization: mixed" in page
    assert "Quantized: mixed" in (made.path / "README.md").read_text(encoding="utf-8")


def test_a_wrong_package_fails(plain: Converted, tmp_path: Path) -> None:
    """A layer whose scales are not those of its weights: neither proof holds."""
    made = p2m.quantize(plain, "8", output=tmp_path / "q")
    file = made.path / "model.safetensors"
    weights = mx.load(str(file))
    name = "blocks.0.wide.scales"
    weights[name] = weights[name] * 3
    mx.eval(weights)
    mx.save_safetensors(str(file), weights)
    spoilt = p2m.load(made.path)
    assert not p2m.validate(spoilt).passed
    assert not p2m.validate(spoilt, tagger(), budget=1).passed


def test_a_limit_is_kept(plain: Converted) -> None:
    proof = p2m.validate(p2m.quantize(plain, 4, limit=0.001))
    assert not proof.passed
    assert "is allowed" in proof.summary()


def test_the_package_tests_itself(plain: Converted, tmp_path: Path) -> None:
    made = p2m.quantize(plain, 4, output=tmp_path / "q")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, cwd=made.path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_a_fine_tune_is_quantized_by_the_script(plain: Converted, tmp_path: Path) -> None:
    made = p2m.quantize(plain, "mixed", output=tmp_path / "q")
    tuned = tagger()
    with torch.no_grad():
        for p in tuned.parameters():
            p.add_(0.01 * torch.randn_like(p))
    torch.save(tuned.state_dict(), tmp_path / "tuned.pt")
    command = [sys.executable, made.path / "convert_weights.py", tmp_path / "tuned.pt"]
    subprocess.run(command, check=True, capture_output=True)
    wanted = p2m.quantize(p2m.convert(tuned, IDS), "mixed")
    for got, want in zip(p2m.load(made.path)(*IDS), wanted(*IDS), strict=True):
        np.testing.assert_allclose(np.array(got), np.array(want), atol=1e-5)


def test_recipes_and_filters(plain: Converted, tmp_path: Path) -> None:
    recipe = {
        "default": {"bits": 4, "group_size": 32},
        "layers": {"blocks.1.*": False, "blocks.1.alpha": {"bits": 6}},
        "roles": {"embedding": {"bits": 8}},
    }
    (tmp_path / "r.json").write_text(json.dumps(recipe))
    made = layers(p2m.quantize(plain, tmp_path / "r.json", exclude=["*.wide"]))
    assert made["blocks.1.alpha"]["bits"] == 6
    assert made["table"]["bits"] == 8
    assert made["blocks.0.alpha"]["group_size"] == 32
    assert not {"blocks.1.beta", "blocks.0.wide"} & set(made)
    made = layers(p2m.quantize(plain, 4, include=["blocks.*", "table"], embeddings=False))
    assert all(path.startswith("blocks.") for path in made)


@pytest.mark.parametrize(
    ("how", "options"),
    [
        (7, {}),
        ("fast", {}),
        (4, {"group_size": 48}),
        (4, {"exclude": ["block.*"]}),
        ({"layers": {"nothing": {"bits": 4}}}, {}),
        ({"default": {"bits": "4"}}, {}),
        ({"default": False}, {}),
        ({"bits": 4}, {}),
        (4, {"limit": -1}),
    ],
)
def test_what_makes_no_sense_is_refused(plain: Converted, how: Any, options: Any) -> None:
    with pytest.raises(InputError):
        p2m.quantize(plain, how, **options)


def test_bits_go_where_they_help(plain: Converted, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = {f"{k}.ids": rng.integers(0, 96, (2, 7)) for k in range(3)}
    np.savez(tmp_path / "inputs.npz", **ids)
    found = {}
    for bits in (6.0, 7.5, 10.0):
        made = p2m.quantize(
            plain, "auto", bits_per_weight=bits, calibration=tmp_path / "inputs.npz"
        )
        section = made.report["quantization"]
        table = section["sensitivity"]
        assert table["calls"] == 3
        assert table["bytes"] <= table["budget_bytes"]
        assert all(row["error_8"] < row["error_4"] for row in table["layers"])
        found[bits] = section["outputs"][0]["original"]
        chosen = {row["path"]: row["bits"] for row in table["layers"]}
        assert chosen == {row["path"]: row["bits"] for row in section["layers"]}
        assert set(chosen.values()) == {6.0: {4, 8}, 7.5: {4, 8}, 10.0: {8}}[bits]
    assert found[10.0] < found[7.5] < found[6.0]
    assert "Sensitivity" in (made.path / "report.html").read_text(encoding="utf-8")
    most = made.report["quantization"]["bytes"]["quantized"] / 1e6
    small = p2m.quantize(plain, "auto", budget_mb=0.8 * most)
    assert small.report["quantization"]["bytes"]["quantized"] <= 0.81 * most * 1e6
    assert p2m.validate(small).passed


@pytest.mark.parametrize(
    "options", [{}, {"budget_mb": 1.0, "bits_per_weight": 5.0}, {"bits_per_weight": 3.0}]
)
def test_budgets_that_make_no_sense(plain: Converted, options: dict[str, float]) -> None:
    with pytest.raises(InputError):
        p2m.quantize(plain, "auto", **options)
    if options:
        with pytest.raises(InputError, match="auto"):
            p2m.quantize(plain, 4, **options)


def test_no_attention_no_mixture(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = p2m.convert(Convolutional().eval(), (torch.randn(2, 32, 9),))
    with pytest.raises(InputError, match="no attention"):
        p2m.quantize(made, "mixed", output=tmp_path / "q")
    assert not (tmp_path / "q").exists()
    assert "no quantized nn.Conv1d" in p2m.quantize(made, 8).report["quantization"]["left"]["conv"]


def test_the_command(plain: Converted, tmp_path: Path) -> None:
    folder, out = tmp_path / "plain", tmp_path / "q"
    shutil.copytree(plain.path, folder)

    def run(*arguments: Any) -> Any:
        return CliRunner().invoke(app, ["quantize", *(str(a) for a in arguments)])

    result = run("-i", folder, "--quantize", "4", "-o", out, "--no-embeddings", "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["verdict"] == "proven"
    assert facts["quantization"]["left"]["table"] == "embeddings are left out"
    assert run("-i", folder, "--quantize", "4", "-o", out).exit_code == 2
    shown = run("-i", folder, "--quantize", "8", "--overwrite")
    assert shown.exit_code == 0, shown.output
    assert "smaller" in shown.output
    assert "quantization" in p2m.load(folder).config
    assert "quantized already" in run("-i", folder, "--quantize", "8", "--overwrite").output


def test_an_edited_load_is_refused(plain: Converted, tmp_path: Path) -> None:
    shutil.copytree(plain.path, tmp_path / "p")
    file = tmp_path / "p" / "model.py"
    file.write_text(file.read_text().replace("load_weights", "other_weights"))
    edited = p2m.load(tmp_path / "p")
    edited.package._model = plain.module  # it still runs; only load() is unknown
    with pytest.raises(OutputError, match="load_weights"):
        p2m.quantize(edited, 4, output=tmp_path / "q")
    assert not (tmp_path / "q").exists()
