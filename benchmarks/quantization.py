"""Quantized packages of two seeded models: size, error and speed, as JSON and a table.

python -m benchmarks.quantization        # measures, writes both
python -m benchmarks.quantization table  # writes the table anew from the JSON
"""

from __future__ import annotations

import json
import platform
import sys
import warnings
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "quantization.json"
PAGE = HERE.parent / "docs" / "quantization.md"
START = "## Measured\n"
TEXT = """\
`python -m benchmarks.quantization` writes this section. The models have seeded random weights.
Errors are fractions of the output's norm, the largest over the cases of a proof; every row passed
its proof. MB are those of the weight files; ms are medians of one call on {machine}.
{busy}On a CPU, and in calls as small as these, the size is what one gains."""
BUSY = (
    "Other processes kept {cpus:.1f} CPUs busy meanwhile, and the unquantized package took the "
    "times\nof its row: compare nothing finer than that. "
)
RECIPES = ("8", "mixed", "4", "mxfp4")
AUTO_BITS = 6.0
BUSY_CPUS = 0.3


def llama() -> tuple[Any, tuple[Any, ...]]:
    """A decoder of 34 million parameters."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=4,
        vocab_size=8192,
        use_cache=False,
    )
    return LlamaForCausalLM(config).eval(), (torch.randint(0, 8192, (1, 16)),)


def vit() -> tuple[Any, tuple[Any, ...]]:
    """An image encoder of DeiT-S's size, 22 million parameters."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=384,
        intermediate_size=1536,
        num_hidden_layers=12,
        num_attention_heads=6,
        image_size=224,
        patch_size=16,
        num_labels=1000,
    )
    return ViTForImageClassification(config).eval(), (torch.randn(1, 3, 224, 224),)


MODELS = {"Llama, 8 layers of 512": llama, "ViT, 12 layers of 384": vit}


def measure() -> dict[str, Any]:
    """Every recipe on both models; a package that is not proven ends the run."""
    import mlx.core as mx

    import pytorch_to_mlx as p2m
    from pytorch_to_mlx.benchmark.load import OtherLoad

    others = OtherLoad()
    rows: list[dict[str, Any]] = []
    with others:
        for name, make in MODELS.items():
            rows += _rows_of(p2m, name, *make())
    where = "one thread of a CPU"
    if _on_gpu():
        where = str(mx.device_info().get("device_name", "a GPU"))
    machine = f"{where} ({platform.machine()}, mlx {mx.__version__})"
    return {"machine": machine, "other_load_cpus": others.cpus, "rows": rows}


def _rows_of(p2m: Any, name: str, module: Any, args: tuple[Any, ...]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    plain = p2m.convert(module, args)
    torch_ms = _torch_ms(module, args)
    for how in (*RECIPES, "auto"):
        options = {"bits_per_weight": AUTO_BITS} if how == "auto" else {}
        made = p2m.quantize(plain, how, **options)
        proof = p2m.validate(made, budget=0, quick=True)
        if not proof.passed:
            raise SystemExit(f"{name}, {how}: {proof.summary()}")
        section = made.report["quantization"]
        rows.append(
            {
                "model": name,
                "recipe": how,
                "layers": len(section["layers"]),
                "left": len(section["left"]),
                "bytes": section["bytes"],
                "median_ms": {**section["median_ms"], "torch": torch_ms},
                "original": max(r["original"] for r in proof.quantization["outputs"]),
                "unquantized": max(r["unquantized"] for r in proof.quantization["outputs"]),
                "limit": section["limit"],
            }
        )
        print(rows[-1])  # noqa: T201
    return rows


def _torch_ms(module: Any, args: tuple[Any, ...]) -> float:
    """A call on the GPU where MLX computes on it too, else on the CPU."""
    import copy
    import statistics
    import time

    import torch

    on_gpu = torch.cuda.is_available() and _on_gpu()
    device = "cuda" if on_gpu else "cpu"
    module, args = copy.deepcopy(module).to(device), tuple(x.to(device) for x in args)
    taken = []
    with torch.no_grad():
        for _ in range(12):
            started = time.perf_counter()
            module(*args)
            if on_gpu:
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - started)
    return statistics.median(taken[2:]) * 1e3


def _on_gpu() -> bool:
    import mlx.core as mx

    return bool(mx.default_device() == mx.gpu)


def table(found: dict[str, Any]) -> str:
    """The measured section of docs/quantization.md."""
    cpus = found.get("other_load_cpus") or 0.0
    busy = BUSY.format(cpus=cpus) if cpus > BUSY_CPUS else ""
    lines = [START, TEXT.format(machine=found["machine"], busy=busy)]
    for model in dict.fromkeys(r["model"] for r in found["rows"]):
        mine = [r for r in found["rows"] if r["model"] == model]
        first = mine[0]
        before = first["bytes"]["unquantized"] / 1e6
        times = [r["median_ms"]["unquantized"] for r in mine]
        plain_ms = f"{min(times):.0f} to {max(times):.0f}"
        lines += [
            "",
            f"**{model}**",
            "",
            "| | layers | MB | of float32 | error, original | error, unquantized | limit | ms |",
            "|---|---|---|---|---|---|---|---|",
            f"| original (torch) | | | | | | | {first['median_ms']['torch']:.1f} |",
            f"| unquantized | | {before:.1f} | 100 % | | | | {plain_ms} |",
        ]
        lines += [_row(r) for r in mine]
    return "\n".join(lines) + "\n"


def _row(r: dict[str, Any]) -> str:
    size = r["bytes"]
    name = f"auto, {AUTO_BITS:g} bits a weight" if r["recipe"] == "auto" else r["recipe"]
    return (
        f"| {name} | {r['layers']} | {size['quantized'] / 1e6:.1f} | "
        f"{size['quantized'] / size['unquantized']:.0%} | {r['original']:.3g} | "
        f"{r['unquantized']:.3g} | {r['limit']:g} | {r['median_ms']['quantized']:.1f} |"
    )


def main() -> None:
    if sys.argv[1:] != ["table"]:
        warnings.simplefilter("ignore")
        import torch

        torch.set_num_threads(1)
        RESULTS.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8").partition(START)[0].rstrip()
    PAGE.write_text(f"{text}\n\n{table(found)}", encoding="utf-8")


if __name__ == "__main__":
    main()
