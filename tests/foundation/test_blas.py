"""The choice of BLAS is made once a process, so each case is its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"
BLAS = SRC / "mlx_inference" / "blas.py"

#: blas.py alone, as the package would have loaded it by itself already.
LOAD = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("blas", {str(BLAS)!r})
blas = importlib.util.module_from_spec(spec)
spec.loader.exec_module(blas)
"""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux needs a BLAS")


def python(code: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", LOAD + code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **env},
        check=True,
    )
    return done.stdout.strip()


@linux
def test_none_keeps_mlx_own_and_hints_once() -> None:
    said = python(
        "print(blas.load_blas(), '|', blas.blas_hint(), '|', blas.blas_hint())", P2M_BLAS="none"
    )
    name, hint, again = (part.strip() for part in said.split("|"))
    assert "slow" in name
    assert "libopenblas0-pthread" in hint
    assert again == ""


@linux
def test_a_library_that_is_no_blas_is_refused() -> None:
    code = "\ntry:\n    blas.load_blas()\nexcept OSError as error:\n    print(error)"
    assert "no cblas_sgemm" in python(code, P2M_BLAS="libm.so.6")
    assert "no cblas_sgemm" in python(code, P2M_BLAS="/nowhere/libblas.so")


@linux
def test_after_mlx_it_does_not_claim_an_effect() -> None:
    assert "slow" in python("import mlx.core; print(blas.load_blas())")


@linux
def test_the_one_found_is_named_and_kept() -> None:
    first, second, hint = python(
        "print(blas.load_blas()); print(blas.load_blas()); print(repr(blas.blas_hint()))"
    ).splitlines()
    assert first == second
    assert (hint == "''") == ("slow" not in first)


@pytest.mark.parametrize("package", ["pytorch_to_mlx", "mlx_inference"])
def test_the_packages_need_no_torch(package: str) -> None:
    code = f"import {package}, sys; print('torch' in sys.modules)"
    assert python(code, PYTHONPATH=str(SRC)) == "False"


@linux
@pytest.mark.parametrize(
    "order", ["blas.load_blas(); import torch", "import torch; blas.load_blas()"]
)
def test_complex_products_of_torch_stay_its_own(order: str) -> None:
    """A BLAS with global symbols would serve torch's calls, and return another way."""
    said = python(f"""
{order}
for dtype in (torch.complex64, torch.complex128):
    x, y = (torch.randn(5, dtype=dtype) for _ in range(2))
    print(torch.allclose(torch.dot(x, y), (x * y).sum()), end=" ")
    print(torch.allclose(torch.vdot(x, y), (x.conj() * y).sum()), end=" ")
""")
    assert said.split() == ["True"] * 4


@linux
def test_complex_factorisations_of_mlx_still_run() -> None:
    """They call the hidden functions within the BLAS."""
    said = python("""
blas.load_blas()
import mlx.core as mx, numpy as np
a = np.random.default_rng(0).normal(size=(2, 40, 40)).astype(np.float32)
a = (a[0] + 1j * a[1]).astype(np.complex64)
found = np.array(mx.linalg.eigvals(mx.array(a), stream=mx.cpu))
print(np.allclose(np.sort_complex(found), np.sort_complex(np.linalg.eigvals(a)), atol=1e-3))
""")
    assert said == "True"
