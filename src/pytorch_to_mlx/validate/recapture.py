"""The original of a package that was loaded from disk: captured anew, with the package's own
dims.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.errors import InputError
from pytorch_to_mlx.package import trees
from pytorch_to_mlx.package.run import Package
from pytorch_to_mlx.package.writer import import_script
from pytorch_to_mlx.progress import Progress
from pytorch_to_mlx.validate.perturb import emitted_names
from pytorch_to_mlx.validate.subject import read_golden

if TYPE_CHECKING:
    from pytorch_to_mlx.capture.program import Captured
    from pytorch_to_mlx.sources.detect import OpenedSource

LOW = ("float16", "bfloat16")


def recapture(
    package: Package, source: Any, args: Sequence[Any], kwargs: Mapping[str, Any], bars: Progress
) -> Captured:
    """Captures ``source`` at the given inputs, else its own, else those recorded in the package.

    Raises:
        InputError: it is another model than the package's.
        SourceError, CaptureError: as ``convert``.
    """
    from pytorch_to_mlx import api, reporting
    from pytorch_to_mlx.sources.detect import open_source

    arguments = (tuple(args), dict(kwargs))
    opened = open_source(source)
    if opened.kind == "onnx":
        given = named_values(package) if not (args or kwargs) else kwargs
        captured = capture_onnx(opened.onnx, args, given, package)
        check_same(package, captured)
        return captured
    if not args and not kwargs and opened.exported_program is None and not opened.args:
        arguments = recorded_arguments(package) if not opened.kwargs else arguments
    wanted = package.config["dtype"]
    dtype = wanted if wanted in LOW or (wanted == "float32" and _is_low(opened)) else None
    symbols = package.config["dims"].get("symbols")
    _, captured = api._capture(
        source,
        *arguments,
        "auto" if symbols else None,
        dtype=dtype,
        trust_code=False,
        model=None,
        method=None,
        bars=bars,
        timings=reporting.Timings(),
    )
    check_same(package, captured)
    return captured


def capture_onnx(
    model: Any, args: Sequence[Any], kwargs: Mapping[str, Any], package: Package
) -> Captured:
    """An ONNX model at the given inputs, with the names of outputs that lowering finds."""
    from pytorch_to_mlx.capture.onnx.source import capture_model
    from pytorch_to_mlx.lower.onnx._program import lower_model

    static = not package.config["dims"].get("symbols")
    wanted = package.config["dtype"]
    dtype = wanted if wanted in (*LOW, "float32") else None
    fold = (package.config.get("folded") or {}).get("limit")
    captured = capture_model(model, args, kwargs, static=static, dtype=dtype, fold=fold)
    lower_model(captured)
    return captured


def named_values(package: Package) -> dict[str, Any]:
    """The recorded inputs by argument."""
    golden = read_golden(package)
    leaves = {s["index"]: golden[f"call0.input.{s['name']}"] for s in package.config["inputs"]}
    return dict(trees.rebuild(package.in_tree, leaves.__getitem__))


def _is_low(opened: OpenedSource) -> bool:
    """Whether most of a source's numbers are in half precision."""
    from pytorch_to_mlx.capture.recast import main_dtype

    source = opened.exported_program or opened.module
    return str(main_dtype(source)).removeprefix("torch.") in LOW


def recorded_arguments(package: Package) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The recorded inputs as torch tensors, as keyword arguments of forward."""
    import mlx.core as mx
    import numpy as np
    import torch

    golden = read_golden(package)
    leaves: dict[int, Any] = {}
    for spec in package.config["inputs"]:
        value = golden[f"call0.input.{spec['name']}"]
        if spec.get("kind", "array") != "array":
            leaves[spec["index"]] = value.item()
            continue
        wide = value.astype(mx.float32) if value.dtype == mx.bfloat16 else value
        tensor = torch.from_numpy(np.array(wide))
        leaves[spec["index"]] = tensor.bfloat16() if value.dtype == mx.bfloat16 else tensor
    nest = trees.rebuild(package.in_tree, leaves.__getitem__)
    return (), dict(nest)


def check_same(package: Package, captured: Captured) -> None:
    """Whether a captured model can be what a package was made from.

    Raises:
        InputError: its inputs, outputs or names of weights differ.
    """
    config = package.config
    names = [i["name"] for i in config["inputs"]]
    if not set(names) <= set(captured.input_names):
        raise InputError(
            f"the source takes {', '.join(captured.input_names)}, the package {', '.join(names)}",
            hint="pass the model that the package was converted from",
        )
    script = import_script(package.folder / "convert_weights.py")
    try:
        emitted_names(script, captured)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"the source's weights are not those of the package: {error}",
            hint="pass the model that the package was converted from",
        ) from error
    count = sum(1 for _ in captured.out_tree.leaves())
    if count != sum(1 for _ in package.out_tree.leaves()):
        raise InputError(
            f"the source gives {count} outputs, the package {len(config['outputs'])}",
            hint="pass the model that the package was converted from",
        )
