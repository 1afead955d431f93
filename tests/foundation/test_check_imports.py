from __future__ import annotations

import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
import check_imports  # noqa: E402

sys.path.remove(str(SCRIPTS))


def complaints(tmp_path: Path, name: str, code: str) -> list[str]:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code)
    return check_imports.check_file(path, tmp_path)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("graph/a.py", "from pytorch_to_mlx.lower import registry"),
        ("graph/a.py", "from pytorch_to_mlx import passes"),
        ("graph/a.py", "from ..codegen import emit"),
        ("passes/fuse/a.py", "def f():\n    import pytorch_to_mlx.lower.aten"),
        ("ops/a.py", "import numpy"),
        ("ops/a.py", "from pytorch_to_mlx.errors import ConversionError"),
        ("capture/a.py", "import torch"),
        ("capture/a.py", "from torch import fx"),
        ("lower/registry.py", "def f():\n    import torch"),
        ("graph/a.py", "def f():\n    import torch.fx"),
        ("graph/a.py", "\n" * 500),
        ("graph/a.py", "def f(:"),
        ("graph/a.py", "from mlx_inference.blas import load_blas"),
        ("blas.py", "from mlx_inference.package import Package"),
    ],
)
def test_refused(tmp_path: Path, name: str, code: str) -> None:
    assert len(complaints(tmp_path, name, code)) == 1


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("lower/aten/a.py", "from pytorch_to_mlx import ops, graph"),
        (
            "lower/aten/a.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch",
        ),
        ("capture/a.py", "def f():\n    import torch"),
        ("passes/a.py", "from . import base"),
        ("ops/a.py", "import math\nimport mlx.core as mx\nfrom pytorch_to_mlx.ops import conv"),
        ("ops/registry.py", "import importlib"),
        ("api.py", "from pytorch_to_mlx import capture, lower, passes, codegen"),
        ("cli/app.py", "import pytorch_to_mlx as p2m"),
        ("errors.py", "import dataclasses"),
        ("blas.py", "from mlx_inference.blas import load_blas"),
    ],
)
def test_allowed(tmp_path: Path, name: str, code: str) -> None:
    assert complaints(tmp_path, name, code) == []


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("def f():\n    import pytorch_to_mlx", 1),
        ("from pytorch_to_mlx.errors import ConversionError", 1),
        ("def f():\n    import torch.jit\n    import onnxruntime", 2),
        ("import mlx.core as mx\nimport numpy\nfrom mlx_inference.blas import load_blas", 0),
        ("from . import blas", 0),
    ],
)
def test_the_runtime_works_without_the_converter(tmp_path: Path, code: str, count: int) -> None:
    root = tmp_path / "mlx_inference"
    root.mkdir()
    (root / "a.py").write_text(code)
    assert len(check_imports.check_file(root / "a.py", root)) == count
    assert check_imports.main([str(root)]) == bool(count)


def test_main(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_imports.main([str(tmp_path / "nothing")]) == 2
    complaints(tmp_path, "graph/a.py", "import torch")
    assert check_imports.main([str(tmp_path)]) == 1
    assert "graph/a.py:1" in capsys.readouterr().out
