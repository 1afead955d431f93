"""Writes every file of a package into a folder."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import mlx.core as mx

from pytorch_to_mlx.codegen.source import ModelCode
from pytorch_to_mlx.codegen.weights_script import weights_script
from pytorch_to_mlx.errors import WeightError
from pytorch_to_mlx.files import json_text, write_text
from pytorch_to_mlx.graph.dtypes import mlx_dtype
from pytorch_to_mlx.package import arrays, op_tests, selftest
from pytorch_to_mlx.progress import Progress
from pytorch_to_mlx.weights import safetensors

if TYPE_CHECKING:
    from pytorch_to_mlx.capture.program import Captured

# Largest error of the golden outputs as a fraction of their scale. Half precision is judged against
# a
# deep model's own rounding, which is about a percent of the scale.
TOLERANCES = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 6e-2}
GOLDEN = "golden.safetensors"


@dataclass
class Job:
    """What a package is made of."""

    captured: Captured
    code: ModelCode
    config: dict[str, Any]
    kept: set[str] = field(default_factory=set)


def write_package(folder: Path, job: Job, progress: Progress) -> None:
    """All files but the report and README (which grow with validation).

    Raises:
        WeightError: a weight cannot be stored.
    """
    write_text(folder / "model.py", job.code.text)
    with progress.stage("golden outputs"):
        golden = golden_arrays(job)
        safetensors.write_arrays(folder / GOLDEN, golden)
    script = weights_script(
        job.code.weights,
        aliases=job.captured.aliases,
        kept=job.kept,
        frontend=job.captured.frontend,
    )
    write_text(folder / "convert_weights.py", script)
    write_weights(folder, job, progress)
    write_text(folder / "test_model.py", selftest.test_source(quantized=False))
    op_tests.write_op_tests(folder, job.code.text, job.captured.op_calls, job.captured.provided)
    finish_config(folder, job)


def finish_config(folder: Path, job: Job) -> None:
    files = sorted(p.name for p in folder.glob("model*.safetensors"))
    digests = {name: file_digest(folder / name) for name in files}
    tolerance = TOLERANCES.get(job.config["precision"], TOLERANCES["float32"])
    job.config["golden"] = {
        **job.config.get("golden", {}),
        "tolerance": tolerance,
        "sha256": digests,
    }
    if job.captured.provided:
        job.config["custom_ops"] = job.captured.provided
    if job.captured.folded:
        job.config["folded"] = job.captured.folded
    write_json(folder / "config.json", job.config)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    write_text(path, json_text(data))


def file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


# -- golden outputs
# ------------------------------------------------------------------------------------


def golden_arrays(job: Job) -> dict[str, mx.array]:
    """Example inputs and what the source makes of them (two calls in a row for a model with
    state).
    """
    calls = 2 if job.config["states"] else 1
    names = [i["name"] for i in job.config["inputs"]]
    inputs = job.captured.example_inputs
    known = job.captured.example_outputs
    if known is not None and calls == 1:
        results = [known]
    else:
        results = job.captured.reference().sequence([{}] * calls)
    out: dict[str, mx.array] = {}
    for call, outputs in enumerate(results):
        for name in names:
            out[f"call{call}.input.{name}"] = stored(inputs[name])
        by_name = {o.name: o for o in outputs}
        for spec in job.config["outputs"]:
            reference = by_name[job.captured.output_names[spec["index"]]]
            array = arrays.to_mlx(reference.array)
            # safetensors of MLX hold no float64: such outputs are recorded in float32
            dtype = "float32" if spec["dtype"] == "float64" else spec["dtype"]
            out[f"call{call}.output.{spec['name']}"] = array.astype(mlx_dtype(dtype))
    job.config["golden"] = {"calls": calls}
    return out


def stored(value: Any) -> mx.array:
    """An example input as it is saved; numbers as arrays without dims."""
    return arrays.to_mlx(value)


# -- weights
# -------------------------------------------------------------------------------------------


class SourceTensors(Mapping[str, mx.array]):
    """The source's tensors as MLX arrays, converted one at a time when asked for."""

    def __init__(self, captured: Captured) -> None:
        self._tensors = captured.tensors
        self._canonical = captured.canonical

    def __getitem__(self, name: str) -> mx.array:
        return arrays.to_mlx(self._tensors[self._canonical(name)])

    def find(self, name: str) -> mx.array | None:
        """The tensor, or None where the source has none of this name."""
        return self[name] if self._canonical(name) in self._tensors else None

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def write_weights(folder: Path, job: Job, progress: Progress) -> None:
    """Runs the package's own ``convert_weights.py`` over the source's tensors, streaming to
    disk.
    """
    script = import_script(folder / "convert_weights.py")
    entries = [
        safetensors.Entry(name, str(p.value.dtype), tuple(int(d) for d in p.value.dims))
        for name, p in job.code.weights.items()
    ]
    with progress.stage("weights", len(entries)) as stage:

        def tensors() -> Iterator[tuple[str, mx.array]]:
            with mx.stream(mx.cpu):
                for name, array in script.convert(SourceTensors(job.captured)):
                    stage.advance()
                    yield name, array

        safetensors.write(folder, entries, tensors())


def import_script(path: Path) -> ModuleType:
    """A generated script as a module (nothing of it runs but definitions)."""
    spec = importlib.util.spec_from_file_location("p2m_convert_weights", path)
    if spec is None or spec.loader is None:
        raise WeightError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
