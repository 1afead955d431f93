"""A realistic report: a small Whisper-like encoder, with every section filled."""

from __future__ import annotations

from typing import Any

import numpy as np

LAYERS = 6


def _module(path: str, cls: str, parameters: int, *children: dict[str, Any]) -> dict[str, Any]:
    node = {"path": path, "class": cls, "parameters": parameters}
    return {**node, "children": list(children)} if children else node


def _tree() -> dict[str, Any]:
    layers = []
    for i in range(LAYERS):
        p = f"encoder.layers.{i}"
        heads = [
            _module(f"{p}.self_attn.{n}_proj", "Linear", 262_656) for n in ("q", "k", "v", "out")
        ]
        layers.append(
            _module(
                p,
                "EncoderLayer",
                3_152_384,
                _module(f"{p}.self_attn", "Attention", 1_050_624, *heads),
                _module(f"{p}.self_attn_layer_norm", "LayerNorm", 1_024),
                _module(f"{p}.fc1", "Linear", 1_050_624),
                _module(f"{p}.fc2", "Linear", 1_049_088),
                _module(f"{p}.final_layer_norm", "LayerNorm", 1_024),
            )
        )
    front = [
        _module("encoder.conv1", "Conv1d", 123_392),
        _module("encoder.conv2", "Conv1d", 786_944),
    ]
    stack = _module("encoder.layers", "ModuleList", 3_152_384 * LAYERS, *layers)
    norm = _module("encoder.layer_norm", "LayerNorm", 1_024)
    total = 123_392 + 786_944 + 3_152_384 * LAYERS + 1_024
    return _module(
        "", "SpeechModel", total, _module("encoder", "Encoder", total, *front, stack, norm)
    )


def _output(name: str, shape: list[int], worst: float) -> dict[str, Any]:
    return {
        "name": name, "shape": shape, "dtype": "float32", "max_abs": worst * 4.1,
        "max_rel": worst * 60, "mean_abs": worst * 0.4, "cosine": 1 - worst * 1e-3,
        "snr_db": -20 * float(np.log10(worst)), "scale": 4.1, "ok": True, "reason": None,
    }  # fmt: skip


def _validation() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    sizes = [("given inputs", 2, 300), ("fresh inputs", 2, 300), ("B=1", 1, 300), ("B=5", 5, 300),
             ("T=1", 2, 2), ("T=437", 2, 437), ("edge values", 2, 300)]  # fmt: skip
    cases = [
        {
            "name": name,
            "sizes": {"B": b, "T": t},
            "dtype": "float32",
            "outputs": [
                _output("last_hidden_state", [b, t // 2, 512], 10 ** rng.uniform(-6.9, -6.2)),
                _output("pooled", [b, 512], 10 ** rng.uniform(-7.1, -6.5)),
            ],
        }
        for name, b, t in sizes
    ]
    paths = ["encoder.conv1", "encoder.conv2"]
    for i in range(LAYERS):
        paths += [f"encoder.layers.{i}.{n}" for n in ("self_attn_layer_norm", "self_attn", "fc1",
                                                      "fc2")]  # fmt: skip
    paths += ["encoder.layer_norm"]
    layers = [
        {
            "path": path,
            "class": "Attention" if path.endswith("attn") else "Linear",
            "max_abs": 1e-6,
            "relative": float(8e-8 * (1 + 0.35 * i) * rng.uniform(0.6, 1.6)),
        }
        for i, path in enumerate(paths)
    ]
    return {
        "verdict": "proven", "tolerance": 1e-4, "cases": cases, "layers": layers,
        "perturbation": {"checked": 48, "failed": [], "inert": ["encoder.embed_positions.unused"]},
        "low_precision": {
            "dtype": "bfloat16", "factor": 2.0, "failed": [], "reasons": [],
            "outputs": [{"name": "pooled", "error": 0.0061, "torch_error": 0.0058,
                         "allowed": 0.0161, "rms": 0.0008, "torch_rms": 0.0009, "scale": 4.1,
                         "failed": False, "reason": None}],
        },
        "budget": {"seconds": 300.0, "planned": 9,
                   "left_out": ["edge: zeros", "edge: tiny values"]},
        "notes": ["the original refuses T=1, so it is not compared: RuntimeError: too short"],
    }  # fmt: skip


def _benchmark() -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    medians = {1: (41.2, 35.6, 30.1, 26.4), 8: (301.0, 262.0, 244.0, 221.0)}
    names = ("torch eager", "torch compile", "mlx eager", "mlx compiled")
    for batch, times in medians.items():
        for name, ms in zip(names, times, strict=True):
            rows.append(
                {
                    "name": name, "sizes": {"input_features": [batch, 80, 300]}, "batch": batch,
                    "median_ms": ms, "p95_ms": ms * 1.13, "runs": 24,
                    "throughput_per_s": batch * 1e3 / ms, "peak_memory_bytes": 96_000_000 * batch,
                    "load_ms": 210.0 if name.startswith("torch") else 88.0,
                }
            )  # fmt: skip
    ratios = [
        {"name": a["name"], "against": b["name"], "sizes": a["sizes"],
         "speedup": b["median_ms"] / a["median_ms"]}
        for a in rows for b in rows
        if a["name"][0] == "m" and b["name"][0] == "t" and a["sizes"] == b["sizes"]
    ]  # fmt: skip
    return {
        "device": {"mlx": "cpu", "torch": "cpu", "name": "AMD EPYC 9R14", "system": "Linux x86_64",
                   "cpu": "AMD EPYC 9R14", "tf32": False},
        "versions": {"python": "3.11.7", "mlx": "0.32.4", "torch": "2.13.0"},
        "blas": "OpenBLAS 0.3.21", "threads": {"cpus": 16, "torch": 16, "blas": 16},
        "dtype": "float32", "rows": rows, "ratios": ratios, "other_load_cpus": 0.1,
        "notes": ["The machine was busy: other processes used 3.1 of 16 CPUs meanwhile."],
    }  # fmt: skip


def _plots() -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    t = np.linspace(0, 40, 20_000)
    wave = np.sin(t) * np.exp(-t / 30) + 0.1 * np.sin(9 * t)
    noise = rng.normal(0, 2e-7, t.shape)
    yy, xx = np.mgrid[0:150, 0:512]
    picture = np.sin(xx / 23) * np.cos(yy / 11) + 0.2 * rng.normal(size=xx.shape)
    points = rng.normal(size=4000)
    return [
        {"title": "pooled[0]", "kind": "line", "series": {"source": wave, "mlx": wave + noise},
         "x_label": "element", "note": "given inputs, B=2, T=300"},
        {"title": "last_hidden_state[0]", "kind": "image",
         "series": {"source": picture, "mlx": picture + rng.normal(0, 3e-7, picture.shape)}},
        {"title": "last_hidden_state, element by element", "kind": "scatter",
         "series": {"source": points, "mlx": points + rng.normal(0, 1e-6, 4000)}},
        {"title": "All differences", "kind": "hist",
         "series": {"source": points, "mlx": points + rng.normal(0, 1e-6, 4000)}},
    ]  # fmt: skip


def full_report() -> dict[str, Any]:
    """A report with every section, proven, and four plots."""
    return {
        "model": {"name": "SpeechModel", "source_kind": "torch.export .pt2",
                  "source_hash": "sha256:4b1f0c9e62d7a85310ffb2c7", "tree": _tree()},
        "inputs": [{"name": "input_features", "dtype": "float32", "dims": ["B", 80, "T"]},
                   {"name": "lengths", "dtype": "int32", "dims": ["B"]}],
        "outputs": [{"name": "last_hidden_state", "dtype": "float32", "dims": ["B", "T//2", 512]},
                    {"name": "pooled", "dtype": "float32", "dims": ["B", 512]}],
        "dims": {
            "B": {"where": ["input_features.shape[0]", "lengths.shape[0]"], "min": 1, "max": None,
                  "static_reason": None},
            "T": {"where": "input_features.shape[2]", "min": 2, "max": 3000,
                  "static_reason": None},
            "C": {"where": "input_features.shape[1]", "min": 80, "max": 80,
                  "static_reason": "encoder.conv1 has 80 input channels"},
        },
        "ops": [
            {"op": "aten.linear.default", "count": 36, "call": "nn.Linear",
             "origin": "speech/model.py:41"},
            {"op": "aten.scaled_dot_product_attention.default", "count": 6,
             "call": "mx.fast.scaled_dot_product_attention", "origin": "speech/model.py:58"},
            {"op": "aten.layer_norm.default", "count": 13, "call": "nn.LayerNorm",
             "origin": "speech/model.py:37"},
            {"op": "aten.convolution.default", "count": 2, "call": "nn.Conv1d",
             "origin": "speech/model.py:92"},
            {"op": "aten.gelu.default", "count": 8, "call": "nn.gelu",
             "origin": "speech/model.py:93"},
            {"op": "aten.clone.default", "count": 6, "call": None, "origin": "speech/model.py:60"},
        ],
        "passes": [
            {"name": "attention to mx.fast.scaled_dot_product_attention", "applied": 6,
             "refusals": []},
            {"name": "channels last", "applied": 2, "refusals": []},
            {"name": "layer norm", "applied": 13,
             "refusals": [{"where": "encoder.head",
                           "reason": "the variance is read elsewhere, too"}]},
            {"name": "rope", "applied": 0, "refusals": []},
        ],
        "weights": {"count": 99, "bytes": 79_301_000, "dtype": "float32",
                    "renames": {"encoder.keys.weight": "encoder.keys_.weight"},
                    "tied": [["encoder.embed.weight", "head.weight"]]},
        "warnings": ["mel_filters is float64, which MLX cannot store: it became float32."],
        "validation": _validation(),
        "benchmark": _benchmark(),
        "reproduce": [("pytorch_to_mlx convert --input speech.pt2 --output speech_mlx/ "
                      "--validate --benchmark"), "pytest speech_mlx/"],
        "versions": {"pytorch_to_mlx": "0.1.0", "torch": "2.13.0", "mlx": "0.32.4"},
        "timings": {"capture": 4.21, "lower": 0.64, "passes": 0.32, "codegen": 0.41,
                    "validate": 12.9, "benchmark": 21.7},
        "plots": _plots(),
    }  # fmt: skip


def failed_report() -> dict[str, Any]:
    """The same, but a layer went wrong and validation found where."""
    report = full_report()
    validation = report["validation"]
    validation["verdict"] = "failed"
    for case in validation["cases"][:4]:
        output = case["outputs"][0]
        output |= {"ok": False, "max_abs": 0.83, "snr_db": 14.2, "cosine": 0.981,
                   "reason": "max error 0.2 of scale, 1e-4 is allowed"}  # fmt: skip
    broken = validation["cases"][4]["outputs"][1]
    broken |= {"ok": False, "max_abs": float("nan"), "reason": "NaN at 12 positions"}
    for i, layer in enumerate(validation["layers"][12:]):
        layer["relative"] = 0.02 * 1.2**i
    validation["layers"][-1]["relative"] = float("nan")
    validation["perturbation"]["failed"] = ["encoder.layers.2.fc1.weight"]
    validation["bisect"] = {
        "module": "encoder.layers.2.fc1", "op": "aten.gelu.default",
        "origin": "speech/model.py:93", "reason": "relative error 0.02 with exact inputs",
        "repro": "speech_mlx/repro_gelu.py",
    }  # fmt: skip
    return report
