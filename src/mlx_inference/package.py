"""A converted package: its ``config.json``, and its ``model.py`` with the weights loaded."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from mlx_inference.errors import InferenceError

#: A size of a shape in ``config.json``: a number, or the name of one that may change.
Size = int | str


class Package:
    """A folder that ``pytorch_to_mlx convert`` wrote, ready to be called.

    Raises:
        InferenceError: the folder is no package, or its code or weights do not load.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.name = self.folder.resolve().name
        self.config = _config(self.folder)
        self.model = _model(self.folder)

    def __call__(self, *inputs: mx.array) -> Any:
        """The model's outputs; sizes and dtypes are the caller's business."""
        return self.model(*inputs)

    @property
    def inputs(self) -> list[list[Size]]:
        """The shape of each input."""
        return [list(spec["shape"]) for spec in self.config["inputs"]]

    @property
    def outputs(self) -> list[list[Size]]:
        """The shape of each output."""
        return [list(spec["shape"]) for spec in self.config["outputs"]]


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InferenceError(
            f"{folder} is no converted model: {error}",
            hint="pass the folder that `pytorch_to_mlx convert` wrote",
        ) from error
    if not isinstance(config, dict) or not {"inputs", "outputs"} <= set(config):
        raise InferenceError(
            f"{folder / 'config.json'} is not one of a converted model",
            hint="pass the folder that `pytorch_to_mlx convert` wrote",
        )
    return config


def _model(folder: Path) -> nn.Module:
    file = folder / "model.py"
    name = f"_mlx_inference_{abs(hash(str(folder.resolve())))}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise InferenceError(f"{file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look their module up by name
    try:
        spec.loader.exec_module(module)
        model = module.load(folder)
    except (OSError, ValueError, ImportError, AttributeError, SyntaxError) as error:
        raise InferenceError(f"{folder} does not load: {error}", hint="convert it again") from error
    if not isinstance(model, nn.Module):
        raise InferenceError(f"load() of {file} gives no mlx.nn.Module")
    return model
