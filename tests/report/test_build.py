"""report.json: its schema, its refusals, and values that JSON cannot hold."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import pytorch_to_mlx.report
from pytorch_to_mlx.report import ReportError, write_report
from pytorch_to_mlx.report.build import plain
from tests.report.fixture import failed_report, full_report

SCHEMA = json.loads((Path(pytorch_to_mlx.report.__file__).parent / "schema.json").read_text())


def written(report: dict[str, Any], folder: Path) -> Any:
    write_report(report, folder)
    return json.loads((folder / "report.json").read_text())


def problems(data: Any) -> list[str]:
    return [e.message for e in jsonschema.Draft202012Validator(SCHEMA).iter_errors(data)]


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("report", [full_report(), failed_report(), {}])
def test_reports_follow_the_schema(report: dict[str, Any], tmp_path: Path) -> None:
    assert problems(written(report, tmp_path)) == []


@pytest.mark.parametrize("section", [k for k in full_report() if k != "plots"])
def test_any_section_may_be_absent(section: str, tmp_path: Path) -> None:
    report = full_report()
    del report[section]
    assert problems(written(report, tmp_path)) == []
    assert section not in json.loads((tmp_path / "report.json").read_text())


@pytest.mark.parametrize("section", [k for k in full_report() if k != "plots"])
def test_any_section_may_stand_alone(section: str, tmp_path: Path) -> None:
    assert problems(written({section: full_report()[section]}, tmp_path)) == []


def test_the_schema_refuses_what_is_wrong(tmp_path: Path) -> None:
    good = written(full_report(), tmp_path)
    for section, value in [
        ("model", {"source_kind": "x"}),
        ("inputs", [{"name": "x", "dtype": "float32", "dims": [-1]}]),
        ("validation", {"verdict": "fine", "cases": []}),
        ("timings", {"capture": "long"}),
        ("unknown", 1),
    ]:
        assert problems({**good, section: value}), section


def test_a_real_benchmark_follows_the_schema(tmp_path: Path) -> None:
    from pytorch_to_mlx.benchmark import run_benchmark

    section = run_benchmark(
        lambda: abs, lambda: abs, (np.ones(3, np.float32),), min_time_s=0.0, flops=3.0
    )
    assert problems(written({"benchmark": section}, tmp_path)) == []
    assert "mlx eager" in (tmp_path / "report.html").read_text()


def test_the_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_report(full_report(), tmp_path / name)
    for file in ("report.json", "report.html"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_plots_stay_out_of_the_json(tmp_path: Path) -> None:
    assert "plots" not in written(full_report(), tmp_path)


def test_proven_needs_comparisons_that_passed(tmp_path: Path) -> None:
    report = full_report()
    report["validation"]["cases"][2]["outputs"][1]["ok"] = False
    with pytest.raises(ReportError, match="'pooled' of case 'B=1' is not ok"):
        write_report(report, tmp_path)
    report = full_report()
    report["validation"]["cases"][0]["outputs"][0]["max_abs"] = math.nan
    with pytest.raises(ReportError, match="no finite error"):
        write_report(report, tmp_path)
    report = full_report()
    report["validation"]["cases"].append({"name": "empty", "outputs": []})
    with pytest.raises(ReportError, match="compares no output"):
        write_report(report, tmp_path)
    report["validation"] = {"verdict": "proven", "cases": []}
    with pytest.raises(ReportError, match="compares no output"):
        write_report(report, tmp_path)
    report = full_report()
    report["validation"]["perturbation"]["failed"] = 1
    with pytest.raises(ReportError, match="perturbed"):
        write_report(report, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_values_that_json_cannot_hold() -> None:
    given = {"a": np.float32(0.5), 1: (math.nan, math.inf, -math.inf), "c": np.int64(3), "d": True}
    assert plain(given) == {"a": 0.5, "1": ["nan", "inf", "-inf"], "c": 3, "d": True}
    assert plain(np.bool_(True)) is True
    assert plain(np.float64("nan")) == "nan"
    with pytest.raises(TypeError, match="cannot hold ndarray"):
        plain(np.ones(3))
