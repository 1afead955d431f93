"""What ``convert`` and ``quantize`` share about quantization: options, and the table they print."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from pytorch_to_mlx.errors import OutputError


def chosen(**options: Any) -> dict[str, Any]:
    """The options that were given, as ``quantize`` of the API takes them."""
    defaults = {"embeddings": True, "head": True}
    return {k: v for k, v in options.items() if v not in (defaults.get(k), [])}


def target(package: Path, output: Path | None, *, overwrite: bool) -> Path:
    """Where to write: ``--output``, else (with ``--overwrite``) the package itself.

    Raises:
        OutputError: neither was given.
    """
    if output is None and not overwrite:
        raise OutputError(
            "where should the quantized package go?",
            hint="pass --output, or --overwrite to replace the package itself",
        )
    return output or package


def show(out: Console, section: Mapping[str, Any]) -> None:
    """Size, speed and errors before and after, and the layers that stayed as they were."""
    sizes, times = section["bytes"], section["median_ms"]
    before, after = (sizes[k] / 1e6 for k in ("unquantized", "quantized"))
    lines = [
        f"Quantized  {section['recipe']['name']}: {len(section['layers'])} layers",
        f"Weights    {before:.2f} MB -> {after:.2f} MB ({before / max(after, 1e-9):.2f}x smaller)",
        f"Median     {times['unquantized']:.2f} ms -> {times['quantized']:.2f} ms",
    ]
    for o in section["outputs"]:
        if "original" in o:
            lines.append(
                f"Error      {o['name']}: {o['original']:.3g} of its norm from the original, "
                f"{o['unquantized']:.3g} from the unquantized package "
                f"({section['limit']:g} allowed)"
            )
        else:
            lines.append(f"Error      {o['name']}: {o['differing']:.2%} of its values differ")
    lines += [f"As it was  {path}: {reason}" for path, reason in section["left"].items()]
    for line in lines:
        out.print(line, highlight=False, markup=False, soft_wrap=True)
