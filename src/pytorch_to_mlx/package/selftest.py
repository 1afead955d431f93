"""The texts of ``test_model.py`` and of the package's ``README.md``."""

from __future__ import annotations

from typing import Any

from pytorch_to_mlx.codegen.names import argument
from pytorch_to_mlx.files import code_span
from pytorch_to_mlx.files import markdown as plain

TEST = '''"""Self-test: this package reproduces the outputs of the model it was converted from.

    pytest .

in this folder; needs only mlx and pytest.
"""

import os

os.environ.setdefault("MLX_ENABLE_TF32", "0")  # full float32 products on NVIDIA GPUs

import hashlib
import importlib.util
import inspect
import json
from pathlib import Path

import mlx.core as mx
import pytest

HERE = Path(__file__).parent
CONFIG = json.loads((HERE / "config.json").read_text(encoding="utf-8"))
GOLDEN = mx.load(str(HERE / "golden.safetensors"))
# Largest difference allowed, as a fraction of the output's scale.
TOLERANCE = CONFIG["golden"]["tolerance"]


def load_model():
    spec = importlib.util.spec_from_file_location("converted_model", HERE / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load(HERE)


def build(tree, leaves):
    """A nest of inputs from its description in config.json."""
    kind = tree["kind"]
    if kind == "leaf":
        return leaves[tree["index"]]
    if kind in ("const", "none"):
        return tree.get("value")
    items = [build(child, leaves) for child in tree["children"]]
    if kind == "dict":
        return dict(zip(tree["keys"], items))
    return tuple(items) if kind == "tuple" else items


def has_leaf(tree):
    return tree["kind"] == "leaf" or any(has_leaf(child) for child in tree.get("children", []))


def flatten(value, tree, out):
    if tree["kind"] == "leaf":
        out[tree["index"]] = value
    for i, child in enumerate(tree.get("children", [])):
        flatten(value[tree["keys"][i]] if tree["kind"] == "dict" else value[i], child, out)
    return out


def typed(array, spec):
    """A recorded input in the model's dtype: float64 is recorded as float32."""
    if spec["dtype"] != "float64":
        return array
    with mx.stream(mx.cpu):
        return array.astype(mx.float64)


def recorded(array):
    if array.dtype != mx.float64:
        return array
    with mx.stream(mx.cpu):
        return array.astype(mx.float32)


def run(model, call):
    leaves = {{}}
    for spec in CONFIG["inputs"]:
        key = f"call{{call}}.input.{{spec['name']}}"
        leaves[spec["index"]] = typed(GOLDEN[key], spec) if "dtype" in spec else GOLDEN[key].item()
    tree = CONFIG["input_tree"]
    nests = [build(child, leaves) for child in tree["children"] if has_leaf(child)]
    args, named = [], {{}}
    parameters = inspect.signature(model.__call__).parameters.values()
    for parameter, nest in zip(parameters, nests):
        if parameter.kind is parameter.VAR_POSITIONAL:
            args.extend(nest)
        elif parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = nest
        else:
            args.append(nest)
    return flatten(model(*args, **named), CONFIG["output_tree"], {{}})


def test_weights_are_those_that_were_proven():
    for name, digest in CONFIG["golden"]["sha256"].items():
        found = hashlib.sha256((HERE / name).read_bytes()).hexdigest()
        assert found == digest, f"{{name}} has changed"


@pytest.mark.parametrize("random", [CONFIG["golden"].get("random", False)])
def test_outputs_equal_the_source(random):
    model = load_model()
    for call in range(CONFIG["golden"]["calls"]):
        got = run(model, call)
        assert CONFIG["outputs"], "the package has no outputs"
        for spec in CONFIG["outputs"]:
            want = GOLDEN[f"call{{call}}.output.{{spec['name']}}"]
            compare(spec["name"], recorded(got[spec["index"]]), want, random)


def compare(name, got, want, random):
    assert tuple(got.shape) == tuple(want.shape), f"{{name}}: {{got.shape}}, not {{want.shape}}"
    assert got.dtype == want.dtype, f"{{name}}: {{got.dtype}}, not {{want.dtype}}"
    if random or want.size == 0:
        return
    if not mx.issubdtype(want.dtype, mx.inexact):
        assert mx.array_equal(got, want).item(), f"{{name}}: values differ"
        return
    if want.dtype == mx.complex64:
        got, want = mx.stack([got.real, got.imag]), mx.stack([want.real, want.imag])
    got, want = got.astype(mx.float32), want.astype(mx.float32)
    for kind in (mx.isnan, mx.isposinf, mx.isneginf):
        assert mx.array_equal(kind(got), kind(want)).item(), f"{{name}}: non-finite values differ"
    finite = mx.isfinite(want)
    scale = mx.max(mx.where(finite, mx.abs(want), 0)).item()
    error = mx.max(mx.where(finite, mx.abs(got - want), 0)).item()
    limit = TOLERANCE * max(scale, 1e-6)
    assert error <= limit, f"{{name}}: off by {{error:.3g}} at scale {{scale:.3g}}"
'''


QUANTIZED_TEST = '''

def test_quantization_keeps_its_limit():
    """The error against the source's outputs, as a fraction of their norm."""
    model, limit = load_model(), CONFIG["quantization"]["limit"]
    for call in range(CONFIG["golden"]["calls"]):
        got = run(model, call)
        for spec in CONFIG["outputs"]:
            want = GOLDEN[f"call{{call}}.output.{{spec['name']}}"]
            if CONFIG["golden"].get("random", False) or not mx.issubdtype(want.dtype, mx.inexact):
                continue
            both = mx.isfinite(want) & mx.isfinite(got[spec["index"]])
            want, found = (mx.where(both, a, 0) for a in (want, got[spec["index"]]))
            want, found = want.astype(mx.complex64), found.astype(mx.complex64)
            error = mx.sqrt(mx.sum(mx.square(mx.abs(want - found)))).item()
            norm = mx.sqrt(mx.sum(mx.square(mx.abs(want)))).item()
            assert error <= limit * norm, f"{{spec['name']}}: off by {{error / norm:.3g}}"
'''


def test_source(*, quantized: bool) -> str:
    """``test_model.py`` of a package folder.

    A quantized package reproduces its own recorded outputs, and the source's within its limit.
    """
    text = TEST
    if quantized:
        text = TEST.replace("}}.output.{{", "}}.quantized.{{") + QUANTIZED_TEST
        text = text.replace("test_outputs_equal_the_source", "test_outputs_equal_the_recorded_ones")
        text = text.replace(
            "this package reproduces the outputs of the model it was converted from",
            "this quantized package computes what was proven, near to its source",
        )
    return text.replace("{{", "{").replace("}}", "}")


def _shape(spec: dict[str, Any]) -> str:
    """``[B, 20, T]``; nothing for a number."""
    return f"[{', '.join(map(str, spec['shape']))}]" if spec.get("shape") is not None else ""


def readme(config: dict[str, Any], report: dict[str, Any]) -> str:
    """What the package is, how to run it, and what was measured."""
    version = config["versions"]["pytorch_to_mlx"]
    tree = config["input_tree"]
    inputs = ", ".join(_arguments(tree))
    rows = "\n".join(
        f"| {code_span(t['name'])} | {t.get('dtype', t.get('kind'))} | {_shape(t)} |"
        for t in config["inputs"]
    )
    outs = "\n".join(
        f"| {code_span(t['name'])} | {t.get('dtype')} | {_shape(t)} |" for t in config["outputs"]
    )
    return f"""# {plain(config["name"])} in MLX

Converted from {plain(config["source"]["description"])} by pytorch_to_mlx {version}:
{config["parameters"]:,} parameters, {config["dtype"]}.

```python
import mlx.core as mx
from model import load

model = load()
output = model({inputs})
```

| input | dtype | shape |
|---|---|---|
{rows}

| output | dtype | shape |
|---|---|---|
{outs}

Names in a shape are sizes that may change from call to call.

- `model.py`: the model; edit it freely. `model*.safetensors`: its weights, by its own names.
- `pytest .` in this folder compares it with the source's recorded outputs
  (`golden.safetensors`).
- `python convert_weights.py checkpoint.safetensors out/` turns another checkpoint of the same
  architecture (a fine-tune) into these weights.
- `report.html`: how it was converted and what proves it.
{_custom_ops(config)}{_quantization(report)}{_parity(report)}{_speed(report)}"""


def _custom_ops(config: dict[str, Any]) -> str:
    """Which functions came from outside, and on how many cases each was proven."""
    lines = [
        f"- {code_span(c['function'])} for {code_span(c['op'])}, from {plain(c['origin'])}: "
        f"equal on {sum(c['proof']['cases'].values())} cases"
        for c in config.get("custom_ops", ())
    ]
    tests = ["", "`test_custom_ops.py` repeats some of these cases."]
    return "\n".join(["", "## Ops that were given", "", *lines, *tests, ""]) if lines else ""


def _quantization(report: dict[str, Any]) -> str:
    section = report.get("quantization")
    if not section:
        return ""
    sizes, times = section["bytes"], section["median_ms"]
    lines = [
        "| | unquantized | quantized |",
        "|---|---|---|",
        f"| weights, MB | {sizes['unquantized'] / 1e6:.2f} | {sizes['quantized'] / 1e6:.2f} |",
        f"| median ms | {times['unquantized']:.2f} | {times['quantized']:.2f} |",
    ]
    errors = [
        f"- {code_span(o['name'])}: off by {o['original']:.3g} of its norm from the source"
        for o in section["outputs"]
        if "original" in o
    ]
    left = [f"- {code_span(p)}: {plain(reason)}" for p, reason in section["left"].items()]
    parts = [
        f"## Quantized: {plain(section['recipe']['name'])}",
        "\n".join(lines),
        "\n".join(errors),
        f"{len(section['layers'])} layers are quantized (`config.json` says how)."
        + (" As they were:" if left else ""),
        "\n".join(left),
    ]
    return "\n" + "\n\n".join(part for part in parts if part) + "\n"


def _arguments(tree: dict[str, Any]) -> list[str]:
    """What a call of the model names; after ``*args`` come keywords."""
    found: list[str] = []
    for key, child in zip(tree.get("keys", ()), tree["children"], strict=True):
        own = argument(str(key))
        if not any(a.startswith("*") for a in found):
            found.append(f"*{own}" if child.get("spread") else own)
        else:
            found.append(f"{own}={own}")
    return found


def _parity(report: dict[str, Any]) -> str:
    validation = report.get("validation")
    if not validation:
        return "\nParity has not been validated yet: `pytorch_to_mlx validate`.\n"
    lines = [
        f"| {plain(case['name'])} | {plain(o['name'])} | {_number(o.get('max_abs'))} | "
        f"{_number(o.get('scale'))} | {'ok' if o.get('ok') else 'FAILED'} |"
        for case in validation.get("cases", [])
        for o in case["outputs"]
    ]
    table = "\n".join(
        ["| case | output | max abs error | scale | |", "|---|---|---|---|---|", *lines[:40]]
    )
    return f"\n## Parity: {validation['verdict']}\n\n{table}\n"


def _speed(report: dict[str, Any]) -> str:
    benchmark = report.get("benchmark")
    if not benchmark:
        return ""
    lines = [
        f"| {r['name']} | {_sizes(r)} | {r.get('median_ms', 0):.2f} | {r.get('p95_ms', 0):.2f} |"
        for r in benchmark.get("rows", [])
    ]
    head = ["| | sizes | median ms | p95 ms |", "|---|---|---|---|"]
    notes = "".join(f"\n{note}\n" for note in benchmark.get("notes", []))
    return "\n## Speed\n\n" + "\n".join([*head, *lines]) + "\n" + notes


def _sizes(row: dict[str, Any]) -> str:
    sizes = row.get("sizes") or {}
    if isinstance(sizes, dict):
        return ", ".join(f"{k} {v}" for k, v in sizes.items())
    return str(sizes)


def _number(x: Any) -> str:
    return f"{x:.3g}" if isinstance(x, (int, float)) else str(x)
