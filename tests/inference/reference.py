"""openWakeWord's own streaming class on onnxruntime."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

#: What openwakeword imports for training and downloads, and the names that it takes from there.
UNUSED = {
    "requests": [],
    "scipy": [],
    "sklearn": [],
    "sklearn.linear_model": ["LogisticRegression"],
    "sklearn.pipeline": ["make_pipeline"],
    "sklearn.preprocessing": ["FunctionTransformer", "StandardScaler"],
    "tqdm": ["tqdm"],
}


def openwakeword(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package, with what it does not use here as empty modules where it is missing."""
    if importlib.util.find_spec("openwakeword") is None:
        pytest.skip("openwakeword is not installed (pip install --no-deps openwakeword)")
    for name, attributes in UNUSED.items():
        try:
            importlib.import_module(name)
        except ImportError:
            module = ModuleType(name)
            for attribute in attributes:
                setattr(module, attribute, None)
            monkeypatch.setitem(sys.modules, name, module)
    return importlib.import_module("openwakeword")


def detector(
    monkeypatch: pytest.MonkeyPatch, graphs: dict[str, Path], heads: list[str], seed: int
) -> Any:
    """An ``openwakeword.Model`` whose first embeddings are those of the seed's noise."""
    model = openwakeword(monkeypatch).Model
    np.random.seed(seed)
    return model(
        wakeword_models=[str(graphs[name]) for name in heads],
        inference_framework="onnx",
        melspec_model_path=str(graphs["melspectrogram"]),
        embedding_model_path=str(graphs["embedding_model"]),
    )
