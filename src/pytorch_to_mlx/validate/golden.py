"""A package alone, without its original: compared with the outputs that were recorded at
conversion.
"""

from __future__ import annotations

from typing import Any

from pytorch_to_mlx.package.run import Package
from pytorch_to_mlx.validate.compare import Array, compare
from pytorch_to_mlx.validate.inputs import to_numpy
from pytorch_to_mlx.validate.result import Case, ValidationReport
from pytorch_to_mlx.validate.subject import PackageFailed, Subject, mlx_array, read_golden

NOTE = (
    "compared with the recorded outputs only: pass the source for fresh inputs, other sizes, "
    "edge values and weights"
)


def compare_with_golden(package: Package, tolerance: float | None) -> ValidationReport:
    """The recorded calls, at the tolerance that the package's own test has unless one is given.

    Raises:
        InputError: the package has no recorded outputs.
    """
    recorded = read_golden(package)
    config: dict[str, Any] = package.config
    allowed = config["golden"]["tolerance"] if tolerance is None else tolerance
    report = ValidationReport(allowed, notes=[NOTE])
    calls = []
    for k in range(config["golden"]["calls"]):
        values = {i["name"]: recorded[f"call{k}.input.{i['name']}"] for i in config["inputs"]}
        numbers = [i["name"] for i in config["inputs"] if i.get("kind", "array") != "array"]
        calls.append({n: v.item() if n in numbers else to_numpy(v) for n, v in values.items()})
    case = Case("recorded outputs", dtype=config["dtype"], calls=calls)
    report.cases.append(case)
    subject = Subject(package, None, calls[0])
    try:
        results = subject.run_package(calls)
    except PackageFailed as error:
        report.notes.append(f"the package failed: {error}")
        return report
    if "quantization" in config:
        from pytorch_to_mlx.validate.quantized import judge_recorded

        judge_recorded(report, case, package, results, allowed)
        return report
    for k, got in enumerate(results):
        for spec in config["outputs"]:
            name = spec["name"]
            want = mlx_array(recorded[f"call{k}.output.{name}"])
            if spec.get("dtype") == "float64":  # recorded in float32
                want = Array(want.values, "float64")
            case.outputs.append(compare(f"{name} (call {k + 1})", want, got.get(name), allowed))
    return report
