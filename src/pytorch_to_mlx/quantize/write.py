"""A quantized copy of a package folder: weights, ``load``, configuration, recorded outputs."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx

from pytorch_to_mlx.errors import InputError, SourceError
from pytorch_to_mlx.files import write_text
from pytorch_to_mlx.graph.dtypes import dtype_of
from pytorch_to_mlx.package import selftest
from pytorch_to_mlx.package.run import Package
from pytorch_to_mlx.package.writer import GOLDEN, file_digest, write_json
from pytorch_to_mlx.quantize import inputs
from pytorch_to_mlx.quantize.plan import Plan
from pytorch_to_mlx.quantize.recipe import Setting
from pytorch_to_mlx.quantize.rewrite import with_quantized_layers
from pytorch_to_mlx.weights import safetensors

_NOT_COPIED = ("model*.safetensors*", "report.html", "report.json", "__pycache__", ".pytest_cache")


def write_quantized(package: Package, plan: Plan, folder: Path, limit: float) -> dict[str, float]:
    """Writes everything but report and README into ``folder``, an empty one.

    Returns:
        the relative error (of its norm) of every quantized weight by layer.
    """
    ignore = shutil.ignore_patterns(*_NOT_COPIED)
    shutil.copytree(package.folder, folder, dirs_exist_ok=True, ignore=ignore)
    source = (package.folder / "model.py").read_text(encoding="utf-8")
    write_text(folder / "model.py", with_quantized_layers(source))
    write_text(folder / "test_model.py", selftest.test_source(quantized=True))
    errors = _write_weights(package.folder, folder, plan.settings)
    config = {**package.config, "quantization": config_section(plan, limit)}
    digests = {p.name: file_digest(p) for p in sorted(folder.glob("model*.safetensors"))}
    config["golden"] = {**config["golden"], "sha256": digests}
    write_json(folder / "config.json", config)
    _record_outputs(folder)
    return errors


def config_section(plan: Plan, limit: float) -> dict[str, Any]:
    """``config["quantization"]``: the commonest setting, every layer's own, what was left as it
    was and why, and the largest error against the original that the package's test allows.
    """
    commonest = Counter(plan.settings.values()).most_common(1)[0][0]
    return {
        **commonest.to_dict(),
        "recipe": plan.recipe.name,
        "layers": {path: s.to_dict() for path, s in plan.settings.items()},
        "left": plan.left,
        "limit": limit,
    }


def pack(weight: mx.array, setting: Setting) -> tuple[mx.array, ...]:
    """The packed weight, scales and (in affine mode) biases, on the CPU."""
    with mx.stream(mx.cpu):
        packed = mx.quantize(weight, setting.group_size, setting.bits, mode=setting.mode)
    return tuple(packed)


def unpack(parts: tuple[mx.array, ...], setting: Setting, dtype: mx.Dtype) -> mx.array:
    """What a packed weight stands for."""
    biases = parts[2] if len(parts) > 2 else None
    with mx.stream(mx.cpu):
        weight = mx.dequantize(
            parts[0],
            parts[1],
            biases,
            group_size=setting.group_size,
            bits=setting.bits,
            mode=setting.mode,
        )
        return weight.astype(dtype)


def relative_error(weight: mx.array, near: mx.array) -> float:
    """The norm of the difference as a fraction of the weight's."""
    with mx.stream(mx.cpu):
        a, b = weight.astype(mx.float32), near.astype(mx.float32)
        norm = mx.sqrt(mx.sum(mx.square(a))).item()
        error = mx.sqrt(mx.sum(mx.square(a - b))).item()
    assert isinstance(norm, float)
    assert isinstance(error, float)
    return error / norm if norm else error


def load_weights(folder: Path) -> dict[str, mx.array]:
    """All weights of a package, read when they are needed."""
    weights: dict[str, mx.array] = {}
    for file in sorted(folder.glob("model*.safetensors")):
        loaded = mx.load(str(file))
        assert isinstance(loaded, dict)
        weights.update(loaded)
    return weights


def refuse_quantized(package: Package) -> None:
    if "quantization" in package.config:
        raise InputError(
            f"{package.folder} is quantized already", hint="start from the unquantized package"
        )
    if not (package.folder / "model.py").is_file():
        raise SourceError(f"{package.folder} has no model.py")


def _write_weights(source: Path, folder: Path, settings: Mapping[str, Setting]) -> dict[str, float]:
    """Streams the weights, packing those of the chosen layers one at a time."""
    weights = load_weights(source)
    errors: dict[str, float] = {}

    def tensors() -> Iterator[tuple[str, mx.array]]:
        for name in sorted(weights):
            layer, _, leaf = name.rpartition(".")
            if leaf != "weight" or layer not in settings:
                yield name, weights.pop(name)
                continue
            weight, setting = weights.pop(name), settings[layer]
            parts = pack(weight, setting)
            mx.eval(parts)
            errors[layer] = relative_error(weight, unpack(parts, setting, weight.dtype))
            yield from zip(_part_names(layer), parts, strict=False)

    entries = []
    for name in sorted(weights):
        layer, _, leaf = name.rpartition(".")
        named: Any = [(name, weights[name])]
        if leaf == "weight" and layer in settings:  # lazily: shapes and dtypes only
            named = zip(_part_names(layer), pack(weights[name], settings[layer]), strict=False)
        for n, array in named:
            entries.append(safetensors.Entry(n, str(dtype_of(array)), tuple(array.shape)))
    safetensors.write(folder, entries, tensors())
    return errors


def _part_names(layer: str) -> tuple[str, str, str]:
    return f"{layer}.weight", f"{layer}.scales", f"{layer}.biases"


def _record_outputs(folder: Path) -> None:
    """Adds the quantized model's own outputs to the recorded ones, for the package's test."""
    package = Package(folder)
    recorded = inputs.read_golden(folder)
    for k, found in enumerate(inputs.run(package, inputs.golden_calls(package)[0])):
        recorded.update({f"call{k}.quantized.{name}": v for name, v in found.items()})
    mx.eval(recorded)
    draft = folder / f".{GOLDEN}"
    safetensors.write_arrays(draft, recorded)
    draft.replace(folder / GOLDEN)
