from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import pytorch_to_mlx as p2m
from pytorch_to_mlx.cli.app import app
from pytorch_to_mlx.errors import CaptureError, LoweringError, UnsupportedOp

MODELS = Path(__file__).parents[1] / "sources" / "models_for_tests.py"


class FakeConverted:
    def __init__(self, output: Path) -> None:
        self.report: dict[str, Any] = {"warnings": ["switched to eval()"]}
        self.written = 0
        self.output = output

    def write_report(self) -> None:
        self.written += 1
        self.output.mkdir(exist_ok=True)
        (self.output / "report.html").write_text("<html>")


class FakeProof:
    def __init__(self, passed: bool, error: float) -> None:
        self.passed = passed
        self.error = error

    def to_dict(self) -> dict[str, Any]:
        outputs = [{"name": "out", "max_abs": self.error, "scale": 2.0, "ok": self.passed}]
        return {"tolerance": 1e-4, "cases": [{"name": "given", "outputs": outputs}]}

    def summary(self) -> str:
        return "layer proj: first op out of tolerance"


TIMINGS = {
    "rows": [
        {"name": "torch eager", "sizes": {}, "median_ms": 4.0},
        {"name": "mlx compiled", "sizes": {}, "median_ms": 2.0},
    ],
    "notes": ["The machine was busy."],
}


class Api:
    """Records how the command line calls the Python API."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.error: BaseException | None = None
        self.passed = True
        self.unsupported: list[dict[str, str]] = []
        self.max_abs = 1e-6
        for name in ("convert", "validate", "benchmark", "analyze"):
            monkeypatch.setattr(p2m, name, self._fake(name), raising=False)

    def _fake(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args, kwargs))
            if self.error is not None:
                raise self.error
            return getattr(self, f"_{name}")(*args, **kwargs)

        return call

    def _convert(self, *args: Any, **kwargs: Any) -> FakeConverted:
        self.converted = FakeConverted(kwargs["output"])
        return self.converted

    def _validate(self, *args: Any, **kwargs: Any) -> FakeProof:
        return FakeProof(self.passed, self.max_abs)

    def _benchmark(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return TIMINGS

    def _analyze(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        leaf = {"path": "fc", "class": "Linear", "parameters": 1234567, "children": []}
        return {
            "model": {"name": "Net", "tree": {"path": "", "class": "Net", "children": [leaf]}},
            "memory": {"weights": 4 * 1234567},
            "inputs": [{"name": "x", "dtype": "float32", "dims": ["b", 8]}],
            "dims": {
                "b": {"where": ["x:0"], "min": 1, "max": None},
                "x:1": {"where": ["x:1"], "static_reason": "the model refuses 9"},
            },
            "ops": [{"op": "aten.add", "count": 2}],
            "passes": [
                {
                    "name": "rope",
                    "applied": 1,
                    "made": {"mx.fast.rope": 2},
                    "refusals": [{"where": f"a.{i}", "reason": "r"} for i in range(3)],
                }
            ],
            "unsupported": self.unsupported,
        }


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    return Api(monkeypatch)


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_convert_hands_everything_on(api: Api, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--model", "m.py:f", "--method", "encode", "--dtype", "bfloat16", "--overwrite"]
    options += ["--shapes", "x=2x3,ids=1x4:int64[0,9)", "--dynamic", "x:0=b;ids:0=b"]
    options += ["--trust-code", "--keep-batch-norm"]
    result = run("convert", "-i", "model.pt", "-o", out, *options)
    assert result.exit_code == 0, result.output
    (name, args, kwargs) = api.calls[0]
    assert (name, args[0], args[1]) == ("convert", "model.pt", ())
    assert args[2]["x"].shape == (2, 3)
    assert args[2]["ids"].dtype == torch.int64
    assert kwargs["dynamic_shapes"]["x"][0] is kwargs["dynamic_shapes"]["ids"][0]
    wanted = {
        "dtype": "bfloat16",
        "output": out,
        "overwrite": True,
        "trust_code": True,
        "model": "m.py:f",
        "method": "encode",
        "fold_batch_norm": False,
    }
    assert {key: kwargs[key] for key in wanted} == wanted
    assert len(api.calls) == 1
    assert "not validated" in result.stdout
    assert "warning: switched to eval()" in result.stderr


def test_dynamic_option(api: Api, tmp_path: Path) -> None:
    for text, expected in [("auto", "auto"), ("none", None)]:
        run("convert", "-i", "m.pt2", "-o", tmp_path / "o", "--dynamic", text)
        assert api.calls[-1][2]["dynamic_shapes"] == expected
    run("convert", "-i", "m.pt2", "-o", tmp_path / "o")
    assert "dynamic_shapes" not in api.calls[-1][2]


def test_proven(api: Api, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--validate", "--benchmark", "--compile", "--tolerance", "1e-3", "--seed", "7"]
    result = run("convert", "-i", "m.pt2", "-o", out, *options)
    assert result.exit_code == 0, result.output
    assert [call[0] for call in api.calls] == ["convert", "validate", "benchmark"]
    assert api.calls[1][2]["tolerance"] == 1e-3
    assert api.calls[1][2]["seed"] == 7
    assert api.calls[2][2]["compile"] is True
    for words in ("PROVEN", "1.00e-06", "mlx compiled: 2 ms (2.00x torch eager)", "report.html"):
        assert words in result.stdout.replace("\n", "")
    assert api.converted.report["validation"]["cases"]
    assert api.converted.report["benchmark"] == TIMINGS
    assert api.converted.written == 1


def test_parity_failed_is_exit_1(api: Api, tmp_path: Path) -> None:
    api.passed = False
    api.max_abs = float("nan")
    arguments = ["convert", "-i", "m.pt2", "-o", tmp_path / "o", "--validate"]
    result = run(*arguments)
    assert result.exit_code == 1
    assert "PARITY FAILED" in result.stdout
    assert "first op out of tolerance" in result.stderr
    result = run(*arguments, "--json")
    assert result.exit_code == 1
    facts = json.loads(result.stdout)
    assert facts["verdict"] == "failed"
    assert facts["exit_code"] == 1
    assert facts["validation"]["cases"][0]["outputs"][0]["max_abs"] == "nan"


def test_json_is_all_of_stdout(api: Api, tmp_path: Path) -> None:
    result = run("convert", "-i", "m.pt2", "-o", tmp_path / "o", "--validate", "--json")
    facts = json.loads(result.stdout)
    assert facts["verdict"] == "proven"
    assert facts["warnings"] == ["switched to eval()"]
    assert result.stderr == ""


def test_quiet_says_nothing(api: Api, tmp_path: Path) -> None:
    shapes = ["--shapes", "ids=1:int64"]
    result = run("convert", "-i", "m.pt2", "-o", tmp_path / "o", "--validate", "-q", *shapes)
    assert result.exit_code == 0
    assert result.output == ""


UNSUPPORTED = LoweringError(
    ops=[
        UnsupportedOp("aten.foo.default", "layers.0", "net.py:12", "no MLX form", "rewrite it"),
        UnsupportedOp("aten.bar.default", "layers.1", "net.py:40"),
    ]
)


def test_errors_are_lines_with_exit_2(api: Api, tmp_path: Path) -> None:
    arguments = ["convert", "-i", "m.pt2", "-o", tmp_path / "o"]
    api.error = CaptureError("data-dependent if", origin="net.py:3", hint="use torch.where")
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.strip() == "error: data-dependent if (at net.py:3); use torch.where"
    assert "Traceback" in run(*arguments, "--debug").stderr
    api.error = UNSUPPORTED
    result = run(*arguments)
    assert result.exit_code == 2
    assert "2 ops cannot be converted" in result.stderr
    assert "net.py:12" in result.stderr
    assert "layers.1" in result.stderr
    facts = json.loads(run(*arguments, "--json").stdout)
    assert [op["op"] for op in facts["error"]["ops"]] == ["aten.foo.default", "aten.bar.default"]
    assert facts["error"]["stage"] == "lower"


def test_defects_are_told_apart(api: Api, tmp_path: Path) -> None:
    api.error = KeyError("boom")
    result = run("convert", "-i", "m.pt2", "-o", tmp_path / "o")
    assert result.exit_code == 2
    assert "defect of pytorch_to_mlx" in result.stderr
    assert "Traceback" not in result.stderr


def test_interrupt(api: Api, tmp_path: Path) -> None:
    api.error = KeyboardInterrupt()
    assert run("convert", "-i", "m.pt2", "-o", tmp_path / "o").exit_code == 130


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--shapes", "x=2xx3"], "no shape"),
        (["--shapes", "x=2", "--args", "x.npz"], "exclude each other"),
        (["--args", "nowhere.npz"], "no file nowhere.npz"),
        (["--dynamic", "x"], "cannot read 'x'"),
        (["--dtype", "int8"], "int8"),
        (["--tolerance", "-1"], "tolerance"),
    ],
)
def test_bad_options_are_exit_2(api: Api, tmp_path: Path, options: list[str], words: str) -> None:
    result = run("convert", "-i", "m.pt2", "-o", tmp_path / "o", *options)
    assert result.exit_code == 2
    assert words in result.stderr
    assert not api.calls


def test_validate_opens_the_original(api: Api, tmp_path: Path) -> None:
    result = run("validate", tmp_path, "-i", f"{MODELS}:with_args", "--seed", "3")
    assert result.exit_code == 0, result.output
    _, args, kwargs = api.calls[0]
    assert args[0] == tmp_path
    assert type(args[1]).__name__ == "Encoder"
    assert kwargs["args"][0].shape == (2, 3)
    assert kwargs["seed"] == 3
    api.passed = False
    assert run("validate", tmp_path).exit_code == 1
    assert api.calls[-1][1] == (tmp_path, None)


def test_benchmark(api: Api, tmp_path: Path) -> None:
    result = run("benchmark", tmp_path, "-i", f"{MODELS}:with_args", "--compile")
    assert result.exit_code == 0, result.output
    assert type(api.calls[0][1][1]).__name__ == "Encoder"
    assert "torch eager: 4 ms" in result.stdout
    assert "The machine was busy." in result.stderr
    assert json.loads(run("benchmark", tmp_path, "--json").stdout)["benchmark"] == TIMINGS


def test_analyze(api: Api) -> None:
    result = run("analyze", "-i", f"{MODELS}:with_args")
    assert result.exit_code == 0, result.output
    for words in (
        "fc: Linear  1,234,567 parameters",
        "Memory (weights 4.7 MiB)",
        "x: float32[b, 8]",
        "b (x:0): dynamic, 1..",
        "x:1: static, the model refuses 9",
        "aten.add",
        "Left as it is",
        "every op converts",
    ):
        assert words in result.stdout
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["rope", "1", "mx.fast.rope", "×2"] in rows
    assert ["rope", "3", "a.0", "r"] in rows
    facts = json.loads(run("analyze", "-i", f"{MODELS}:with_args", "--json").stdout)
    assert facts["model"]["name"] == "Net"
    api.unsupported = [{"op": "aten.foo", "module_path": "fc", "origin": "net.py:3"}]
    result = run("analyze", "-i", f"{MODELS}:with_args")
    assert result.exit_code == 2
    assert "1 op cannot be converted" in result.stdout
    assert "net.py:3" in result.stdout


def test_quantize_wants_a_package_and_a_target(api: Api, tmp_path: Path) -> None:
    assert run("quantize", "-i", tmp_path, "--quantize", "4").exit_code == 2
    result = run("quantize", "-i", tmp_path, "--quantize", "4", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_coverage_lists_real_ops() -> None:
    facts = json.loads(run("coverage", "--json").stdout)
    names = [name for family in facts["families"].values() for name in family]
    assert any(name.startswith("aten.add") for name in names)
    assert facts["core"]["lowered"] + len(facts["core"]["missing"]) == facts["core"]["total"]
    assert "# Coverage" in run("coverage", "--markdown").stdout
    assert "core ATen" in run("coverage").stdout


def test_help_and_version() -> None:
    assert run().exit_code in (0, 2)
    assert "pytorch_to_mlx" in run("--version").stdout
    for command in ("convert", "validate", "benchmark", "analyze", "quantize", "coverage"):
        assert run(command, "--help").exit_code == 0


def test_run_as_a_module() -> None:
    arguments = [sys.executable, "-m", "pytorch_to_mlx", "convert", "-i", "none.pt2", "-o", "none"]
    env = {**os.environ, "PYTHONPATH": str(MODELS.parents[2] / "src")}
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: no such file: none.pt2")
    assert "Traceback" not in done.stderr


def test_the_closing_table_says_what_a_reader_must_know() -> None:
    """Half precision beside its own limit, what was left out, the notes."""
    from rich.console import Console

    from pytorch_to_mlx.cli.show import max_error, summary

    def case(dtype: str, error: float) -> dict[str, Any]:
        outputs = [{"name": "y", "max_abs": error, "scale": 1.0, "ok": True}]
        return {"name": f"{dtype}: given", "dtype": dtype, "outputs": outputs}

    validation = {
        "tolerance": 1e-4,
        "cases": [case("float32", 2e-7), case("bfloat16", 0.01)],
        "low_precision": {
            "dtype": "bfloat16",
            "outputs": [{"name": "y", "error": 0.01, "allowed": 0.024, "torch_error": 0.008}],
        },
        "perturbation": {"checked": 9, "failed": [], "inert": ["a"], "left_out": ["b", "c"]},
        "budget": {"seconds": 300.0, "planned": 16, "left_out": ["edge: zeros"]},
        "notes": ["the original refuses B=1"],
    }
    assert max_error(validation).startswith("2.00e-07 at scale 1")
    console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    summary(console, "", validation=validation, passed=True, benchmark=TIMINGS)
    text = console.export_text()
    assert "off by 1.00e-02 of float32, allowed 2.40e-02 (torch's own: 8.00e-03)" in text
    assert "1 of 16 comparisons left out: 300 s budget (edge: zeros)" in text
    assert "2 of 11 weights to be changed left out" in text
    assert "9 of 9 changed weights followed, 1 of them moves no output" in text
    assert "the original refuses B=1" in text
    assert "The machine was busy." in text
