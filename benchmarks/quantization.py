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
its proof. MB are those of the weight files; ms are medians of one call on {machine},
one thread of a machine so busy that the same unquantized package took the times of its row: they
compare nothing finer than that. On a CPU the size is what one gains."""
RECIPES = ("8", "mixed", "4", "mxfp4")
AUTO_BITS = 6.0


def llama() -> tuple[Any, tuple[Any, ...]]:
    """A decoder of 6 million parameters."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=384,
        intermediate_size=1152,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        vocab_size=2048,
        use_cache=False,
    )
    return LlamaForCausalLM(config).eval(), (torch.randint(0, 2048, (1, 8)),)


def vit() -> tuple[Any, tuple[Any, ...]]:
    """An image encoder of DeiT-S's width, two of its layers."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=384,
        intermediate_size=1536,
        num_hidden_layers=2,
        num_attention_heads=6,
        image_size=64,
        patch_size=16,
        num_labels=1000,
    )
    return ViTForImageClassification(config).eval(), (torch.randn(1, 3, 64, 64),)


MODELS = {"Llama, 2 layers of 384": llama, "ViT, 2 layers of 384": vit}


def measure() -> dict[str, Any]:
    """Every recipe on both models; a package that is not proven ends the run."""
    import mlx.core as mx

    import pytorch_to_mlx as p2m

    rows: list[dict[str, Any]] = []
    for name, make in MODELS.items():
        module, args = make()
        plain = p2m.convert(module, args)
        torch_ms = _torch_ms(module, args)
        for how in (*RECIPES, "auto"):
            options = {"bits_per_weight": AUTO_BITS} if how == "auto" else {}
            made = p2m.quantize(plain, how, **options)
            proof = p2m.validate(made, budget=0, quick=True)
            if not proof.passed:
                raise SystemExit(f"{name}, {how}: {proof.summary()}")
            assert proof.quantization is not None
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
    machine = f"{platform.machine()}, {mx.default_device()}, mlx {mx.__version__}"
    return {"machine": machine, "rows": rows}


def _torch_ms(module: Any, args: tuple[Any, ...]) -> float:
    import statistics
    import time

    import torch

    taken = []
    with torch.no_grad():
        for _ in range(6):
            started = time.perf_counter()
            module(*args)
            taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:]) * 1e3


def table(found: dict[str, Any]) -> str:
    """The measured section of docs/quantization.md."""
    lines = [START, TEXT.format(machine=found["machine"])]
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
